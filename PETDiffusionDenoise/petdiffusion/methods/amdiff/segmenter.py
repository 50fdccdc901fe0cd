"""The dual-branch nnMamba (Fig. 3): one encoder of three ResMamba stages, two decoders for lesions and organs.

Logits come from a plain convolution: a last layer with a rectifier could never say less than an even chance.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ...networks.blocks import (
    ResidualBlock,
    convolution,
    depth_to_space,
    double_size,
    half_size,
    normalisation,
    space_to_depth,
)
from ...networks.mamba import VoxelMamba
from .config import ORGANS, SegmenterConfig

NORM = "voxel"
WINDOWS = ((0.0, 1000.0), (40.0, 200.0))
"""Middle and half width in HU: from air to bone, and soft tissue. The CT comes as one image of each, from -1 to 1."""
AIR_HU = -1000.0


def block(inside: int, outside: int) -> ResidualBlock:
    return ResidualBlock(3, inside, outside, 0, norm=NORM)


class Stage(nn.Module):
    """Half the size, then ResMamba blocks: convolutions for what is near, and for what is far a state-space layer that
    the blocks of a stage share."""

    def __init__(self, inside: int, outside: int, config: SegmenterConfig) -> None:
        super().__init__()
        self.down = block(inside, outside)
        self.mamba = VoxelMamba(outside, config.state, config.expand) if config.resmamba else nn.Identity()
        self.blocks = nn.ModuleList(block(outside, outside) for _ in range(config.mamba_blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(half_size(x))
        for local in self.blocks:
            x = self.mamba(local(x))
        return x


class Decoder(nn.Module):
    """Three layers up, each with the encoder's features of its size, to logits of every voxel."""

    def __init__(self, channels: tuple[int, ...], classes: int, stem: int) -> None:
        super().__init__()
        self.stem = stem
        pairs = list(zip(channels[:0:-1], channels[-2::-1]))
        self.rise = nn.ModuleList(convolution(3, low, high, kernel=1) for low, high in pairs)
        self.blocks = nn.ModuleList(block(2 * high, high) for _, high in pairs)
        self.norm = normalisation(NORM, channels[0])
        self.last = convolution(3, channels[0], classes * stem**3, kernel=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for rise, one, skip in zip(self.rise, self.blocks, features[-2::-1]):
            x = one(torch.cat((double_size(rise(x)), skip), 1))
        x = self.last(silu(self.norm(x)))
        return depth_to_space(x, self.stem) if self.stem > 1 else x


class Segmenter(nn.Module):
    """Logits of lesion (1 channel) and of background and organs (8) from P_HCR, the low-count scan, and the place; a
    CT is added to the first layer by one of its own, which begins at zero: so a segmenter of PET alone can go on."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        inputs, c = 2 + 3 * config.coordinates, config.channels
        self.first = convolution(3, inputs * config.stem**3, c[0])
        self.first_ct = convolution(3, len(WINDOWS) * config.stem**3, c[0]) if config.ct else None
        if self.first_ct is not None:
            nn.init.zeros_(self.first_ct.weight)
            nn.init.zeros_(self.first_ct.bias)
        self.stages = nn.ModuleList(Stage(i, o, config) for i, o in pairwise(c))
        self.lesions = Decoder(c, 1, config.stem)
        self.organs = Decoder(c, 1 + len(ORGANS), config.stem)

    def forward(self, *seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """`seen` as by `features`."""
        features = self.features(*seen)
        return self.lesions(features), self.organs(features)

    def features(self, revised: Tensor, low: Tensor, coordinates: Tensor | None = None,
                 hu: Tensor | None = None) -> list[Tensor]:  # fmt: skip
        """Of the encoder, for either decoder."""
        seen = [compressed(revised), compressed(low), *([coordinates] if self.config.coordinates else [])]
        x = self.first(self._stem(torch.cat(seen, 1)))
        features = [x if self.first_ct is None else x + self.first_ct(self._stem(windowed(hu)))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features

    def _stem(self, x: Tensor) -> Tensor:
        return space_to_depth(x, self.config.stem) if self.config.stem > 1 else x


def compressed(suv: Tensor) -> Tensor:
    """SUV on a scale where the liver is about 1 and a bladder of 100 not above 5; nothing is cut."""
    return suv.sign() * torch.log1p(suv.abs())


def windowed(hu: Tensor) -> Tensor:
    """(batch, windows, z, y, x) of a CT (batch, 1, z, y, x); beyond its field there is air."""
    hu = torch.nan_to_num(hu, nan=AIR_HU)
    return torch.cat([((hu - middle) / half).clamp(-1, 1) for middle, half in WINDOWS], 1)
