"""Guided deep decoder (Uezato et al. 2020; MR-GDD of Onishi et al. 2021): a decoder paints the scan from noise.

An encoder-decoder reads MR or CT at three scales. Its features only open and close the decoder's channels, by gates on
the way up (from its encoder: where borders are) and after each convolution (from its decoder: what lies there). So the
anatomy can lead, but none of its values enters the image. It stops where the rest is noise (`painting.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ...networks.blocks import convolution, depth_to_space, double_size, half_size, normalisation, space_to_depth
from ...prepare.frame import Frame, anatomy_of, filtered
from ...progress import Run
from ..contract import Case, Output
from . import lesson
from .painting import fitted

CHANNELS, SCALES, STEM = 16, 3, 2
MULTIPLE = STEM * 2 ** (SCALES - 1)


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    guide = anatomy_of(case, options["guide"], needed=True)

    def core(frame: Frame) -> np.ndarray:
        random = lesson.randomness(run)
        noise = torch.randn(1, *frame.array.shape, generator=random)
        source = torch.cat((torch.from_numpy(guide[frame.box])[None], noise))
        network = lesson.begun(run, GuidedDecoder)
        return fitted(frame, network, source, options["steps"], run, random, MULTIPLE)

    return filtered(case, run, core, stabilise=True)


class Layer(nn.Module):
    """Convolution, normalisation, leaky ReLU."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv, self.norm = convolution(3, inside, outside), normalisation("voxel", outside)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.norm(self.conv(x)), 0.2)


class Gate(nn.Module):
    """Opens and closes channels by what the guide shows there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = convolution(3, channels, channels, kernel=1)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return x * torch.sigmoid(self.weigh(guide))


class GuidedDecoder(nn.Module):
    """(guide, noise) in, image out; both on blocks of 2 x 2 x 2 voxels, three scales."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        block = STEM**3
        self.down = nn.ModuleList([Layer(block if k == 0 else channels, channels) for k in range(SCALES)])
        self.up = nn.ModuleList([Layer(channels if k == SCALES - 1 else 2 * channels, channels) for k in range(SCALES)])
        self.paint = nn.ModuleList([Layer(block if k == SCALES - 1 else channels, channels) for k in range(SCALES)])
        self.refine = nn.ModuleList([Gate(channels) for _ in range(SCALES)])
        self.enlarge = nn.ModuleList([Gate(channels) for _ in range(SCALES - 1)])
        self.out = convolution(3, channels, block, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        guide, noise = (space_to_depth(part, STEM) for part in x.split(1, dim=1))
        borders, meanings = self._read(guide)
        for _ in range(SCALES - 1):
            noise = half_size(noise)
        image = noise * 2.0 ** (1.5 * (SCALES - 1))  # means of eight have an eighth of the variance
        for k in reversed(range(SCALES)):
            image = self.refine[k](self.paint[k](image), meanings[k])
            image = self.enlarge[k - 1](double_size(image), borders[k - 1]) if k else image
        return depth_to_space(self.out(image), STEM)

    def _read(self, guide: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The guide's features from fine to coarse: on its way down, and on its way back up."""
        borders: list[Tensor] = []
        for k, layer in enumerate(self.down):
            borders.append(layer(half_size(borders[-1]) if k else guide))
        meanings = [self.up[-1](borders[-1])]
        for k in reversed(range(SCALES - 1)):
            meanings.insert(0, self.up[k](torch.cat((borders[k], double_size(meanings[0])), 1)))
        return borders, meanings
