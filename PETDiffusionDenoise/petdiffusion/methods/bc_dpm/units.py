"""Network units: activity divided by a smooth image, so that PET's noise is alike everywhere; exact both ways.

    u = x / s,      s = unit * m^(1 - power) * (G x + floor m)^power

m is the mean activity of the body, G a wide Gaussian within the slice. PET's noise grows about as the root of the
activity around, so with power 0.5 it has one standard deviation in u: in the liver, in the bladder and in muscle the
same step of the chain removes it. The map is linear voxel by voxel and nothing is cut off: a hot voxel is a larger u,
and the mean of u is the mean of the activity. s follows a scaled image, so u does not depend on the unit of the PET.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...filters import gaussian
from .config import BcDpmConfig

_NOTHING = 1e-6
"""Mean activity that an empty image is taken to have."""


@dataclass(frozen=True, eq=False)
class Units:
    """`scale` is the activity that one network unit stands for, an image (z, y, x) above zero."""

    scale: np.ndarray

    def forward(self, activity: np.ndarray) -> np.ndarray:
        return np.asarray(activity, np.float32) / self.scale

    def inverse(self, u: np.ndarray) -> np.ndarray:
        return u * self.scale


def units_of(
    pet: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, config: BcDpmConfig,
    each_slice: bool = False,
) -> Units:  # fmt: skip
    """Units of a scan. `spacing_mm` is (x, y, z), arrays are (z, y, x).

    `each_slice`: slices that were scanned one by one, with as many counts each, have a mean of their own.
    """
    mean = body_mean(pet, body, each_slice)
    around = _within_slices(np.asarray(pet, np.float32), spacing_mm, config.around_mm)
    scale = (np.maximum(around, 0) + config.floor * mean) ** config.power * mean ** (1 - config.power)
    return Units((config.unit * scale).astype(np.float32))


def body_mean(pet: np.ndarray, body: np.ndarray, each_slice: bool = False) -> np.ndarray:
    """Mean activity of the body (1, 1, 1), or of every slice's part of it (z, 1, 1); of the whole where it is empty."""
    inside = body if body.any() else np.ones_like(body)
    axes = (1, 2) if each_slice else (0, 1, 2)
    count = inside.sum(axes, keepdims=True)
    total = np.where(inside, np.maximum(pet, 0), 0).sum(axes, keepdims=True, dtype=np.float64)
    whole = total.sum() / count.sum()
    return np.maximum(np.where(count > 0, total / np.maximum(count, 1), whole), max(1e-3 * whole, _NOTHING))


def _within_slices(pet: np.ndarray, spacing_mm: tuple[float, float, float], fwhm_mm: float) -> np.ndarray:
    return gaussian(pet, (0.0, fwhm_mm, fwhm_mm), spacing_mm[::-1], mode="reflect")
