"""The patients of data sets on disk: rows of their manifests, and the images that rows name, as trainings keep them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from ..errors import InputError, PETDiffusionError, TrainingError
from ..phantoms.splits import split_of_row
from ..progress import Run
from ..read import sheet
from ..request import sha256_of
from ..volume import ARBITRARY, LabelMap, Volume

P = TypeVar("P")
Manifests = str | Path | Sequence[str | Path]
"""A manifest or the folder of a data set, or several of them."""
Row = Mapping[str, str]
SHARED = ("ct", "mr", "truth", "lesions", "labels")
"""Columns of what a patient has once, whichever of his rows names it."""
Make = Callable[[Path, Sequence[Row]], P | None]
"""A patient out of the folder and rows of its manifest; None where nothing of it can be used, as was said already."""


@dataclass
class Found(Generic[P]):
    source: str
    rows: int
    """Of all patients, the skipped ones too."""
    train: list[P] = field(default_factory=list)
    valid: list[P] = field(default_factory=list)
    skipped: int = 0
    people: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """Who those of `training` and of `validation` are, whatever their ids."""

    def describe(self) -> dict[str, Any]:
        return described(self)


def described(data: Any) -> dict[str, Any]:
    """What a training says of the data it had."""
    found = {"source": data.source, "training_patients": [p.id for p in data.train],
             "validation_patients": [p.id for p in data.valid], "skipped_rows": data.skipped}  # fmt: skip
    return found | ({"people": data.people} if data.people else {})


def collect(manifests: Manifests, make: Make[P], run: Run, what: str = "patients") -> Found[P]:
    """Every patient that `make` can make; the others are said and counted."""
    everyone = groups(manifests)
    names = ", ".join(path.absolute().parent.name for path in _paths(manifests))
    found: Found[P] = Found(names, sum(len(group) for _, group in everyone))
    scans: dict[str, tuple[bool, str]] = {}
    with run.stage("load", f"Loading {len(everyone)} {what}"):
        for number, (folder, group) in enumerate(everyone):
            try:
                patient = make(folder, _together(folder, group, run))
                person = None if patient is None else _person(folder, group)
            except PETDiffusionError as error:
                run.warn(f"Patient {group[0]['id']} was skipped. {error}")
                patient = None
            if patient is None:
                found.skipped += 1
            else:
                judges = split_of_row(group[0]) == "validation"
                told = judges, f"{group[0]['id']} of {folder.absolute().name} ({group[0]['reference']})"
                _refuse_copy(scans.setdefault(person["scan"], told), told)
                (found.valid if judges else found.train).append(patient)
                found.people.setdefault("validation" if judges else "training", []).append(person)
            run.progress((number + 1) / len(everyone))
    if not found.train:
        raise TrainingError(f"Data {names}", "gave no patient to train on", "See the warnings above.")
    return found


def _refuse_copy(one: tuple[bool, str], other: tuple[bool, str]) -> None:
    """A copy lies elsewhere, so that no path tells it; what it holds does."""
    if one[0] != other[0]:
        raise TrainingError(f"Rows {one[1]} and {other[1]}",
                            "have the same normal-dose scan in two files, one for training and one for validation",
                            "Give all scans of a patient the same split.")  # fmt: skip


def _together(folder: Path, group: Sequence[Row], run: Run) -> list[Row]:
    """The rows, the first of them with what any of them names: a cell may be empty where another row's is not."""
    found = {}
    for column in SHARED:
        named = [(row, _place(folder, row[column])) for row in group if (row.get(column) or "").strip()]
        if not named:
            continue
        first, place = named[0]
        found[column] = first[column]
        if other := next((row for row, elsewhere in named if elsewhere != place), None):
            run.warn(f"Rows of one patient name several files as {column}: {first[column]} in row {first['id']}, "
                     f"{other[column]} in row {other['id']}. The first one is taken for all his scans.")
    return [{**group[0], **found}, *group[1:]]


def _person(folder: Path, group: Sequence[Row]) -> dict[str, str]:
    """By the word of the column patient and by what the normal-dose scan holds, wherever it lies; by its place where
    it isn't there, as it needn't be for methods that do not open it."""
    scan = (folder / group[0]["reference"]).resolve()
    known = sha256_of(scan) if scan.exists() else hashlib.sha256(os.path.normcase(scan).encode()).hexdigest()
    return {"id": group[0]["id"], "patient": next(filter(None, map(_word, group)), ""), "scan": known}


def _word(row: Row) -> str:
    return (row.get("patient") or "").strip()


def groups(manifests: Manifests) -> list[tuple[Path, list[Row]]]:
    """Rows of one patient together, with the folder they count from. Refused are a test patient among them, a patient
    in two splits, and a scan that is there twice."""
    found = [(path, group) for path in _paths(manifests) for group in _groups_of(path)]
    _refuse_mixed(found)
    _refuse_twice(found)
    return [(path.parent, group) for path, group in found]


def _paths(manifests: Manifests) -> list[Path]:
    given = [manifests] if isinstance(manifests, (str, Path)) else manifests
    return [Path(m) / "manifest.csv" if Path(m).is_dir() else Path(m) for m in given]


def _groups_of(path: Path) -> list[list[Row]]:
    """Scans with the same normal-dose scan, however its path is written."""
    found: dict[str, list[Row]] = {}
    for row in rows(path):
        if split_of_row(row) == "test":
            raise TrainingError(
                f"Row {row['id']} of {path.name}",
                "is a test patient",
                "Test patients may never be trained on: take them out of the manifest.",
            )
        found.setdefault(_file(path, row, "reference"), []).append(row)
    return list(found.values())


def _file(manifest: Path, row: Row, column: str) -> str:
    return _place(manifest.parent, row[column])


