"""The manifest: a CSV with one case a row, or a list. Every fault in it is found before the first case runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..read import sheet
from ..read.sheet import PATHS
from ..read.sources import IMAGES

SETTINGS = ("unit", "dose_fraction", "weight_kg", "text", "method", "seed")
IGNORED = ("fraction", "split", "kind", "preset", "tracer", "truth", "patient", "data")
"""Columns for other uses: those of digital patients' data sets, and whose scan and what data it is (`evaluate`)."""
OWN = {"summary", "batch"}
"""Files that a batch writes beside the cases' folders."""
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
"""Names of which Windows makes no folder, whatever follows a dot."""
_WORDS = (str, os.PathLike, Real, type(None))
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


def read_manifest(given: str | Path | Sequence[str | Path | Mapping[str, Any]]) -> list[BatchCase]:
    """Cases of a manifest, whose paths are relative to its folder; or of a list of PETs or of what would be a
    manifest's rows, whose paths are relative to the current one."""
    if isinstance(given, (str, Path)):
        cases = _of_file(Path(given))
    elif isinstance(given, Sequence):
        cases = _of_list(given)
    else:
        raise InputError(f"Cases as {type(given).__name__}", "are neither a manifest nor a list",
                         "Give the path of a CSV file, or a list of PETs' paths or of dicts.")
    _check_ids(cases)
    return cases


def _of_file(file: Path) -> list[BatchCase]:
    found = sheet.read(file)
    if not found.lines:
        raise InputError(found.name, "holds no case", f"Write a header such as id,{','.join(PATHS)} and rows.")
    _check_columns(found.name, found.header)
    found.check_header()
    return [_case(file.parent, f"{found.name}, line {number}", found.cells(number, line))
            for number, line in found.lines]


def _of_list(given: Sequence[str | Path | Mapping[str, Any]]) -> list[BatchCase]:
    if not given:
        raise InputError("The list of cases", "is empty", "Give paths of PETs, or dicts such as {'pet': path}.")
    return [_case(Path(), f"Case {number} of the list", _listed(number, one)) for number, one in enumerate(given, 1)]


def _listed(number: int, given: Any) -> dict[str, str]:
    """A row of a list. As in tables of pandas, what is not known may be None or NaN."""
    if isinstance(given, (str, Path)):
        return {"pet": str(given)}
    if not isinstance(given, Mapping):
        raise InputError(f"Case {number} of the list", "is neither the path of a PET nor a dict such as {'pet': path, "
                         f"'ct': path}}, but {type(given).__name__}",
                         "Write images to files first, or denoise them one by one.")
    if strange := next((name for name, value in given.items() if not isinstance(value, _WORDS)), None):
        raise InputError(f"Case {number} of the list: {strange}", f"is {type(given[strange]).__name__}, and no path, "
                         "word or number", "Write images to files first.")
    row = {str(name).strip().lower(): _word(value) for name, value in given.items()}
    _check_columns(f"Case {number} of the list", list(row), "")
    return {name: value for name, value in row.items() if value}


def _word(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _check_columns(where: str, header: list[str], how: str = " Commas or semicolons part them.") -> None:
    known = {"id", *PATHS, *SETTINGS, *IGNORED}
    unknown = [name for name in header if name and name not in known]
    if reason := (f"has no column 'pet', but: {', '.join(repr(name) for name in header if name)}"
                  if "pet" not in header else f"has unknown columns: {', '.join(unknown)}" if unknown else ""):
        raise InputError(where, reason, f"Known columns: {', '.join(sorted(known))}.{how}")


def _case(folder: Path, where: str, values: dict[str, str]) -> BatchCase:
    if "pet" not in values:
        raise InputError(where, "names no PET", "Fill in the column 'pet'.")
    images = {name: folder / sheet.spelled(folder, values[name]) for name in PATHS if name in values}
    id_ = values.get("id") or name_of(images["pet"])
    if fault := _fault(id_):
        raise InputError(f"{where}: id '{id_}'", *fault)
    settings, about = ({name: values[name] for name in names if name in values} for names in (SETTINGS, IGNORED))
    return BatchCase(id_, {name: str(place.absolute()) for name, place in images.items()}, settings, about)


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


def _check_ids(cases: list[BatchCase]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id.lower() in seen:
            raise InputError(f"Id '{case.id}'", "occurs twice", "Give every case an id of its own.")
        seen.add(case.id.lower())
