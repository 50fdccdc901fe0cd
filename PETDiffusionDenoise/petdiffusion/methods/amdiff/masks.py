"""From probabilities to masks: lesions one by one, the largest first; organs by the most likely class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch

from ...measure.checks import bounding_box
from ...measure.segmentation import components, regions, strays
from ...volume import Geometry, LabelMap
from ..contract import Case
from .borders import Drawn, by_contrast
from .config import ORGANS
from .places import kept, places

PIECES = {"liver": 1, "kidney": 2, "spleen": 1}
"""Connected pieces that an organ has; smaller ones are dropped. Measured on validation patients: liver Dice +0.002 to
+0.015, kidneys and spleen no worse. The aorta falls into pieces where it is thin: half of it would be lost."""
NONE: Mapping[str, float] = MappingProxyType({})
GOES_ON, LEFT_OUT = "its uptake goes on beyond it", "leave_out names where it lies"
"""Why a marked region is not taken for a lesion: by itself, or as the user asked."""
MOST = 1000
"""Lesions that are kept, the largest: a scan with more shows something that the model does not know."""


@dataclass(frozen=True, eq=False)
class Masks:
    organs: LabelMap
    lesions: LabelMap
    places: Mapping[int, str] = field(default_factory=dict)
    """Where each lesion lies, as far as labels or a CT tell."""
    left_out: LabelMap | None = None
    """Marked regions that are not taken for lesions; their names say why."""
    left_out_places: Mapping[int, str] = field(default_factory=dict)

    def left_out_by(self, reason: str) -> int:
        """How many regions."""
        return 0 if self.left_out is None else sum(why == reason for why in self.left_out.names.values())


def masks_of(probabilities: np.ndarray, case: Case, threshold: float, smallest_ml: float,
             leave_out: Collection[str] = (), image: np.ndarray | None = None, alone: bool = True,
             surely: Mapping[str, float] = NONE) -> Masks:  # fmt: skip
    """`probabilities` (1 + organs, z, y, x): lesion, then the organs; what is left to 1 is background. With the
    denoised image the lesions' borders are drawn by their contrast in it (see `borders`), else they are the
    network's."""
    inside = case.body if case.body.any() else np.ones_like(case.body)
    lesions = lesions_of(probabilities[0] * inside, threshold, smallest_ml, case.pet.geometry.voxel_ml)
    drawn = Drawn(lesions, np.zeros_like(lesions))
    if image is not None:
        drawn = by_contrast(lesions, image, case.pet.geometry, alone)
    organs = organs_of(probabilities[1:], inside, surely)
    where = places(LabelMap(drawn.lesions, case.pet.geometry, {}), case)
    lesions, there = kept(drawn.lesions, where, leave_out)
    others = _others(drawn, lesions, case.pet.geometry)
    return Masks(
        LabelMap(organs.astype(np.int16), case.pet.geometry, dict(enumerate(ORGANS, 1))),
        LabelMap(lesions, case.pet.geometry, {number: f"lesion {number}" for number in there}),
        there,
        others,
        places(others, case),
    )


def _others(drawn: Drawn, lesions: np.ndarray, geometry: Geometry) -> LabelMap:
    """The regions that are not among the lesions: first those that go on, then those that lie where none is to be."""
    going_on, found = int(drawn.going_on.max(initial=0)), drawn.going_on.astype(np.int16)
    reasons = [GOES_ON] * going_on
    for _, box, own in regions(drawn.lesions):
        if not lesions[box][own].any():
            reasons.append(LEFT_OUT)
            found[box][own] = np.maximum(found[box][own], len(reasons))
    return LabelMap(found, geometry, dict(enumerate(reasons, 1)))


def organs_of(probability: np.ndarray, inside: np.ndarray, surely: Mapping[str, float] = NONE) -> np.ndarray:
    """The most likely class of each voxel, without stray pieces; what is left to 1 is background's. `surely`:
    probability from which alone a voxel is that organ."""
    organs = np.zeros(inside.shape, np.int16)
    box = bounding_box(inside)
    within = torch.from_numpy(probability[:, *box])
    most, which = within.max(0)  # on all cores, and without a copy for the background
    organs[box] = torch.where(most > 1 - within.sum(0), which + 1, 0).numpy() * inside[box]
    for name, least in surely.items():
        value = ORGANS.index(name) + 1
        organs[box][(organs[box] == value) & (within[value - 1].numpy() < least)] = 0
    with ThreadPoolExecutor(len(PIECES)) as pool:  # which SciPy lets work at once
        found = list(pool.map(lambda name: _strays(organs, name), PIECES))
    for where, beyond in filter(None, found):
        organs[where][beyond] = 0
    return organs


def _strays(organs: np.ndarray, name: str) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """Pieces beyond those that the organ has, in a box."""
    mask = organs == ORGANS.index(name) + 1
    return strays(mask, PIECES[name]) if mask.any() else None


def lesions_of(probability: np.ndarray, threshold: float, smallest_ml: float, voxel_ml: float) -> np.ndarray:
    """Connected regions at or above the threshold and of at least the smallest volume, numbered by size."""
    found, mask = np.zeros(probability.shape, np.int16), probability >= threshold
    if mask.any():
        box = bounding_box(mask)
        labelled, count = components(mask[box])
        sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:] * voxel_ml
        most = min(int((sizes >= smallest_ml * (1 - 1e-6)).sum()), MOST)
        found[box] = np.where(labelled <= most, labelled, 0)
    return found
