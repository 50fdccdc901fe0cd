"""Slices of low-count scans, and normal-dose slices of other patients as they would be among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...infer.on_frame import UNIT
from ...prepare import case as preparing
from ...prepare.frame import evened, framed
from ...prepare.normalise import Anscombe
from ...progress import Run
from ...training.manifest import Manifests, Row, collect, half, image
from ...training.patches import Drawn, continued
from ...training.settings import TrainSettings


@dataclass(frozen=True)
class Low:
    """A low-count scan in the unit of the network, and how other images come into it."""

    image: torch.Tensor
    root: Anscombe | None
    noise: float

    def shown(self, normal: np.ndarray) -> torch.Tensor:
        """An image in the scan's own unit as this scan's noise evens it."""
        even = normal if self.root is None else self.root.forward(normal)
        return torch.from_numpy(np.asarray(even / np.float32(self.noise * UNIT), np.float32))


@dataclass
class Patient:
    id: str
    scans: list[Low] = field(default_factory=list)
    normals: list[np.ndarray] = field(default_factory=list)
    """The normal-dose scan in the frame of each low-count scan, in SUV or what else the scans have."""
    places: list[np.ndarray] = field(default_factory=list)


class Unpaired(Drawn[Patient]):
    """Batches {low, normal: (batch, 1, 1, y, x)} of patches of slices: in training of different patients, and what the
    network is judged by of one."""

    FIXED = (6, 8)

    def patch(self, people: list[Patient], rng: np.random.Generator, training: bool) -> dict[str, torch.Tensor]:
        one, number = self._any(people, rng)
        at = self._cut(one, number, rng)
        low, normal = one.scans[number], one.normals[number]
        if training and len(people) > 1:
            other, its = self._any([p for p in people if p is not one], rng)
            normal, there = other.normals[its], self._cut(other, its, rng)
        else:
            there = at
        found = {"low": low.image[at].float(), "normal": low.shown(normal[there])}
        wanted = (1, self.settings.patch, self.settings.patch)
        return {name: continued(part.flip(self._mirrored(rng, training)), wanted)[None] for name, part in found.items()}

    def _any(self, people: Sequence[Patient], rng: np.random.Generator) -> tuple[Patient, int]:
        patient = people[rng.integers(len(people))]
        return patient, int(rng.integers(len(patient.scans)))

    def _cut(self, patient: Patient, number: int, rng: np.random.Generator) -> tuple[slice, ...]:
        """A square somewhere in the body."""
        places, size = patient.places[number], self.settings.patch
        centre, wanted = places[rng.integers(len(places))], np.array([1, size, size])
        corner = np.clip(centre - wanted // 2, 0, np.maximum(patient.normals[number].shape - wanted, 0))
        return tuple(slice(c, c + n) for c, n in zip(corner, wanted))

    @staticmethod
    def _mirrored(rng: np.random.Generator, training: bool) -> list[int]:
        return [axis for axis in (1, 2) if training and rng.random() < 0.5]

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"images": "low-count and normal-dose slices of different patients"}


def load(manifests: Manifests, settings: TrainSettings, run: Run) -> Unpaired:
    """Test patients are refused."""
    found = collect(manifests, lambda folder, group: _patient(folder, group, run), run)
    return Unpaired(found.train, found.valid, settings, found.source, found.skipped, found.people)


def _patient(folder: Path, group: Sequence[Row], run: Run) -> Patient | None:
    patient = Patient(group[0]["id"])
    for row in group:
        case = preparing.build(image(folder, row, "pet"), run=Run(cancelled=run.cancelled))
        if not case.noise > 0 or not case.body.any():
            run.warn(f"Scan {row['pet']} was skipped: it has no body, or no noise to learn from.")
            continue
        frame = framed(case)
        even, root = evened(case, frame)
        low = half(even.array / np.float32(even.noise * UNIT))
        patient.scans.append(Low(low, root, float(even.noise)))
        patient.normals.append(np.ascontiguousarray(image(folder, row, "reference").array[frame.box]))
        places = np.argwhere(frame.body)
        patient.places.append(places[:: max(1, len(places) // 20_000)])
    return patient if patient.scans else None
