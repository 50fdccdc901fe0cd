"""Turns any grid so that its axes run to the patient's left, back and head: flips and swaps only, no resampling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ...volume import Geometry


@dataclass(frozen=True)
class Upright:
    """How to turn arrays of one grid to (superior, posterior, left), each increasing."""

    axes: tuple[int, int, int]
    """NumPy axes that become superior, posterior, left."""
    flips: tuple[bool, bool, bool]
    spacing: tuple[float, float, float]
    """Of the turned axes, mm."""
    oblique_degrees: float
    """Angle between the grid and the patient's axes that is left; pictures follow the grid."""

    def __call__(self, array: np.ndarray) -> np.ndarray:
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def upright(geometry: Geometry) -> Upright:
    """Every grid axis goes to the patient axis it is nearest to, taken together so that none is used twice."""
    direction = np.reshape(geometry.direction, (3, 3))  # rows: L, P, S; columns: i, j, k
    best = max(permutations(range(3)), key=lambda grid: sum(abs(direction[p, g]) for p, g in enumerate(grid)))
    wanted = (2, 1, 0)  # superior, posterior, left
    cosines = [direction[patient, best[patient]] for patient in wanted]
    return Upright(
        axes=tuple(2 - best[patient] for patient in wanted),
        flips=tuple(bool(c < 0) for c in cosines),
        spacing=tuple(geometry.spacing[best[patient]] for patient in wanted),
        oblique_degrees=float(np.degrees(np.arccos(min(1.0, min(abs(c) for c in cosines))))),
    )
