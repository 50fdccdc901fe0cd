"""Building blocks that several methods share: convolutions by dimension, noise embedding, residual block, attention.

Arrays are (batch, channels, *space) with two or three axes of space; `emb` is the embedding of the noise level.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
LARGE_GROUP = 2**18
"""Numbers of a group, above which its mean and variance are worth a reduction of their own."""


def convolution(dims: int, inside: int, outside: int, kernel: int = 3, zero: bool = False) -> nn.Module:
    """Convolution that keeps the size; `zero` starts it at zero, so that what it adds is nothing at first."""
    layer = CONVS[dims](inside, outside, kernel, padding=kernel // 2)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


def half_size(x: Tensor) -> Tensor:
    """Mean over 2 x 2 (x 2) blocks. Written as a reshape: CPU autocast would send a 3D pooling back to float32."""
    for axis in range(2, x.ndim):
        x = x.unflatten(axis, (-1, 2))
        x = (x.select(axis + 1, 0) + x.select(axis + 1, 1)) * 0.5
    return x


def double_size(x: Tensor) -> Tensor:
    """Every voxel repeated along each axis."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """Blocks of factor^dims voxels become channels: (B, C, D, H, W) -> (B, C * factor^3, D/factor, ...)."""
    dims = x.ndim - 2
    for axis in range(dims):
        x = x.unflatten(2 + 2 * axis, (-1, factor))
    space, blocks = [2 + 2 * a for a in range(dims)], [3 + 2 * a for a in range(dims)]
    return x.permute(0, 1, *blocks, *space).flatten(1, 1 + dims)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    dims = x.ndim - 2
    x = x.unflatten(1, (-1, *[factor] * dims))
    order = [axis for a in range(dims) for axis in (2 + dims + a, 2 + a)]
    x = x.permute(0, 1, *order)
    for axis in range(dims):
        x = x.flatten(2 + axis, 3 + axis)
    return x


def groups_for(channels: int, largest: int = 32, least_per_group: int = 4) -> int:
    """The number of groups of EDM's GroupNorm: at most 32, at least 4 channels each, and a divisor."""
    groups = max(1, min(largest, channels // least_per_group))
    while channels % groups:
        groups -= 1
    return groups


class GroupNorm(nn.GroupNorm):
    """PyTorch's, but for large volumes on CUDA without a gradient: its kernel there gives each group to one processor
    of the card, of which a hundred stay idle (half the time of a large network; `Testing/benchmarks/waits.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and not torch.is_grad_enabled() and x.numel() > LARGE_GROUP * len(x) * self.num_groups:
            return self.by_moments(x)
        return super().forward(x)

    def by_moments(self, x: Tensor) -> Tensor:
        """The same in single precision: mean and variance by a reduction that all processors share."""
        x = x.float()
        variance, mean = torch.var_mean(x.unflatten(1, (self.num_groups, -1)).flatten(2), 2, correction=0)
        each = self.num_channels // self.num_groups
        scale = self.weight * (variance + self.eps).rsqrt().repeat_interleave(each, 1)
        shift = self.bias - mean.repeat_interleave(each, 1) * scale
        shape = (*scale.shape, *[1] * (x.ndim - 2))
        return torch.addcmul(shift.reshape(shape), x, scale.reshape(shape))


class VoxelNorm(nn.Module):
    """Root-mean-square norm over the channels of one voxel.

    Unlike GroupNorm it looks at no other voxel, so a network made with it gives the same values in a patch as in the
    whole volume, away from the borders.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-5).to(x.dtype)
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * scale * self.weight.to(x.dtype).reshape(shape) + self.bias.to(x.dtype).reshape(shape)


def normalisation(kind: str, channels: int) -> nn.Module:
    """`group`: EDM's GroupNorm, statistics over the whole input; `voxel`: local."""
    return VoxelNorm(channels) if kind == "voxel" else GroupNorm(groups_for(channels), channels, eps=1e-5)


class NoiseEmbedding(nn.Module):
    """Sine and cosine of c_noise (or of a time step), then two linear layers; optional extra numbers are added.

    `numbers` is the length of a vector such as the logarithm of the dose fraction.
    """

    def __init__(self, channels: int, width: int, numbers: int = 0) -> None:
        super().__init__()
        half = channels // 2
        frequencies = 10000.0 ** -(torch.arange(half, dtype=torch.float32) / max(half - 1, 1))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first, self.second = nn.Linear(2 * half, width), nn.Linear(width, width)
        self.numbers = nn.Linear(numbers, 2 * half, bias=False) if numbers else None

    def forward(self, noise: Tensor, vector: Tensor | None = None) -> Tensor:
        angles = noise.float().reshape(-1, 1) * self.frequencies
        waves = torch.cat((angles.cos(), angles.sin()), 1)
        if self.numbers is not None and vector is not None:
            waves = waves + self.numbers(vector.float())
        return F.silu(self.second(F.silu(self.first(waves))))


class ResidualBlock(nn.Module):
    """EDM's block: norm, SiLU, convolution, norm scaled and shifted by the noise level, SiLU, dropout, convolution.

    `resample` is -1 to halve the size on the way, +1 to double it. Without an embedding (`width` 0) it is a plain
    residual block for regression.
    """

    def __init__(self, dims: int, inside: int, outside: int, width: int, dropout: float = 0.0, resample: int = 0,
                 norm: str = "group") -> None:
        super().__init__()
        self.resample = {-1: half_size, 0: nn.Identity(), 1: double_size}[resample]
        self.norm0 = normalisation(norm, inside)
        self.conv0 = convolution(dims, inside, outside)
        self.affine = nn.Linear(width, 2 * outside) if width else None
        self.norm1 = normalisation(norm, outside)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = convolution(dims, outside, outside, zero=True)
        self.skip = convolution(dims, inside, outside, kernel=1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = self.conv0(self.resample(F.silu(self.norm0(x))))
        h = self.norm1(h)
        if self.affine is not None:
            h = _scaled(h, self.affine(emb))
        h = self.conv1(self.dropout(F.silu(h)))
        return (self.skip(self.resample(x)) + h) * math.sqrt(0.5)


def _scaled(h: Tensor, numbers: Tensor) -> Tensor:
    scale, shift = numbers.to(h.dtype).reshape(*numbers.shape, *[1] * (h.ndim - 2)).chunk(2, dim=1)
    return torch.addcmul(shift, h, scale + 1)


class Half(nn.Module):
    """Mean pooling by two, with the call of a block."""

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        return half_size(x)


class Double(nn.Module):
    """A convolution to fewer channels on the coarse grid, then every voxel repeated: the cheap way up."""

    def __init__(self, dims: int, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = convolution(dims, inside, outside)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        return double_size(self.conv(x))


class PositionBias(nn.Module):
    """A learned term of attention for each pair of voxels: a sum over axes of a table of clamped offsets.

    Offsets beyond `reach` share the last entry, so it works at any size.
    """

    def __init__(self, dims: int, heads: int, reach: int = 8) -> None:
        super().__init__()
        self.reach = reach
        self.tables = nn.Parameter(torch.zeros(dims, heads, 2 * reach + 1))

    def forward(self, size: tuple[int, ...]) -> Tensor:
        """(heads, tokens, tokens) for a grid of this size."""
        axes = torch.meshgrid(*[torch.arange(n, device=self.tables.device) for n in size], indexing="ij")
        bias = self.tables.new_zeros(())
        for table, axis in zip(self.tables, axes):
            place = axis.flatten()
            offset = (place[:, None] - place[None, :]).clamp(-self.reach, self.reach) + self.reach
            bias = bias + table[:, offset]
        return bias


class Attention(nn.Module):
    """Multi-head attention of voxels, added to the input.

    Self-attention by default. With `context` (width of the tokens) keys and values come from tokens of (B, n, width),
    such as a text. With `guide` (channels) queries and keys come from a second image on the same grid and only the
    values from x, as in CT-guided attention; `reach` > 0 adds a position bias.
    """

    def __init__(self, dims: int, channels: int, head_channels: int = 64, context: int = 0, guide: int = 0,
                 reach: int = 0) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = GroupNorm(groups_for(channels), channels)
        self.guide_norm = GroupNorm(groups_for(guide), guide) if guide else None
        self.query = nn.Linear(guide or channels, channels)
        self.key = nn.Linear(context or guide or channels, channels)
        self.value = nn.Linear(context or channels, channels)
        self.bias = PositionBias(dims, self.heads, reach) if reach else None
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, guide: Tensor | None = None) -> Tensor:
        size = x.shape[2:]
        own = _tokens(self.norm(x))
        asking = own if self.guide_norm is None else _tokens(self.guide_norm(guide))
        keys, values = (context, context) if context is not None else (asking, own)
        mixed = F.scaled_dot_product_attention(self._split(self.query(asking)), self._split(self.key(keys)),
                                               self._split(self.value(values)), attn_mask=self._mask(size, asking))
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        return x + mixed.transpose(1, 2).unflatten(2, size)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _mask(self, size: tuple[int, ...], like: Tensor) -> Tensor | None:
        if self.bias is None:
            return None
        lower = torch.is_autocast_enabled(like.device.type)
        return self.bias(size).to(torch.get_autocast_dtype(like.device.type) if lower else like.dtype)


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
