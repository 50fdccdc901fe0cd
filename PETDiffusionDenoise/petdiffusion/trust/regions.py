"""Totals: does the mean of a lesion, an organ or the whole body differ by more than the scan's noise lets it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kernels import Triple, correlation
from .noise import NoiseModel


@dataclass(frozen=True)
class Change:
    """Of a region's mean, output minus scan."""

    low: float
    output: float
    sd: float
    """Of the scan's mean, from its noise alone."""

    @property
    def z(self) -> float:
        return (self.output - self.low) / self.sd if self.sd > 0 else 0.0

    @property
    def percent(self) -> float | None:
        return 100 * (self.output - self.low) / self.low if abs(self.low) > 1e-12 else None

    @property
    def p(self) -> float:
        """Two-sided."""
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(self.z)))


def change_of(low: np.ndarray, output: np.ndarray, mask: np.ndarray, noise: NoiseModel, spacing: Triple) -> Change:
    """`mask` may hold weights. Arrays of one shape, cut to the region's surroundings for speed."""
    weights = mask.astype(np.float64)
    total = weights.sum()
    variance = sum_variance(weights * noise.sd, noise.fwhm_mm, spacing)
    return Change(
        float((low * weights).sum() / total), float((output * weights).sum() / total), float(np.sqrt(variance) / total)
    )


def sum_variance(scaled: np.ndarray, fwhm_mm: Triple, spacing: Triple) -> float:
    """Variance of the sum of noise whose SD in each voxel is `scaled`: the sum of C(i - j) s_i s_j over all pairs."""
    from scipy.ndimage import correlate1d

    spread = scaled
    for axis, (fwhm, step) in enumerate(zip(fwhm_mm, spacing)):
        reach = int(np.ceil(2.0 * fwhm / step))
        if reach and scaled.shape[axis] > 1:
            lags = np.arange(-reach, reach + 1) * step
            spread = correlate1d(spread, correlation(lags, fwhm), axis=axis, mode="constant")
    return float((spread * scaled).sum())
