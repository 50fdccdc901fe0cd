"""The Mamba layer (Gu and Dao 2023) over tokens, and voxels read as tokens. Weights carry the names of `mamba-ssm`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .selective_scan import selective_scan

SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1
"""Time steps at the start of training, spread evenly in the logarithm."""


class Mamba(nn.Module):
    """(batch, tokens, width) to the same: a gated state-space layer with a short causal convolution before it."""

    def __init__(self, width: int, state: int = 16, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, self.rank, self.state = expand * width, math.ceil(width / 16), state
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1, state + 1, dtype=torch.float32).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._begin()

    def _begin(self) -> None:
        scale = self.rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -scale, scale)
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        step = (low + (high - low) * torch.rand(len(self.dt_proj.bias))).exp()
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus gives the step back

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        inside, gate = self.in_proj(tokens).transpose(1, 2).chunk(2, 1)
        inside = F.silu(self.conv1d(inside)[..., :length])
        told = self.x_proj(inside.transpose(1, 2))
        step, B, C = told.split((self.rank, self.state, self.state), -1)
        delta = F.softplus(self.dt_proj(step).float()).transpose(1, 2)
        found = selective_scan(inside, delta, -self.A_log.float().exp(), B.transpose(1, 2), C.transpose(1, 2), self.D)
        return self.out_proj((found.to(gate.dtype) * F.silu(gate)).transpose(1, 2))


class VoxelMamba(nn.Module):
    """Voxels as a sequence through one Mamba layer, added to the input: the mean of four readings.

    Forwards and backwards in space, and with the channels in their order and reversed (nnMamba's augmentation across
    channels and space), so that no direction is preferred.
    """

    def __init__(self, channels: int, state: int = 16, expand: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mamba = Mamba(channels, state, expand=expand)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        readings = torch.cat([tokens.flip(axes) if axes else tokens for axes in _READINGS])
        parts = self.mamba(readings).chunk(len(_READINGS))
        mixed = sum(part.flip(axes) if axes else part for axes, part in zip(_READINGS, parts)) / len(_READINGS)
        return x + mixed.transpose(1, 2).unflatten(2, x.shape[2:]).to(x.dtype)


_READINGS = ((), (1,), (2,), (1, 2))
"""Axes of (batch, tokens, channels) that are reversed."""
