"""Manifests as spreadsheets save them: capitals and spaces in the header, columns and rows without a word, semicolons
with decimal commas between them, a byte order mark, and paths as Windows writes them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..write.tables import separator

PATHS = ("pet", "ct", "mr", "labels", "lesions", "reference")
NUMBERS = ("dose_fraction", "fraction", "weight_kg")
"""Columns of numbers that are not whole."""


@dataclass(frozen=True)
class Sheet:
    name: str
    header: list[str]
    """In small letters; a column without a name is `''`."""
    lines: list[tuple[int, list[str]]]
    """By their number in the file."""
    decimal_comma: bool

    def check_header(self) -> None:
        if twice := next((name for name in self.header if name and self.header.count(name) > 1), None):
            raise InputError(self.name, f"has two columns '{twice}'", "Take one out, or name it otherwise.")

    def cells(self, number: int, line: list[str]) -> dict[str, str]:
        """What a line says by column, without what it leaves empty."""
        if any(line[len(self.header) :]):
            raise InputError(f"{self.name}, line {number}", "has more cells than the header", "Correct the row.")
        pairs = [(name, value) for name, value in zip(self.header, line, strict=False) if value]
        if nameless := next((value for name, value in pairs if not name), None):
            raise InputError(f"{self.name}, line {number}", f"a column without a name holds '{nameless}'",
                             "Name it in the header, or empty it.")
        return {name: value.replace(",", ".") if self.decimal_comma and name in NUMBERS else value
                for name, value in pairs}


def read(file: Path) -> Sheet:
    """Empty where nothing is written below the header."""
    name = f"Manifest {file.name}"
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            parted = separator(stream)
            reader = csv.reader(stream, delimiter=parted)
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(name, f"cannot be read ({error})", "Give a CSV file in UTF-8.") from None
    lines = [(number, line) for number, line in lines if any(line)]
    header = [word.lower() for word in lines[0][1]] if lines else []
    return Sheet(name, header, lines[1:], parted == ";")


def spelled(folder: Path, path: str) -> str:
    """Also where it was written on Windows, whose backslashes are letters of a name elsewhere."""
    return path if (folder / path).exists() else path.replace("\\", "/")
