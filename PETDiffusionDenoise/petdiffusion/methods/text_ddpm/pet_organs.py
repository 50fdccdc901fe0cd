"""Organs that another method finds in the PET alone, named as prompts name them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import registry
from ...progress import Run
from ...volume import Geometry, LabelMap
from ..contract import Case

METHOD = "amdiff"
WHOLE, PAIRED = ("liver", "spleen", "aorta"), ("lung", "kidney")
"""Of its classes; bone and muscle are no structures of a slice that the text encoder has learnt."""


def found(case: Case, run: Run) -> LabelMap:
    card = registry.card(METHOD)
    with run.stage("organs", f"Finding organs in the PET with {card.title}"):
        own = replace(run, model=None, on_sample=None)
        return sided(card.load()(case, card.resolve({"masks_only": True}), own).organs, case.body)


def sided(organs: LabelMap, body: np.ndarray) -> LabelMap:
    """Paired organs in two, left and right of the middle of the body."""
    values = {name: value for value, name in organs.names.items()}
    middle = float(np.median(_left(np.argwhere(body), organs.geometry))) if body.any() else 0.0
    array, names = np.zeros_like(organs.array), {}

    def add(voxels: np.ndarray, name: str) -> None:
        if len(voxels):
            names[len(names) + 1] = name
            array[tuple(voxels.T)] = len(names)

    for name in WHOLE:
        add(np.argwhere(organs.array == values[name]), name)
    for name in PAIRED:
        voxels = np.argwhere(organs.array == values[name])
        left = _left(voxels, organs.geometry) > middle
        add(voxels[left], f"{name}_left")
        add(voxels[~left], f"{name}_right")
    return LabelMap(array, organs.geometry, names)


def _left(voxels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """How far to the patient's left: the first of the LPS coordinates of voxels (z, y, x)."""
    return voxels[:, ::-1] @ geometry.affine[0, :3] + geometry.affine[0, 3]
