"""What the generators have beside U-nets: images weighed by place, layers of a transformer, and frequencies."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import Attention, VoxelNorm, convolution

REACH = 3.0
"""SDs of a Gaussian after which it is nothing."""


class Fusion(nn.Module):
    """One image out of several: a sum by weights that change from place to place in the scan (LA-GAN).

    The first image counts as it is at first, the others are nothing.
    """

    def __init__(self, images: int, regions: int) -> None:
        super().__init__()
        weights = torch.zeros(images, regions, regions, regions)
        weights[0] = 1
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """`coordinates`: z, y and x of each voxel as images, in [-1, 1] over the whole scan."""
        return (images * self.at(coordinates).to(images.dtype)).sum(1, keepdim=True)

    def at(self, coordinates: Tensor) -> Tensor:
        """The weights (B, images, z, y, x), linear between places. Axis by axis: coordinates are those of a grid."""
        z, y, x = (self.hats(axis) for axis in (coordinates[:, 0, :, 0, 0], coordinates[:, 1, 0, :, 0],
                                                coordinates[:, 2, 0, 0, :]))  # fmt: skip
        along = torch.einsum("nijk,bwk->bnijw", self.weights, x)
        along = torch.einsum("bnijw,bhj->bnihw", along, y)
        return torch.einsum("bnihw,bdi->bndhw", along, z)

    def hats(self, axis: Tensor) -> Tensor:
        """(B, voxels, regions): how much each place has to say, 1 in all."""
        last = self.weights.shape[-1] - 1
        place = ((axis.float().clamp(-1, 1) + 1) / 2 * last)[..., None]
        return (1 - (place - torch.arange(last + 1, device=axis.device)).abs()).clamp_min(0)


class Layer(nn.Module):
    """Of a transformer: every place of a patch looks at all others, then each thinks by itself."""

    def __init__(self, channels: int, head_channels: int, expansion: int = 4) -> None:
        super().__init__()
        self.attention = Attention(3, channels, head_channels, reach=8)
        self.norm = VoxelNorm(channels)
        self.into = convolution(3, channels, expansion * channels, kernel=1)
        self.out = convolution(3, expansion * channels, channels, kernel=1, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        return x + self.out(F.gelu(self.into(self.norm(x))))


def low_frequencies(image: Tensor, sd: float) -> Tensor:
    """(B, C, z, y, x) through a Gaussian of this SD in voxels, its borders repeated."""
    reach = math.ceil(REACH * sd)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype) / sd).square())
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, -1)
    for axis in (2, 3, 4):
        lines = image.movedim(axis, -1)
        flat = F.pad(lines.movedim(1, -2).flatten(0, 2), (reach, reach), mode="replicate")
        flat = F.conv1d(flat, kernel, groups=image.shape[1])
        image = flat.unflatten(0, (lines.shape[0], *lines.shape[2:4])).movedim(-2, 1).movedim(-1, axis)
    return image


def spectral_distance(made: Tensor, real: Tensor) -> Tensor:
    """Mean modulus of the difference of spectra, each scaled so that white noise of SD 1 has power 1."""
    return torch.fft.rfftn((made - real).float(), dim=(2, 3, 4), norm="ortho").abs().mean()
