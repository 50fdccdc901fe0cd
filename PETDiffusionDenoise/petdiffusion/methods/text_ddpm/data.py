"""Slices and pairs of slices for training, with the structures in them. Test patients are refused.

Whole volumes are kept in half precision. The batch of a step depends on (seed, step, rank) alone, as in the bank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import TrainingError
from ...prepare.mask import body_mask
from ...progress import Run
from ...training import manifest
from ...training.bank import Scan, fraction_of
from ...training.manifest import Found, Manifests, Row, collect, half, image, same_grid
from ...training.patches import collate, continued
from ...training.settings import TrainSettings
from ...training.task import Batch
from ...volume import Volume
from ..contract import Case
from . import metadata
from .clip import token_count
from .prompts import fitted, present, structures_of
from .structures import mirrored

LESION_SHARE = 0.25
MULTIPLE = 16
Derive = Callable[[np.ndarray, tuple[float, float, float], np.ndarray], tuple[dict, dict]]


@dataclass
class Patient:
    """`scans` are the low-count ones; `names` has the structures of every slice, the largest first."""

    id: str
    normal: Tensor
    lesions: Tensor
    pixel_mm: tuple[float, float]
    filled: np.ndarray
    """Slices with body in them."""
    hot: np.ndarray
    """Slices with a lesion in them."""
    names: list[tuple[str, ...]]
    scans: list[Scan] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """Of every scan: what is known of it, in words."""

    def slice_of(self, rng: np.random.Generator) -> int:
        near = len(self.hot) and rng.random() < LESION_SHARE
        places = self.hot if near else self.filled
        return int(places[rng.integers(len(places))])


Patients = Found[Patient]


def load_patients(manifests: Manifests, derive: Derive, run: Run) -> Patients:
    """Patients of manifests as data sets have them; those without labels have no structures, and are used all the
    same."""
    return collect(manifests, partial(_patient, derive), run)


def _patient(derive: Derive, folder: Path, group: Sequence[Row]) -> Patient:
    first = group[0]
    normal = image(folder, first, "reference")
    body = body_mask(normal)
    filled = np.flatnonzero(body.any((1, 2)))
    if len(filled) < 2:
        raise TrainingError(f"Patient {first['id']}", "has no body in its reference", "Check the image.")
    lesions = _map(folder, first, "lesions", normal)
    found = Patient(first["id"], half(normal.array), torch.from_numpy((lesions > 0).astype(np.uint8)),
                    normal.geometry.spacing[1::-1], filled, np.flatnonzero((lesions > 0).any((1, 2))),
                    _names(folder, first, normal))  # fmt: skip
    for row in group:
        low = image(folder, row, "pet")
        same_grid(low, normal, "Low-count scan")
        images, numbers = derive(low.array, low.geometry.spacing, body)
        found.scans.append(Scan({"low": half(low.array), **{k: half(v) for k, v in images.items()}},
                                {"fraction": fraction_of(row, low), **numbers}))  # fmt: skip
        found.words.append(metadata.words_of(Case(low, body, 0.0, dose_fraction=manifest.dose_of(row))))
    return found


def _map(folder: Path, row: Row, column: str, normal: Volume) -> np.ndarray:
    if not row.get(column):
        return np.zeros(normal.array.shape, np.int16)
    labels = manifest.labels(folder, row, column)
    same_grid(labels, normal, column.capitalize())
    return labels.array


def _names(folder: Path, row: Row, normal: Volume) -> list[tuple[str, ...]]:
    if not row.get("labels"):
        return [()] * len(normal.array)
    labels = manifest.labels(folder, row, "labels")
    same_grid(labels, normal, "Label map")
    found = structures_of(labels)
    return [present(areas, found.names) for areas in found.areas]


@dataclass
class Pairs:
    """Batches of pairs of neighbouring slices (batch, 2, y, x), and the numbers of their texts (0: none)."""

    patients: Patients
    settings: TrainSettings
    texts: Mapping[str, int]
    """Number of every text; those that are not there are none."""
    _fixed: list[Batch] | None = None

    def batch(self, step: int, rank: int) -> Batch:
        rng = np.random.default_rng((self.settings.seed, step, rank))
        return collate([self._pair(self.patients.train, rng, True) for _ in range(self.settings.batch)])

    def validation(self, count: int = 8) -> list[Batch]:
        """The same pairs at every call."""
        if self._fixed is None:
            rng, patients = np.random.default_rng(20), self.patients.valid or self.patients.train
            self._fixed = [collate([self._pair(patients, rng, False) for _ in range(4)]) for _ in range(count)]
        return self._fixed

    def describe(self) -> dict[str, Any]:
        return self.patients.describe() | {"texts": len(self.texts)}

    def _pair(self, patients: list[Patient], rng: np.random.Generator, flip: bool) -> dict[str, Tensor]:
        patient = patients[rng.integers(len(patients))]
        number = int(rng.integers(len(patient.scans)))
        scan, first = patient.scans[number], min(patient.slice_of(rng), len(patient.normal) - 2)
        turned = bool(flip and rng.random() < 0.5)
        window = self._window(patient.normal.shape, rng)
        images = {"normal": patient.normal, "lesions": patient.lesions, **scan.images}
        pair = {name: self._cut(image[first : first + 2], window, turned) for name, image in images.items()}
        prompt = text_of(patient.names[first]) if self.texts else ""
        texts = (mirrored(prompt) if turned else prompt, patient.words[number])
        numbers = torch.tensor([self.texts.get(text, 0) for text in texts])
        return {**pair, **{k: torch.tensor(v) for k, v in scan.numbers.items()}, "texts": numbers}

    def _window(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[slice, slice]:
        """All of y, and `patch` of x, somewhere."""
        wide = min(self.settings.patch, shape[2])
        left = int(rng.integers(shape[2] - wide + 1))
        return slice(0, shape[1]), slice(left, left + wide)

    def _cut(self, image: Tensor, window: tuple[slice, slice], turned: bool) -> Tensor:
        part = image[:, *window].float()
        part = part.flip(2) if turned else part
        return continued(part, (len(part), self._height(), self.settings.patch))

    def _height(self) -> int:
        tallest = max(p.normal.shape[1] for p in (*self.patients.train, *self.patients.valid))
        return -(-tallest // MULTIPLE) * MULTIPLE


def texts_of(patients: Patients) -> dict[str, int]:
    """Every text that training can meet, numbered from 1, the mirrored ones too."""
    found: dict[str, None] = {}
    for patient in (*patients.train, *patients.valid):
        prompts = [text for z in patient.filled if (text := text_of(patient.names[z]))]
        found |= dict.fromkeys([*prompts, *map(mirrored, prompts), *(w for w in patient.words if w)])
    return {text: number for number, text in enumerate(found, start=1)}


@lru_cache(maxsize=200_000)
def text_of(names: tuple[str, ...]) -> str:
    """The prompt of a slice that shows these structures, the largest first."""
    return fitted(names, token_count).text
