"""Where the joints of arms and legs lie in the two postures of a PET scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .frame import HIP_X, Frame

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Limbs:
    """Joint centres of the left side; the right side mirrors them."""

    shoulder: Point
    elbow: Point
    wrist: Point
    hand: Point
    hip: Point
    knee: Point

    @staticmethod
    def of(side: int, point: Point) -> np.ndarray:
        """The point on the left (1) or right (-1)."""
        return np.array([side * point[0], point[1], point[2]], float)


def limbs_of(frame: Frame) -> Limbs:
    person = frame.person
    rng = person.rng("limbs")
    broad = 1.0 if person.male else 0.91
    fat = person.subcutaneous_mm
    spread = rng.normal(0, 4) + 0.35 * fat
    hip, knee = (HIP_X, 0.0, 0.0), (114 + spread, 12.0, -430.0)
    if person.arms == "up":
        out = rng.normal(0, 10)
        shoulder = (158 * broad, 18.0, 520.0)
        elbow = (212 * broad + out, -28 + rng.normal(0, 10), 805.0)
        wrist = (95 + out, -70.0, 985.0)
        return Limbs(shoulder, elbow, wrist, (60.0, -80.0, 1050.0), hip, knee)
    beside = _flank(frame, 190) + 52 + 0.45 * fat * 0.9
    hips = _flank(frame, -40) + 44 + 0.9 * fat
    shoulder = (168 * broad, 25.0, 487.0)
    elbow = (max(beside, 205 * broad), 48.0, 180.0)
    wrist = (max(hips, beside - 12), 30.0, -65.0)
    hand = (hips - 4, 18.0, -215.0)
    return Limbs(shoulder, elbow, wrist, hand, hip, knee)


def _flank(frame: Frame, z: float) -> float:
    return float(frame.lean.surface(90.0, z)[0])
