"""Patches of images: continued beyond the volume's edge, with their place in it, and put together into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .task import Batch


def continued(image: Tensor, shape: Sequence[int]) -> Tensor:
    """(z, y, x) of this shape: what is missing at the far ends is the edge repeated, which is air."""
    z, y, x = (int(wanted - n) for wanted, n in zip(shape, image.shape))
    if not (z or y or x):
        return image
    return torch.nn.functional.pad(image[None, None], [0, x, 0, y, 0, z], mode="replicate")[0, 0]


def fitted(image: Tensor, size: int, mirrored: bool) -> Tensor:
    """(1, size, size, size) of a cube that may end early, mirrored left to right or not."""
    return continued(image.flip(2) if mirrored else image, (size, size, size))[None]


def coordinates(shape: np.ndarray, corner: np.ndarray, size: int, mirrored: bool) -> Tensor:
    """z, y, x in [-1, 1] over the whole volume, as the engine makes them at inference."""
    axes = [
        torch.from_numpy((2 * (c + np.arange(size)) / max(n - 1, 1) - 1).astype(np.float32))
        for n, c in zip(shape, corner)
    ]
    if mirrored:
        axes[2] = -axes[2].flip(0)  # where the patch lies in the mirrored patient
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def collate(patches: Sequence[Mapping[str, Tensor]]) -> Batch:
    return {name: torch.stack([p[name] for p in patches]) for name in patches[0]}