def _place(folder: Path, name: str) -> str:
    """The same for one file, however its path is written."""
    return os.path.normcase((folder / name).resolve())


def _refuse_mixed(found: Sequence[tuple[Path, list[Row]]]) -> None:
    """A patient is one normal-dose scan, or all scans with the same word in the column patient."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    for path, row in ((path, row) for path, group in found for row in group):
        names = {"reference": _file(path, row, "reference"), "patient": _word(row)}
        for column, name in names.items():
            splits = said.setdefault((column, name), {})
            splits.setdefault(split_of_row(row), f"row {row['id']} of {_shown(path)}")
            if name and len(splits) > 1:
                raise TrainingError(
                    f"{column.capitalize()} {row[column]}",
                    f"is in several splits ({', '.join(sorted(splits))}): {' and '.join(splits.values())}",
                    "Give all scans of a patient the same split, and different patients different names.",
                )


def _refuse_twice(found: Sequence[tuple[Path, list[Row]]]) -> None:
    """A patient whose rows are in two manifests would count twice, and so would a scan with two rows."""
    where: dict[str, Path] = {}
    for path, group in found:
        reference = _file(path, group[0], "reference")
        if reference in where:
            raise TrainingError(
                f"Reference {group[0]['reference']} of {_shown(path)}",
                f"is given by {_shown(where[reference])} too",
                "Give every data set once, and all scans of a patient in one manifest.",
            )
        where[reference] = path
        scans: dict[str, Row] = {}
        for row in (row for row in group if row["pet"]):
            if (first := scans.setdefault(_file(path, row, "pet"), row)) is not row:
                raise TrainingError(f"Rows {first['id']} and {row['id']} of {_shown(path)}",
                                    f"name the same scan, {row['pet']}", "Give every scan one row.")  # fmt: skip


def _shown(path: Path) -> str:
    return f"{path.absolute().parent.name}/{path.name}"


def rows(path: Path) -> list[Row]:
    """Every column in every row, empty where it says nothing; other columns than the known ones are no trouble."""
    try:
        found = sheet.read(path)
        found.check_header()
        told = [found.cells(number, line) for number, line in found.lines]
    except InputError as error:
        raise TrainingError(error.what, error.why, f"{error.remedy} A data set's folder serves as well.") from None
    if not told or not {"pet", "reference"} <= set(found.header):
        raise TrainingError(
            f"Manifest {path.name}",
            "needs the columns pet and reference, and rows",
            "Make one with 'petdiffusion simulate dataset', or write your own.",
        )
    empty = dict.fromkeys(found.header, "")
    return [empty | _placed(path.parent, row) | {"id": row.get("id") or str(n)} for n, row in enumerate(told)]


def _placed(folder: Path, row: Row) -> dict[str, str]:
    """With paths that were written on Windows as they are here."""
    return {column: sheet.spelled(folder, value) if column in (*sheet.PATHS, "truth") else value
            for column, value in row.items()}


def dose_of(row: Row) -> float | None:
    """Part of a normal dose, by the column `fraction` of digital patients or `dose_fraction`, as `batch` reads it."""
    text = (row.get("fraction") or row.get("dose_fraction") or "").strip()
    try:
        found = float(text) if text else None
    except ValueError:
        found = math.nan
    if found is not None and not 0 < found <= 1:
        raise TrainingError(f"Dose fraction '{text}' of row {row['id']}", "is not a number above 0 and up to 1",
                            "Write for example 0.1, or leave it empty.")  # fmt: skip
    return found


def image(folder: Path, row: Row, column: str) -> Volume:
    """Upright; CT and MR as they are, PETs in SUV, which is what methods are trained on."""
    from .. import read, suv
    from ..prepare.upright import turned

    if column in ("ct", "mr"):
        return turned(read.image(folder / row[column], column))
    role, unit = "pet" if column == "pet" else "reference", row.get("unit") or None
    pet = read.image(folder / row[column], role, unit=unit, weight_kg=_weight(row))
    if pet.unit == ARBITRARY:
        raise TrainingError(f"Image {row[column]}", "says no unit", "Add a column unit, or a sidecar with Units.")
    return turned(suv.to_suv(pet))


def _weight(row: Row) -> float | str | None:
    """A word that is no number is left to the check of weights."""
    text = (row.get("weight_kg") or "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        return text


def labels(folder: Path, row: Row, column: str) -> LabelMap:
    """Upright, as the images are."""
    from .. import read
    from ..prepare.upright import turned

    return turned(read.labels(folder / row[column]))


def lesions(folder: Path, row: Row, normal: Volume) -> np.ndarray:
    """Voxel indices (n, 3) inside lesions; none where no map is given."""
    if not row.get("lesions"):
        return np.zeros((0, 3), int)
    mask = labels(folder, row, "lesions")
    same_grid(mask, normal, "Lesion map")
    return np.argwhere(mask.array > 0)


def body_of(normal: Volume, id_: str) -> np.ndarray:
    from ..prepare.mask import body_mask

    body = body_mask(normal)
    if not body.any():
        raise TrainingError(f"Patient {id_}", "has no body in its reference", "Check the image.")
    return body


def same_grid(given: Volume | LabelMap, normal: Volume, name: str) -> None:
    if not given.geometry.close_to(normal.geometry):
        raise TrainingError(f"{name} on a grid of {given.geometry.size}", "lies elsewhere than its reference",
                            "Give both on one grid.")  # fmt: skip


def half(array: np.ndarray) -> torch.Tensor:
    """In half precision, as on disk. NaN stays NaN."""
    return torch.from_numpy(np.clip(array, -6e4, 6e4).astype(np.float16))
