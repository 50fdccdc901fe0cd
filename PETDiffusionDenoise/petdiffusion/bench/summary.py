"""From cases to tables: mean and SD, tests against the champion with Holm's correction, and what was claimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..measure.statistics import compare_methods
from .cases import CaseResult
from .contract import FILTERS, Claim, Metric, Row

SIGNIFICANT = 0.05
ALL = "all"
"""The scope of all doses together."""

Rows = list[dict[str, Any]]


def summarise(results: Sequence[CaseResult], rows: Sequence[Row], metrics: Sequence[Metric], champion: str,
              claims: Sequence[Claim] = ()) -> dict[str, dict[str, Any]]:  # fmt: skip
    """By scope (each dose, and all together if there are several): a row per method, and the claims."""
    doses = list(dict.fromkeys(result.dose for result in results))
    scopes = {dose: [r for r in results if r.dose == dose] for dose in doses}
    if len(doses) > 1:
        scopes[ALL] = list(results)
    found = {}
    for scope, chosen in scopes.items():
        table = _rows(chosen, rows, metrics, champion)
        found[scope] = {"rows": table, "claims": [judge(claim, table, rows, metrics) for claim in claims]}
    return found


def _rows(results: Sequence[CaseResult], rows: Sequence[Row], metrics: Sequence[Metric], champion: str) -> Rows:
    table, names = [], [row.name for row in rows if any(row.name in result.rows for result in results)]
    columns = {m.key: column(results, names, m.key) for m in metrics}
    for row in rows:
        known = [result.rows[row.name] for result in results if row.name in result.rows]
        if known:
            table.append({"row": row.name, "title": row.title, "scans": len(known),
                          **{key: _spread(values[row.name]) for key, values in columns.items()},
                          "seconds": _median([k.get("seconds") for k in known]),
                          "evaluations": _median([k.get("evaluations") for k in known]), "tests": {}})  # fmt: skip
    for metric in metrics:
        for name, test in tests(results, [t["row"] for t in table], metric, champion).items():
            next(t for t in table if t["row"] == name)["tests"][metric.key] = test
    return table


def column(results: Sequence[CaseResult], names: Sequence[str], key: str) -> dict[str, list[float | None]]:
    """A number of every row, over the scans in which all rows have it that have it at all: a row whose number is not
    defined in some scans, as Dice where it rightly marks nothing, is not compared over others than its neighbours."""
    values = {name: [result.rows.get(name, {}).get(key) for result in results] for name in names}
    having = [known for known in values.values() if any(v is not None for v in known)]
    common = [i for i in range(len(results)) if all(known[i] is not None for known in having)]
    return {name: [known[i] for i in common] for name, known in values.items()}


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = np.array([v for v in values if v is not None], float)
    return {"n": int(known.size), "mean": float(known.mean()) if known.size else None,
            "sd": float(known.std(ddof=1)) if known.size > 1 else None, "median": _median(values)}  # fmt: skip


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def tests(results: Sequence[CaseResult], names: Sequence[str], metric: Metric,
          champion: str) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Each row against the champion: Wilcoxon signed-rank over patients (means over their doses), Holm over the rows.

    Only patients with a number in every row count; rows without any number are left out.
    """
    values = {name: per_patient(results, name, metric.tested) for name in names}
    values = {name: known for name, known in values.items() if known}
    if champion not in values or len(values) < 2:
        return {}
    common = sorted(set.intersection(*(set(known) for known in values.values())))
    if not common:
        return {}
    scores = {name: [known[patient] for patient in common] for name, known in values.items()}
    compared = compare_methods(scores, champion, np.random.default_rng(0), metric.better == "high")
    keep = ("patients", "ci_low", "ci_high", "median_difference", "p", "p_holm", "minimum_p", "better")
    if metric.better == "zero" and not metric.test:
        keep = keep[:-1]  # with its sign a bias differs, but does not get better
    return {c["method"]: {"of": metric.tested, **{k: c[k] for k in keep if k in c}} for c in compared}


def per_patient(results: Sequence[CaseResult], name: str, key: str) -> dict[str, float]:
    """The patient is the unit: doses are averaged first, and a patient lacking one of them is left out."""
    found: dict[str, list[float | None]] = {}
    for result in results:
        found.setdefault(result.patient, []).append(result.rows.get(name, {}).get(key))
    return {patient: float(np.mean(values)) for patient, values in found.items() if None not in values}


def judge(claim: Claim, table: Rows, rows: Sequence[Row], metrics: Sequence[Metric]) -> dict[str, Any]:
    """Whether it holds, by how much, against the strongest of the others; None where it was not measured."""
    metric = next(m for m in metrics if m.key == claim.metric)
    known = {t["row"]: t[claim.metric][claim.statistic] for t in table}
    known = {name: value for name, value in known.items() if value is not None}
    names = [r.name for o in claim.others for r in rows if r.name == o or (o == FILTERS and r.tuned)]
    present = [name for name in names if name in known]
    told = {"text": claim.text, "metric": claim.metric, "row": claim.first, "value": known.get(claim.first)}
    if claim.first not in known or (claim.others and not present):
        return told | {"holds": None}
    if not claim.others:
        return told | {"holds": abs(known[claim.first]) <= claim.margin}
    gains = {name: _gain(metric, known[claim.first], known[name]) for name in present}
    hardest = min(gains, key=gains.get)
    return told | {"holds": gains[hardest] >= claim.margin, "against": hardest, "its value": known[hardest],
                   "gain": gains[hardest]}  # fmt: skip


def _gain(metric: Metric, first: float, other: float) -> float:
    """How much better the first is."""
    if metric.better == "zero":
        return abs(other) - abs(first)
    return first - other if metric.better == "high" else other - first
