"""Is a predicted uncertainty true? Coverage of its intervals, and whether the error grows with the predicted SD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, OptionError
from .checks import finite, finite_pair, mask_like, or_none

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Calibration:
    """Of a mean and SD image against the truth, inside a mask."""

    voxels: int
    coverage: tuple[dict[str, float], ...]
    """Nominal and observed part of voxels whose truth lies in mean -+ z SD."""
    rank_correlation: float
    """Spearman's rho of |error| and SD; NaN where either is constant."""
    bins: tuple[dict[str, float], ...]
    """Voxels sorted by predicted SD into equal parts: mean predicted SD (root mean square) against RMSE."""
    expected_error: float
    """Mean over the bins of |RMSE - SD| / SD (ENCE): 0 for a calibrated SD."""
    scale: float
    """Multiply the SD by this to make the mean squared z score 1; above 1 the prediction was overconfident."""

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "nominal": row["nominal"],
                "observed": row["observed"],
                "voxels": self.voxels,
                "rank_correlation": or_none(self.rank_correlation),
                "scale": or_none(self.scale),
                "expected_error": or_none(self.expected_error),
            }
            for row in self.coverage
        ]


def calibration(
    truth: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    mask: np.ndarray | None = None,
    levels: Sequence[float] = LEVELS,
    bins: int = 10,
) -> Calibration:
    """Intervals are those of a normal distribution. Voxels whose SD is zero count as covered only where exact."""
    from scipy import stats

    error, spread = _errors(truth, mean, sd, mask)
    if bins < 1 or not all(0 < level < 1 for level in levels):
        raise OptionError(
            f"levels = {tuple(levels)}, bins = {bins}",
            "levels must lie between 0 and 1, bins be 1 or more",
            "The defaults are 0.5 to 0.95 and 10.",
        )
    cover = tuple(
        {"nominal": float(level), "observed": float(np.mean(error <= stats.norm.ppf((1 + level) / 2) * spread))}
        for level in levels
    )
    varied = np.ptp(error) > 0 and np.ptp(spread) > 0
    rho = float(stats.spearmanr(error, spread).statistic) if varied else float("nan")
    reliability = _bins(error, spread, bins)
    gaps = [abs(b["rmse"] - b["sd"]) / b["sd"] for b in reliability if b["sd"] > 0]
    positive = spread > 0
    scale = float(np.sqrt(np.mean((error[positive] / spread[positive]) ** 2))) if positive.any() else float("nan")
    return Calibration(error.size, cover, rho, reliability, float(np.mean(gaps)) if gaps else float("nan"), scale)


def _errors(
    truth: np.ndarray, mean: np.ndarray, sd: np.ndarray, mask: np.ndarray | None
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


def _bins(error: np.ndarray, spread: np.ndarray, bins: int) -> tuple[dict[str, float], ...]:
    parts = np.array_split(np.argsort(spread, kind="stable"), min(bins, error.size))
    return tuple(
        {
            "sd": float(np.sqrt(np.mean(spread[p] ** 2))),
            "rmse": float(np.sqrt(np.mean(error[p] ** 2))),
            "voxels": int(p.size),
        }
        for p in parts
    )
