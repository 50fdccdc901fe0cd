"""The networks: E_CT, the attention UNet of the latent, and all of uPETe as one set of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ...networks.blocks import VoxelNorm, convolution, depth_to_space, half_size, space_to_depth
from ...networks.critic import judged, patch_critic
from ...networks.unet import UNet, UNetConfig
from .attention import WINDOW, GuidedAttention
from .autoencoder import Autoencoder, AutoencoderConfig
from .config import UpeteConfig

AUTOENCODER, LEVELS = "autoencoder.", 1
"""Levels of the UNet with attention, the finest first."""
HALF_PRECISION = ("denoise", "judge")
"""Parts that may run in it."""


class CtEncoder(nn.Module):
    """E_CT: the CT in blocks of f^3 voxels, and a channel that says whether there is one to the grid of each level."""

    def __init__(self, inside: int, channels: int, levels: int) -> None:
        super().__init__()
        self.first = convolution(3, inside, channels)
        self.then = nn.ModuleList(convolution(3, channels, channels) for _ in range(levels))
        self.norms = nn.ModuleList(VoxelNorm(channels) for _ in range(levels))

    def forward(self, ct: Tensor) -> list[Tensor]:
        h, found = self.first(ct), []
        for norm, layer in zip(self.norms, self.then):
            h = half_size(h) if found else h
            h = h + layer(silu(norm(h)))
            found.append(h)
        return found


class GuidedUNet(UNet):
    """The UNet with CT-guided attention after the blocks of the first levels on the way down, and before the end."""

    def __init__(self, config: UNetConfig, ct_channels: int, guide: int, heads: int) -> None:
        super().__init__(config)
        sizes = [config.channels * m for m in config.multipliers]
        self.anatomy = CtEncoder(ct_channels, guide, LEVELS)
        self.guided = nn.ModuleList(GuidedAttention(size, guide, heads) for size in sizes[:LEVELS])
        self.across = GuidedAttention(sizes[0], guide, heads, shifted=True)

    def forward(self, x: Tensor, noise: Tensor | None = None, images: Tensor | None = None,
                context: Tensor | None = None, vector: Tensor | None = None) -> Tensor:  # fmt: skip
        emb, guides, skips = self.embedding(noise, vector), self.anatomy(images), []
        h = self.first(x)
        for level, blocks in enumerate(self.down):
            h = self.sink[level - 1](h, emb) if level else h
            for block in blocks:
                h = block(h, emb)
                skips.append(h)
            h = self.guided[level](h, guides[level]) if level < LEVELS else h
        h = self._bottleneck(h, emb, None)
        for level, blocks in enumerate(self.up):
            h = self.rise[level - 1](h, emb) if level else h
            for block in blocks:
                h = block(torch.cat((h, skips.pop()), 1), emb)
        h = self.across(h, guides[0])
        return self.last(silu(self.norm(h)))


class PlainUNet(UNet):
    """Without a place for the CT: it is given one and does not look."""

    def forward(self, x: Tensor, noise: Tensor | None = None, images: Tensor | None = None,
                context: Tensor | None = None, vector: Tensor | None = None) -> Tensor:  # fmt: skip
        return super().forward(x, noise, vector=vector)


class UpeteNetwork(nn.Module):
    """Called as the latent's network, or with `part` as one of the others (so that a training sees one module)."""

    def __init__(self, config: UpeteConfig) -> None:
        super().__init__()
        size = AutoencoderConfig.of(config.autoencoder)
        self.f, self.autoencoder = size.f, Autoencoder(size)
        diffuses = config.stage == "diffusion"
        self.denoiser = _unet(config, self.f**3 + 1) if diffuses else None
        self.discriminator = None if diffuses else patch_critic(8)
        if diffuses:
            self.autoencoder.requires_grad_(False)

    @property
    def multiple(self) -> int:
        """Of the latent's sizes."""
        return latent_multiple(isinstance(self.denoiser, GuidedUNet), self.denoiser.config)

    @property
    def last(self) -> nn.Module:
        return self.denoiser.last

    def forward(self, x: Tensor, *args: Any, part: str = "denoise", **kwargs: Any) -> Any:
        if part in HALF_PRECISION:
            return getattr(self, f"_{part}")(x, *args, **kwargs)
        with torch.autocast(x.device.type, enabled=False):  # what a hot voxel is worth needs all digits
            return getattr(self, f"_{part}")(x.float(), *args, **kwargs)

    def _denoise(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.denoiser(x, *args, **kwargs)

    def _encode(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.autoencoder.encode(u)

    def _decode(self, z: Tensor) -> Tensor:
        return self.autoencoder.decode(z)

    def _linear_encode(self, u: Tensor) -> Tensor:
        return self.autoencoder.linear(u)

    def _linear_decode(self, z: Tensor) -> Tensor:
        return self.autoencoder.linear_back(z)

    def _encode_blocks(self, blocks: Tensor) -> Tensor:
        """On the latent's grid, as patches are cut there."""
        return self.autoencoder.encode(depth_to_space(blocks, self.f))[0]

    def _decode_blocks(self, z: Tensor) -> Tensor:
        return space_to_depth(self.autoencoder.decode(z), self.f)

    def _judge(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the autoencoder and of the critic."""
        return judged(self.discriminator, real, made)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Where a training begins: all weights, or those of a trained autoencoder alone."""
        own = self.state_dict()
        known = {name: value for name, value in weights.items() if name in own}
        wrong = [name for name, value in known.items() if value.shape != own[name].shape]
        missing = [name for name in own if name.startswith(AUTOENCODER) and name not in known]
        if wrong or missing:
            raise RuntimeError(f"{len(wrong)} parts do not fit and {len(missing)} of the autoencoder are missing: "
                               f"{', '.join((wrong + missing)[:2])}")  # fmt: skip
        self.load_state_dict({**own, **known})


def latent_multiple(guided: bool, size: UNetConfig) -> int:
    """Windows lie on the latent's lattice at every level that has them."""
    return math.lcm(WINDOW * 2 ** (LEVELS - 1) if guided else 1, size.multiple)


def _unet(config: UpeteConfig, ct_channels: int) -> UNet:
    size = UNetConfig.from_json(config.network)
    return GuidedUNet(size, ct_channels, config.guide_channels, config.heads) if config.guided else PlainUNet(size)
