"""Slices of normal-dose scans for unsupervised training: low-count images are never opened.

Of a manifest's rows only the reference is read (and the lesion map, which says where to look more often). The batch of
a step depends on (seed, step, rank) alone, as in `bank`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..progress import Run
from ..volume import Volume
from .manifest import Manifests, Row, body_of, collect, half, image, lesions
from .patches import Drawn, continued
from .settings import TrainSettings

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


class Slices(Drawn[SlicePatient]):
    """Batches {normal: (batch, 1, y, x), pixel_mm: (batch,)} of patches of slices."""

    FIXED = (6, 4)

    def patch(self, people: list[SlicePatient], rng: np.random.Generator, training: bool) -> dict[str, torch.Tensor]:
        """A square somewhere in a body, sometimes around a lesion, mirrored along either axis half the time."""
        weights = np.array([p.weight for p in people])
        patient, size = people[rng.choice(len(people), p=weights / weights.sum())], self.settings.patch
        near_lesion = len(patient.lesions) and rng.random() < LESION_SHARE
        places = patient.lesions if near_lesion else patient.body
        centre = places[rng.integers(len(places))] + [0, *rng.integers(-size // 4, size // 4 + 1, 2)]
        wanted = np.array([1, size, size])
        corner = np.clip(centre - wanted // 2, 0, np.maximum(patient.image.shape - wanted, 0))
        cut = patient.image[tuple(slice(c, c + n) for c, n in zip(corner, wanted))].float()
        mirrored = [axis for axis in (1, 2) if training and rng.random() < 0.5]
        return {"normal": continued(cut.flip(mirrored), wanted), "pixel_mm": torch.tensor(patient.pixel_mm)}

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"images": "normal-dose slices alone"}


def load_slices(manifests: Manifests, prepare: Prepare, settings: TrainSettings, run: Run) -> Slices:
    """Normal-dose scans of manifests with a column reference, as data sets have them. Test patients are refused."""
    found = collect(manifests, lambda folder, group: _patient(folder, group[0], prepare), run, "normal-dose scans")
    return Slices(found.train, found.valid, settings, found.source, found.skipped, found.people)


def _patient(folder: Path, row: Row, prepare: Prepare) -> SlicePatient:
    normal = image(folder, row, "reference")
    body = body_of(normal, row["id"])
    places = np.argwhere(body)
    pixel = float(np.sqrt(normal.geometry.spacing[0] * normal.geometry.spacing[1]))
    return SlicePatient(row["id"], half(prepare(normal, body)), places[:: max(1, len(places) // 50_000)],
                        lesions(folder, row, normal), pixel, float(np.sqrt(len(places))))  # fmt: skip
