"""Matched filters for lesions of several sizes, and what they make of correlated noise.

A filter is a Gaussian minus one twice as wide: a constant or a slope gives nothing, and a spot of its own size gives
more than any other. Noise is taken as white noise smoothed by a Gaussian, so that its variance after the filter is a
product over the axes of sums over one axis, exact on the voxel grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..filters import FWHM, gaussian
from ..threads import at_once

SIZES_MM = (6.0, 8.5, 12.0, 17.0, 24.0)
"""FWHM of the spots looked for. A sphere of 10 mm in a scanner of 6 mm resolution is a spot of 8 mm."""
SURROUND = 2.0
"""Width of what is taken off, in widths of the spot."""
_TRUNCATE = 3.0
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Filter:
    """The filter for spots of one size on one grid; axes are (z, y, x)."""

    size_mm: float
    spacing: Triple

    @property
    def widths(self) -> tuple[float, float]:
        """FWHM of the spot, and of what is taken off."""
        return self.size_mm, SURROUND * self.size_mm

    def __call__(self, image: np.ndarray, mode: str = "constant") -> np.ndarray:
        """How much higher the image is in the spot than around it. Beyond the border it is zero, unless told."""
        spot, around = (gaussian(image, width, self.spacing, mode, _TRUNCATE) for width in self.widths)
        return spot - around

    def noise_sd(self, fwhm_mm: Triple) -> float:
        """SD of the filtered noise, for noise of SD 1 that is correlated as `correlation` says."""
        spot, around = ([_kernel(width, step) for step in self.spacing] for width in self.widths)

        def covariance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
            return float(np.prod([_double_sum(i, j, w, s) for i, j, w, s in zip(a, b, fwhm_mm, self.spacing)]))

        return float(np.sqrt(covariance(spot, spot) - 2 * covariance(spot, around) + covariance(around, around)))

    @cached_property
    def height(self) -> float:
        """What it gives at the top of a spot of its own size and of height 1."""
        spot = np.ones((1, 1, 1))
        for axis, step in enumerate(self.spacing):
            one = _kernel(self.size_mm, step)
            spot = spot * (one / one.max()).reshape([-1 if a == axis else 1 for a in range(3)])
        return float(self(spot)[tuple(n // 2 for n in spot.shape)])


def filtered(filters: Sequence[Filter], image: np.ndarray, mode: str = "constant") -> list[np.ndarray]:
    """`filter(image, mode)` of each; what is around one spot is another's spot, so each Gaussian is made once."""
    sizes = sorted({size for one in filters for size in one.widths})
    made = dict(zip(sizes, at_once(lambda size: gaussian(image, size, filters[0].spacing, mode, _TRUNCATE), sizes)))
    return [made[one.widths[0]] - made[one.widths[1]] for one in filters]


def correlation(distance_mm: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Of white noise that was smoothed by a Gaussian of this width; of white noise itself for a width of zero."""
    return np.exp(-np.square(distance_mm * FWHM / max(fwhm_mm, 1e-6)) / 4)


def _kernel(fwhm_mm: float, step: float) -> np.ndarray:
    """One axis of the Gaussian as `gaussian` samples it."""
    sigma = fwhm_mm / FWHM / step
    radius = int(_TRUNCATE * sigma + 0.5)
    values = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return values / values.sum()


def _double_sum(a: np.ndarray, b: np.ndarray, fwhm_mm: float, step: float) -> float:
    """Over all pairs, a_i b_j times the correlation between i and j, both counted from their middles."""
    pairs = np.convolve(a, b)  # the kernels are symmetric
    lags = np.arange(pairs.size) - pairs.size // 2
    return float(np.sum(pairs * correlation(lags * step, fwhm_mm)))


def correlated_noise(shape: tuple[int, int, int], spacing: Triple, fwhm_mm: Triple, rng: np.random.Generator
                     ) -> np.ndarray:
    """Gaussian noise of SD 1 with exactly this correlation; it goes on at the opposite border."""
    spectrum = np.ones((1, 1, 1))
    for axis, (n, step, fwhm) in enumerate(zip(shape, spacing, fwhm_mm)):
        lags = np.minimum(np.arange(n), n - np.arange(n)) * step
        power = np.maximum(np.fft.fft(correlation(lags, fwhm)).real, 0)
        spectrum = spectrum * (power / power.mean()).reshape([-1 if a == axis else 1 for a in range(3)])
    white = np.fft.fftn(rng.standard_normal(shape))
    return np.fft.ifftn(white * np.sqrt(spectrum)).real.astype(np.float32)
