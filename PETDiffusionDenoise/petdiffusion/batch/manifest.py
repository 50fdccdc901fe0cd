"""The manifest: a CSV with one case a row. Every fault in it is found before the first case runs."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..read.sources import IMAGES
from ..write.tables import separator

PATHS = ("pet", "ct", "mr", "labels", "lesions", "reference")
SETTINGS = ("unit", "dose_fraction", "weight_kg", "text", "method", "seed")
IGNORED = ("fraction", "split", "kind", "preset", "tracer", "truth", "patient", "data")
"""Columns for other uses: those of digital patients' data sets, and whose scan and what data it is (`evaluate`)."""
NUMBERS = ("dose_fraction", "fraction", "weight_kg")
"""Columns of numbers that are not whole."""
OWN = {"summary", "batch"}
"""Files that a batch writes beside the cases' folders."""
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
"""Names of which Windows makes no folder, whatever follows a dot."""
_ID = re.compile(r"[\w][\w .@+-]{0,99}")
_AT_DOSE = re.compile(r"(.+)-(?:0?\.\d+|1(?:\.0)?)")
"""`body-800000-0.1` is patient `body-800000` at a tenth of the dose."""


@dataclass(frozen=True)
class BatchCase:
    """One row: an id that names its folder, absolute paths, and settings of its own."""

    id: str
    images: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    """What the columns for other uses say."""

    @property
    def patient(self) -> str:
        """As it was written in the column `patient`; without it, ids that differ in their dose alone are of one."""
        dose = _AT_DOSE.fullmatch(self.id)
        return self.about.get("patient") or (dose[1] if dose else self.id)


def read_manifest(path: str | Path) -> list[BatchCase]:
    """Cases of a manifest; paths are relative to the manifest's folder. What spreadsheets add is no trouble: capitals
    and spaces in the header, columns and rows without a word, and decimal commas between semicolons."""
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            parted = separator(stream)
            reader = csv.reader(stream, delimiter=parted)
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Manifest {file.name}", f"cannot be read ({error})", "Give a CSV file in UTF-8.") from None
    lines = [(number, line) for number, line in lines if any(line)]
    if len(lines) < 2:
        raise InputError(
            f"Manifest {file.name}", "holds no case", f"Write a header such as id,{','.join(PATHS)} and rows."
        )
    header = _header(file, lines[0][1])
    cases = [_case(file, number, _row(file, number, header, line, parted)) for number, line in lines[1:]]
    _check_ids(file, cases)
    return cases


def _header(file: Path, line: list[str]) -> list[str]:
    """Names of the columns; one without a name is `''`."""
    header = [name.lower() for name in line]
    known = {"id", *PATHS, *SETTINGS, *IGNORED}
    unknown, twice = ([name for name in header if name and fault(name)]
                      for fault in (lambda name: name not in known, lambda name: header.count(name) > 1))  # fmt: skip
    if reason := (f"has no column 'pet', but: {', '.join(repr(name) for name in line if name)}" if "pet" not in header
                  else f"has unknown columns: {', '.join(unknown)}" if unknown
                  else f"has two columns '{twice[0]}'" if twice else ""):  # fmt: skip
        raise InputError(f"Manifest {file.name}", reason,
                         f"Known columns: {', '.join(sorted(known))}. Commas or semicolons part them.")
    return header


def _row(file: Path, number: int, header: list[str], line: list[str], parted: str) -> dict[str, str]:
    where = f"Manifest {file.name}, line {number}"
    if any(line[len(header) :]):
        raise InputError(where, "has more cells than the header", "Correct the row.")
    pairs = [(name, value) for name, value in zip(header, line, strict=False) if value]
    if nameless := next((value for name, value in pairs if not name), None):
        raise InputError(where, f"a column without a name holds '{nameless}'", "Name it in the header, or empty it.")
    return {name: value.replace(",", ".") if parted == ";" and name in NUMBERS else value for name, value in pairs}


def _case(file: Path, number: int, values: dict[str, str]) -> BatchCase:
    if "pet" not in values:
        raise InputError(f"Manifest {file.name}, line {number}", "names no PET", "Fill in the column 'pet'.")
    images = {name: _place(file.parent, values[name]) for name in PATHS if name in values}
    id_ = values.get("id") or name_of(images["pet"])
    if fault := _fault(id_):
        raise InputError(f"Manifest {file.name}, line {number}: id '{id_}'", *fault)
    settings, about = ({name: values[name] for name in names if name in values} for names in (SETTINGS, IGNORED))
    return BatchCase(id_, {name: str(place.absolute()) for name, place in images.items()}, settings, about)


def _place(folder: Path, said: str) -> Path:
    """Also where it was written on Windows, whose backslashes are letters of a name elsewhere."""
    place = folder / said
    return place if place.exists() else folder / said.replace("\\", "/")


def _fault(id_: str) -> tuple[str, str] | None:
    """Why no folder can be called so on one of the systems, and what to do. None where it can."""
    if not _ID.fullmatch(id_) or id_.endswith((".", " ")):
        return "cannot name a folder", "Use letters, digits, spaces, '.', '_' and '-', letters or digits at the ends."
    stem, remedy = id_.split(".")[0].strip().lower(), f"Add to the name: 'case {id_}'."
    if stem in OWN:
        return "cannot name a folder: this program's own files are called so", remedy
    return (f"cannot name a folder: Windows keeps '{stem}' for a device", remedy) if DEVICE.fullmatch(id_) else None


def name_of(pet: Path) -> str:
    """`low_0.1.nii.gz` is `low_0.1`."""
    endings = [e for e in (*IMAGES, ".dcm") if pet.name.lower().endswith(e)]
    return pet.name[: len(pet.name) - max(map(len, endings), default=0)]


def _check_ids(file: Path, cases: list[BatchCase]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id.lower() in seen:
            raise InputError(f"Manifest {file.name}: id '{case.id}'", "occurs twice", "Give every case its own id.")
        seen.add(case.id.lower())
