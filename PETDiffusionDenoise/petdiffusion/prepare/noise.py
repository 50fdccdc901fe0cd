"""How noisy a PET is, read from the image itself.

PET noise is correlated over several millimetres, so estimators built on the finest details (wavelet MAD,
Laplacian) see a fraction of it. Here second differences d = (x[p-h] - 2 x[p] + x[p+h]) / sqrt(6) are taken
over a lag h beyond the correlation; linear gradients of activity cancel. For noise of variance s^2 and
autocorrelation r, E[d^2] = s^2 (6 - 8 r(h) + 2 r(2h)) / 6, which is s^2 once r has died out. The width of the
correlation follows from a second, short lag. Means over blocks and medians over axes keep out edges and
lesions; where most blocks hold structure (the brain), the smoothest of similar activity speak for the rest.
Everything scales with the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..filters import FWHM
from ..threads import at_once
from ..volume import Volume
from .mask import bounding_box

BLOCK_MM, FAR_MM = 20.0, 12.0
LONGEST_FWHM_MM = 12.0
MOST_GROUPS, SPREAD = 12, 1.7
"""Blocks without structure: their median variance over that of their lowest tenth. Simulated even noise gives 1.1 to
1.4; in simulated whole bodies it also depends on the attenuation around, which makes it 1.7."""
Parts = tuple[tuple[slice, slice], tuple[np.ndarray, np.ndarray]]
"""Where values lie in their planes, and two kinds of them (z, y, x)."""
_FWHM_TABLE = np.linspace(0.0, LONGEST_FWHM_MM, 121)


@dataclass(frozen=True)
class Noise:
    """`means` and `variances` of every block of tissue; `fwhm_mm` is that of the kernel that would turn white
    noise into this noise, in (z, y, x); 0 where the noise is white or cannot be told."""

    means: np.ndarray
    variances: np.ndarray
    fwhm_mm: tuple[float, float, float]

    @property
    def sd(self) -> float:
        """Typical SD: the median over groups of similar activity. A group far above the line that the others
        lie on holds structure in all its blocks; the line speaks for it."""
        if not self.variances.size:
            return 0.0
        means, levels = _levels(self.means, self.variances)
        gain, offset = _fit_line(means, levels)
        return float(np.sqrt(np.median(np.minimum(levels, 1.15 * (gain * means + offset)))))

    def line(self) -> tuple[float, float]:
        """(gain, offset) of variance = gain * mean + offset, both at least 0: Poisson-like noise has offset 0."""
        return _fit_line(*_levels(self.means, self.variances))


def noise_sd(volume: Volume, body: np.ndarray) -> float:
    """Robust SD of the noise inside the body, in the unit of the image; 0 where none can be found."""
    return measure(volume, body).sd


def measure(volume: Volume, body: np.ndarray) -> Noise:
    """Noise level, its dependence on activity and its correlation; of the whole image where the body is empty."""
    box = bounding_box(body)
    array, inside = volume.array[box], body[box]
    inside = inside if inside.any() else np.ones_like(inside)
    spacing = np.asarray(volume.geometry.spacing[::-1])
    block = np.clip(np.rint(BLOCK_MM / spacing), 1, array.shape).astype(int)
    far, near = {}, {}
    for axis in range(3):
        lag = _lag(array.shape[axis], spacing[axis], FAR_MM)
        if lag:
            far[axis] = lag, _block_variance(array, inside, axis, lag, block)
            near[axis] = _block_variance(array, inside, axis, 1, block)
    if not far:
        return Noise(np.empty(0), np.empty(0), (0.0, 0.0, 0.0))
    means = _block_means(array, inside, block)
    smooth = _smooth_blocks(means, [far[a][1] for a in far])
    fwhm = [_fwhm(near[a][smooth], far[a][1][smooth], spacing[a], far[a][0]) if a in far else 0.0 for a in range(3)]
    per_axis = [_at_best_lag(array, inside, a, spacing[a], fwhm[a], block, far[a]) for a in far]
    variances = _over_axes(per_axis)
    known = np.isfinite(variances) & np.isfinite(means)
    return Noise(means[known], variances[known], tuple(fwhm))


def _lag(size: int, spacing: float, wanted_mm: float) -> int:
    """Lag in voxels nearest to the wanted length that still leaves a third of the axis; 0 if there is none."""
    return min(max(1, round(wanted_mm / spacing)), (size - 1) // 3)


def _at_best_lag(array: np.ndarray, inside: np.ndarray, axis: int, spacing: float, fwhm: float, block: np.ndarray,
                 far: tuple[int, np.ndarray]) -> np.ndarray:
    """Block variances at the shortest lag that still sees most of the noise: structure counts least there."""
    for lag in range(1, far[0]):
        if _seen(lag * spacing, fwhm) > 0.75:
            return _block_variance(array, inside, axis, lag, block) / _seen(lag * spacing, fwhm)
    return far[1] / _seen(far[0] * spacing, fwhm)


def _seen(lag_mm: float, fwhm: float | np.ndarray) -> np.ndarray:
    """Part of the variance that second differences over this lag see; correlation of smoothed white noise."""
    width = np.maximum(fwhm, 1e-6) / FWHM

    def correlation(distance: float) -> np.ndarray:
        return np.exp(-np.square(distance / width) / 4)

    return (6 - 8 * correlation(lag_mm) + 2 * correlation(2 * lag_mm)) / 6


def _fwhm(near: np.ndarray, far: np.ndarray, spacing: float, far_lag: int) -> float:
    """Width whose ratio of short-lag to long-lag variance is the measured one."""
    both = np.isfinite(near) & np.isfinite(far) & (far > 0)
    if far_lag < 2 or not both.any():
        return 0.0
    measured = float(np.median(near[both] / far[both]))
    ratios = _seen(spacing, _FWHM_TABLE) / _seen(far_lag * spacing, _FWHM_TABLE)
    return float(np.interp(-measured, -ratios, _FWHM_TABLE))


def _block_variance(array: np.ndarray, inside: np.ndarray, axis: int, lag: int, block: np.ndarray) -> np.ndarray:
    """Mean squared second difference of each block; NaN where less than a third of a block can be used."""

    def squares(planes: slice) -> Parts:
        low, mid, high = (_shifted(array.shape, planes, axis, lag, step) for step in (-lag, 0, lag))
        usable = (inside[low] & inside[mid] & inside[high]).astype(np.float32)
        squared = -2 * array[mid]
        squared += array[low]
        squared += array[high]
        np.square(squared, out=squared)
        squared *= usable
        return mid[1:], (usable, squared)

    count, total = _block_sums(squares, array.shape, block)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > _block_voxels(array.shape, block) / 3, total / count / 6, np.nan)


def _shifted(shape: tuple[int, ...], planes: slice, axis: int, lag: int, step: int) -> tuple[slice, ...]:
    """What lies in these planes and has neighbours a lag away on both sides of an axis; moved by a step along it."""
    ends = [(planes.start, planes.stop), (0, shape[1]), (0, shape[2])]
    first, stop = max(ends[axis][0], lag), min(ends[axis][1], shape[axis] - lag)
    ends[axis] = first + step, max(stop, first) + step
    return tuple(slice(*end) for end in ends)


def _block_means(array: np.ndarray, inside: np.ndarray, block: np.ndarray) -> np.ndarray:
    def values(planes: slice) -> Parts:
        within = inside[planes]
        parts = np.where(within, array[planes], 0).astype(np.float32), within.astype(np.float32)
        return (slice(None), slice(None)), parts

    total, count = _block_sums(values, array.shape, block)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count


def _block_sums(values: Callable[[slice], Parts], shape: tuple[int, ...], block: np.ndarray) -> np.ndarray:
    """(2, blocks): sums over the blocks of a volume. Planes of one row of blocks are taken together, so that no
    image as large as the scan is made, and added up first, which leaves a picture."""
    edges = [_edges(size, width) for size, width in zip(shape, block)]

    def row(planes: slice) -> np.ndarray:
        where, parts = values(planes)
        flat = np.zeros((len(parts), *shape[1:]))
        for picture, part in zip(flat, parts):
            picture[where] = part.sum(axis=0)
        for axis in (1, 2):
            flat = np.add.reduceat(flat, edges[axis][:-1], axis=axis)
        return flat

    return np.stack(at_once(row, [slice(a, b) for a, b in pairwise(edges[0])]), axis=1)


def _block_voxels(shape: tuple[int, ...], block: np.ndarray) -> np.ndarray:
    z, y, x = (np.diff(_edges(size, width)) for size, width in zip(shape, block))
    return z[:, None, None] * y[:, None] * x


def _edges(size: int, width: int) -> np.ndarray:
    """Ends of an odd number of blocks of about this width, laid out alike from both ends of the axis."""
    half = min(max(1, round(size / width)) // 2, (size - 1) // 2)  # a block holds a voxel at least
    low = np.arange(half + 1) * size // (2 * half + 1)
    return np.concatenate([low, size - low[::-1]])


def _over_axes(per_axis: list[np.ndarray]) -> np.ndarray:
    """Median over the axes that are known for a block; NaN where none is."""
    stack = np.stack(per_axis)
    known = np.isfinite(stack).any(axis=0)
    result = np.full(known.shape, np.nan)
    result[known] = np.nanmedian(stack[:, known], axis=0)
    return result


def _smooth_blocks(means: np.ndarray, per_axis: list[np.ndarray]) -> np.ndarray:
    """Blocks that hold hardly more than noise, judged by the line through the groups of similar activity."""
    variances = _over_axes(per_axis)
    known = np.isfinite(variances) & np.isfinite(means)
    if not known.any():
        return known
    gain, offset = _fit_line(*_levels(means[known], variances[known]))
    expected = gain * np.maximum(np.where(known, means, 0), 0) + offset
    smooth = known & (variances <= 1.3 * expected)
    return smooth if smooth.any() else known


def _groups(means: np.ndarray) -> list[np.ndarray]:
    """Blocks of similar activity: equal numbers, at least some forty in each where there are as many."""
    return [g for g in np.array_split(np.argsort(means), min(MOST_GROUPS, max(1, means.size // 40))) if g.size]


def _noise_level(variances: np.ndarray) -> float:
    """Median variance of the blocks, or what the smoothest tenth lets expect of it if that is less."""
    middle = float(np.median(variances))
    return min(middle, SPREAD * float(np.quantile(variances, 0.1))) if variances.size >= 20 else middle


def _levels(means: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and noise variance of each group of blocks."""
    groups = _groups(means)
    return (np.array([max(np.median(means[g]), 0.0) for g in groups]),
            np.array([_noise_level(variances[g]) for g in groups]))


def _fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Straight line, relative errors weighted alike."""
    from scipy.optimize import nnls

    x, y = x[y > 0], y[y > 0]
    if x.size == 0:
        return 0.0, 0.0
    unit = float(np.median(x)) or float(x.max()) or 1.0
    design = np.stack([x / unit, np.ones_like(x)], axis=1) / y[:, None]
    (gain, offset), _ = nnls(design, np.ones_like(y))
    return float(gain / unit), float(offset)
