"""Transformers for volumes: blocks whose attention is between channels (Restormer's), and the U that is built of such.

It is called as the shared UNet is, so that regressions need not know which network they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import VoxelNorm, convolution, depth_to_space, space_to_depth
from .config import Config


@dataclass(frozen=True)
class TransformerSize(Config):
    """All that is needed to build the network again; saved beside its weights."""

    NAME = "Size of the transformer"

    condition_channels: int = 7
    """Images that it sees, coordinates included."""
    out_channels: int = 1
    channels: tuple[int, ...] = (48, 96, 192, 384)
    """Of each level, the finest first."""
    blocks: tuple[int, ...] = (4, 6, 6, 8)
    """Transformer blocks of each level, on the way down and again on the way up."""
    heads: tuple[int, ...] = (1, 2, 4, 8)
    refinement: int = 4
    """Blocks after the way up, on the finest level."""
    expansion: float = 2.66
    """Channels within the feed-forward part, over those outside."""
    stem: int = 1
    vector: int = 0
    """Numbers beside the images, such as the logarithm of the noise level."""
    window: int = 48
    """Longest side of a patch at work: that of the patches it was trained on."""

    def __post_init__(self) -> None:
        for name in ("channels", "blocks", "heads"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        self.refuse({
            "channels, blocks and heads are not as many":
                not 0 < len(self.channels) == len(self.blocks) == len(self.heads),
            "a number of channels, blocks or heads is below one": min(*self.channels, *self.blocks, *self.heads) < 1,
            "the heads do not share the channels evenly": any(c % h for c, h in zip(self.channels, self.heads)),
            "channels below the finest level are not multiples of 8": any(c % 8 for c in self.channels[1:]),
            f"window = {self.window} is not a multiple of {self.multiple}": self.window % self.multiple > 0,
        })  # fmt: skip

    @property
    def multiple(self) -> int:
        """Each axis of the input must be a multiple of this."""
        return self.stem * 2 ** (len(self.channels) - 1)


class Depthwise(nn.Conv3d):
    """A 3 x 3 x 3 convolution of each channel by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        learning = torch.is_grad_enabled() and x.device.type == "cpu"
        return self.by_slices(x) if learning else super().forward(x)

    def by_slices(self, x: Tensor) -> Tensor:
        """The same as a sum over three slices of plane convolutions, whose gradients CPUs find three times sooner."""
        planes = F.pad(x, (0, 0, 0, 0, 1, 1)).transpose(1, 2)
        taps = [F.conv2d(planes[:, i:i + x.shape[2]].flatten(0, 1), self.weight[:, :, i], padding=1, groups=self.groups)
                for i in range(3)]  # fmt: skip
        return sum(taps).unflatten(0, (len(x), -1)).transpose(1, 2)


class ChannelAttention(nn.Module):
    """MDTA: every channel attends to the channels of its head, by how alike they are over the whole patch."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv3d(channels, 3 * channels, 1, bias=False)
        self.mix = Depthwise(3 * channels)
        self.out = nn.Conv3d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.flatten(2).unflatten(1, (self.heads, -1)) for part in self.mix(self.qkv(x)).chunk(3, 1))
        shares = (alike(q, k) * self.temperature).softmax(-1)
        return self.out((shares.to(v.dtype) @ v).flatten(1, 2).unflatten(2, x.shape[2:]))


def alike(q: Tensor, k: Tensor) -> Tensor:
    """Cosines between channels (..., channel, voxels): the sums over voxels in single precision."""
    lengths = [torch.linalg.vector_norm(part, dim=-1, dtype=torch.float32).clamp_min(1e-6) for part in (q, k)]
    return (q @ k.transpose(-2, -1)).float() / (lengths[0][..., :, None] * lengths[1][..., None, :])


class GatedFeedForward(nn.Module):
    """GDFN: one half of the channels, through GELU, opens and shuts the other."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        inside = int(channels * expansion)
        self.into = nn.Conv3d(channels, 2 * inside, 1, bias=False)
        self.mix = Depthwise(2 * inside)
        self.out = nn.Conv3d(inside, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.mix(self.into(x)).chunk(2, 1)
        return self.out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm0, self.attention = VoxelNorm(channels), ChannelAttention(channels, heads)
        self.norm1, self.feed = VoxelNorm(channels), GatedFeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm0(x))
        return x + self.feed(self.norm1(x))


class TransformerU(nn.Module):
    """`net(x, noise, images, vector)`: x and noise, which a diffusion would bring, are not looked at."""

    def __init__(self, config: TransformerSize) -> None:
        super().__init__()
        self.config = c = config
        cells, first = c.stem**3, c.channels[0]
        self.first = convolution(3, c.condition_channels * cells, first)
        self.numbers = nn.Linear(c.vector, first, bias=False) if c.vector else None
        self.down, self.up = nn.ModuleList(self._levels()), nn.ModuleList(list(self._levels())[:-1])
        steps = list(pairwise(c.channels))
        self.sink = nn.ModuleList(convolution(3, fine, coarse // 8) for fine, coarse in steps)
        self.rise = nn.ModuleList(convolution(3, coarse, 8 * fine, kernel=1) for fine, coarse in steps)
        self.join = nn.ModuleList(convolution(3, 2 * fine, fine, kernel=1) for fine, _ in steps)
        self.refinement = nn.Sequential(*self._blocks(0, c.refinement))
        self.last = convolution(3, first, c.out_channels * cells, zero=True)

    def _levels(self) -> Iterator[nn.Sequential]:
        return (nn.Sequential(*self._blocks(level, count)) for level, count in enumerate(self.config.blocks))

    def _blocks(self, level: int, count: int) -> list[TransformerBlock]:
        return [self.block(level) for _ in range(count)]

    def block(self, level: int) -> nn.Module:
        """One of this level, that keeps its channels."""
        c = self.config
        return TransformerBlock(c.channels[level], c.heads[level], c.expansion)

    def forward(self, x: Tensor, noise: Tensor | None = None, images: Tensor | None = None,
                vector: Tensor | None = None) -> Tensor:  # fmt: skip
        h = self.first(space_to_depth(images, self.config.stem))
        if self.numbers is not None:
            h = h + self.numbers(vector.float())[..., None, None, None].to(h.dtype)
        return depth_to_space(self.last(self.refinement(self._through(h))), self.config.stem)

    def _through(self, h: Tensor, level: int = 0) -> Tensor:
        """Down from this level to the coarsest and up again."""
        h = self.down[level](h)
        if level == len(self.sink):
            return h
        below = self._through(space_to_depth(self.sink[level](h), 2), level + 1)
        risen = depth_to_space(self.rise[level](below), 2)
        return self.up[level](self.join[level](torch.cat((risen, h), 1)))
