"""Sums over shifted copies of an image, as all neighbourhood filters need them.

Every pair of voxels is visited once, from half of the offsets. Slabs of slices are laid out in a row, with a gap after
each line and each slice: a neighbour then lies a fixed number of places further on, and all arithmetic runs over
contiguous memory that stays in the cache. Slabs go to several threads; their sums are added in order, so the result
does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...progress import Run
from ...threads import in_order

SLAB_VOXELS = 300_000
Offset = tuple[int, int, int]


def half_offsets(radius_mm: float, spacing: tuple[float, ...], shape: tuple[int, ...],
                 at_most: int | None = None) -> list[Offset]:
    """Offsets (z, y, x) of one of each pair within the radius, nearest first; thinned to `at_most`."""
    reach = [int(radius_mm / s + 1e-6) if n > 1 else 0 for s, n in zip(spacing, shape)]
    reach = [min(r, n - 1) for r, n in zip(reach, shape)]
    axes = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij")
    every = np.stack([a.ravel() for a in axes], axis=1)
    distance = np.linalg.norm(every * np.asarray(spacing), axis=1)
    first = np.array([tuple(o) > (0, 0, 0) for o in every.tolist()])
    every = every[(distance <= radius_mm + 1e-6) & first]
    if at_most is not None and len(every) > at_most:
        every = _thinned(every, spacing, at_most)
    return [tuple(o) for o in every[np.lexsort((*every.T, _length(every, spacing)))].tolist()]


def _length(offsets: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    return np.round(np.linalg.norm(offsets * np.asarray(spacing), axis=1), 6)


def _thinned(offsets: np.ndarray, spacing: tuple[float, ...], at_most: int) -> np.ndarray:
    """Evenly fewer at every distance. Mirror images stay together, so a flipped image gives a flipped result,
    and odd and even steps stay mixed: with even ones alone, neighbouring voxels would share no data."""
    kinds, kind = np.unique(np.abs(offsets), axis=0, return_inverse=True)
    order = np.argsort(_length(kinds, spacing), kind="stable")
    sizes = np.bincount(kind.ravel())[order]
    for count in range(len(kinds), 0, -1):
        chosen = np.unique(np.linspace(0, len(kinds) - 1, count).round().astype(int))
        if sizes[chosen].sum() <= at_most:
            break
    return offsets[np.isin(kind.ravel(), order[chosen])]


@dataclass(frozen=True)
class Slab:
    """Slices `start` to `stop` of an image of this shape, and those within `reach` after them (with `both`: before
    them too), laid out in a row. Around the image lie `frame` voxels that repeat its edge (for patches), between its
    lines and slices `reach` more that belong to no image."""

    shape: tuple[int, int, int]
    start: int
    stop: int
    reach: tuple[int, int, int]
    frame: tuple[int, int, int] = (0, 0, 0)
    both: bool = False

    @property
    def low(self) -> int:
        """The slice that the row begins with; it may lie before the image."""
        return self.start - self.frame[0] - (self.reach[0] + 1 if self.both else 0)

    @property
    def planes(self) -> tuple[int, int, int]:
        """Shape of the row seen as slices."""
        depth = self.stop + self.reach[0] + self.frame[0] - self.low
        lines, columns = (n + 2 * f + r for n, f, r in zip(self.shape[1:], self.frame[1:], self.reach[1:]))
        return depth, lines, columns

    @property
    def steps(self) -> tuple[int, int, int]:
        """Places from a voxel to the next along each axis."""
        _, lines, columns = self.planes
        return lines * columns, columns, 1

    def step(self, offset: Offset) -> int:
        return sum(o * s for o, s in zip(offset, self.steps))

    @property
    def first(self) -> int:
        """Place of the first voxel of slice `start`."""
        return self.step((self.start - self.low, *self.frame[1:]))

    @property
    def count(self) -> int:
        """Places from there to the last voxel of the slab."""
        return self.step((self.stop - self.start - 1, self.shape[1] - 1, self.shape[2] - 1)) + 1

    def here(self, before: int = 0, after: int = 0) -> slice:
        """The slab's places, or some more at its ends."""
        return slice(self.first - before, self.first + self.count + after)

    def there(self, offset: Offset, before: int = 0, after: int = 0) -> slice:
        """The places of their neighbours."""
        step = self.step(offset)
        return slice(self.first + step - before, self.first + step + self.count + after)

    def laid_out(self, image: np.ndarray, gap: float) -> np.ndarray:
        """The image's part in a row, with its edge repeated in the frame and `gap` where there is no image."""
        row = np.full(self.planes, gap, np.float32)
        low, high = max(0, self.low), min(self.shape[0], self.stop + self.reach[0] + self.frame[0])
        inner = np.pad(image[low:high], [(0, 0), *((f, f) for f in self.frame[1:])], mode="edge")
        lines, columns = inner.shape[1:]
        row[low - self.low:high - self.low, :lines, :columns] = inner
        for z in range(1, self.frame[0] + 1):
            for edge, place in ((0, -z - self.low), (self.shape[0] - 1, self.shape[0] - 1 + z - self.low)):
                if 0 <= place < len(row) and low <= edge < high:
                    row[place, :lines, :columns] = inner[edge - low]
        return row.ravel()

    def inside(self, row: np.ndarray) -> tuple[slice, np.ndarray]:
        """The slices from `start` on, as they lie in the row: the image's voxels alone."""
        high = min(self.shape[0], self.stop + self.reach[0])
        (_, y, x), (_, lines, columns) = self.frame, self.shape
        planes = row.reshape(self.planes)[self.start - self.low:high - self.low]
        return slice(self.start, high), planes[:, y:y + lines, x:x + columns]


