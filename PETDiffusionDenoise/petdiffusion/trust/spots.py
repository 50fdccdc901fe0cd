"""Where the output departs from the scan by more than its noise: a z-map for spots of every size, and its peaks.

z = (filter applied to (scan - output) / SD) / SD of that under noise. Reconstructed PET noise is skewed: high values
reach further than low ones. The cube root of Wilson and Hilferty makes a skewed variable normal again. How skewed the
filtered noise is goes with its relative SD; the factor is told from the quantiles of the smallest sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..filters import gaussian
from ..threads import at_once
from .kernels import SIZES_MM, Filter, Triple, filtered
from .noise import FLOOR, NoiseModel

SKEW_MM, MOST_SKEW_MM = 28.0, 40.0
"""Skewness of filtered noise = its relative SD x this / size; the first where a scan is too small to tell its own."""
SKEW_SHARE = 0.75
"""Of the skewness that the quantiles show: local differences of the noise's level add to it. Chosen on digital
patients of the validation split, so that of regions without a change 1 % lie beyond the threshold for 1 %."""
_FROM_SIZES, _TAIL, _LEAST_VALUES = 2, 0.05, 1000
_MAD = 1.4826
LEAST_SPREAD = 1.05
"""The noise is never taken to be smaller than the model says (and its local differences ask for this much more), only
larger where the residual shows it."""


@dataclass(frozen=True, eq=False)
class ZMap:
    """Of one size. Positive where the scan has more than the output."""

    filter: Filter
    z: np.ndarray
    spread: float
    """Robust SD of z in the body before it was divided by it; about 1 where the residual is noise."""
    sd_unit: float
    """SD of the height of a fitted spot, in the noise's local SD."""
    skew_mm: float


@dataclass(frozen=True, eq=False)
class Peak:
    """One place in (z, y, x) voxels of the map's grid."""

    voxel: tuple[int, int, int]
    size_mm: float
    z: float
    height_sd: float
    """SD of a spot's height here, in the image's unit, under noise alone."""


def usable_sizes(spacing: Triple, shape: tuple[int, int, int]) -> list[Filter]:
    """Spots that a grid can show and an image can hold."""
    extent = max(n * step for n, step in zip(shape, spacing))
    return [Filter(size, spacing) for size in SIZES_MM if size >= 1.2 * max(spacing) and size <= extent / 4]


def z_maps(low: np.ndarray, output: np.ndarray, body: np.ndarray, noise: NoiseModel, filters: Sequence[Filter]
           ) -> list[ZMap]:
    """Zero outside the body."""
    sd = np.maximum(noise.sd, np.float32(1e-30))
    residual = np.where(body, (low - output) / sd, 0).astype(np.float32)
    floor = np.float32(FLOOR * max(float(np.abs(output[body]).mean()), 1e-30))
    spots = filtered(filters, residual)
    raw = at_once(lambda found: _standardised(*found, output, noise, floor), list(zip(filters, spots)))
    skew_mm = _skew(filters, raw, body)
    return at_once(lambda found: _z_map(found[0], *found[1], body, noise, skew_mm), list(zip(filters, raw)))


def _standardised(one: Filter, spots: np.ndarray, output: np.ndarray, noise: NoiseModel, floor: np.float32
                  ) -> tuple[np.ndarray, np.ndarray]:
    """z before its skewness is taken away, and the relative SD of the filtered noise."""
    unit = np.float32(one.noise_sd(noise.fwhm_mm))
    mean = np.maximum(gaussian(output, one.size_mm, one.spacing), 0) + floor
    return spots / unit, unit * noise.sd / mean


def _skew(filters: Sequence[Filter], raw: Sequence[tuple[np.ndarray, np.ndarray]], body: np.ndarray) -> float:
    """A skewness g moves the quantiles at -u and +u by g (u^2 - 1) / 6 both (Cornish and Fisher)."""
    from scipy.special import ndtri

    u = float(-ndtri(_TAIL))
    found = []
    for one, (z, relative) in zip(filters[:_FROM_SIZES], raw):
        low, high = np.quantile(z[body], [_TAIL, 1 - _TAIL])
        independent = body.sum() * np.prod(one.spacing) / (1.2 * one.size_mm) ** 3
        if independent < _LEAST_VALUES or high <= low:
            return SKEW_MM
        skew = (high + low) / (high - low) * 6 * u / (u * u - 1)
        found.append(skew / float(relative[body].mean()) * one.size_mm)
    return float(np.clip(SKEW_SHARE * np.mean(found), 0.0, MOST_SKEW_MM))


def _z_map(one: Filter, z: np.ndarray, relative: np.ndarray, body: np.ndarray, noise: NoiseModel, skew_mm: float
           ) -> ZMap:
    z = unskewed(z, relative * np.float32(skew_mm / one.size_mm)) * body
    spread = max(_MAD * float(np.median(np.abs(z[body]))), LEAST_SPREAD)
    unit = one.noise_sd(noise.fwhm_mm)
    return ZMap(one, z / np.float32(spread), spread, spread * unit / one.height, skew_mm)


def unskewed(z: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """A standardised gamma variable of this skewness made normal (Wilson and Hilferty 1931)."""
    g = np.clip(skew, 1e-3, 2.0).astype(np.float32)
    root = np.cbrt(np.maximum(1 + g * z / 2, 0))
    return (root - 1 + g * g / 36) * (6 / g)


def strongest(maps: Sequence[ZMap]) -> tuple[np.ndarray, np.ndarray]:
    """The z farthest from zero over all sizes, and the index of its map."""
    best, which = maps[0].z.copy(), np.zeros(maps[0].z.shape, np.int8)
    for i, one in enumerate(maps[1:], 1):
        more = np.abs(one.z) > np.abs(best)
        best[more], which[more] = one.z[more], i
    return best, which


def peaks(maps: Sequence[ZMap], noise: NoiseModel, threshold: float, most: int) -> list[Peak]:
    """Local extremes beyond the threshold, the strongest first; of two within one spot, the stronger."""
    from scipy.ndimage import maximum_filter

    best, which = strongest(maps)
    height = np.abs(best)
    tops = (height > threshold) & (height == maximum_filter(height, 3))
    places = np.argwhere(tops)
    places = places[np.argsort(-height[tops], kind="stable")]
    spacing = np.array(maps[0].filter.spacing)
    kept: list[Peak] = []
    for place in places:
        one = maps[which[tuple(place)]]
        if len(kept) == most:
            break
        if any(_within(place, other, spacing, max(one.filter.size_mm, other.size_mm)) for other in kept):
            continue
        z, sd = float(best[tuple(place)]), float(noise.sd[tuple(place)]) * one.sd_unit
        kept.append(Peak(tuple(int(v) for v in place), one.filter.size_mm, z, sd))
    return kept


def _within(place: np.ndarray, other: Peak, spacing: np.ndarray, reach_mm: float) -> bool:
    return float(np.linalg.norm((place - other.voxel) * spacing)) < reach_mm
