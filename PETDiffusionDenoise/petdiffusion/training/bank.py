"""Patients in memory, and patches from them: the batch of a step depends on (seed, step, rank) alone.

Images are kept in half precision as they are on disk; what a task derives from a low-count scan (its filtered base,
say) is computed once on the whole volume, so that training sees exactly what inference does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import PETDiffusionError, TrainingError
from ..phantoms.splits import split_of_row
from ..progress import Run
from ..volume import ARBITRARY, LabelMap, Volume
from .settings import TrainSettings
from .task import Batch

Derive = Callable[
    [np.ndarray, tuple[float, float, float], np.ndarray, Mapping[str, torch.Tensor]],
    tuple[dict[str, np.ndarray], dict[str, float]],
]
"""Of a low-count scan, its voxels' sizes, the body and the images of the patient (`ct`, `mr`): images and numbers."""
SHARED = ("normal", "truth", "ct", "mr", "lesions")
LESION_SHARE, SCALE_JITTER = 0.3, 0.15


@dataclass
class Scan:
    """One low-count scan of a patient: images of its own, and numbers."""

    images: dict[str, torch.Tensor]
    numbers: dict[str, float]


@dataclass
class Patient:
    id: str
    images: dict[str, torch.Tensor]
    body: np.ndarray
    """Corners (2, 3) of the body's bounding box."""
    lesions: np.ndarray
    """Voxel indices (n, 3) inside lesions."""
    scans: list[Scan] = field(default_factory=list)


@dataclass
class Bank:
    """Batches for training from some patients, and fixed ones for validation from others."""

    train: list[Patient]
    valid: list[Patient]
    settings: TrainSettings
    source: str
    skipped: int = 0
    _fixed: list[Batch] | None = None

    def batch(self, step: int, rank: int) -> Batch:
        rng = np.random.default_rng((self.settings.seed, step, rank))
        return _collate([_patch(self.train, self.settings.patch, rng, flip=True) for _ in range(self.settings.batch)])

    def validation(self, count: int = 12) -> list[Batch]:
        """The same patches at every call."""
        if self._fixed is None:
            rng = np.random.default_rng(20)
            patients = self.valid or self.train
            size = max(self.settings.patch, 48)
            self._fixed = [_collate([_patch(patients, size, rng, flip=False) for _ in range(2)]) for _ in range(count)]
        return self._fixed

    def describe(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "training_patients": [p.id for p in self.train],
            "validation_patients": [p.id for p in self.valid],
            "skipped_rows": self.skipped,
        }


def load_bank(
    manifests: str | Path | Sequence[str | Path], derive: Derive, settings: TrainSettings, run: Run
) -> Bank:
    """Patients of manifests with columns id, pet, reference, split, fraction and more, as data sets have them."""
    given = [manifests] if isinstance(manifests, (str, Path)) else list(manifests)
    paths = [Path(m) / "manifest.csv" if Path(m).is_dir() else Path(m) for m in given]
    groups = [(path.parent, group) for path in paths for group in _groups(path)]
    names = ", ".join(path.parent.name for path in paths)
    train, valid, skipped = [], [], 0
    with run.stage("load", f"Loading {len(groups)} patients"):
        for number, (folder, group) in enumerate(groups):
            patient, bad = _patient(folder, group, derive, run)
            skipped += bad
            if patient is not None:
                (valid if split_of_row(group[0]) == "validation" else train).append(patient)
            run.progress((number + 1) / len(groups))
    if not train:
        raise TrainingError(f"Data {names}", "gave no patient to train on", "See the warnings above.")
    return Bank(train, valid, settings, names, skipped)


