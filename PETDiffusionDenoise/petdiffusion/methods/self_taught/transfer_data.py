"""Slices of low-count scans as N2V-PT is shown them; normal-dose images are not opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...prepare import case as preparing
from ...prepare.frame import evened, framed
from ...progress import Run
from ...training.manifest import Manifests, Row, collect, half, image
from ...training.patches import Drawn, continued
from ...training.settings import TrainSettings
from . import noise2void
from .transfer import slice_by_slice


@dataclass
class Scans:
    """All low-count scans of a patient: (scan, surroundings, body) each, (z, y, x)."""

    id: str
    images: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    places: list[np.ndarray]
    """Voxels of the body in each scan, every so many."""


class LowSlices(Drawn[Scans]):
    """Batches {low, around, body: (batch, 1, 1, y, x)} of patches of slices."""

    FIXED = (6, 8)

    def patch(self, people: list[Scans], rng: np.random.Generator, training: bool) -> dict[str, torch.Tensor]:
        """A square somewhere in a body, mirrored along either axis half the time."""
        patient, size = people[rng.integers(len(people))], self.settings.patch
        number = int(rng.integers(len(patient.images)))
        images, places = patient.images[number], patient.places[number]
        centre, wanted = places[rng.integers(len(places))], np.array([1, size, size])
        corner = np.clip(centre - wanted // 2, 0, np.maximum(images[0].shape - wanted, 0))
        cut = tuple(slice(c, c + n) for c, n in zip(corner, wanted))
        mirrored = [axis for axis in (1, 2) if training and rng.random() < 0.5]
        found = [continued(part[cut].float().flip(mirrored), wanted)[None] for part in images]
        return dict(zip(("low", "around", "body"), found))

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"images": "low-count slices alone"}


def load(manifests: Manifests, settings: TrainSettings, run: Run) -> LowSlices:
    """Low-count scans of manifests, as data sets have them. Test patients are refused."""
    found = collect(manifests, lambda folder, group: _patient(folder, group, run), run)
    return LowSlices(found.train, found.valid, settings, found.source, found.skipped, found.people)


def _patient(folder: Path, group: Sequence[Row], run: Run) -> Scans | None:
    patient = Scans(group[0]["id"], [], [])
    for row in group:
        case = preparing.build(image(folder, row, "pet"), run=Run(cancelled=run.cancelled))
        if not case.noise > 0 or not case.body.any():
            run.warn(f"Scan {row['pet']} was skipped: it has no body, or no noise to learn from.")
            continue
        frame = slice_by_slice(evened(case, framed(case))[0])
        scan, around, body = noise2void.shown(frame)
        patient.images.append((half(scan[0].numpy()), half(around[0].numpy()), body[0]))
        places = np.argwhere(frame.body)
        patient.places.append(places[:: max(1, len(places) // 20_000)])
    return patient if patient.images else None
