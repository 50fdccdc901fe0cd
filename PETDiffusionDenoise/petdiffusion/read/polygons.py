"""Closed contours of one plane, filled on pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAME_PLACE = 0.2
"""Points that lie closer, in pixels, are the same point."""
Box = tuple[slice, slice]
"""Rows and columns."""


def region(contours: Sequence[tuple[np.ndarray, bool]]) -> tuple[Box, np.ndarray]:
    """What contours (points of column and row, whether it flips what it encloses) hold together, and in which box.

    A contour within another is a hole, one within the hole an island; others add up. What is there twice counts once.
    """
    contours = [own for number, own in enumerate(contours) if own[1] or not _again(own[0], contours[:number])]
    box = _box(np.concatenate([points for points, _ in contours]))
    filled: list[tuple[np.ndarray, bool]] = []
    for mask, flips in sorted(((_filled(points, box), flips) for points, flips in contours), key=lambda m: -m[0].sum()):
        if flips or not any(np.array_equal(mask, other) for other, _ in filled):
            filled.append((mask, flips))
    inside = np.zeros_like(filled[0][0])
    for number, (mask, flips) in enumerate(filled):
        around = sum(bool((other & mask).sum() == mask.sum()) for other, _ in filled[:number])
        inside = inside ^ mask if flips else inside & ~mask if around % 2 else inside | mask
    return box, inside


def _again(points: np.ndarray, earlier: Sequence[tuple[np.ndarray, bool]]) -> bool:
    """Whether a contour is one of the earlier ones but for rounding: as a hole of it, it would take all away."""
    return any(points.shape == other.shape and np.abs(points - other).max() < SAME_PLACE for other, _ in earlier)


def _box(points: np.ndarray) -> Box:
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int) + 1
    return slice(low[1], high[1]), slice(low[0], high[0])


def _filled(points: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of the box whose centre lies inside: along its row an odd number of edges comes before it."""
    rows = np.arange(box[0].start, box[0].stop)
    start, end = points, np.roll(points, -1, axis=0)
    crossed = (start[:, 1, None] <= rows) != (end[:, 1, None] <= rows)
    edge, row = np.nonzero(crossed)
    part = (rows[row] - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    column = np.ceil(start[edge, 0] + part * (end[edge, 0] - start[edge, 0])).astype(int) - box[1].start
    edges = np.zeros((len(rows), box[1].stop - box[1].start + 1), np.int32)
    np.add.at(edges, (row, np.clip(column, 0, edges.shape[1] - 1)), 1)
    return np.cumsum(edges, axis=1)[:, :-1] % 2 == 1
