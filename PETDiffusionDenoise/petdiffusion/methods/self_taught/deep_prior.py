"""Deep image prior (Ulyanov et al. 2018; for PET Cui et al. 2019): a U-net paints the scan from MR or CT.

What a convolutional network paints first from an image of the anatomy is what has the anatomy's structure; noise comes
later, and is not waited for (`painting.py`). Beside the anatomy it is told where each voxel lies, by sines and cosines:
how hot an organ is no CT says, and a network that cannot tell places apart spent all of its steps on hot organs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from ...networks.blocks import depth_to_space, space_to_depth
from ...networks.unet import UNet, UNetConfig
from ...prepare.frame import Frame, anatomy_of, filtered
from ...progress import Run
from ..contract import Case, Output
from . import lesson
from .painting import fitted

BLOCK = 2
WAVES_MM = (48.0, 96.0, 192.0, 384.0)
"""Of the sines and cosines along each axis: from a kidney's width to the trunk's."""
RATE, CLIP = 2e-3, 0.1
"""Of learning. At twice the rate, with gradients of any length, a network ended painting nothing."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    guide = anatomy_of(case, options["guide"], needed=True)

    def core(frame: Frame) -> np.ndarray:
        source = torch.cat((torch.from_numpy(guide[frame.box])[None], places(frame)))
        network, random = lesson.begun(run, Painter), lesson.randomness(run)
        return fitted(frame, network, source, options["steps"], run, random, network.multiple, RATE, CLIP)

    return filtered(case, run, core, stabilise=True)


def places(frame: Frame) -> Tensor:
    """Where each voxel lies in the frame, (z, y, x) in mm."""
    axes = [torch.arange(n, dtype=torch.float32) * step for n, step in zip(frame.array.shape, frame.spacing)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


class Painter(nn.Module):
    """(anatomy, z, y, x) in, image out; on blocks of 2 x 2 x 2 voxels, which have one place each."""

    def __init__(self) -> None:
        super().__init__()
        block = BLOCK**3
        told = block + 2 * 3 * len(WAVES_MM)
        size = lesson.SIZE | {"multipliers": (1, 2, 2), "stem": 1}
        self.network = UNet(UNetConfig(**size, in_channels=told, out_channels=block))
        self.multiple = BLOCK * self.network.config.multiple

    @property
    def last(self) -> nn.Module:
        return self.network.last

    def forward(self, x: Tensor) -> Tensor:
        place = avg_pool3d(x[:, 1:], BLOCK)
        angles = [place * (2 * math.pi / wave) for wave in WAVES_MM]
        told = torch.cat((space_to_depth(x[:, :1], BLOCK), *map(torch.sin, angles), *map(torch.cos, angles)), 1)
        return depth_to_space(self.network(told), BLOCK)
