"""How often noise alone gives so high a value, of any size and at any place in a region as large as a lesion.

Noise with the scan's correlation is simulated, filtered as the scan is, and cut into regions; the distribution of the
regions' highest values is the null distribution. Beyond what was simulated it is carried on as A exp(-u^2 / 2): the
maximum of a smooth field falls as u^2 times that (Worsley et al., Hum Brain Mapp 1996;4:58), that of values on a grid
a little faster. A whole scan is as many regions as fit into the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .kernels import Filter, Triple, correlated_noise, filtered

REGION_MM = 12.0
"""Side of the region: a small lesion and its blur."""
_SIMULATED_MM, _LEAST_VOXELS, _TIMES = 240.0, 48, 2
_SEED = 0x7257
_TAIL = 0.01


@dataclass(frozen=True, eq=False)
class Chance:
    """Chances of the highest absolute z in one region, and in as many regions as a scan has."""

    highest: np.ndarray
    """Of every simulated region, in rising order."""
    region_voxels: tuple[int, int, int]

    def in_region(self, z: np.ndarray | float) -> np.ndarray:
        u = np.abs(np.atleast_1d(np.asarray(z, float)))
        n = self.highest.size
        above = n - np.searchsorted(self.highest, u, side="left")
        start = self.highest[int((1 - _TAIL) * n)]
        tail = -np.expm1(np.log1p(-_TAIL) * np.exp((start**2 - np.square(np.maximum(u, start))) / 2))
        return np.where(u > start, tail, (above + 1) / (n + 1))

    def in_scan(self, z: np.ndarray | float, regions: float) -> np.ndarray:
        return -np.expm1(max(regions, 1.0) * np.log1p(-np.minimum(self.in_region(z), 1 - 1e-12)))

    def threshold(self, p: float) -> float:
        """The z that this part of the regions passes by chance."""
        grid = np.linspace(0, 12, 4801)
        return float(grid[np.searchsorted(-self.in_region(grid), -p)])


def chance(filters: Sequence[Filter], fwhm_mm: Triple) -> Chance:
    """The same for the same grid and noise: the simulation's seed is fixed."""
    spacing = filters[0].spacing
    side = tuple(max(1, round(REGION_MM / step)) for step in spacing)
    shape = tuple(s * max(2, round(max(_SIMULATED_MM / step, _LEAST_VOXELS) / s)) for s, step in zip(side, spacing))
    rng = np.random.default_rng(_SEED)
    found = [_highest(filters, correlated_noise(shape, spacing, fwhm_mm, rng), fwhm_mm, side) for _ in range(_TIMES)]
    return Chance(np.sort(np.concatenate(found)), side)


def _highest(filters: Sequence[Filter], noise: np.ndarray, fwhm_mm: Triple, side: tuple[int, ...]) -> np.ndarray:
    """Of every region, over all sizes and both signs."""
    heights = [np.abs(spots) / np.float32(one.noise_sd(fwhm_mm))
               for one, spots in zip(filters, filtered(filters, noise, "wrap"))]  # fmt: skip
    highest = np.maximum.reduce(heights)
    parts = [v for n, s in zip(noise.shape, side) for v in (n // s, s)]
    return highest.reshape(parts).max(axis=(1, 3, 5)).ravel()
