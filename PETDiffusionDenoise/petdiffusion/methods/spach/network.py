"""Spach Transformer (Jang 2023): in each block the voxels of a cube attend to each other, then all channels do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import PositionBias, VoxelNorm
from ...networks.transformer import TransformerBlock, TransformerSize, TransformerU


@dataclass(frozen=True)
class SpachSize(TransformerSize):
    NAME = "Size of the Spach Transformer"

    near: int = 6
    """Voxels of a level along a side of the cubes within which voxels attend to each other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse({f"near = {self.near} is below two": self.near < 2})


class NearAttention(nn.Module):
    """Self-attention of voxels within cubes, with a term for where they lie to each other."""

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv = nn.Conv3d(channels, 3 * channels, 1, bias=False)
        self.place = PositionBias(3, heads, side - 1)
        self.out = nn.Conv3d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        lacking = [-n % self.side for n in x.shape[2:]]
        padding = [amount for n in reversed(lacking) for amount in (0, n)]
        q, k, v = (self.cubes(F.pad(part, padding)) for part in self.qkv(x).chunk(3, 1))
        term = self.place((self.side,) * 3)
        if any(lacking):
            term = term + self.beyond(x, padding)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=term.to(q.dtype))
        whole = self.together(mixed, [(n + more) // self.side for n, more in zip(x.shape[2:], lacking)])
        return self.out(whole[..., : x.shape[2], : x.shape[3], : x.shape[4]])

    def cubes(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) to (B cubes, heads, voxels, C / heads)."""
        for axis in (2, 4, 6):
            x = x.unflatten(axis, (-1, self.side))
        x = x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(0, 3)
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def together(self, cubes: Tensor, counts: list[int]) -> Tensor:
        """The inverse, with so many cubes along each axis."""
        x = cubes.transpose(1, 2).flatten(2).unflatten(1, (self.side,) * 3).unflatten(0, (-1, *counts))
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def beyond(self, x: Tensor, padding: list[int]) -> Tensor:
        """What is added so that nobody looks at voxels that are not there: (B cubes, 1, 1, voxels)."""
        there = F.pad(x.new_ones((1, 1, *x.shape[2:])), padding).expand(len(x), self.heads, -1, -1, -1)
        return torch.where(self.cubes(there)[:, :1, :, 0] > 0, 0.0, -torch.inf)[:, :, None]


class SpachBlock(nn.Module):
    """Near voxels, then all channels, then the gated feed-forward part."""

    def __init__(self, channels: int, heads: int, expansion: float, near: int) -> None:
        super().__init__()
        self.norm, self.near = VoxelNorm(channels), NearAttention(channels, heads, near)
        self.channels = TransformerBlock(channels, heads, expansion)

    def forward(self, x: Tensor) -> Tensor:
        return self.channels(x + self.near(self.norm(x)))


class Spach(TransformerU):
    def block(self, level: int) -> nn.Module:
        c = self.config
        return SpachBlock(c.channels[level], c.heads[level], c.expansion, c.near)


def built(config: Mapping[str, Any]) -> Spach:
    """From the configuration of the method."""
    return Spach(SpachSize.from_json(config["network"]))
