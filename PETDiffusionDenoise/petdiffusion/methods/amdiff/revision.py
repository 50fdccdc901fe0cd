"""The denoising revision f_rev (Eq. 6): P_HCR from P_HC and the low-count scan, over the full range of SUV.

What the cut at `cut_suv` took away comes back through a direct skip from the scan; a few convolutions, zero at first,
mend the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ...networks.blocks import convolution


class Revision(nn.Module):
    """`scale` is what a step of the diffusion's values means in SUV, voxel by voxel."""

    def __init__(self, channels: int, cut_suv: float) -> None:
        super().__init__()
        self.cut_suv = cut_suv
        self.first = convolution(3, 4, channels)
        self.second = convolution(3, channels, channels)
        self.last = convolution(3, channels, 1, zero=True)

    def forward(self, denoised: Tensor, low: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
        """`anchor` is the scan as the skip takes it: filtered where the diffusion refers to the filtered scan."""
        lost = (anchor - self.cut_suv).clamp_min(0)
        seen = torch.cat((torch.log1p(denoised.clamp_min(0)), (low - denoised) / (8 * scale),
                          (anchor - denoised) / (8 * scale), torch.log1p(lost)), 1).clamp(-8, 8)  # fmt: skip
        change = self.last(silu(self.second(silu(self.first(seen)))))
        # A part of the noise where nothing was cut, a part of the value where it was: the skip's noise grows with it.
        return denoised + lost + change.to(scale.dtype) * (scale + 0.1 * lost)
