"""How noisy a scan is, place by place, told from what the denoising took away.

The difference of scan and output holds the scan's noise without the patient's structure. PET noise is about
k sqrt(activity), where k changes slowly with depth: so the difference is divided by the root of the output, and the
remaining level is measured around every place. Second differences leave out what is smooth; they see a known part of
correlated noise (see `prepare.noise`). Where the output kept part of the noise, level and correlation are brought to
the scan's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..filters import gaussian
from ..prepare import noise as scan_noise
from ..volume import Geometry, Volume
from .kernels import Triple, correlation

FLOOR = 0.05
"""Of the mean activity in the body: keeps the scale above zero in air."""
AROUND_MM = 30.0
"""FWHM of the neighbourhood in which the level is measured."""
FAR_MM = 12.0
LEAST_KEPT, NEARLY_ALL = 0.01, 0.95
"""Parts of the scan's noise variance in the residual: never taken as less; from the second on it speaks for itself."""
_CLIP = 4.0
"""SDs beyond which a difference no longer counts more: lesions and edges."""
_TABLE = np.linspace(0.0, 14.0, 141)
_MEDIAN = 0.6745


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """`sd` is an image: SD of the scan's noise in each voxel, were the output the truth. Axes are (z, y, x)."""

    sd: np.ndarray
    fwhm_mm: Triple
    in_residual: float
    """Part of the scan's noise variance that scan - output holds; 1 for a clean output."""

    @property
    def removed(self) -> float:
        """Part of it that the output no longer has: 1 - K^2 where it kept K of the noise, and the residual 1 - K."""
        return 1 - (1 - float(np.sqrt(self.in_residual))) ** 2


def noise_model(low: np.ndarray, output: np.ndarray, body: np.ndarray, spacing: Triple
                ) -> NoiseModel:
    """Of the scan `low`, from `low - output`, inside the body. Zero where there is nothing to tell it from."""
    floor = FLOOR * max(float(np.abs(output[body]).mean()), 1e-30)
    root = np.sqrt(np.maximum(output, 0) + np.float32(floor))
    residual = (low - output) / root
    fwhm = tuple(_width(residual, body, axis, step) for axis, step in enumerate(spacing))
    level = _level(residual, body, spacing, fwhm)
    part = _in_residual(low - output, output, root, body, spacing, fwhm)
    if part < NEARLY_ALL:
        scan = scan_noise.measure(Volume(low, Geometry(low.shape[::-1], spacing[::-1])), body).fwhm_mm
        fwhm = tuple(_between(own, other, part) for own, other in zip(fwhm, scan))
    return NoiseModel(level * root / np.float32(np.sqrt(part)), fwhm, part)


def _between(residual: float, scan: float, part: float) -> float:
    """What a smoothing output kept is the coarse part of the noise, so the residual's correlation is too short by as
    much as was kept. The scan's own tells better then, though structure makes that too long."""
    return float(np.sqrt(residual**2 + (1 - part) * max(scan**2 - residual**2, 0.0)))


def _in_residual(residual: np.ndarray, output: np.ndarray, root: np.ndarray, body: np.ndarray, spacing: Triple,
                 fwhm: Triple) -> float:
    """Part of the scan's noise variance that the residual e holds.

    An output d that kept K n of the noise n leaves e = (1 - K) n, so that cov(e, d) / var(e) = K / (1 - K): the truth
    has none of it, whatever its structure. Differences beyond a few SDs count no more, so that edges do not decide.
    """
    product, square = 0.0, 0.0
    for axis, step in enumerate(spacing):
        lag = _best_lag(residual.shape[axis], step, fwhm[axis])
        if lag:
            e, where = _second_difference(residual, axis, lag)
            d, _ = _second_difference(output, axis, lag)
            inside = body[where]
            e, d = (_clipped((x / root[where])[inside]) for x in (e, d))
            product += float(np.sum(e * d, dtype=np.float64))
            square += float(np.sum(np.square(e), dtype=np.float64))
    kept = max(product / square, 0.0) if square > 0 else 0.0
    return float(max(1 / (1 + kept) ** 2, LEAST_KEPT))


def _clipped(values: np.ndarray) -> np.ndarray:
    limit = _CLIP * float(np.median(np.abs(values))) / _MEDIAN if values.size else 0.0
    return np.clip(values, -limit, limit)


def _lag(size: int, step: float, wanted_mm: float) -> int:
    """In voxels, as near to the wanted length as still leaves a third of the axis; 0 if there is none."""
    return min(max(1, round(wanted_mm / step)), (size - 1) // 3)


def _second_difference(image: np.ndarray, axis: int, lag: int) -> tuple[np.ndarray, tuple[slice, ...]]:
    """(x[-lag] - 2 x + x[+lag]) / sqrt(6), and the voxels that it belongs to."""
    def cut(start: int) -> tuple[slice, ...]:
        stop = start + image.shape[axis] - 2 * lag
        return tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))

    low, mid, high = cut(0), cut(lag), cut(2 * lag)
    return (image[low] - 2 * image[mid] + image[high]) / np.float32(np.sqrt(6)), mid


def _seen(lag_mm: float, fwhm: np.ndarray | float) -> np.ndarray:
    """Part of the variance of correlated noise that second differences over this lag see."""
    widths = np.atleast_1d(fwhm)
    near = np.array([correlation(np.array(lag_mm), w) for w in widths])
    far = np.array([correlation(np.array(2 * lag_mm), w) for w in widths])
    return (6 - 8 * near + 2 * far) / 6


def _width(residual: np.ndarray, body: np.ndarray, axis: int, step: float) -> float:
    """Width of the noise's correlation along an axis, from short against long differences; 0 if it cannot be told."""
    far = _lag(residual.shape[axis], step, FAR_MM)
    if far < 2:
        return 0.0
    spread = []
    for lag in (1, far):
        difference, where = _second_difference(residual, axis, lag)
        inside = difference[body[where]]
        spread.append(float(np.median(np.abs(inside))) if inside.size else 0.0)
    if min(spread) <= 0:
        return 0.0
    ratios = _seen(step, _TABLE) / _seen(far * step, _TABLE)
    return float(np.interp(-((spread[0] / spread[1]) ** 2), -ratios, _TABLE))


def _level(residual: np.ndarray, body: np.ndarray, spacing: Triple,
           fwhm: Triple) -> np.ndarray:
    """SD of the residual around every voxel."""
    total, weight = np.zeros(residual.shape, np.float32), np.zeros(residual.shape, np.float32)
    for axis, step in enumerate(spacing):
        lag = _best_lag(residual.shape[axis], step, fwhm[axis])
        if not lag:
            continue
        difference, where = _second_difference(residual, axis, lag)
        inside = body[where]
        squared = np.square(difference)
        typical = np.median(squared[inside]) / _MEDIAN**2 if inside.any() else 0.0
        total[where] += np.minimum(squared, _CLIP**2 * typical) * inside / np.float32(_seen(lag * step, fwhm[axis])[0])
        weight[where] += inside
    around = gaussian(total, AROUND_MM, spacing), gaussian(weight, AROUND_MM, spacing)
    return np.sqrt(around[0] / np.maximum(around[1], 1e-3))


def _best_lag(size: int, step: float, fwhm: float) -> int:
    """The shortest that sees most of the noise."""
    far = _lag(size, step, FAR_MM)
    return next((lag for lag in range(1, far) if _seen(lag * step, fwhm)[0] > 0.75), far)
