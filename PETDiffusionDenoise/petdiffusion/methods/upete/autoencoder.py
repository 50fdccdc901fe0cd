"""The compression: MONAI's AutoencoderKL beside a linear shortcut, so that the network learns what the shortcut lacks.

    z = B s + E(x),      x = up(B^T z) + D(z)

s are blocks of f x f x f voxels as channels and B the lowest frequencies of their cosine transform (orthonormal rows).
The shortcut alone is the best smooth compression of a block and keeps every block's mean; both parts of the network
start at zero. Its GroupNorms are exchanged for norms of one voxel: their statistics would differ between a patch and
the whole volume and leave seams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ModelError
from ...networks.blocks import VoxelNorm, depth_to_space, space_to_depth


@dataclass(frozen=True)
class AutoencoderConfig:
    f: int = 2
    """H/h = W/w = Z/z."""
    latent: int = 4
    channels: tuple[int, ...] = (8, 16)
    """Of each level; there are log2(f) + 1."""
    blocks: int = 1
    shortcut: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        if self.f != 2 ** (len(self.channels) - 1):
            raise ModelError(f"Autoencoder with f = {self.f} and {len(self.channels)} levels", "does not halve to f",
                             "Give one level more than halvings.")  # fmt: skip
        if self.shortcut and self.latent > self.f**3:
            raise ModelError(f"Autoencoder of {self.latent} channels", f"holds more than a block of {self.f**3} voxels",
                             "Use fewer channels.")  # fmt: skip

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> AutoencoderConfig:
        return cls(**values)


class Autoencoder(nn.Module):
    """`encode` and `decode` work on images (B, 1, z, y, x) whose sizes are multiples of f, and latents (B, c, ...)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        from monai.networks.nets import AutoencoderKL

        super().__init__()
        self.config, levels = config, len(config.channels)
        self.kl = AutoencoderKL(3, 1, 1, [config.blocks] * levels, config.channels, [False] * levels, config.latent,
                                norm_num_groups=1, with_encoder_nonlocal_attn=False,
                                with_decoder_nonlocal_attn=False)  # fmt: skip
        local(self.kl)
        basis = torch.from_numpy(cosines(config.f)[: config.latent]).float() if config.shortcut else None
        self.register_buffer("basis", basis, persistent=False)
        if config.shortcut:
            for layer in (self.kl.quant_conv_mu, self.kl.decoder.blocks[-1]):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and SD of the latent."""
        mean, sd = self.kl.encode(x)
        return (mean if self.basis is None else mean + self.linear(x)), sd

    def decode(self, z: Tensor) -> Tensor:
        x = self.kl.decode(z)
        return x if self.basis is None else x + self.linear_back(z)

    def linear(self, x: Tensor) -> Tensor:
        """The shortcut alone."""
        return _mixed(space_to_depth(x, self.config.f), self.basis)

    def linear_back(self, z: Tensor) -> Tensor:
        return depth_to_space(_mixed(z, self.basis.T), self.config.f)


def local(network: nn.Module) -> None:
    """Every GroupNorm becomes a norm over the channels of one voxel."""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.GroupNorm):
            setattr(network, name, VoxelNorm(child.num_channels))
        else:
            local(child)


def cosines(f: int) -> np.ndarray:
    """(f^3, f^3): orthonormal cosines of a block, the lowest frequencies first."""
    place, frequency = np.arange(f), np.arange(f)[:, None]
    line = np.sqrt(np.where(frequency == 0, 1, 2) / f) * np.cos(np.pi * (place + 0.5) * frequency / f)
    order = sorted(product(range(f), repeat=3), key=lambda k: (sum(v * v for v in k), k))
    return np.stack([np.einsum("i,j,k->ijk", *(line[k] for k in ks)).ravel() for ks in order])


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    return F.conv3d(x, matrix.to(x.dtype).reshape(*matrix.shape, 1, 1, 1))
