"""Slices of normal-dose scans for unsupervised training: low-count images are never opened.

Of a manifest's rows only the reference is read (and the lesion map, which says where to look more often). The batch of
a step depends on (seed, step, rank) alone, as in `bank`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import PETDiffusionError, TrainingError
from ..phantoms.splits import split_of_row
from ..progress import Run
from ..volume import Volume
from .bank import _groups, _half, _image, _same_grid
from .settings import TrainSettings
from .task import Batch

Prepare = Callable[[Volume, np.ndarray], np.ndarray]
"""(normal-dose scan, body) -> its image in network units."""
LESION_SHARE = 0.25


@dataclass
class SlicePatient:
    """A normal-dose scan in network units."""

    id: str
    image: torch.Tensor
    """(z, y, x), half precision as on disk."""
    body: np.ndarray
    """Voxel indices (n, 3) within the body, every so many."""
    lesions: np.ndarray
    """Voxel indices (n, 3) inside lesions; none where no map is given."""
    pixel_mm: float
    weight: float
    """Root of the body's number of voxels: a whole body counts more than a small crop, but not all."""


@dataclass
class Slices:
    """Batches {normal: (batch, 1, y, x), pixel_mm: (batch,)} of patches of slices."""

    train: list[SlicePatient]
    valid: list[SlicePatient]
    settings: TrainSettings
    source: str
    skipped: int = 0
    _fixed: list[Batch] | None = None

    def batch(self, step: int, rank: int) -> Batch:
        rng = np.random.default_rng((self.settings.seed, step, rank))
        return _collate([self._patch(self.train, rng, True) for _ in range(self.settings.batch)])

    def validation(self, count: int = 6) -> list[Batch]:
        """The same patches at every call."""
        if self._fixed is None:
            rng, patients = np.random.default_rng(20), self.valid or self.train
            self._fixed = [_collate([self._patch(patients, rng, False) for _ in range(4)]) for _ in range(count)]
        return self._fixed

    def _patch(self, patients: list[SlicePatient], rng: np.random.Generator, flip: bool) -> dict[str, torch.Tensor]:
        """A square somewhere in a body, sometimes around a lesion, mirrored along either axis half the time."""
        weights = np.array([p.weight for p in patients])
        patient, size = patients[rng.choice(len(patients), p=weights / weights.sum())], self.settings.patch
        near_lesion = len(patient.lesions) and rng.random() < LESION_SHARE
        places = patient.lesions if near_lesion else patient.body
        centre = places[rng.integers(len(places))] + [0, *rng.integers(-size // 4, size // 4 + 1, 2)]
        wanted = np.array([1, size, size])
        corner = np.clip(centre - wanted // 2, 0, np.maximum(patient.image.shape - wanted, 0))
        cut = patient.image[tuple(slice(c, c + n) for c, n in zip(corner, wanted))].float()
        mirrored = [axis for axis in (1, 2) if flip and rng.random() < 0.5]
        return {"normal": _fitted(cut.flip(mirrored), wanted), "pixel_mm": torch.tensor(patient.pixel_mm)}

    def describe(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "training_patients": [p.id for p in self.train],
            "validation_patients": [p.id for p in self.valid],
            "skipped_rows": self.skipped,
            "images": "normal-dose slices alone",
        }


def load_slices(
    manifests: str | Path | Sequence[str | Path], prepare: Prepare, settings: TrainSettings, run: Run
) -> Slices:
    """Normal-dose scans of manifests with a column reference, as data sets have them. Test patients are refused."""
    given = [manifests] if isinstance(manifests, (str, Path)) else list(manifests)
    paths = [Path(m) / "manifest.csv" if Path(m).is_dir() else Path(m) for m in given]
    rows = [(path.parent, group[0]) for path in paths for group in _groups(path)]
    names = ", ".join(path.parent.name for path in paths)
    found = Slices([], [], settings, names)
    with run.stage("load", f"Loading {len(rows)} normal-dose scans"):
        for number, (folder, row) in enumerate(rows):
            try:
                patient = _patient(folder, row, prepare)
                (found.valid if split_of_row(row) == "validation" else found.train).append(patient)
            except PETDiffusionError as error:
                run.warn(f"Patient {row['id']} was skipped. {error}")
                found.skipped += 1
            run.progress((number + 1) / len(rows))
    if not found.train:
        raise TrainingError(f"Data {names}", "gave no patient to train on", "See the warnings above.")
    return found


def _patient(folder: Path, row: Mapping[str, str], prepare: Prepare) -> SlicePatient:
    from ..prepare.mask import body_mask

    normal = _image(folder, row, "reference")
    body = body_mask(normal)
    if not body.any():
        raise TrainingError(f"Patient {row['id']}", "has no body in its reference", "Check the image.")
    places = np.argwhere(body)
    pixel = float(np.sqrt(normal.geometry.spacing[0] * normal.geometry.spacing[1]))
    return SlicePatient(row["id"], _half(prepare(normal, body)), places[:: max(1, len(places) // 50_000)],
                        _lesions(folder, row, normal), pixel, float(np.sqrt(len(places))))  # fmt: skip


def _lesions(folder: Path, row: Mapping[str, str], normal: Volume) -> np.ndarray:
    from .. import read

    if not row.get("lesions"):
        return np.zeros((0, 3), int)
    mask = read.labels(folder / row["lesions"], allow_empty=True)
    _same_grid(mask, normal, "Lesion map")
    return np.argwhere(mask.array > 0)


def _fitted(image: torch.Tensor, size: np.ndarray) -> torch.Tensor:
    """Smaller slices are continued by their edge, which is air."""
    _, y, x = (int(wanted - n) for wanted, n in zip(size, image.shape))
    return torch.nn.functional.pad(image[None], [0, x, 0, y], mode="replicate")[0] if x or y else image


def _collate(patches: list[dict[str, torch.Tensor]]) -> Batch:
    return {name: torch.stack([p[name] for p in patches]) for name in patches[0]}
