"""A fine grid of the head on which tissues are painted one over the other; partial volumes follow from its fineness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import numpy as np

from .names import ID
from .shapes import Shape, inside

Window = tuple[slice, slice, slice]
_EVERY = 6
"""Voxels skipped when looking for the window of a shape."""


@dataclass
class Colour:
    """Value of a tissue in PET, CT and MR; arrays where it varies within the tissue."""

    pet: float | np.ndarray
    ct: float | np.ndarray
    mr: float | np.ndarray


class Canvas:
    """One slab of the fine grid: where its voxels lie in MNI space, and what has been painted so far."""

    def __init__(self, axes: Sequence[np.ndarray], places: np.ndarray, step: float) -> None:
        self.axes, self.places, self.step = axes, places, step
        shape = places.shape[1:]
        self.pet, self.mr = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.ct = np.full(shape, -1000, np.float32)
        self.labels, self.lesions = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        self._seen = places[:, ::_EVERY, ::_EVERY, ::_EVERY]

    def paint(self, amount: np.ndarray, colour: Colour, label: int | np.ndarray | None = None,
              window: Window | EllipsisType = ...) -> None:
        """Covers what is there by `amount` (0 to 1); the label changes where more than half is covered."""
        for image, value in ((self.pet, colour.pet), (self.ct, colour.ct), (self.mr, colour.mr)):
            part = image[window]
            part += amount * (np.asarray(value, np.float32) - part)
        if label is not None:
            np.copyto(self.labels[window], label, where=amount > 0.5, casting="same_kind")

    def window(self, shape: Shape, margin: float = 12.0) -> Window | None:
        """The part of the slab that may touch a shape of MNI space, from its bounds."""
        low, high = shape.bounds()
        near = np.ones(self._seen.shape[1:], bool)
        for seen, a, b in zip(self._seen, low, high):
            near &= (seen > a - margin) & (seen < b + margin)
        return _grown(near, self.labels.shape)

    def amount(self, shape: Shape, window: Window) -> np.ndarray:
        """Fraction of each voxel of the window inside a shape of MNI space."""
        return inside(shape([p[window] for p in self.places]), self.step)

    def label_of(self, name: str, paired: bool, window: Window) -> int | np.ndarray:
        """Label value; of a pair, the one of the voxel's side (right is positive x in MNI space)."""
        if not paired:
            return ID[name]
        right = self.places[0][window] > 0
        return np.where(right, np.int16(ID[f"{name}_right"]), np.int16(ID[f"{name}_left"]))


def _grown(near: np.ndarray, shape: tuple[int, ...]) -> Window | None:
    if not near.any():
        return None
    window = []
    for axis, size in enumerate(shape):
        hits = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
        window.append(slice(max(int(hits[0] - 1) * _EVERY, 0), min(int(hits[-1] + 1) * _EVERY + 1, size)))
    return tuple(window)


def box_mean(fine: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of factor^3 voxels."""
    z, y, x = (n // factor for n in fine.shape)
    return fine.reshape(z, factor, y, factor, x, factor).mean(axis=(1, 3, 5), dtype=np.float32)


def box_mode(fine: np.ndarray, factor: int) -> np.ndarray:
    """The commonest label of each block; ties go to the smaller value."""
    z, y, x = (n // factor for n in fine.shape)
    blocks = fine.reshape(z, factor, y, factor, x, factor).transpose(0, 2, 4, 1, 3, 5).reshape(z, y, x, -1)
    first, last = blocks.min(-1), blocks.max(-1)
    result = first.copy()
    mixed = first != last
    result[mixed] = _row_mode(np.sort(blocks[mixed], axis=-1))
    return result


def _row_mode(rows: np.ndarray) -> np.ndarray:
    """The commonest value of each sorted row."""
    n = rows.shape[1]
    starts = np.ones(rows.shape, bool)
    starts[:, 1:] = rows[:, 1:] != rows[:, :-1]
    run_start = np.maximum.accumulate(np.where(starts, np.arange(n), 0), axis=1)
    longest = np.argmax(np.arange(n) - run_start, axis=1)
    return np.take_along_axis(rows, longest[:, None], axis=1)[:, 0]
