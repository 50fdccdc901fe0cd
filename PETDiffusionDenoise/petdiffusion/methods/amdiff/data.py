"""Patients with organ and lesion labels, and patches from them: lesions and places without are balanced.

Half the patches (`lesion_share`) hold a lesion where the patient has any; the lesion is drawn first, so that small ones
are seen as often as large ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import OptionError, TrainingError
from ...phantoms.labels import GROUPS
from ...prepare import grids
from ...progress import Run
from ...training import manifest
from ...training.bank import Bank, Derive, Patient, bank_of, patient_of
from ...training.manifest import Manifests, Row, collect
from ...training.patches import collate, coordinates, fitted
from ...training.settings import TrainSettings
from ...training.sides import JUDGED
from ...training.task import Batch
from ...volume import LabelMap
from ...wording import counted
from .config import ORGANS
from .losses import UNLABELLED
from .segmenter import AIR_HU

UNLABELLED_SHARE = 0.25
"""Share of the patches that are taken from patients whose organs are not known, where there are such."""
JITTER = 0.15
"""Of ln SUV: people differ in the uptake of everything."""
CROPPED = (0.5, 0.25, 0.25)
"""Chance along z, y, x that a patient is taken for one whose scan ends somewhere between patch and volume."""
MOVED = (2, 1, 1)
"""Voxels along z, y, x by which a CT is shifted at most."""
ORGANS_DIFFER_HU, ALL_DIFFER_HU, NOISE_HU = 12.0, 8.0, 30.0
SUV_IMAGES, ROOTS = ("low", "base", "normal", "truth"), ("root", "root_mean", "level")


@dataclass(eq=False)
class Labelled:
    """A patient with a voxel list for each lesion."""

    patient: Patient
    lesions: list[np.ndarray]
    known: bool
    """Whether the organs are."""


@dataclass(eq=False)
class LabelledBank:
    """Batches as of `training.bank.Bank`, with `organs` (0 to 7) and the part of the training that is done."""

    bank: Bank
    train: list[Labelled]
    valid: list[Labelled]
    lesion_share: float
    ct: bool = False
    """Whether patches hold the CT, in HU."""
    _fixed: list[Batch] | None = None

    def batch(self, step: int, rank: int) -> Batch:
        s = self.bank.settings
        rng = np.random.default_rng((s.seed, step, rank))
        patches = [self._patch(self._drawn(rng), s.patch, rng, self.lesion_share, True) for _ in range(s.batch)]
        done = 1.0 if s.steps is None else min(step / max(s.steps * s.accumulate - 1, 1), 1.0)
        return {**collate(patches), "done": torch.full((s.batch,), done)}

    def _drawn(self, rng: np.random.Generator) -> Labelled:
        known, unknown = ([p for p in self.train if p.known is wanted] for wanted in (True, False))
        chosen = unknown if unknown and (not known or rng.random() < UNLABELLED_SHARE) else known
        return chosen[rng.integers(len(chosen))]

    def validation(self, count: int = 12) -> list[Batch]:
        """The same patches at every call."""
        if self._fixed is None:
            rng, people = np.random.default_rng(20), [p for p in self.valid if p.known] or self.valid or self.train
            size = max(self.bank.settings.patch, JUDGED)
            self._fixed = [collate([self._patch(people[(2 * i + j) % len(people)], size, rng, 0.7, False)
                                    for j in range(2)]) for i in range(count)]  # fmt: skip
        return self._fixed

    def _patch(self, one: Labelled, size: int, rng: np.random.Generator, share: float, vary: bool) -> dict[str, Any]:
        patch, place = _patch(one, size, rng, share, vary)
        return patch | ({"ct": ct_patch(one.patient, place, patch["organs"], rng, vary)} if self.ct else {})

    def describe(self) -> dict[str, Any]:
        return {**self.bank.describe(), "with_organs": sum(p.known for p in self.train)}


def load(manifests: Manifests, derive: Derive, settings: TrainSettings, run: Run,
         lesion_share: float, ct: bool = False) -> LabelledBank:  # fmt: skip
    """The bank's patients with their labels: columns `labels` (optional) and `lesions`."""
    if settings.steps is None:
        raise OptionError("Length in minutes", "leaves the warm-up of AMDiff (Eq. 11) without an end", "Give --steps.")

    def make(folder: Path, group: Sequence[Row]) -> Labelled | None:
        patient = patient_of(derive, run, folder, group)
        return patient and _labelled(patient, folder, group[0])

    found = collect(manifests, make, run)
    train, valid = ([one.patient for one in people] for people in (found.train, found.valid))
    bank = bank_of(replace(found, train=train, valid=valid), settings)
    if ct and (without := [p.id for p in (*train, *valid) if not torch.isfinite(p.images["ct"]).any()]):
        raise TrainingError(counted(len(without), "patient"), f"{'has' if len(without) == 1 else 'have'} no CT, "
                            f"{without[0]} for one", "Leave such patients out.")
    return LabelledBank(bank, found.train, found.valid, lesion_share, ct)