def slabs(shape: tuple[int, ...], offsets: list[Offset], frame: tuple[int, int, int] = (0, 0, 0), part: int = 1,
          both: bool = False) -> list[Slab]:
    """The image in slabs; `part` makes them thinner where much is held for each voxel."""
    reach = tuple(int(r) for r in np.abs(np.array(offsets)).max(axis=0))
    depth = max(1, SLAB_VOXELS // part // int(np.prod(shape[1:])))
    return [Slab(tuple(shape), z, min(shape[0], z + depth), reach, frame, both) for z in range(0, shape[0], depth)]


Weigh = Callable[[Offset, np.ndarray], None]
"""Writes the weight of each voxel of the slab and its neighbour at the offset; 0 where one lies in a gap."""


def weighted_mean(image: np.ndarray, offsets: list[Offset], parts: list[Slab], weighing: Callable[[Slab], Weigh],
                  run: Run, own: float | None = 1.0, start: float = 0.0) -> np.ndarray:
    """Mean of each voxel and its neighbours with weights w(p, q) = w(q, p); `own` None: the largest of them."""
    total, weights = np.zeros_like(image), np.zeros_like(image)
    largest = np.full_like(image, 1e-6) if own is None else None

    def sums(slab: Slab) -> list[tuple[slice, np.ndarray]]:
        return _sums(slab, slab.laid_out(image, 0.0), offsets, weighing(slab), run, own is None)

    for _, found in in_order(sums, parts, run, start):
        for whole, (z, values) in zip((total, weights), found):
            whole[z] += values
        if largest is not None:
            z, values = found[2]
            np.maximum(largest[z], values, out=largest[z])
    mine = own if largest is None else largest
    return (total + mine * image) / (weights + mine)


def _sums(slab: Slab, row: np.ndarray, offsets: list[Offset], weigh: Weigh, run: Run,
          with_largest: bool) -> list[tuple[slice, np.ndarray]]:
    """Sums of w q, of w and the largest w, for the slab's voxels and for their neighbours."""
    total, weights = np.zeros_like(row), np.zeros_like(row)
    largest = np.zeros_like(row) if with_largest else None
    weight, product = np.empty(slab.count, np.float32), np.empty(slab.count, np.float32)
    here = slab.here()
    for offset in offsets:
        run.check()
        there = slab.there(offset)
        weigh(offset, weight)
        for to, of in ((here, there), (there, here)):
            np.multiply(weight, row[of], out=product)
            np.add(total[to], product, out=total[to])
            np.add(weights[to], weight, out=weights[to])
            if largest is not None:
                np.maximum(largest[to], weight, out=largest[to])
    return [slab.inside(sum_) for sum_ in (total, weights, largest) if sum_ is not None]
