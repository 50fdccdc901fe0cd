"""A scan in a few numbers, and which of them lie beyond the scans that a model was trained on.

Region, voxel size, tracer and dose fraction are on a card because somebody wrote them there. These are measured on the
training's own scans (`Resources/training/seen.py`), so that a scan in wrong units, far noisier ones and a distribution
of activity that no training scan had are noticed even where a file says nothing about itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..methods.contract import Case

SLACK = 1.25
"""A quarter beyond what was seen is still as seen: training sets are small, and patients differ."""
FRACTION_HOT = 99.9
WORDS = {
    "noise_percent": ("its noise is {:.0f} % of its mean activity", "{:.0f} to {:.0f} %"),
    "mean_suv": ("its mean SUV is {:.3g}", "{:.3g} to {:.3g}"),
    "contrast": ("its hottest voxels have {:.0f} times its mean activity", "{:.0f} to {:.0f}"),
}


def numbers(case: Case) -> dict[str, float]:
    """Nothing of a scan without a body or without activity."""
    inside = case.pet.array[case.body]
    mean = float(inside.mean(dtype=np.float64)) if inside.size else 0.0
    if mean <= 0:
        return {}
    hot = float(np.percentile(inside, FRACTION_HOT))
    return {"noise_percent": 100 * case.noise / mean, "mean_suv": mean, "contrast": hot / mean}


def seen(scans: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each number."""
    known = list(scans)
    return {name: (min(s[name] for s in known), max(s[name] for s in known)) for name in WORDS} if known else {}


def beyond(ranges: Mapping[str, Any], case: Case) -> list[str]:
    """Reasons in words; a card without ranges gives none."""
    if not ranges:
        return []
    found = []
    for name, value in numbers(case).items():
        low, high = ranges.get(name, (None, None))
        if low is not None and not low / SLACK <= value <= high * SLACK:
            said, trained = WORDS[name]
            found.append(f"{said.format(value)}, trained were {trained.format(low, high)}")
    return found
