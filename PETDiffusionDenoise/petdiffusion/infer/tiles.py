"""Geometry of patches: where they lie, and how much each counts at each voxel.

All boxes lie on a lattice of the network's multiple, counted from the corner of the volume. So a network with strides
sees the same lattice in a patch as in the whole volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A block of voxels; it may reach beyond the end of the volume."""

    start: Triple
    size: Triple

    @property
    def stop(self) -> Triple:
        return tuple(a + n for a, n in zip(self.start, self.size))

    @property
    def voxels(self) -> int:
        return math.prod(self.size)

    def inside(self, shape: Sequence[int]) -> tuple[slice, slice, slice]:
        """Slices of the part within the volume."""
        return tuple(slice(a, min(b, n)) for a, b, n in zip(self.start, self.stop, shape))

    def fits(self, shape: Sequence[int]) -> bool:
        return all(b <= n for b, n in zip(self.stop, shape))


@dataclass(frozen=True)
class Tile:
    """A patch, and its share of the result along each axis: the shares of all patches add up to 1 at every voxel."""

    box: Box
    shares: tuple[np.ndarray, np.ndarray, np.ndarray]


def whole_box(shape: Sequence[int], multiples: Sequence[int]) -> Box:
    """The volume, rounded up to the multiples."""
    return Box((0, 0, 0), tuple(_up(n, m) for n, m in zip(shape, multiples)))


def body_box(body: np.ndarray, margin: int, multiples: Sequence[int]) -> Box:
    """The smallest box on the lattice around the body and a margin; of size 0 for an empty body."""
    start, size = [], []
    for axis, multiple in enumerate(multiples):
        others = tuple(a for a in range(3) if a != axis)
        places = np.flatnonzero(body.any(axis=others))
        if not len(places):
            return Box((0, 0, 0), (0, 0, 0))
        low = max(0, int(places[0]) - margin) // multiple * multiple
        high = min(body.shape[axis], int(places[-1]) + 1 + margin)
        start.append(low)
        size.append(_up(high - low, multiple))
    return Box(tuple(start), tuple(size))


def offsets(length: int, patch: int, overlap: int, multiple: int) -> list[int]:
    """Starts of patches that cover `length`, evenly spread, each overlapping the next by at least `overlap`.

    All three lengths are multiples of `multiple`, and so are the starts.
    """
    if patch >= length:
        return [0]
    stride = max(multiple, (patch - overlap) // multiple * multiple)
    count = math.ceil((length - patch) / stride) + 1
    return [(i * (length - patch) // (count - 1)) // multiple * multiple for i in range(count)]


def axis_shares(starts: Sequence[int], patch: int) -> list[np.ndarray]:
    """For each patch of an axis its share, smooth over the overlaps (squared sine); they add up to 1 everywhere."""
    windows = []
    for i, start in enumerate(starts):
        window = np.ones(patch)
        if i > 0:
            window *= _rise(starts[i - 1] + patch - start, patch)
        if i + 1 < len(starts):
            window *= _rise(start + patch - starts[i + 1], patch)[::-1]
        windows.append(window)
    total = np.zeros(starts[-1] + patch)
    for start, window in zip(starts, windows):
        total[start:start + patch] += window
    return [(w / total[s:s + patch]).astype(np.float32) for s, w in zip(starts, windows)]


def tiles(region: Box, patch: Triple, overlap: Triple, multiples: Triple) -> Iterator[Tile]:
    """The patches that cover a region."""
    if region.voxels == 0:
        return
    size = tuple(min(p, n) for p, n in zip(patch, region.size))
    starts = [offsets(n, p, o, m) for n, p, o, m in zip(region.size, size, overlap, multiples)]
    shares = [axis_shares(s, p) for s, p in zip(starts, size)]
    for place in product(*[range(len(s)) for s in starts]):
        start = tuple(region.start[a] + starts[a][i] for a, i in enumerate(place))
        yield Tile(Box(start, size), tuple(shares[a][i] for a, i in enumerate(place)))


def holding(found: Iterator[Tile], body: np.ndarray | None) -> tuple[list[Tile], int]:
    """The tiles with some body in them, and the number left out."""
    every = list(found)
    kept = every if body is None else [t for t in every if body[t.box.inside(body.shape)].any()]
    return kept, len(every) - len(kept)


def mirrored(start: int, stop: int, length: int) -> np.ndarray:
    """Indices that continue an axis beyond its end like a mirror; any length, one voxel included."""
    index = np.arange(start, stop) % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def _rise(width: int, patch: int) -> np.ndarray:
    """0 to 1 over the first `width` voxels, then 1; never exactly 0."""
    window = np.ones(patch)
    width = min(max(width, 0), patch)
    window[:width] = np.sin((np.arange(width) + 0.5) / max(width, 1) * np.pi / 2) ** 2
    return window


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
