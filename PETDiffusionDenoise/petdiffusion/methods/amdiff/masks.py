"""From probabilities to masks: lesions one by one, the largest first; organs by the most likely class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...measure.segmentation import components
from ...volume import LabelMap
from ..contract import Case
from .config import ORGANS

PIECES = {"liver": 1, "kidney": 2, "spleen": 1}
"""Connected pieces that an organ has; smaller ones are dropped. Measured on validation patients: liver Dice +0.002 to
+0.015, kidneys and spleen no worse. The aorta falls into pieces where it is thin: half of it would be lost."""
MOST = 1000
"""Lesions that are kept, the largest: a scan with more shows something that the model does not know."""


@dataclass(frozen=True, eq=False)
class Masks:
    organs: LabelMap
    lesions: LabelMap


def masks_of(probabilities: np.ndarray, case: Case, threshold: float, smallest_ml: float) -> Masks:
    """`probabilities` (1 + organs, z, y, x): lesion, then the organs; what is left to 1 is background."""
    inside = case.body if case.body.any() else np.ones_like(case.body)
    lesions = lesions_of(probabilities[0] * inside, threshold, smallest_ml, case.pet.geometry.voxel_ml)
    organs = organs_of(probabilities[1:] * inside)
    names = {number: f"lesion {number}" for number in range(1, int(lesions.max(initial=0)) + 1)}
    return Masks(
        LabelMap(organs.astype(np.int16), case.pet.geometry, dict(enumerate(ORGANS, 1))),
        LabelMap(lesions, case.pet.geometry, names),
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
