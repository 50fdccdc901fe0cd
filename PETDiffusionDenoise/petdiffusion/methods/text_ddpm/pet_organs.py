"""Organs that another method finds in the PET alone, named as prompts name them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ... import registry
from ...progress import Run
from ...volume import Geometry, LabelMap
from ..contract import Case

METHOD = "amdiff"
WHOLE, PAIRED = ("liver", "spleen", "aorta"), ("lung", "kidney")
"""Of its classes; bone and muscle are no structures of a slice that the text encoder has learnt."""
FACTS = ("model", "model_version", "model_sha256")
"""Of the model that found them, for the run record; there each begins with `organ_`."""


def found(case: Case, run: Run) -> tuple[LabelMap, dict[str, Any]]:
    """And by which model: the one that `run` names for this method, where it names one."""
    card = registry.card(METHOD)
    with run.stage("organs", f"Finding organs in the PET with {card.title}"):
        own = replace(run, model=run.others.get(METHOD), on_sample=None)
        output = card.load()(case, card.resolve({"masks_only": True}), own)
        facts = {"organ_method": METHOD, **{f"organ_{name}": output.details[name] for name in FACTS}}
        return sided(output.organs, case.body), facts


def sided(organs: LabelMap, body: np.ndarray) -> LabelMap:
    """Paired organs in two, left and right of the middle of the body."""
    values = {name: value for value, name in organs.names.items()}
    middle = float(np.median(_left(body, organs.geometry), overwrite_input=True)) if body.any() else 0.0
    array, names = np.zeros_like(organs.array), {}

    def add(voxels: np.ndarray, name: str) -> None:
        if voxels.any():
            names[len(names) + 1] = name
            array[voxels] = len(names)

    for name in WHOLE:
        add(organs.array == values[name], name)
    for name in PAIRED:
        both = organs.array == values[name]
        left = both.copy()
        left[both] = _left(both, organs.geometry) > middle
        add(left, f"{name}_left")
        add(both & ~left, f"{name}_right")
    return LabelMap(array, organs.geometry, names)


def _left(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """How far to the patient's left each voxel of a mask (z, y, x) lies: the first of its LPS coordinates. Slice by
    slice: the indices of a whole body's voxels would take gigabytes."""
    by_x, by_y, by_z, start = geometry.affine[0]
    _, rows, columns = mask.shape
    plane = by_y * np.arange(rows)[:, None] + by_x * np.arange(columns)
    return np.concatenate([plane[inside] + (by_z * k + start) for k, inside in enumerate(mask)])
