"""SUVmean, SUVmax and SUVpeak of a region, always on the unclipped image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..volume import Geometry
from .checks import bounding_box

PEAK_ML = 1.0
_FINENESS_MM = 0.2
"""Voxels are divided at least this finely to find the part of each that lies in the sphere."""


@dataclass(frozen=True)
class Uptake:
    """Numbers of one region in one image."""

    mean: float
    sd: float
    maximum: float
    peak: float


def uptake(image: np.ndarray, mask: np.ndarray, geometry: Geometry) -> Uptake:
    values = image[mask].astype(np.float64)
    sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return Uptake(float(values.mean()), sd, float(values.max()), peak(image, mask, geometry))


def peak(image: np.ndarray, mask: np.ndarray, geometry: Geometry, volume_ml: float = PEAK_ML) -> float:
    """SUVpeak: the largest mean in a sphere of 1 cm^3 (12.4 mm across) whose centre is a voxel of the mask.

    Voxels count by the part of them that lies in the sphere. The sphere may reach beyond the mask; where it reaches
    beyond the image, the mean is over the part inside.
    """
    kernel = sphere(geometry.spacing, volume_ml)
    reach = tuple(n // 2 for n in kernel.shape)
    box = bounding_box(mask, reach)
    local = image[box].astype(np.float64)
    weight = _spread(np.ones_like(local), kernel)
    means = _spread(local, kernel) / weight
    return float(means[mask[box]].max())


@lru_cache(maxsize=32)
def sphere(spacing: tuple[float, float, float], volume_ml: float = PEAK_ML) -> np.ndarray:
    """Weights (z, y, x) of a sphere centred on a voxel: the part of each voxel inside it, summing to 1."""
    radius = (3.0 * volume_ml * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    squares = []
    for step in spacing[::-1]:
        reach = max(int(np.ceil(radius / step - 0.5)), 0)
        fine = max(int(np.ceil(step / _FINENESS_MM)), 4)
        voxels = np.arange(-reach, reach + 1)[:, None]
        squares.append(((voxels + (np.arange(fine) + 0.5) / fine - 0.5) * step) ** 2)
    inside = _count_inside(squares, radius**2)
    inside.setflags(write=False)
    return inside


def _count_inside(squares: list[np.ndarray], limit: float) -> np.ndarray:
    """Points of the fine grid with z^2 + y^2 + x^2 <= limit, counted per voxel; x is counted without a grid."""
    z, y, x = squares
    x_sorted = [np.sort(voxel) for voxel in x]
    room = limit - z[:, :, None, None] - y[None, None, :, :]
    counts = np.stack([np.searchsorted(voxel, room, side="right") for voxel in x_sorted], axis=-1)
    total = counts.sum(axis=(1, 3)).astype(np.float64)
    return total / total.sum()


def _spread(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    from scipy import signal

    return signal.oaconvolve(image, kernel, mode="same")
