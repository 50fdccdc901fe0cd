"""Planes of masks that may leave empty ones out, put on an even grid."""

from __future__ import annotations

import numpy as np

from ..errors import GeometryError

SAME_PLACE_MM = 0.01
REGULAR = 0.1
"""Planes may lie off a regular grid by this part of their distance."""
ORIGINAL = "Export it again, or as NIfTI."


def planes(along: np.ndarray, stated: float | None, name: str) -> tuple[float, float, int]:
    """First place, distance and number of regular planes on which all of these lie; empty ones may be left out."""
    places = np.unique(np.round(along / SAME_PLACE_MM)) * SAME_PLACE_MM
    gaps = np.diff(places)
    step = float(gaps.min()) if len(gaps) else stated
    if not step:
        raise GeometryError(f"{name}: one plane alone", "does not say how thick it is", ORIGINAL)
    if stated and np.all(np.abs(gaps / stated - np.round(gaps / stated)) < REGULAR):
        step = stated
    numbers = (places - places[0]) / step
    if np.abs(numbers - np.round(numbers)).max() > REGULAR:
        raise GeometryError(f"{name}: its planes", f"are not evenly spaced (the smallest distance is {step:.2f} mm)",
                            "Resample it to equal spacing first.")
    return float(places[0]), step, round(float(numbers[-1])) + 1
