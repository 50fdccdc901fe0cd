"""Non-local means in 3D (Buades, Coll, Morel 2005), pairs of voxels visited once, patches in millimetres.

    x(p) = sum_q w(p, q) y(q) / sum_q w(p, q),   w = exp(-max(d^2 - 2 s^2, 0) / (k s)^2)

d^2 is the mean squared difference of the patches around p and q, s the SD of the noise, so 2 s^2 is what two
equal patches differ by. A voxel weighs as much as its best neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...prepare.frame import Frame, filtered
from ...progress import Run
from ..contract import Case, Output
from .neighbours import Offset, Slab, Weigh, half_offsets, slabs, weighted_mean

WIDEST_PATCH = 3
"""Voxels on each side of a patch's centre, at most."""
NEVER = np.float32(1e5)
"""An exponent that makes a weight of 0."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        return nlm(frame, options["strength"], options["patch_mm"], options["search_mm"], options["neighbours"], run)

    return filtered(case, run, core, options["stabilise"])


def nlm(frame: Frame, strength: float, patch_mm: float, search_mm: float, at_most: int, run: Run) -> np.ndarray:
    offsets = half_offsets(search_mm, frame.spacing, frame.array.shape, max(1, at_most // 2))
    if not offsets:
        return frame.array
    image = frame.array / np.float32(frame.noise)
    radius = tuple(min(r, WIDEST_PATCH) for r in frame.voxels(patch_mm / 2))
    size = float(np.prod([2 * r + 1 for r in radius]))
    scaled = image / np.float32(np.sqrt(size) * strength)  # sums of squared differences are d^2 / (k s)^2

    def weighing(slab: Slab) -> Weigh:
        return _patch_likeness(slab, scaled, np.float32(2.0 / strength ** 2))

    parts = slabs(image.shape, offsets, radius)
    return weighted_mean(image, offsets, parts, weighing, run, own=None) * np.float32(frame.noise)


def _patch_likeness(slab: Slab, scaled: np.ndarray, equal: np.float32) -> Weigh:
    """`equal` is the exponent of equal patches; in gaps it is so large that the weight is 0."""
    row = slab.laid_out(scaled, 0.0)
    floor = np.full(len(row), equal + NEVER, np.float32)
    slab.inside(floor)[1][:] = equal
    margin = slab.step(slab.frame)
    room = tuple(np.empty(slab.count + 2 * margin, np.float32) for _ in range(3))

    def weigh(offset: Offset, weight: np.ndarray) -> None:
        np.subtract(row[slab.here(margin, margin)], row[slab.there(offset, margin, margin)], out=room[0])
        np.multiply(room[0], room[0], out=room[0])
        exponent = box_sum(room, slab.frame, slab.steps)
        np.maximum(exponent, floor[slab.here()], out=weight)
        np.maximum(weight, floor[slab.there(offset)], out=weight)
        np.subtract(equal, weight, out=weight)
        np.exp(weight, out=weight)

    return weigh


Room = tuple[np.ndarray, np.ndarray, np.ndarray]


def box_sum(room: Room, radius: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """Sums over a box, of the values in the first row of the room; the others are worked in. The result is shorter
    by the box at each end. The axis with the longest steps comes first: it takes most off the ends."""
    total, (values, pairs, fours) = room[0], room
    for r, step in zip(radius, steps):
        if r:
            total = _window_sum(total, r, step, pairs, fours)
            values, pairs, fours = (pairs, values, fours) if r == 1 else (fours, values, pairs)
    return total


def _window_sum(values: np.ndarray, r: int, step: int, pairs: np.ndarray, fours: np.ndarray) -> np.ndarray:
    """Sums of 2 r + 1 values (3, 5 or 7), `step` apart, put together from sums of two and of four. Lies in `pairs`
    where r is 1, else in `fours`."""
    length = len(values) - 2 * r * step
    two = np.add(values[:-step], values[step:], out=pairs[:len(values) - step])
    if r == 1:
        return np.add(two[:length], values[2 * step:], out=pairs[:length])
    total = np.add(two[:length], two[2 * step:2 * step + length], out=fours[:length])
    if r == 3:
        np.add(total, two[4 * step:4 * step + length], out=total)
    return np.add(total, values[2 * r * step:], out=total)
