"""Patients in memory, and patches from them: the batch of a step depends on (seed, step, rank) alone.

Images are kept in half precision as they are on disk; what a task derives from a low-count scan (its filtered base,
say) is computed once on the whole volume, so that training sees exactly what inference does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..errors import PETDiffusionError
from ..progress import Run
from ..volume import Volume
from . import manifest
from .manifest import Found, Manifests, Row, half
from .patches import Drawn, coordinates, fitted
from .settings import TrainSettings
from .sides import JUDGED

Derive = Callable[
    [np.ndarray, tuple[float, float, float], np.ndarray, Mapping[str, torch.Tensor]],
    tuple[dict[str, np.ndarray], dict[str, float]],
]
"""Of a low-count scan, its voxels' sizes, the body and the images of the patient (`ct`, `mr`): images and numbers."""
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
class Bank(Drawn[Patient]):
    """Batches for training from some patients, and fixed ones for validation from others."""

    FIXED = (12, 2)

    lesion_share: float = LESION_SHARE
    """Of the patches that are learnt from, those drawn around a lesion, where the patient has any. What is judged is
    the same for all trainings."""

    def patch(self, people: list[Patient], rng: np.random.Generator, training: bool) -> dict[str, torch.Tensor]:
        """A cube somewhere in a body, or around a lesion, mirrored left to right half the time."""
        size = self.settings.patch if training else max(self.settings.patch, JUDGED)
        patient = people[rng.integers(len(people))]
        scan = patient.scans[rng.integers(len(patient.scans))]
        shape = np.array(patient.images["normal"].shape)
        share = self.lesion_share if training else LESION_SHARE
        if len(patient.lesions) and rng.random() < share:
            centre = patient.lesions[rng.integers(len(patient.lesions))] + rng.integers(-size // 4, size // 4 + 1, 3)
        else:
            centre = rng.integers(patient.body[0], patient.body[1] + 1)
        corner = np.clip(centre - size // 2, 0, np.maximum(shape - size, 0))
        cut = tuple(slice(c, c + size) for c in corner)
        images = {**{k: v[cut] for k, v in patient.images.items()}, **{k: v[cut] for k, v in scan.images.items()}}
        mirrored = training and rng.random() < 0.5
        patch = {k: fitted(v.float(), size, mirrored) for k, v in images.items()}
        patch["coordinates"] = coordinates(shape, corner, size, mirrored)
        return {**patch, **{k: torch.tensor(v) for k, v in scan.numbers.items()}}


def load_bank(manifests: Manifests, derive: Derive, settings: TrainSettings, run: Run) -> Bank:
    """Patients of manifests with columns id, pet, reference, split, fraction and more, as data sets have them."""
    return bank_of(manifest.collect(manifests, partial(patient_of, derive, run), run), settings)


def bank_of(found: Found[Patient], settings: TrainSettings) -> Bank:
    used = sum(len(patient.scans) for patient in (*found.train, *found.valid))
    return Bank(found.train, found.valid, settings, found.source, found.rows - used, found.people)


def patient_of(derive: Derive, run: Run, folder: Path, group: Sequence[Row]) -> Patient | None:
    """A patient with all its usable scans; those that cannot be used are said."""
    first = group[0]
    normal = manifest.image(folder, first, "reference")
    body = manifest.body_of(normal, first["id"])
    patient = Patient(first["id"], _shared(folder, first, normal), box(body), np.zeros((0, 3), int))
    patient.lesions = np.argwhere(patient.images["lesions"].numpy() > 0)
    for row in group:
        try:
            patient.scans.append(_scan(folder, row, normal, body, derive, patient.images))
        except PETDiffusionError as error:
            run.warn(f"Scan {row['pet']} was skipped. {error}")
    return patient if patient.scans else None


def _shared(folder: Path, row: Row, normal: Volume) -> dict[str, torch.Tensor]:
    from ..prepare import grids
    from ..prepare.channels import mr_scaled

    def on_grid(column: str) -> torch.Tensor:
        if not row.get(column):
            return torch.full(normal.array.shape, float("nan"), dtype=torch.float16)
        return half(grids.resample(manifest.image(folder, row, column), normal.geometry).array)

    images = {"normal": half(normal.array), "ct": on_grid("ct"), "mr": half(mr_scaled(on_grid("mr").float()).numpy())}
    images["truth"] = torch.tensor(float("nan"), dtype=torch.float16).expand(normal.array.shape)  # not known
    if row.get("truth"):
        truth = manifest.image(folder, row, "truth")
        manifest.same_grid(truth, normal, "Truth")
        images["truth"] = half(truth.array)
    lesions = np.zeros(normal.array.shape, bool)
    if row.get("lesions"):
        mask = manifest.labels(folder, row, "lesions")
        manifest.same_grid(mask, normal, "Lesion map")
        lesions = mask.array > 0
    images["lesions"] = torch.from_numpy(lesions.astype(np.uint8))
    return images


def _scan(
    folder: Path, row: Row, normal: Volume, body: np.ndarray, derive: Derive, shared: Mapping[str, torch.Tensor]
) -> Scan:
    low = manifest.image(folder, row, "pet")
    manifest.same_grid(low, normal, "Low-count scan")
    images, numbers = derive(low.array, low.geometry.spacing, body, shared)
    return Scan(
        {"low": half(low.array), **{k: half(v) for k, v in images.items()}},
        {"fraction": fraction_of(row, low), **numbers},
    )


def fraction_of(row: Row, low: Volume) -> float:
    """Part of a normal dose as the manifest says it, else as the file does; NaN where nobody does."""
    said = manifest.dose_of(row) or low.facts.dose_fraction
    return float("nan") if said is None else said


def box(body: np.ndarray) -> np.ndarray:
    """Corners (2, 3) of what is true."""
    return np.array(
        [(np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]]) for axis in range(3)]
    ).T
