"""Non-local means in 3D (Buades, Coll, Morel 2005), pairs of voxels visited once, patches in millimetres.

    x(p) = sum_q w(p, q) y(q) / sum_q w(p, q),   w = exp(-max(d^2 - 2 s^2, 0) / (k s)^2)

d^2 is the mean squared difference of the patches around p and q, s the SD of the noise, so 2 s^2 is what two
equal patches differ by. A voxel weighs as much as its best neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...progress import Run
from ..contract import Case, Output
from .frame import Frame, filtered
from .neighbours import half_offsets, weighted_mean


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        return nlm(frame, options["strength"], options["patch_mm"], options["search_mm"], options["neighbours"], run)

    return filtered(case, run, core, options["stabilise"])


def nlm(frame: Frame, strength: float, patch_mm: float, search_mm: float, at_most: int, run: Run) -> np.ndarray:
    image = torch.from_numpy(frame.array / np.float32(frame.noise))
    offsets = half_offsets(search_mm, frame.spacing, frame.array.shape, max(1, at_most // 2))
    radius = tuple(min(r, 3) for r in frame.voxels(patch_mm / 2))
    if not offsets:
        return frame.array
    padded = _edge_padded(image, radius)
    size = float(np.prod([2 * r + 1 for r in radius]))

    def weigh(here: tuple[slice, ...], there: tuple[slice, ...], _: tuple[int, int, int]) -> torch.Tensor:
        wide = [tuple(slice(s.start, s.stop + 2 * r) for s, r in zip(end, radius)) for end in (here, there)]
        squared = torch.sub(padded[wide[0]], padded[wide[1]]).square_()
        distance = box_sum(squared, radius).div_(size).sub_(2.0).clamp_(min=0.0)
        return distance.mul_(-1.0 / strength ** 2).exp_()

    return (weighted_mean(image, offsets, weigh, run, own=None) * frame.noise).numpy()


def _edge_padded(image: torch.Tensor, radius: tuple[int, ...]) -> torch.Tensor:
    widths = [w for r in reversed(radius) for w in (r, r)]
    return torch.nn.functional.pad(image[None, None], widths, mode="replicate")[0, 0]


def box_sum(image: torch.Tensor, radius: tuple[int, ...]) -> torch.Tensor:
    """Sum over a box around each voxel; the result is smaller by the radius at each end."""
    for axis, r in enumerate(radius):
        if r:
            size = image.shape[axis] - 2 * r
            total = image.narrow(axis, 0, size) + image.narrow(axis, 1, size)
            for shift in range(2, 2 * r + 1):
                total += image.narrow(axis, shift, size)
            image = total
    return image
