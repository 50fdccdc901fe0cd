"""Sums over shifted copies of an image, as all neighbourhood filters need them, in torch.

Every pair of voxels is visited once, from half of the offsets, in slabs small enough for the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from ...progress import Run

SLAB_VOXELS = 300_000
Offset = tuple[int, int, int]


def half_offsets(radius_mm: float, spacing: tuple[float, ...], shape: tuple[int, ...],
                 at_most: int | None = None) -> list[Offset]:
    """Offsets (z, y, x) of one of each pair within the radius, nearest first. Where there are more than
    `at_most`, every second is dropped in a chequered way, again if needed: the reach stays the same."""
    reach = [int(radius_mm / s + 1e-6) if n > 1 else 0 for s, n in zip(spacing, shape)]
    reach = [min(r, n - 1) for r, n in zip(reach, shape)]
    axes = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij")
    every = np.stack([a.ravel() for a in axes], axis=1)
    distance = np.linalg.norm(every * np.asarray(spacing), axis=1)
    first = [tuple(o) > (0, 0, 0) for o in every.tolist()]
    keep = (distance <= radius_mm + 1e-6) & np.array(first)
    every, distance = every[keep], distance[keep]
    every = every[np.lexsort((*every.T, np.round(distance, 6)))]
    for rule in (lambda o: o.sum(1) % 2 == 0, lambda o: (o % 2 == 0).all(1), lambda o: (o % 4 == 0).all(1)):
        if at_most is not None and len(every) > at_most and rule(every).any():
            every = every[rule(every)]
    return [tuple(o) for o in every.tolist()]


def pairs(shape: tuple[int, ...], offset: Offset, z: slice) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where both ends of the offset lie in the image, first ends within the slab `z`."""
    here, there = [], []
    for axis, (size, step) in enumerate(zip(shape, offset)):
        low, high = max(0, -step), min(size, size - step)
        if axis == 0:
            low, high = max(low, z.start), min(high, z.stop)
        high = max(low, high)
        here.append(slice(low, high))
        there.append(slice(low + step, high + step))
    return tuple(here), tuple(there)


def slabs(shape: tuple[int, ...], run: Run) -> Iterator[slice]:
    depth = max(1, SLAB_VOXELS // int(np.prod(shape[1:])))
    for start in range(0, shape[0], depth):
        run.progress(start / shape[0])
        yield slice(start, min(shape[0], start + depth))


Weigh = Callable[[tuple[slice, ...], tuple[slice, ...], Offset], torch.Tensor]


def weighted_mean(image: torch.Tensor, offsets: list[Offset], weigh: Weigh, run: Run,
                  own: float | None = 1.0) -> torch.Tensor:
    """Mean of each voxel and its neighbours with weights w(p, q) = w(q, p); `own` None: the largest of them."""
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    largest = torch.full_like(image, 1e-6) if own is None else None
    for z in slabs(tuple(image.shape), run):
        for offset in offsets:
            run.check()
            here, there = pairs(tuple(image.shape), offset, z)
            if any(h.start >= h.stop for h in here):
                continue
            weight = weigh(here, there, offset)
            total[here].addcmul_(weight, image[there])
            total[there].addcmul_(weight, image[here])
            weights[here] += weight
            weights[there] += weight
            if largest is not None:
                torch.maximum(largest[here], weight, out=largest[here])
                torch.maximum(largest[there], weight, out=largest[there])
    mine = own if largest is None else largest
    return (total + mine * image) / (weights + mine)
