"""Does one measurement agree with another? R^2 alone does not say: slope, intercept, limits and concordance do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Of `measured` against `truth`. NaN where the values do not vary enough to define a number."""

    n: int
    slope: float
    intercept: float
    r_squared: float
    concordance: float
    """Lin's coefficient: 1 only for equality, unlike R^2."""
    bias: float
    """Mean of measured - truth."""
    sd: float
    limit_low: float
    limit_high: float
    """Bland-Altman: bias -+ 1.96 SD; 95 % of the differences are expected between them."""
    bias_ci: tuple[float, float]
    """95 % confidence interval of the bias (Student's t)."""
    proportional: bool
    """Differences in per cent of the mean of both, not in the unit of the values."""

    def to_json(self) -> dict[str, Any]:
        row = asdict(self) | {"bias_ci_low": self.bias_ci[0], "bias_ci_high": self.bias_ci[1]}
        row.pop("bias_ci")
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}


def agreement(measured: np.ndarray, truth: np.ndarray, proportional: bool = False) -> Agreement:
    """Regression of measured on truth, Lin's concordance and Bland-Altman limits."""
    m, t = _paired(measured, truth)
    slope, intercept, r_squared = regression(m, t)
    difference = 200 * (m - t) / (m + t) if proportional else m - t
    if not np.all(np.isfinite(difference)):
        raise InputError(
            "Values whose sum is zero", "have no difference in per cent", "Use differences in the values' own unit."
        )
    bias, sd = float(difference.mean()), float(difference.std(ddof=1)) if len(m) > 1 else float("nan")
    return Agreement(
        len(m),
        slope,
        intercept,
        r_squared,
        concordance(m, t),
        bias,
        sd,
        bias - 1.96 * sd,
        bias + 1.96 * sd,
        _mean_interval(bias, sd, len(m)),
        proportional,
    )


def regression(measured: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """(slope, intercept, R^2) of the least-squares line measured = slope x truth + intercept."""
    from scipy import stats

    m, t = _paired(measured, truth)
    if len(m) < 2 or np.ptp(t) == 0:
        return (float("nan"),) * 3
    line = stats.linregress(t, m)
    return float(line.slope), float(line.intercept), float(line.rvalue**2) if np.ptp(m) > 0 else float("nan")


def concordance(measured: np.ndarray, truth: np.ndarray) -> float:
    """Lin 1989: 2 cov / (var_m + var_t + (mean_m - mean_t)^2), with variances over n."""
    m, t = _paired(measured, truth)
    scale = m.var() + t.var() + (m.mean() - t.mean()) ** 2
    return float(2 * np.mean((m - m.mean()) * (t - t.mean())) / scale) if scale > 0 else float("nan")


def _mean_interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    from scipy import stats

    if n < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n)
    return float(mean - half), float(mean + half)


def _paired(measured: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    m, t = np.asarray(measured, float).ravel(), np.asarray(truth, float).ravel()
    if m.shape != t.shape or m.size == 0:
        raise InputError(
            f"{m.size} measured and {t.size} true values",
            "cannot be paired",
            "Give one measured value for each true one.",
        )
    if not (np.all(np.isfinite(m)) and np.all(np.isfinite(t))):
        raise InputError("Values that are NaN or infinite", "cannot be compared", "Leave such pairs out, and say so.")
    return m, t
