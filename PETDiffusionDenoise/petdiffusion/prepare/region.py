"""Which part of a person a scan shows: a head, or the body. Models are trained for one or the other."""

from __future__ import annotations

import numpy as np

from ..volume import SUVBW, Volume

BRAIN, BODY = "brain", "body"
REGIONS = (BRAIN, BODY)
BRAIN_TRACERS = ("DASB",)

_HEAD_MM = (120.0, 290.0)
"""Sides of the box around a head, scalp included, down to the skull's base or the neck."""
_HEAD_LITRES = (1.5, 6.0)
_BRAIN_VOXEL_MM = 3.0
"""Whoever reconstructs voxels this small over a head-sized field looks at the brain."""
_BRAIN_SUV = 1.0
"""Half the voxels of a head with FDG are above this; of a limb, whose size is alike, about 0.6."""
_BRAIN_CONTRAST = 6.0
"""The hottest voxels (99.9 %) of a head lie below so many times its mean, with whatever tracer."""


def region_of(pet: Volume, body: np.ndarray) -> str:
    """`brain` where what is in the field has a head's size, and a brain's voxels, tracer or uptake or a head's end in
    the air; else `body`."""
    if not body.any():
        return BODY
    spacing = pet.geometry.spacing[::-1]
    sides = [np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
    extent = [(high - low + 1) * step for (low, high), step in zip(sides, spacing)]
    litres = int(body.sum()) * pet.geometry.voxel_ml / 1000
    if min(extent) < _HEAD_MM[0] or max(extent) > _HEAD_MM[1] or not _HEAD_LITRES[0] <= litres <= _HEAD_LITRES[1]:
        return BODY
    inside = pet.array[body]
    hot = pet.unit == SUVBW and float(np.median(inside)) >= _BRAIN_SUV
    fine = max(spacing) <= _BRAIN_VOXEL_MM
    return BRAIN if fine or hot or pet.facts.tracer in BRAIN_TRACERS or (_ends(body) and _even(inside)) else BODY


def _ends(body: np.ndarray) -> bool:
    """At one end and not at the other, as a head does above; a limb around a tumour goes on at both."""
    return bool(body[0].any()) != bool(body[-1].any())


def _even(inside: np.ndarray) -> bool:
    return float(np.percentile(inside, 99.9)) <= _BRAIN_CONTRAST * float(inside.mean(dtype=np.float64))
