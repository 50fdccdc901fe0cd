"""Averages over neighbours of the same tissue in CT or MR, after Bowsher et al. 2004.

Of all neighbours within a radius, each voxel keeps the part that differs least from it in CT or MR, and those
whose difference there is below a tolerance. Pairs count once for each end that kept the other, weighted by
distance and by the likeness of the lightly smoothed PET: a lesion that CT does not show is not averaged away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...filters import FWHM
from ...prepare.frame import Frame, anatomy_of, filtered
from ...progress import Run
from ...threads import in_order
from ..contract import Case, Output
from .bilateral import activity_guide, likeness
from .neighbours import Offset, Slab, Weigh, half_offsets, slabs, weighted_mean

TOLERANCE = 0.1
"""Differences in CT or MR below this part of their SD in the body are taken for noise."""
MOST_NEIGHBOURS = 240
RANKED_AT_ONCE = 4096
"""Voxels whose neighbours are put in order together."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    anatomy = anatomy_of(case, options["guide"], needed=True)

    def core(frame: Frame) -> np.ndarray:
        return bowsher(frame, anatomy[frame.box], options["fwhm_mm"], options["kept"], options["strength"],
                       options["guide_fwhm_mm"], run)

    return filtered(case, run, core, options["stabilise"])


def bowsher(frame: Frame, anatomy: np.ndarray, fwhm_mm: float, kept: float, strength: float, guide_fwhm_mm: float,
            run: Run) -> np.ndarray:
    sigma_mm = fwhm_mm / FWHM
    offsets = half_offsets(2.0 * sigma_mm, frame.spacing, frame.array.shape, MOST_NEIGHBOURS // 2)
    if not offsets:
        return frame.array
    image = frame.array / np.float32(frame.noise)
    guide = activity_guide(image, frame, guide_fwhm_mm, strength)
    tissue = np.ascontiguousarray(anatomy, np.float32)
    limit = np.maximum(_limits(tissue, offsets, kept, run), np.float32(TOLERANCE))

    def weighing(slab: Slab) -> Weigh:
        alike = likeness(slab, guide, frame.spacing, sigma_mm)
        return _same_tissue(slab, tissue, limit, alike)

    parts = slabs(image.shape, offsets)
    return weighted_mean(image, offsets, parts, weighing, run, start=0.5) * np.float32(frame.noise)


def _same_tissue(slab: Slab, tissue: np.ndarray, limit: np.ndarray, alike: Weigh) -> Weigh:
    """The likeness, halved where one end alone kept the other, 0 where none did."""
    row, limits = slab.laid_out(tissue, 0.0), slab.laid_out(limit, 0.0)
    here, limit_here = row[slab.here()], limits[slab.here()]
    differs, kept = np.empty(slab.count, np.float32), np.empty(slab.count, bool)

    def weigh(offset: Offset, weight: np.ndarray) -> None:
        there = slab.there(offset)
        alike(offset, weight)
        np.subtract(here, row[there], out=differs)
        np.abs(differs, out=differs)
        by_one = np.less_equal(differs, limit_here)
        np.less_equal(differs, limits[there], out=kept)
        np.add(by_one, kept, out=differs, dtype=np.float32)
        np.multiply(weight, differs, out=weight)
        np.multiply(weight, np.float32(0.5), out=weight)

    return weigh


def _limits(tissue: np.ndarray, offsets: list[Offset], kept: float, run: Run) -> np.ndarray:
    """For each voxel the difference that the kept part of its neighbours does not exceed."""
    every = [*offsets, *[tuple(-s for s in o) for o in offsets]]
    rank = max(1, round(kept * len(every))) - 1
    limit = np.empty_like(tissue)

    def ranked(slab: Slab) -> np.ndarray:
        row = slab.laid_out(tissue, np.inf)
        steps = [slab.step(offset) for offset in every]
        found = np.empty(len(row), np.float32)
        for start in range(slab.first, slab.first + slab.count, RANKED_AT_ONCE):
            run.check()
            stop = min(start + RANKED_AT_ONCE, slab.first + slab.count)
            found[start:stop] = _at_rank(row, start, stop, steps, rank)
        return slab.inside(found)[1][:slab.stop - slab.start]

    for slab, found in in_order(ranked, slabs(tissue.shape, offsets, both=True), run, 0.0, 0.5):
        limit[slab.start:slab.stop] = found
    return limit


def _at_rank(row: np.ndarray, start: int, stop: int, steps: list[int], rank: int) -> np.ndarray:
    """Of the differences between each place and its neighbours, the one of this rank."""
    here = row[start:stop]
    differs = np.empty((len(steps), stop - start), np.float32)
    with np.errstate(invalid="ignore"):  # gaps, that are infinitely different from all and not looked at
        for line, step in zip(differs, steps):
            np.subtract(here, row[start + step:stop + step], out=line)
            np.abs(line, out=line)
        turned = np.ascontiguousarray(differs.T)
        turned.partition(rank, axis=1)
    return turned[:, rank]
