"""Network units: activity over a smooth image, linear voxel by voxel, so that nothing at high SUV is lost or cut.

    u = x / s,      s = sqrt(m (G x + floor m))

m is the mean activity of the body and G a wide Gaussian. PET's noise grows about as the root of the activity around, so
in u it has one SD everywhere; the paper's min-max scaling would give muscle beside a hot bladder a hundredth of the
range. u does not depend on the unit of the PET.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...filters import FWHM, gaussian
from .config import UpeteConfig

_NOTHING = 1e-6
WARM = 0.5
"""Of the body's mean activity."""
_TRUNCATE = 3.0
Spacing = tuple[float, float, float]
"""(x, y, z), as in a Geometry; arrays are (z, y, x)."""


@dataclass(frozen=True, eq=False)
class Units:
    """`scale` is the activity that one unit stands for, an image above zero."""

    scale: np.ndarray

    def forward(self, activity: np.ndarray) -> np.ndarray:
        return np.asarray(activity, np.float32) / self.scale

    def inverse(self, u: np.ndarray) -> np.ndarray:
        return u * self.scale


def units_of(pet: np.ndarray, spacing_mm: Spacing, body: np.ndarray, config: UpeteConfig) -> Units:
    inside = body if body.any() else np.ones_like(body)
    mean = max(float(np.maximum(pet[inside], 0).mean(dtype=np.float64)), _NOTHING)
    around = np.maximum(smoothed(pet, spacing_mm, config.around_mm), 0)
    return Units(np.sqrt(mean * (around + config.floor * mean)).astype(np.float32))


def warm_of(pet: np.ndarray, spacing_mm: Spacing, body: np.ndarray, config: UpeteConfig) -> np.ndarray:
    """Where the noise is measured: the body without its coldest parts, where reconstructions keep noise down."""
    inside = body if body.any() else np.ones_like(body)
    around = smoothed(pet, spacing_mm, config.around_mm)
    warm = inside & (around > WARM * float(np.maximum(pet[inside], 0).mean(dtype=np.float64)))
    return warm if warm.any() else inside


def level_of(u: np.ndarray, spacing_mm: Spacing, warm: np.ndarray, config: UpeteConfig) -> float:
    """Noise level of an image in units: SD of what a narrow filter takes away. From the median, so that edges and
    lesions hardly count; levels of independent noises add in squares, as far as a reconstruction is linear."""
    away = u[warm] - smoothed(u, spacing_mm, config.level_mm)[warm]
    return 1.4826 * float(np.median(np.abs(away)))


def smoothed(image: np.ndarray, spacing_mm: Spacing, fwhm_mm: float) -> np.ndarray:
    return gaussian(np.asarray(image, np.float32), fwhm_mm, spacing_mm[::-1], mode="reflect", truncate=_TRUNCATE)


def smoothed_by(image: Tensor, spacing_mm: Spacing, fwhm_mm: float, device: str | torch.device) -> Tensor:
    """`smoothed` but for the borders, on a GPU where there is one: a processor is three times as fast without."""
    if torch.device(device).type == "cpu":
        return torch.from_numpy(smoothed(image.numpy(), spacing_mm, fwhm_mm))
    return convolved(image.to(device), spacing_mm, fwhm_mm).cpu()


def convolved(image: Tensor, spacing_mm: Spacing, fwhm_mm: float) -> Tensor:
    """(z, y, x) as `smoothed` does it."""
    lines = []
    for sigma in _sigmas(spacing_mm, fwhm_mm):
        reach = int(_TRUNCATE * sigma + 0.5)
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=image.dtype) / sigma).square())
        lines.append(line / line.sum())
    return along_axes(image[None, None], lines)[0, 0]


def along_axes(image: Tensor, lines: Sequence[Tensor]) -> Tensor:
    """(1, 1, z, y, x) with a line of odd length along each axis, continued by its edges."""
    for axis, line in enumerate(lines):
        pads, shape = [0] * 6, [1] * 5
        pads[4 - 2 * axis] = pads[5 - 2 * axis] = len(line) // 2
        shape[2 + axis] = -1
        image = F.conv3d(F.pad(image, pads, mode="replicate"), line.reshape(shape).to(image))
    return image


def _sigmas(spacing_mm: Spacing, fwhm_mm: float) -> list[float]:
    """In voxels, (z, y, x)."""
    return [fwhm_mm / FWHM / step for step in reversed(spacing_mm)]
