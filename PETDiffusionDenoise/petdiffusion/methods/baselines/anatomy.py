"""Averages over neighbours of the same tissue in CT or MR, after Bowsher et al. 2004.

Of all neighbours within a radius, each voxel keeps the part that differs least from it in CT or MR, and those
whose difference there is below a tolerance. Pairs count once for each end that kept the other, weighted by
distance and by the likeness of the lightly smoothed PET: a lesion that CT does not show is not averaged away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...progress import Run
from ..contract import Case, Output
from .frame import FWHM, Frame, anatomy_of, filtered, smooth
from .neighbours import half_offsets, pairs, slabs, weighted_mean

TOLERANCE = 0.1
"""Differences in CT or MR below this part of their SD in the body are taken for noise."""
MOST_NEIGHBOURS = 240


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
    image = torch.from_numpy(frame.array / np.float32(frame.noise))
    alike = torch.from_numpy(smooth(image.numpy(), guide_fwhm_mm, frame.spacing)) if guide_fwhm_mm > 0 else image
    tissue = torch.from_numpy(np.ascontiguousarray(anatomy))
    limit = _limits(tissue, offsets, kept, run).clamp_(min=TOLERANCE)
    fall = -0.5 / strength ** 2

    def weigh(here: tuple[slice, ...], there: tuple[slice, ...], offset: tuple[int, int, int]) -> torch.Tensor:
        away = float(np.sum((np.asarray(offset) * frame.spacing) ** 2)) / (2 * sigma_mm ** 2)
        weight = torch.sub(alike[here], alike[there]).square_().mul_(fall).sub_(away).exp_()
        differs = torch.sub(tissue[here], tissue[there]).abs_()
        return weight.mul_((differs <= limit[here]).float().add_(differs <= limit[there])).mul_(0.5)

    return (weighted_mean(image, offsets, weigh, run) * frame.noise).numpy()


def _limits(tissue: torch.Tensor, offsets: list[tuple[int, int, int]], kept: float, run: Run) -> torch.Tensor:
    """For each voxel the difference that the kept part of its neighbours does not exceed."""
    limit = torch.empty_like(tissue)
    every = [*offsets, *[tuple(-s for s in o) for o in offsets]]
    rank = max(1, round(kept * len(every)))
    for z in slabs(tuple(tissue.shape), run, part=8):
        differs = torch.full((len(every), *limit[z].shape), float("inf"))
        for row, offset in zip(differs, every):
            run.check()
            here, there = pairs(tuple(tissue.shape), offset, z)
            if all(h.start < h.stop for h in here):
                row[slice(here[0].start - z.start, here[0].stop - z.start), here[1], here[2]] = (
                    tissue[here] - tissue[there]).abs_()
        limit[z] = differs.kthvalue(rank, dim=0).values
    return limit
