"""A UNet of residual blocks in two or three dimensions: EDM's `ddpmpp` network made volumetric, and compact forms.

The noise level enters through scale and shift of every block. Conditions are concatenated to the input. With `stem`
2 the network works on blocks of 2 x 2 (x 2) voxels (space-to-depth in, pixel shuffle out), which is about three times
faster than the plain network of equal size. With `noise=False` it is a plain regression network.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from .blocks import (
    Attention,
    Double,
    Half,
    NoiseEmbedding,
    ResidualBlock,
    convolution,
    depth_to_space,
    normalisation,
    space_to_depth,
)
from .config import Config

RESAMPLING = ("block", "light")


@dataclass(frozen=True)
class UNetConfig(Config):
    """All that is needed to build the network again; saved beside its weights."""

    NAME = "Network configuration"

    dims: int = 3
    in_channels: int = 1
    out_channels: int = 1
    condition_channels: int = 0
    """Channels of the conditions, coordinates included."""
    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 4
    """Residual blocks a level on the way down."""
    resample: str = "block"
    """`block`: EDM's residual blocks that change the size, each with a skip (so one block more on the way up).
    `light`: mean pooling, and a convolution on the coarse side before the repeat; a third of the work."""
    attention: bool = True
    """Self-attention in the bottleneck."""
    head_channels: int = 64
    dropout: float = 0.13
    stem: int = 1
    noise: bool = True
    vector: int = 0
    """Numbers beside the noise level, such as the logarithm of the dose fraction."""
    context: int = 0
    """Width of context tokens for cross-attention in the bottleneck; 0: none."""
    norm: str = "group"

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(int(m) for m in self.multipliers))
        counts = (self.in_channels, self.out_channels, self.channels, self.blocks, *(self.multipliers or (0,)))
        faults = {f"dims = {self.dims} is neither 2 nor 3": self.dims not in (2, 3),
                  f"norm = '{self.norm}' is neither 'group' nor 'voxel'": self.norm not in ("group", "voxel"),
                  f"resample = '{self.resample}' is neither 'block' nor 'light'": self.resample not in RESAMPLING,
                  f"stem = {self.stem} is not 1, 2 or 4": self.stem not in (1, 2, 4),
                  "a number of channels, blocks or levels is below one": min(counts) < 1}
        self.refuse(faults)

    @property
    def multiple(self) -> int:
        """Each axis of the input must be a multiple of this."""
        return self.stem * 2 ** (len(self.multipliers) - 1)


PAPER = UNetConfig()
"""The size of CSRD's network: 64 channels, 1-2-2-2, four blocks a level; about 41 million parameters."""

COMPACT = UNetConfig(channels=32, multipliers=(1, 2, 4), blocks=1, resample="light", attention=False, dropout=0.0,
                     stem=2)
"""For bundled models and CPUs: about 5 million parameters on blocks of 2 x 2 x 2 voxels."""


class UNet(nn.Module):
    """`net(x, noise, images, context, vector)`; everything but x is optional, as the configuration says."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        c, cells = config, config.stem ** config.dims
        width = 4 * c.channels if c.noise else 0
        self.embedding = NoiseEmbedding(c.channels, width, c.vector) if c.noise else None
        self.first = convolution(c.dims, (c.in_channels + c.condition_channels) * cells, c.channels)
        skips = self._build_down(width)
        self._build_middle(width)
        self._build_up(width, skips)
        self.norm = normalisation(c.norm, c.channels * c.multipliers[0])
        self.last = convolution(c.dims, c.channels * c.multipliers[0], c.out_channels * cells, zero=True)

    def _block(self, inside: int, outside: int, width: int, resample: int = 0) -> ResidualBlock:
        c = self.config
        return ResidualBlock(c.dims, inside, outside, width, c.dropout, resample, c.norm)

    def _build_down(self, width: int) -> list[int]:
        """Makes the way down, one ModuleList of blocks a level, and returns the channels of every skip."""
        c, now = self.config, self.config.channels
        self.down, self.sink = nn.ModuleList(), nn.ModuleList()
        heavy = c.resample == "block"
        skips = [now] if heavy else []
        for level, multiplier in enumerate(c.multipliers):
            if level:
                self.sink.append(self._block(now, now, width, resample=-1) if heavy else Half())
                skips += [now] if heavy else []
            sizes = [now] + [c.channels * multiplier] * c.blocks
            self.down.append(nn.ModuleList(self._block(i, o, width) for i, o in pairwise(sizes)))
            skips += sizes[1:]
            now = sizes[-1]
        return skips

    def _build_middle(self, width: int) -> None:
        c, now = self.config, self.config.channels * self.config.multipliers[-1]
        self.middle = nn.ModuleList([self._block(now, now, width), self._block(now, now, width)])
        self.attention = Attention(c.dims, now, c.head_channels) if c.attention else None
        self.cross = Attention(c.dims, now, c.head_channels, context=c.context) if c.context else None

    def _build_up(self, width: int, skips: list[int]) -> None:
        """Lowest level first; every block takes one skip."""
        c, now = self.config, self.config.channels * self.config.multipliers[-1]
        self.up, self.rise = nn.ModuleList(), nn.ModuleList()
        heavy = c.resample == "block"
        for level, multiplier in reversed(list(enumerate(c.multipliers))):
            blocks, size = nn.ModuleList(), c.channels * multiplier
            for _ in range(c.blocks + heavy):
                blocks.append(self._block(now + skips.pop(), size, width))
                now = size
            self.up.append(blocks)
            if level:
                finer = c.channels * c.multipliers[level - 1]
                self.rise.append(self._block(now, now, width, resample=1) if heavy else Double(c.dims, now, finer))
                now = now if heavy else finer

    def forward(self, x: Tensor, noise: Tensor | None = None, images: Tensor | None = None,
                context: Tensor | None = None, vector: Tensor | None = None) -> Tensor:
        emb = self.embedding(noise, vector) if self.embedding is not None else None
        h = x if images is None else torch.cat((x, images), 1)
        h = self.first(space_to_depth(h, self.config.stem) if self.config.stem > 1 else h)
        h, skips = self._descend(h, emb)
        h = self._bottleneck(h, emb, context)
        for level, blocks in enumerate(self.up):
            h = self.rise[level - 1](h, emb) if level else h
            for block in blocks:
                h = block(torch.cat((h, skips.pop()), 1), emb)
        h = self.last(silu(self.norm(h)))
        return depth_to_space(h, self.config.stem) if self.config.stem > 1 else h

    def _descend(self, h: Tensor, emb: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        heavy = self.config.resample == "block"
        skips = [h] if heavy else []
        for level, blocks in enumerate(self.down):
            if level:
                h = self.sink[level - 1](h, emb)
                skips += [h] if heavy else []
            for block in blocks:
                h = block(h, emb)
                skips.append(h)
        return h, skips

    def _bottleneck(self, h: Tensor, emb: Tensor | None, context: Tensor | None) -> Tensor:
        h = self.middle[0](h, emb)
        if self.attention is not None:
            h = self.attention(h)
        if self.cross is not None:
            h = self.cross(h, context=context)
        return self.middle[1](h, emb)


def parameter_count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
