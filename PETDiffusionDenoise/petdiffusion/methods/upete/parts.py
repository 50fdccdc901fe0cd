"""What training and sampling share: the Denoiser of the latent, what it is told, and the scan's own noise.

The network finds what a filter leaves: D(z, sigma) = W z + sigma F(...), W applied through the linear part of the
autoencoder. Without a CT W is the Gaussian filter whose width was best for this noise on validation scans. With a CT it
is Eq. 2 at the image's own resolution with projections that need no training: Q and K are the CT's HU, so that
logits are -(difference of HU)^2 / 2 h^2, B is that of a Gaussian, V is the PET. An untrained network is this filter.
Config `paper` has no filter, and EDM's coefficients in its place.

A normal-dose scan is x = c + n, noise n of level k1 and all; a perturbed one is c + n + n', n' of level g. The network
is asked for c, but only x is known. As n and n' are of one kind, what is to be expected of n is its share of both:

    E[x | z_t] = (1 - r) c + r z_t,      r = k1^2 / (k1^2 + g^2)

so the loss compares this blend with the encoded x, and c comes out without the noise of the scans that taught it. White
noise on the latent (the plain LDM) is of another kind: there is no such relation, k1 counts as 0, and the network is
asked for x itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...diffusion.parameterisation import Coefficients, Edm, broadcast
from ...networks.blocks import depth_to_space, space_to_depth
from .config import UpeteConfig
from .units import along_axes

REFERENCE_MM = 4.0
POISSON, GAUSSIAN = 0.0, 1.0
_HU, _FWHM, _RADIUS = 500.0, 2.3548, 3
FILTER_MM, FILTER_POWER = 3.9, 0.4
"""FWHM of W at noise of the level of a normal dose, and how it grows with the level: 4.9 mm at 1/4, 6 mm at 1/10 and
7 mm at 1/20 of the dose, where a Gaussian filter of three validation scans was best."""
WIDER, REACH, FARTHEST = 1.25, 2, 5
"""With a CT the filter may be wider: 8 mm at 1/10 of the dose on two validation scans, with h = 80 HU."""


@dataclass(frozen=True, eq=False)
class LatentDenoiser:
    """D(z, sigma): sigma is the SD of all noise in the latent that is to be removed."""

    network: Callable[..., Tensor]
    config: UpeteConfig

    def __call__(self, z: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        c, sigma = self.config, torch.as_tensor(sigma, dtype=z.dtype, device=z.device).expand(len(z))
        level = sigma / ((c.latent_noise or 1.0) * (c.normal_level or 1.0))
        given = cond.inputs(len(z))
        if not c.filtered:
            return self._whole(z, sigma, given)
        base = self._filtered(z, level, given)
        seen = torch.cat(((z - base) / broadcast(sigma, z), base / (c.sigma_data or 1.0)), 1)
        return base + broadcast(sigma, z) * self.network(seen, sigma.log() / 4, **given).to(z.dtype)

    def _whole(self, z: Tensor, sigma: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Without a filter, by EDM's coefficients: at little noise D is next to z itself. As sigma F alone the network
        would have to say the whole latent hundreds of times enlarged at the first steps, and learn nothing else."""
        k = Coefficients(*(broadcast(value, z) for value in Edm(self.config.sigma_data or 1.0)(sigma)))
        seen = torch.cat((k.input * z, torch.zeros_like(z)), 1)
        return k.skip * z + k.out * self.network(seen, sigma.log() / 4, **given).to(z.dtype)

    @torch.no_grad()
    def _filtered(self, z: Tensor, level: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """W z: decoded by the shortcut, filtered, encoded by it."""
        voxel_mm = REFERENCE_MM * given["vector"][:, 0].exp()
        width = FILTER_MM * level.clamp(0.5, 30) ** FILTER_POWER / voxel_mm
        u = self.network(z, part="linear_decode")
        blocks, there = given["images"][:, :-1], given["images"][:, -1].flatten(1)[:, 0] > 0.5
        ct = _HU * depth_to_space(blocks, round(blocks.shape[1] ** (1 / 3)))
        with torch.autocast(z.device.type, enabled=False):
            smooth = [
                guided(u[i : i + 1], ct[i : i + 1], width[i] * WIDER, self.config.hu)
                if seen
                else gaussian(u[i : i + 1], width[i])
                for i, seen in enumerate((there & self._looks).tolist())
            ]
        return self.network(torch.cat(smooth), part="linear_encode")

    @property
    def _looks(self) -> bool:
        return self.config.guided and self.config.hu > 0


def gaussian(image: Tensor, fwhm: Tensor) -> Tensor:
    """(1, 1, z, y, x) filtered along every axis; the width, in voxels, is a number on any device."""
    place = torch.arange(-_RADIUS, _RADIUS + 1, dtype=image.dtype, device=image.device)
    line = torch.exp(-0.5 * (place * _FWHM / fwhm.to(image)).square())
    return along_axes(image, [line / line.sum()] * 3)


def guided(image: Tensor, ct: Tensor, fwhm: Tensor, hu: float) -> Tensor:
    """(1, 1, z, y, x) as means over the voxels around that are of like HU; those within two and a bit voxels."""
    wide, seen = (F.pad(x, [REACH] * 6, mode="replicate") for x in (image, ct))
    sums, weights, size = torch.zeros_like(image), torch.zeros_like(image), image.shape[2:]
    for offset in product(range(-REACH, REACH + 1), repeat=3):
        away = sum(o * o for o in offset)
        if away > FARTHEST:
            continue
        cut = (slice(None), slice(None), *(slice(REACH + o, REACH + o + n) for o, n in zip(offset, size)))
        near = -0.5 * away * (_FWHM / fwhm.to(image)).square()
        weight = torch.exp(near - 0.5 * ((seen[cut] - ct) / hu).square())
        sums.addcmul_(weight, wide[cut])
        weights.add_(weight)
    return sums / weights


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
