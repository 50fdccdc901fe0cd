"""Tables: every metric by method with its interval over patients, tests against a baseline, and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..measure.agreement import agreement
from ..measure.statistics import bootstrap_interval, compare_methods
from .numbers import LOW, METRICS, Gathered, Metric, Row, title_of, units_of


def per_patient(cases: Sequence[Row], metric: str, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """{method: {patient: mean over the patient's cases}} for patients that every method has in all their cases."""
    values: dict[str, dict[str, dict[str, float]]] = {m: {} for m in methods}
    for row in cases:
        if row["method"] in values and row.get(metric) is not None:
            values[row["method"]].setdefault(row["patient"], {})[row["case"]] = row[metric]
    shared = [p for p in _patients(cases) if methods and all(values[m].get(p) for m in methods)]
    found: dict[str, dict[str, float]] = {m: {} for m in methods}
    for patient in shared:
        common = set.intersection(*(set(values[m][patient]) for m in methods))
        if common:
            for m in methods:
                found[m][patient] = float(np.mean([values[m][patient][c] for c in sorted(common)]))
    return found


def _patients(cases: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["patient"] for row in cases))


def measured(cases: Sequence[Row], metric: str, methods: Sequence[str]) -> list[str]:
    """Methods that have this number in any case."""
    return [m for m in methods if any(r["method"] == m and r.get(metric) is not None for r in cases)]


def common(rows: Sequence[Row], methods: Sequence[str]) -> list[Row]:
    """Of the scans that all methods have which have any: none looks better for having failed on the hard ones."""
    scans = [found for m in methods if (found := {row["case"] for row in rows if row["method"] == m})]
    shared = set.intersection(*scans) if scans else set()
    return [row for row in rows if row["method"] in methods and row["case"] in shared]


def referenced(cases: Sequence[Row]) -> tuple[int, int]:
    """Scans and patients that have any number that needs a normal-dose scan."""
    needed = [metric.key for metric in METRICS if metric.reference]
    known = {(r["case"], r["patient"]) for r in cases if any(r.get(key) is not None for key in needed)}
    return len({scan for scan, _ in known}), len({patient for _, patient in known})


def metric_rows(cases: Sequence[Row], metric: Metric, methods: Sequence[str], baseline: str) -> list[Row]:
    """Mean, SD and bootstrap interval over patients; tests (Wilcoxon, Holm over the methods) where they make sense."""
    used = measured(cases, metric.key, methods)
    if not used:
        return []
    values = per_patient(cases, metric.key, used)
    if not values[used[0]]:
        return []
    scores = {m: list(values[m].values()) for m in used}
    facts = {"level": metric.level, "metric": metric.key, "title": title_of(metric, cases), "unit": metric.unit}
    rng = np.random.default_rng(20240)
    if metric.tested and baseline in scores and len(scores) > 1:
        rows = compare_methods(scores, baseline, rng, metric.higher_is_better)
    else:
        rows = [_plain(m, s, rng) for m, s in scores.items()]
    return [{**facts, **row} for row in rows]


def _plain(method: str, scores: Sequence[float], rng: np.random.Generator) -> Row:
    low, high = bootstrap_interval(scores, rng)
    several = len(scores) > 1
    return {"method": method, "patients": len(scores), "mean": float(np.mean(scores)),
            "sd": float(np.std(scores, ddof=1)) if several else None, "ci_low": low if several else None,
            "ci_high": high if several else None}  # fmt: skip


def all_metrics(cases: Sequence[Row], methods: Sequence[str], baseline: str) -> list[Row]:
    return [row for metric in METRICS for row in metric_rows(cases, metric, [*methods, LOW], baseline)]


def metrics_by_dose(cases: Sequence[Row], methods: Sequence[str], baseline: str) -> list[Row]:
    """The same numbers for each dose fraction by itself; none where there is only one."""
    fractions = sorted({row["fraction"] for row in cases if row.get("fraction")})
    if len(fractions) < 2:
        return []
    return [{"fraction": f, **row} for f in fractions
            for row in all_metrics([c for c in cases if c.get("fraction") == f], methods, baseline)]  # fmt: skip


def agreements(found: Gathered, methods: Sequence[str]) -> list[Row]:
    """Slope, intercept, R^2, concordance and Bland-Altman limits against the reference, over lesions and organs of the
    scans in one unit that all methods have."""
    rows: list[dict[str, Any]] = []
    kinds = (("lesion", found.lesions, ("max", "peak", "mean")), ("organ", found.organs, ("mean",)))
    for unit in units_of([*found.lesions, *found.organs]):
        for kind, pairs, metrics in kinds:
            for metric in metrics:
                rows += _agreement_rows(in_unit(pairs, unit), {"of": kind, "metric": metric, "unit": unit}, methods)
    return rows


def _agreement_rows(pairs: Sequence[Row], about: Row, methods: Sequence[str]) -> list[Row]:
    pairs = common(pairs, [*methods, LOW])
    both = {method: paired(pairs, method, about["metric"]) for method in [*methods, LOW]}
    return [{**about, "method": method, **agreement(values[:, 0], values[:, 1]).to_json()}
            for method, values in both.items() if len(values) > 1]  # fmt: skip


def in_unit(pairs: Sequence[Row], unit: str) -> list[Row]:
    return [row for row in pairs if units_of([row]) == [unit]]


def paired(pairs: Sequence[Row], method: str, metric: str) -> np.ndarray:
    """(measured, reference) of one method, as an array of two columns."""
    known = [(r[metric], r[f"{metric}_reference"]) for r in pairs
             if r["method"] == method and r.get(metric) is not None]  # fmt: skip
    return np.array(known, float).reshape(-1, 2)


def by_dose(cases: Sequence[Row], metric: str, methods: Sequence[str]) -> list[Row]:
    """Mean of a metric over the patients of each dose fraction that all methods have."""
    rows = []
    for fraction in sorted({r["fraction"] for r in cases if r.get("fraction")}):
        at = [r for r in cases if r.get("fraction") == fraction]
        for method, values in per_patient(at, metric, measured(at, metric, methods)).items():
            if values:
                rows.append({"fraction": fraction, "method": method, "metric": metric, "patients": len(values),
                             "mean": float(np.mean(list(values.values())))})  # fmt: skip
    return rows
