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


def slabs(shape: tuple[int, ...], run: Run, part: int = 1) -> Iterator[slice]:
    """Slices to work on together; `part` makes them thinner where much is held for each voxel."""
    depth = max(1, SLAB_VOXELS // part // int(np.prod(shape[1:])))
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
