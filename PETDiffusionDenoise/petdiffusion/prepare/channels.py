"""What a volumetric network is told of a scan: whitened images, anatomy, and a few numbers. Torch, any batch.

Used by every method that works on the whitened residual, in training and at inference alike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

IMAGES = 4
"""whitened low-count image, root of the base, CT, MR; coordinates come after them."""
NUMBERS = 4
"""log noise level, log voxel size, CT there, MR there."""


def images(low: Tensor, base: Tensor, root: Tensor, level: Tensor, root_mean: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
    """(B, 4, z, y, x) from (B, 1, z, y, x) images, voxel by voxel: a patch of them is them of the patch.

    `level` and `root_mean` (B,) are of the whole scan. An image that is missing is all NaN and becomes zero.
    """
    scale = root * level.reshape(-1, 1, 1, 1, 1)
    body = root / root_mean.reshape(-1, 1, 1, 1, 1)
    return torch.cat(((low - base) / scale, body - 1, _ct(ct), _mr(mr)), 1)


def numbers(level: Tensor, voxel_mm: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
    """(B, 4), each about -1 to 1."""
    there = [(~image.flatten(1).isnan().all(1)).float() for image in (ct, mr)]
    return torch.stack((level.log(), (voxel_mm / 3.0).log(), *there), 1)


def _ct(image: Tensor) -> Tensor:
    """HU to about -1 (air) to 1 (dense bone), soft tissue spread around 0."""
    return torch.nan_to_num((image / 500).clamp(-1, 1))


def _mr(image: Tensor) -> Tensor:
    """Images come scaled to their 99th percentile."""
    return torch.nan_to_num(image.clamp(0, 1.5) - 0.5)


def mr_scaled(image: Tensor) -> Tensor:
    """An MR to its 0 to 99th percentile, over the whole volume."""
    known = image[torch.isfinite(image)]
    if known.numel() == 0:
        return image
    top = torch.quantile(known[:: max(1, math.ceil(known.numel() / 1_000_000))].float(), 0.99)
    return image / top.clamp_min(1e-6)
