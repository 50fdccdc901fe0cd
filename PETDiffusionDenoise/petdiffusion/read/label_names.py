"""Names of the values of a label map, from beside the file or from its header."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .sidecar import HEADER_KEY, path_of

_LABEL = re.compile(r'<Label\s[^>]*?Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^\]<]*)')
_SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue|Layer)$")
LAYERS = ("holds overlapping segments in several layers",
          "Export it as a label map, or split it into files without overlap.")  # fmt: skip
_QUOTED, _NUMBER = re.compile(r'"[^"]*"'), re.compile(r"\d+(\.0*)?")
_VALUE_COLUMNS, _NAME_COLUMNS = ("value", "index", "label", "id"), ("name", "structure", "abbreviation")


def beside(image: Path) -> dict[int, str]:
    """From `<name>.json`, `<name>.csv` or `<name>.tsv`; empty where there is none."""
    json_path = path_of(image)
    for path in (json_path, json_path.with_suffix(".csv"), json_path.with_suffix(".tsv")):
        if path.is_file():
            try:
                names = _json(path) if path.suffix == ".json" else _table(path)
            except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, csv.Error) as error:
                raise InputError(f"Label names in {path.name}", f"cannot be read ({error})",
                                 "Give rows of value and name.") from error
            if names:
                return {value: name for value, name in names.items() if value and name}
    return {}


def _json(path: Path) -> dict[int, str]:
    return _from_json(json.loads(path.read_text(encoding="utf-8-sig")))


def _from_json(data: Any) -> dict[int, str]:
    if isinstance(data, Mapping) and "labels" in data:
        data = data["labels"]
    if isinstance(data, Sequence) and not isinstance(data, str):
        return {_value(row["value"]): str(row["name"]) for row in data}
    return _mapping(data)


def _mapping(data: Any) -> dict[int, str]:
    """Either way round: {"1": "liver"} or {"liver": 1}; other keys of a sidecar are left alone."""
    by_value = {int(k): v for k, v in data.items() if k.strip().isdigit() and isinstance(v, str)}
    if by_value:
        return by_value
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in data.values())
    return {_value(v): k for k, v in data.items()} if whole else {}


def _table(path: Path) -> dict[int, str]:
    text = path.read_text(encoding="utf-8-sig")
    table = csv.reader(io.StringIO(text), delimiter=_separator(text))
    rows = [row for row in table if any(cell.strip() for cell in row)]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    value, name = _column(head, _VALUE_COLUMNS), _column(head, _NAME_COLUMNS)
    if value is None or name is None:
        (value, name), body = _without_head(rows), rows
    else:
        body = rows[1:]
    told = [row for row in body if len(row) > max(value, name) and row[value].strip()]
    return {_value(row[value]): row[name].strip() for row in told}


def _separator(text: str) -> str:
    """Whatever the file is called: a tab, or what stands first of semicolon and comma. Where a decimal comma is usual,
    programs write semicolons into a .csv. What stands in quotes is part of a name."""
    first = _QUOTED.sub("", next((line for line in text.splitlines() if line.strip()), ""))
    return "\t" if "\t" in first else next((mark for mark in first if mark in ";,"), ",")


def _without_head(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Columns of value and name: the first two, either way round."""
    numbers = [bool(_NUMBER.fullmatch(cell.strip())) for cell in rows[0][:2]] if rows else []
    return (1, 0) if numbers == [False, True] else (0, 1)


def _column(head: Sequence[str], known: Sequence[str]) -> int | None:
    return next((head.index(word) for word in known if word in head), None)


def _value(word: Any) -> int:
    """Also of a table whose whole numbers are written as 2.0."""
    value = word if isinstance(word, int) else float(word)
    if value < 0 or value % 1:
        raise ValueError(f"label value {word}")
    return int(value)


def in_nifti(extensions: Sequence[Any]) -> dict[int, str]:
    """The label table that TotalSegmentator and Caret write into the header."""
    for extension in extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        if "<LabelTable" in text:
            return {int(value): name.strip() for value, name in _LABEL.findall(text) if name.strip()}
    return {}


def in_fields(fields: Mapping[str, str], name: str) -> dict[int, str]:
    """From the header of a NRRD or MetaImage file: this program's own names, or 3D Slicer's segments.

    Segments of further layers share their values with others and cannot be told apart.
    """
    if "labels" in (own := json.loads(fields.get(HEADER_KEY, "{}"))):
        return _from_json(own)
    segments: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        match = _SEGMENT.match(key)
        if match:
            segments.setdefault(int(match.group(1)), {})[match.group(2)] = value
    if any(int(segment.get("Layer", "0")) for segment in segments.values()):
        raise InputError(f"{name}", *LAYERS)
    return {int(s["LabelValue"]): s["Name"] for s in segments.values() if "LabelValue" in s and "Name" in s}