def _groups(path: Path) -> list[list[dict[str, str]]]:
    """Rows of one patient together; a test patient among them is refused."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path):
        if split_of_row(row) == "test":
            raise TrainingError(
                f"Row {row['id']} of {path.name}",
                "is a test patient",
                "Test patients may never be trained on: take them out of the manifest.",
            )
        groups.setdefault(row["reference"], []).append(row)
    return list(groups.values())


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"Manifest {path.name}", f"cannot be read ({error})", "Give a data set's folder.") from None
    if not rows or not {"pet", "reference"} <= set(rows[0]):
        raise TrainingError(
            f"Manifest {path.name}",
            "needs the columns pet and reference, and rows",
            "Make one with 'petdiffusion simulate dataset', or write your own.",
        )
    return [{**row, "id": row.get("id") or str(n)} for n, row in enumerate(rows)]


def _patient(folder: Path, group: list[Mapping[str, str]], derive: Derive, run: Run) -> tuple[Patient | None, int]:
    """A patient with all its usable scans; rows that cannot be used are said and counted."""
    from ..prepare.mask import body_mask

    skipped, first = 0, group[0]
    try:
        normal = _image(folder, first, "reference")
        body = body_mask(normal)
        if not body.any():
            raise TrainingError(f"Patient {first['id']}", "has no body in its reference", "Check the image.")
        patient = Patient(first["id"], _shared(folder, first, normal), _box(body), np.zeros((0, 3), int))
        patient.lesions = np.argwhere(patient.images["lesions"].numpy() > 0)
    except PETDiffusionError as error:
        run.warn(f"Patient {first['id']} was skipped. {error}")
        return None, len(group)
    for row in group:
        try:
            patient.scans.append(_scan(folder, row, normal, body, derive, patient.images))
        except PETDiffusionError as error:
            run.warn(f"Scan {row['pet']} was skipped. {error}")
            skipped += 1
    return (patient if patient.scans else None), skipped


def _image(folder: Path, row: Mapping[str, str], column: str) -> Volume:
    """CT and MR as they are; PETs in SUV, which is what methods are trained on."""
    from .. import read, suv

    if column in ("ct", "mr"):
        return read.image(folder / row[column], column)
    pet = read.image(folder / row[column], "pet" if column == "pet" else "reference", unit=row.get("unit") or None)
    if pet.unit == ARBITRARY:
        raise TrainingError(f"Image {row[column]}", "says no unit", "Add a column unit, or a sidecar with Units.")
    return suv.to_suv(pet)


def _same_grid(image: Volume | LabelMap, normal: Volume, name: str) -> None:
    if not image.geometry.close_to(normal.geometry):
        raise TrainingError(f"{name} on a grid of {image.geometry.size}", "lies elsewhere than its reference",
                            "Give both on one grid.")  # fmt: skip


def _shared(folder: Path, row: Mapping[str, str], normal: Volume) -> dict[str, torch.Tensor]:
    from .. import read
    from ..prepare import grids
    from ..prepare.channels import mr_scaled

    def on_grid(column: str) -> torch.Tensor:
        if not row.get(column):
            return torch.full(normal.array.shape, float("nan"), dtype=torch.float16)
        return _half(grids.resample(_image(folder, row, column), normal.geometry).array)

    images = {"normal": _half(normal.array), "ct": on_grid("ct"), "mr": _half(mr_scaled(on_grid("mr").float()).numpy())}
    images["truth"] = images["normal"]
    if row.get("truth"):
        truth = _image(folder, row, "truth")
        _same_grid(truth, normal, "Truth")
        images["truth"] = _half(truth.array)
    lesions = np.zeros(normal.array.shape, bool)
    if row.get("lesions"):
        mask = read.labels(folder / row["lesions"])
        _same_grid(mask, normal, "Lesion map")
        lesions = mask.array > 0
    images["lesions"] = torch.from_numpy(lesions.astype(np.uint8))
    return images


def _scan(
    folder: Path, row: Mapping[str, str], normal: Volume, body: np.ndarray, derive: Derive,
    shared: Mapping[str, torch.Tensor],
) -> Scan:
    low = _image(folder, row, "pet")
    _same_grid(low, normal, "Low-count scan")
    images, numbers = derive(low.array, low.geometry.spacing, body, shared)
    return Scan(
        {"low": _half(low.array), **{k: _half(v) for k, v in images.items()}},
        {"fraction": float(row.get("fraction") or 0.1), **numbers},
    )


def _half(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.clip(array, -6e4, 6e4).astype(np.float16))  # NaN stays NaN


def _box(body: np.ndarray) -> np.ndarray:
    return np.array(
        [(np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]]) for axis in range(3)]
    ).T


def _patch(patients: list[Patient], size: int, rng: np.random.Generator, flip: bool) -> dict[str, Any]:
    """A cube somewhere in a body, three times in ten around a lesion, mirrored left to right half the time."""
    patient = patients[rng.integers(len(patients))]
    scan = patient.scans[rng.integers(len(patient.scans))]
    shape = np.array(patient.images["normal"].shape)
    if len(patient.lesions) and rng.random() < LESION_SHARE:
        centre = patient.lesions[rng.integers(len(patient.lesions))] + rng.integers(-size // 4, size // 4 + 1, 3)
    else:
        centre = rng.integers(patient.body[0], patient.body[1] + 1)
    corner = np.clip(centre - size // 2, 0, np.maximum(shape - size, 0))
    cut = tuple(slice(c, c + size) for c in corner)
    images = {**{k: v[cut] for k, v in patient.images.items()}, **{k: v[cut] for k, v in scan.images.items()}}
    mirrored = flip and rng.random() < 0.5
    patch = {k: _fitted(v.float(), size, mirrored) for k, v in images.items()}
    patch["coordinates"] = _coordinates(shape, corner, size, mirrored)
    return {**patch, **{k: torch.tensor(v) for k, v in scan.numbers.items()}}


def _fitted(image: torch.Tensor, size: int, mirrored: bool) -> torch.Tensor:
    image = image.flip(2) if mirrored else image
    missing = [size - n for n in image.shape]
    if any(missing):  # the edge repeated: air outside the volume too
        edges = [0, missing[2], 0, missing[1], 0, missing[0]]
        image = torch.nn.functional.pad(image[None, None], edges, mode="replicate")[0, 0]
    return image[None]


def _coordinates(shape: np.ndarray, corner: np.ndarray, size: int, mirrored: bool) -> torch.Tensor:
    """z, y, x in [-1, 1] over the whole volume, as the engine makes them at inference."""
    axes = [
        torch.from_numpy((2 * (c + np.arange(size)) / max(n - 1, 1) - 1).astype(np.float32))
        for n, c in zip(shape, corner)
    ]
    if mirrored:
        axes[2] = -axes[2].flip(0)  # where the patch lies in the mirrored patient
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _collate(patches: list[dict[str, Any]]) -> Batch:
    return {name: torch.stack([p[name] for p in patches]) for name in patches[0]}
