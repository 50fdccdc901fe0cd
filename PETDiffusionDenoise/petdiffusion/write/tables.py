"""Tables as CSV: UTF-8, a header line, columns in the order in which they first occur, numbers in full.

Text that a spreadsheet would run as a formula is written with a leading apostrophe and read back without it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import InputError, OutputError
from ..wording import counted
from . import moving

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|-?inf")


def write_csv(rows: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the rows aside and move them into place. None and NaN become empty cells."""
    rows, path = list(rows), Path(path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        _write_aside(
            path, [[_text(name) for name in columns]] + [[_cell(row.get(name)) for name in columns] for row in rows]
        )
    except OSError as error:
        raise OutputError(
            f"Table {path.name}",
            f"cannot be written ({error.strerror or error})",
            "Choose a folder that exists and can be written to.",
        ) from error
    return path


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows back: empty cells as None, numbers and true/false as such, all else as text."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, delimiter=separator(file)) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Table {path.name}", f"cannot be read ({error})", "Give a CSV file in UTF-8.") from error
    if not lines:
        return []
    header = [_unguarded(name) for name in lines[0]]
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise InputError(
                f"Table {path.name}, line {number}",
                f"has {counted(len(line), 'cell')}, the header {len(header)}",
                "Give a complete CSV file.",
            )
    return [dict(zip(header, map(_value, line), strict=True)) for line in lines[1:]]


def separator(file: TextIO) -> str:
    """Comma, or the semicolon with which spreadsheets of many countries save, by the header line."""
    header = file.readline()
    file.seek(0)
    return ";" if ";" in header and "," not in header else ","


def _write_aside(path: Path, lines: list[list[str]]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
        moving.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return _float(value)
    if isinstance(value, str):
        return _text(value)
    return _text(json.dumps(value, ensure_ascii=False, default=str))


def _float(value: float) -> str:
    if math.isnan(value):
        return ""
    # A single-precision number is written with its own shortest form, not with the digits of its double.
    return str(value) if isinstance(value, np.floating) and not isinstance(value, float) else repr(float(value))


def _text(text: str) -> str:
    guarded = text.startswith(FORMULA) or (text.startswith("'") and text[1:].startswith((*FORMULA, "'")))
    return f"'{text}" if guarded else text


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA, "'")) else cell


def _value(cell: str) -> Any:
    if cell == "":
        return None
    if cell in ("true", "false"):
        return cell == "true"
    if _INTEGER.fullmatch(cell):
        return int(cell)
    if _NUMBER.fullmatch(cell):
        return float(cell)
    return _unguarded(cell)
