"""From probabilities to masks: lesions one by one, the largest first; organs by the most likely class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...measure.segmentation import components
from ...volume import LabelMap
from ..contract import Case
from .borders import Drawn, by_contrast
from .config import ORGANS
from .places import kept, places

PIECES = {"liver": 1, "kidney": 2, "spleen": 1}
"""Connected pieces that an organ has; smaller ones are dropped. Measured on validation patients: liver Dice +0.002 to
+0.015, kidneys and spleen no worse. The aorta falls into pieces where it is thin: half of it would be lost."""
MOST = 1000
"""Lesions that are kept, the largest: a scan with more shows something that the model does not know."""


@dataclass(frozen=True, eq=False)
class Masks:
    organs: LabelMap
    lesions: LabelMap
    places: Mapping[int, str] = field(default_factory=dict)
    """Where each lesion lies, as far as labels or a CT tell."""
    left_out: int = 0
    """Regions that lay where the user says that no lesion is."""
    going_on: int = 0
    """Regions that were left out since their uptake goes on beyond them."""


def masks_of(probabilities: np.ndarray, case: Case, threshold: float, smallest_ml: float,
             leave_out: Collection[str] = (), image: np.ndarray | None = None, alone: bool = True
             ) -> Masks:  # fmt: skip
    """`probabilities` (1 + organs, z, y, x): lesion, then the organs; what is left to 1 is background. With the
    denoised image the lesions' borders are drawn by their contrast in it (see `borders`), else they are the
    network's."""
    inside = case.body if case.body.any() else np.ones_like(case.body)
    lesions = lesions_of(probabilities[0] * inside, threshold, smallest_ml, case.pet.geometry.voxel_ml)
    drawn = Drawn(lesions, 0) if image is None else by_contrast(lesions, image, case.pet.geometry, alone)
    lesions = drawn.lesions
    organs = organs_of(probabilities[1:] * inside)
    where = places(LabelMap(lesions, case.pet.geometry, {}), case)
    lesions, there = kept(lesions, where, leave_out)
    return Masks(
        LabelMap(organs.astype(np.int16), case.pet.geometry, dict(enumerate(ORGANS, 1))),
        LabelMap(lesions, case.pet.geometry, {number: f"lesion {number}" for number in there}),
        there,
        len(where) - len(there),
        drawn.going_on,
    )


def organs_of(probability: np.ndarray) -> np.ndarray:
    """The most likely class of each voxel, without stray pieces."""
    organs = np.concatenate(((1 - probability.sum(0))[None], probability)).argmax(0)
    for name, pieces in PIECES.items():
        value = ORGANS.index(name) + 1
        organs[components(organs == value)[0] > pieces] = 0
    return organs


def lesions_of(probability: np.ndarray, threshold: float, smallest_ml: float, voxel_ml: float) -> np.ndarray:
    """Connected regions at or above the threshold and of at least the smallest volume, numbered by size."""
    labelled, count = components(probability >= threshold)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:] * voxel_ml
    kept = min(int((sizes >= smallest_ml * (1 - 1e-6)).sum()), MOST)
    return np.where(labelled <= kept, labelled, 0).astype(np.int16)
