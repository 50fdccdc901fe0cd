"""The scan seen from all around: the highest value along each line of sight, head up, for the viewer's MIP."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...threads import at_once
from .views import Views

ANGLES = 36
SIDES = ("L", "LA", "A", "RA", "R", "RP", "P", "LP")
"""What lies to the right of a picture as it turns."""
VIEWS = ("the front", "the right", "the back", "the left")
"""Whence the patient is seen as it turns."""
LARGEST = 400
"""Voxels along the longest side; of a larger scan blocks' maxima are shown, so that nothing hot is missed."""


def projections(views: Views, array: np.ndarray) -> np.ndarray:
    """(angle, row, column): the first from the front, a quarter on from the patient's right.

    Every column of voxels along the body goes to one column of the picture, so no voxel is missed at any angle.
    """
    array = block_maxima(array, _factor(views))
    height, depth, width = array.shape
    p_mm, l_mm = _spacing(views)[1:]
    bins, step = _bins(views)
    back, left = np.meshgrid(
        (np.arange(depth) - (depth - 1) / 2) * p_mm, (np.arange(width) - (width - 1) / 2) * l_mm, indexing="ij"
    )
    by_column = np.ascontiguousarray(array[::-1].reshape(height, -1).T)

    def seen(angle: float) -> np.ndarray:
        across = left * np.cos(angle) - back * np.sin(angle)
        bin_ = np.floor(across.ravel() / step + bins / 2).astype(int)
        order = np.argsort(bin_, kind="stable")
        hit, starts = np.unique(bin_[order], return_index=True)
        frame = np.zeros((bins, height), array.dtype)
        frame[hit] = np.maximum.reduceat(by_column[order], starts, axis=0)
        return frame.T

    return np.stack(at_once(seen, list(np.arange(ANGLES) * (2 * np.pi / ANGLES))))


def facts(views: Views) -> dict[str, Any]:
    """Of the plane, as the viewer takes them."""
    bins, step = _bins(views)
    height, height_mm = _shape(views)[0], _spacing(views)[0]
    return {
        "frames": ANGLES,
        "w": bins,
        "h": height,
        "mm": [round(bins * step, 1), round(height * height_mm, 1)],
        "edges": [edges(turn) for turn in range(ANGLES)],
        "from": [VIEWS[round(turn * len(VIEWS) / ANGLES) % len(VIEWS)] for turn in range(ANGLES)],
        "start": 0,
        "outlines": {},
        "thickness": 0,
    }


def edges(turn: int) -> tuple[str, str, str, str]:
    """Letters at the left, right, upper and lower edge, of the sides nearest to them."""
    sector = round(turn * len(SIDES) / ANGLES) % len(SIDES)
    return SIDES[(sector + len(SIDES) // 2) % len(SIDES)], SIDES[sector], "H", "F"


def block_maxima(array: np.ndarray, factor: int) -> np.ndarray:
    """The highest of each block of voxels with so long a side; those at the end may be smaller."""
    for axis in range(array.ndim):
        along = np.moveaxis(array, axis, 0)
        highest = along[::factor].copy()
        for other in range(1, factor):
            more = along[other::factor]
            np.maximum(highest[: len(more)], more, out=highest[: len(more)])
        array = np.moveaxis(highest, 0, axis)
    return array


def _factor(views: Views) -> int:
    return -(-max(views.shape) // LARGEST)


def _shape(views: Views) -> tuple[int, ...]:
    return tuple(-(-n // _factor(views)) for n in views.shape)


def _spacing(views: Views) -> tuple[float, ...]:
    return tuple(_factor(views) * step for step in views.turn.spacing)


def _bins(views: Views) -> tuple[int, float]:
    """Columns of a projection and their width in mm: a little wider than a voxel, so that none stays empty."""
    (_, depth, width), (_, p_mm, l_mm) = _shape(views), _spacing(views)
    step = 1.06 * max(p_mm, l_mm)
    return int(np.ceil(np.hypot(depth * p_mm, width * l_mm) / step)) + 1, step
