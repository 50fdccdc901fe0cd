"""Comparing methods over patients: Wilcoxon signed-rank, Holm's correction and bootstrap intervals.

The patient is the unit: several images or lesions of one patient are averaged before they come here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, OptionError

MOST_EXACT = 50
"""Pairs: so many signs can be counted without rounding."""


@dataclass(frozen=True)
class SignedRank:
    """Two-sided Wilcoxon signed-rank test of paired differences."""

    n: int
    """Pairs that differ: equal pairs carry no sign and are left out."""
    p: float
    minimum_p: float
    """The smallest p this n can reach (2 / 2^n); above 0.05 no result can be significant."""
    median: float
    """Median of all differences."""
    exact: bool


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> SignedRank:
    """Of first - second. Exact for up to 50 pairs that differ, normal approximation beyond."""
    from scipy import stats

    a, b = _patients(first, "first"), _patients(second, "second")
    if a.shape != b.shape:
        raise InputError(f"{a.size} and {b.size} values", "are not pairs", "Give both methods for the same patients.")
    difference = a - b
    nonzero = difference[difference != 0]
    n, median = int(nonzero.size), float(np.median(difference))
    if n == 0:
        return SignedRank(0, 1.0, 1.0, median, True)
    exact = n <= MOST_EXACT
    p = _exact_p(nonzero) if exact else float(stats.wilcoxon(nonzero, method="approx").pvalue)
    return SignedRank(n, min(p, 1.0), 2.0 ** (1 - n), median, exact)


def _exact_p(differences: np.ndarray) -> float:
    """Of all 2^n signs that the ranks could have: SciPy's exact p, but where differences tie too. There it goes over to
    the normal approximation, whose p can be below the smallest that n can reach."""
    from scipy import stats

    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # tied ranks are halves
    ways = np.ones(1)
    for rank in doubled:
        ways = np.append(ways, np.zeros(rank)) + np.append(np.zeros(rank), ways)
    reached = int(doubled[differences > 0].sum())
    return float(2 * min(ways[: reached + 1].sum(), ways[reached:].sum()) / 2.0**differences.size)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p values (Holm 1979): the k-th smallest of m times m - k + 1, made monotone and cut at 1."""
    p = np.asarray(p_values, float)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise InputError("p values", "must be a list of numbers from 0 to 1", "Give one p value per comparison.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def least_p(minimum_p: Sequence[float]) -> float | None:
    """The smallest p that Holm's correction can leave in comparisons that give no less than these; None without any."""
    return min(len(minimum_p) * min(minimum_p), 1.0) if len(minimum_p) else None


def wilson(part: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927) seen in `n` independent cases, which need not be whole."""
    if n <= 0:
        return float("nan"), float("nan")
    z = 1.959964
    middle, half = part + z * z / (2 * n), z * np.sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    return float((middle - half) / (1 + z * z / n)), float((middle + half) / (1 + z * z / n))


def bootstrap_interval(
    values: Sequence[float],
    generator: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
    statistic: Callable[..., np.ndarray] = np.mean,
) -> tuple[float, float]:
    """Percentile interval of a statistic, patients drawn with replacement; NaN for fewer than two patients.

    `statistic` takes an array and `axis`, as numpy's mean and median do.
    """
    data = _patients(values, "values")
    if not 0 < level < 1 or draws < 100:
        raise OptionError(
            f"level = {level}, draws = {draws}",
            "level must lie between 0 and 1, draws be 100 or more",
            "The defaults are 0.95 and 10000.",
        )
    if data.size < 2:
        return float("nan"), float("nan")
    drawn = statistic(data[generator.integers(0, data.size, (draws, data.size))], axis=1)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def compare_methods(
    scores: Mapping[str, Sequence[float]], baseline: str, generator: np.random.Generator, higher_is_better: bool = True
) -> list[dict[str, Any]]:
    """A row per method: mean, SD and interval over patients, and its test against the baseline, Holm-adjusted."""
    if baseline not in scores:
        raise OptionError(f"Baseline '{baseline}'", f"is not one of {', '.join(scores)}", "Choose one of them.")
    scores = {name: _patients(values, name) for name, values in scores.items()}
    others = [name for name in scores if name != baseline]
    tests = {name: wilcoxon(scores[name], scores[baseline]) for name in others}
    adjusted = dict(zip(others, holm([t.p for t in tests.values()]), strict=True))
    return [
        _summary(name, scores[name], generator)
        | (
            {
                "versus": baseline,
                "median_difference": tests[name].median,
                "pairs_that_differ": tests[name].n,
                "p": tests[name].p,
                "p_holm": float(adjusted[name]),
                "minimum_p": tests[name].minimum_p,
                "better": bool((tests[name].median > 0) == higher_is_better and tests[name].median != 0),
            }
            if name in tests
            else {}
        )
        for name in scores
    ]


def _summary(name: str, values: Sequence[float], generator: np.random.Generator) -> dict[str, Any]:
    data = _patients(values, name)
    low, high = bootstrap_interval(data, generator)
    several = data.size > 1
    return {
        "method": name,
        "patients": int(data.size),
        "mean": float(data.mean()),
        "sd": float(data.std(ddof=1)) if several else None,
        "ci_low": low if several else None,
        "ci_high": high if several else None,
    }


def _patients(values: Sequence[float], name: str) -> np.ndarray:
    data = np.asarray(values, float).ravel()
    if data.size == 0 or not np.all(np.isfinite(data)):
        raise InputError(
            f"Values of '{name}'",
            "are missing or not finite",
            "Give one finite number per patient; leave incomplete patients out of all methods.",
        )
    return data
