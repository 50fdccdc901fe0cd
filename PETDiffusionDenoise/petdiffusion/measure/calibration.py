"""Is an SD map true? The coverage of its intervals, and whether the error grows with the SD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .checks import finite, finite_pair, mask_like

LEVELS = (0.68, 0.95)
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Of a mean and SD image against the truth, inside a mask."""

    coverage: Mapping[float, float]
    """By level, the part of voxels whose truth lies in mean -+ z SD."""
    rank_correlation: float
    """Spearman's rho of |error| and SD; NaN where either is constant."""
    expected_error: float
    """Voxels sorted by SD in ten equal parts: mean over them of |RMSE - SD| / SD, the SD as root mean square (ENCE).
    0 of a true SD, NaN where no part has one."""


def calibration(truth: np.ndarray, mean: np.ndarray, sd: np.ndarray, mask: np.ndarray | None = None) -> Calibration:
    """Intervals are those of a normal distribution. Voxels whose SD is zero count as covered only where exact."""
    from scipy import stats

    error, spread = _errors(truth, mean, sd, mask)
    cover = {level: float(np.mean(error <= stats.norm.ppf((1 + level) / 2) * spread)) for level in LEVELS}
    varied = np.ptp(error) > 0 and np.ptp(spread) > 0
    rho = float(stats.spearmanr(error, spread).statistic) if varied else float("nan")
    return Calibration(cover, rho, _expected_error(error, spread))


def _errors(truth: np.ndarray, mean: np.ndarray, sd: np.ndarray, mask: np.ndarray | None
            ) -> tuple[np.ndarray, np.ndarray]:
    truth, mean = finite_pair(truth, mean)
    sd = np.asarray(sd)
    finite("The SD image", sd)
    inside = mask_like(truth, mask)
    if sd.shape != truth.shape or sd[inside].min() < 0:
        raise InputError(
            "The SD image",
            "has another shape than the truth or holds negative values",
            "Give the standard deviation on the same grid.",
        )
    return np.abs(mean.astype(np.float64) - truth)[inside], sd[inside].astype(np.float64)


def _expected_error(error: np.ndarray, spread: np.ndarray) -> float:
    parts = np.array_split(np.argsort(spread, kind="stable"), min(BINS, error.size))
    sd, rmse = (np.sqrt([np.mean(values[part] ** 2) for part in parts]) for values in (spread, error))
    known = sd > 0
    return float(np.mean(np.abs(rmse - sd)[known] / sd[known])) if known.any() else float("nan")
