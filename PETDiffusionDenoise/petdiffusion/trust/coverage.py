"""How many truths lie within a calibration's intervals, of all cases and of each scanner, and how surely that is known.

The interval of a coverage is Wilson's, of as many numbers as are independent of each other: those of one patient lie
inside or outside together. How far they do is told by which lie inside and, as all may, by their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..measure.statistics import wilson
from .calibrate import Scores, families_of, fit
from .conformal import Calibration, fewer, likeness, spread

LEVELS = (0.8, 0.95)
ALL = "all"


def coverage(known: Calibration, scores: Sequence[Scores], levels: Sequence[float] = LEVELS) -> list[dict[str, Any]]:
    """A row for each family."""
    return [row for row in (_row(known, scores, *family, levels) for family in families_of(scores).items()) if row]


def by_scanner(known: Calibration, scores: Sequence[Scores], levels: Sequence[float] = LEVELS) -> list[dict[str, Any]]:
    """All cases, then each scanner's where there are several: a mixture hides its worst."""
    scanners = sorted({s.scanner for s in scores})
    parts = {ALL: list(scores)}
    if len(scanners) > 1:
        parts |= {name or "not named": [s for s in scores if s.scanner == name] for name in scanners}
    return [{"family": row.pop("family"), "scanner": name, **row}
            for name, own in parts.items() for row in coverage(known, own, levels)]  # fmt: skip


def left_out(scores: Sequence[Scores], data: str) -> list[dict[str, Any]]:
    """Coverage of each patient by the calibration from all others: what an unseen patient may expect."""
    rows: dict[str, dict[str, Any]] = {}
    for patient in dict.fromkeys(s.patient for s in scores):
        rest, own = ([s for s in scores if (s.patient == patient) == mine] for mine in (False, True))
        if not rest:
            return []
        for row in coverage(fit(rest, data), own):
            total = rows.setdefault(row["family"], {"family": row["family"], "n": 0})
            for name, value in row.items():
                if name.endswith("percent"):
                    total[name] = (total.get(name, 0.0) * total["n"] + value * row["n"]) / (total["n"] + row["n"])
            total["n"] += row["n"]
    return list(rows.values())


def _row(known: Calibration, scores: Sequence[Scores], name: str, own: Sequence[str], levels: Sequence[float]
         ) -> dict[str, Any] | None:
    if (family := known.of(name)) is None:
        return None
    values = [(s, one, *row) for s in scores for one in own for row in s.of([one])]
    patients = [s.patient for s, *_ in values]
    row: dict[str, Any] = {"family": name, "n": len(values), "patients": len(set(patients)),
                           "calibrated_on": family.n}  # fmt: skip
    errors = np.array([(t - c) / spread(sd, c, s.samples, known.of(one).relative)
                       for s, one, t, c, sd in values])  # fmt: skip
    alike = likeness(errors, patients) ** 2
    for level in levels:
        ends = [known.interval(one, c, sd, s.samples, level) for s, one, _, c, sd in values]
        inside = np.array([low <= t <= high for (_, _, t, _, _), (low, high) in zip(values, ends)], float)
        row[f"covered_{100 * level:g}_percent"] = 100 * float(inside.mean())
        known_by = wilson(float(inside.mean()), fewer(patients, max(alike, likeness(inside, patients))))
        row[f"from_{100 * level:g}"], row[f"to_{100 * level:g}"] = (100 * end for end in known_by)
    return row
