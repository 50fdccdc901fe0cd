"""What training and sampling share: the Denoiser of the latent, what it is told, and the scan's own noise.

The network finds what a Gaussian filter leaves: D(z, sigma) = W z + sigma F(...), W the filter whose width was best
for this noise on validation scans, applied through the linear part of the autoencoder. Untrained, it is that filter.

A normal-dose scan is x = c + n, noise n of level k1 and all; a perturbed one is c + n + n', n' of level g. The network
is asked for c, but only x is known. As n and n' are of one kind, what is to be expected of n is its share of both:

    E[x | z_t] = (1 - r) c + r z_t,      r = k1^2 / (k1^2 + g^2)

so the loss compares this blend with the encoded x, and c comes out without the noise of the scans that taught it. White
noise on the latent (the plain LDM) is of another kind: there is no such relation, k1 counts as 0, and the network is
asked for x itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...diffusion.parameterisation import broadcast
from ...networks.blocks import space_to_depth
from .config import UpeteConfig

REFERENCE_MM = 4.0
POISSON, GAUSSIAN = 0.0, 1.0
_HU, _FWHM, _RADIUS = 500.0, 2.3548, 3
FILTER_MM, FILTER_POWER = 3.9, 0.4
"""FWHM of W at noise of the level of a normal dose, and how it grows with the level: 4.9 mm at 1/4, 6 mm at 1/10 and
7 mm at 1/20 of the dose, where a Gaussian filter of three validation scans was best."""


@dataclass(frozen=True, eq=False)
class LatentDenoiser:
    """D(z, sigma): sigma is the SD of all noise in the latent that is to be removed."""

    network: Callable[..., Tensor]
    config: UpeteConfig

    def __call__(self, z: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        c, sigma = self.config, torch.as_tensor(sigma, dtype=z.dtype, device=z.device).expand(len(z))
        level = sigma / ((c.latent_noise or 1.0) * (c.normal_level or 1.0))
        given = cond.inputs(len(z))
        base = self._filtered(z, level, given["vector"]) if c.filtered else torch.zeros_like(z)
        seen = torch.cat(((z - base) / broadcast(sigma, z), base / (c.sigma_data or 1.0)), 1)
        return base + broadcast(sigma, z) * self.network(seen, sigma.log() / 4, **given).to(z.dtype)

    def _filtered(self, z: Tensor, level: Tensor, vector: Tensor) -> Tensor:
        """W z: decoded by the shortcut, filtered, encoded by it."""
        voxel_mm = REFERENCE_MM * vector[:, 0].exp()
        width = FILTER_MM * level.clamp(0.5, 30) ** FILTER_POWER / voxel_mm
        u = self.network(z, part="linear_decode")
        with torch.autocast(z.device.type, enabled=False):
            smooth = torch.cat([gaussian(one[None], w) for one, w in zip(u, width)])
        return self.network(smooth, part="linear_encode")


def gaussian(image: Tensor, fwhm: Tensor) -> Tensor:
    """(1, 1, z, y, x) filtered along every axis; the width, in voxels, is a number on any device."""
    place = torch.arange(-_RADIUS, _RADIUS + 1, dtype=image.dtype, device=image.device)
    line = torch.exp(-0.5 * (place * _FWHM / fwhm.to(image)).square())
    line = line / line.sum()
    for axis in range(3):
        pads, shape = [0] * 6, [1, 1, 1, 1, 1]
        pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = _RADIUS
        shape[2 + axis] = -1
        image = F.conv3d(F.pad(image, pads, mode="replicate"), line.reshape(shape))
    return image


def total(g: Tensor | float, own: Tensor | float) -> Tensor | float:
    """Level of all noise to be removed."""
    return (own**2 + g**2) ** 0.5


def own_of(own: Tensor | float, kind: Tensor | float, config: UpeteConfig) -> Tensor | float:
    """The scan's own level where its noise can be told apart: where what is added is of the same kind."""
    return own * (1 - kind) * float(config.own_noise)


def blended(clean: Tensor, z: Tensor, g: Tensor, own: Tensor) -> Tensor:
    """E[x | z_t] out of the estimate of c."""
    r = broadcast(own**2 / (own**2 + g**2), z)
    return (1 - r) * clean + r * z


def told(ct: Tensor, voxel_mm: Tensor, kind: Tensor, f: int) -> Conditions:
    """The CT in blocks with a channel that says whether there is one (all NaN: none); the voxel's size, and which noise
    is to be removed."""
    numbers = torch.stack(((voxel_mm / REFERENCE_MM).log(), kind.to(voxel_mm)), 1)
    return Conditions(images=ct_blocks(ct, f), vector=numbers)


def ct_blocks(ct: Tensor, f: int) -> Tensor:
    there = (~ct.flatten(1).isnan().all(1)).to(ct.dtype)
    blocks = space_to_depth(torch.nan_to_num((ct / _HU).clamp(-1, 1)), f)
    return torch.cat((blocks, broadcast(there, blocks).expand_as(blocks[:, :1])), 1)