def _labelled(patient: Patient, folder: Path, row: Row) -> Labelled:
    shape = patient.images["normal"].shape
    known, organs = bool(row.get("labels")), np.full(shape, UNLABELLED, np.uint8)
    if known:
        reference = manifest.image(folder, row, "reference").geometry
        organs = grouped(grids.resample_labels(manifest.labels(folder, row, "labels"), reference))
    patient.images["organs"] = torch.from_numpy(organs)
    if not row.get("lesions"):
        raise TrainingError(f"Patient {patient.id}", "has no lesion map", "AMDiff needs the column lesions.")
    lesions = manifest.labels(folder, row, "lesions")
    return Labelled(patient, lesion_voxels(lesions.array), known)


def grouped(labels: LabelMap) -> np.ndarray:
    """The seven organs as 1 to 7 from a map with TotalSegmentator's names."""
    lookup = np.zeros(max(int(labels.array.max(initial=0)), *labels.names, 0) + 1, np.uint8)
    for value, name in labels.names.items():
        for number, organ in enumerate(ORGANS, 1):
            if name in GROUPS.get(organ, (organ,)):
                lookup[value] = number
    return lookup[labels.array]


def lesion_voxels(labels: np.ndarray) -> list[np.ndarray]:
    """(n, 3) indices of each lesion; a mask without numbers is taken apart into its pieces."""
    from scipy import ndimage

    if labels.max(initial=0) == 1:
        labels, _ = ndimage.label(labels, np.ones((3, 3, 3)))
    places = np.argwhere(labels > 0)
    values = labels[tuple(places.T)] if len(places) else np.zeros(0, int)
    return [places[values == value] for value in np.unique(values)]


@dataclass(frozen=True)
class Place:
    """Where a patch was cut."""

    corner: np.ndarray
    size: int
    mirrored: bool


def _patch(one: Labelled, size: int, rng: np.random.Generator, lesion_share: float,
           vary: bool) -> tuple[dict[str, Any], Place]:  # fmt: skip
    """All but CT and MR."""
    patient = one.patient
    scan = patient.scans[rng.integers(len(patient.scans))]
    shape = np.array(patient.images["normal"].shape)
    centre = _centre(one, size, rng, lesion_share)
    corner = np.clip(centre - size // 2, 0, np.maximum(shape - size, 0))
    cut = tuple(slice(c, c + size) for c in corner)
    wanted = {k: v for k, v in patient.images.items() if k not in ("ct", "mr")} | scan.images
    mirrored = vary and rng.random() < 0.5
    patch = {name: fitted(image[cut].float(), size, mirrored) for name, image in wanted.items()}
    numbers = {name: torch.tensor(value) for name, value in scan.numbers.items()}
    place = coordinates(shape, corner, size, mirrored)
    if vary:
        place = cropped(place, rng)
        _brightened(patch, numbers, float(np.exp(rng.uniform(-JITTER, JITTER))))
    return {**patch, **numbers, "coordinates": place}, Place(corner, size, mirrored)


def ct_patch(patient: Patient, place: Place, organs: torch.Tensor, rng: np.random.Generator,
             vary: bool) -> torch.Tensor:  # fmt: skip
    """(1, size, size, size) in HU. In training as another patient's might be: breathing moves organs against the PET,
    and organs and fat differ in HU, so that nothing is learnt from the one number that a digital organ has."""
    ct, size = patient.images["ct"], place.size
    shift = [rng.integers(-most, most + 1) for most in MOVED] if vary else 0
    corner = np.clip(place.corner + shift, 0, np.maximum(np.array(ct.shape) - size, 0))
    cut = tuple(slice(c, c + size) for c in corner)
    hu = torch.nan_to_num(fitted(ct[cut].float(), size, place.mirrored), nan=AIR_HU)
    if not vary:
        return hu
    dense = hu > AIR_HU / 2
    away = torch.from_numpy(rng.normal(0, ORGANS_DIFFER_HU, 256).astype(np.float32))[organs.long()]
    noise = torch.from_numpy(rng.standard_normal(hu.shape, np.float32)) * float(rng.uniform(0, NOISE_HU))
    return hu + float(rng.normal(0, ALL_DIFFER_HU)) + dense * away + noise


def _centre(one: Labelled, size: int, rng: np.random.Generator, lesion_share: float) -> np.ndarray:
    if one.lesions and rng.random() < lesion_share:
        voxels = one.lesions[rng.integers(len(one.lesions))]
        return voxels[rng.integers(len(voxels))] + rng.integers(-size // 3, size // 3 + 1, 3)
    return rng.integers(one.patient.body[0], one.patient.body[1] + 1)


def cropped(coordinates: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Coordinates as they would be in a scan that ends earlier: anywhere between the patch and the volume's end."""
    found = coordinates.clone()
    for axis, chance in enumerate(CROPPED):
        if rng.random() < chance:
            low, high = float(found[axis].min()), float(found[axis].max())
            first = rng.uniform(-1, low) if low > -1 else low
            last = rng.uniform(high, 1) if high < 1 else high
            found[axis] = 2 * (found[axis] - first) / max(last - first, 1e-3) - 1
    return found


def _brightened(patch: dict[str, torch.Tensor], numbers: dict[str, torch.Tensor], factor: float) -> None:
    """All uptake times a factor, and what is derived from it as if the scan had been so."""
    for values in (patch, numbers):
        for name in values:
            by = factor if name in (*SUV_IMAGES, "floor") else factor**0.5 if name in ROOTS else 1.0
            values[name] = values[name] * by
