"""Implicit shapes in millimetres: functions of position that are negative inside. Everything that the MNI maps do not
show (nuclei, eyes, sinuses, bones of the face) is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Points = Sequence[np.ndarray]
"""x, y, z arrays that broadcast against each other."""
Shape = Callable[[Points], np.ndarray]


def _side(points: Points, mirrored: bool) -> Points:
    """Both halves of a symmetric pair are one shape of |x|."""
    return (np.abs(points[0]), *points[1:]) if mirrored else points


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and radii in mm; `turn` rotates about z, `tilt` about x (degrees)."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float = 0.0
    tilt: float = 0.0
    mirrored: bool = False
    power: float = 2.0
    """2 is an ellipsoid; larger is boxier."""

    def __call__(self, points: Points) -> np.ndarray:
        x, y, z = (p - np.float32(c) for p, c in zip(_side(points, self.mirrored), self.centre))
        if self.turn:
            c, s = _cos_sin(self.turn)
            x, y = c * x + s * y, c * y - s * x
        if self.tilt:
            c, s = _cos_sin(self.tilt)
            y, z = c * y + s * z, c * z - s * y
        reach = sum(np.abs(q / np.float32(r)) ** np.float32(self.power) for q, r in zip((x, y, z), self.radii))
        return (reach ** np.float32(1 / self.power) - 1) * np.float32(min(self.radii))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        reach = max(self.radii) if (self.turn or self.tilt) else np.asarray(self.radii)
        return _bounds(np.asarray(self.centre) - reach, np.asarray(self.centre) + reach, self.mirrored)


@dataclass(frozen=True)
class Chain:
    """A tube along points (x, y, z, radius), its radius running linearly between them."""

    knots: tuple[tuple[float, float, float, float], ...]
    mirrored: bool = False

    def __call__(self, points: Points) -> np.ndarray:
        here = _side(points, self.mirrored)
        nearest = None
        for start, end in zip(self.knots[:-1], self.knots[1:]):
            d = _tapered(here, np.asarray(start, np.float32), np.asarray(end, np.float32))
            nearest = d if nearest is None else np.minimum(nearest, d)
        return nearest

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        k = np.asarray(self.knots)
        return _bounds((k[:, :3] - k[:, 3:]).min(0), (k[:, :3] + k[:, 3:]).max(0), self.mirrored)


def _tapered(points: Points, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = end[:3] - start[:3]
    offset = [p - s for p, s in zip(points, start)]
    along = sum(o * a for o, a in zip(offset, axis)) / max(float(axis @ axis), 1e-6)
    along = np.clip(along, 0, 1)
    squared = sum(np.square(o - along * a) for o, a in zip(offset, axis))
    return np.sqrt(squared) - (start[3] + along * (end[3] - start[3]))


def _bounds(low: np.ndarray, high: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    if mirrored:
        reach = max(abs(low[0]), abs(high[0]))
        low, high = np.array([-reach, *low[1:]]), np.array([reach, *high[1:]])
    return low, high


def _cos_sin(degrees: float) -> tuple[np.float32, np.float32]:
    return np.float32(np.cos(np.deg2rad(degrees))), np.float32(np.sin(np.deg2rad(degrees)))


@dataclass(frozen=True)
class Union:
    """The nearest of several shapes."""

    parts: tuple

    def __init__(self, *parts: Shape) -> None:
        object.__setattr__(self, "parts", parts)

    def __call__(self, points: Points) -> np.ndarray:
        nearest = self.parts[0](points)
        for part in self.parts[1:]:
            nearest = np.minimum(nearest, part(points))
        return nearest

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = zip(*(part.bounds() for part in self.parts))
        return np.min(lows, 0), np.max(highs, 0)


def inside(distance: np.ndarray, width: float) -> np.ndarray:
    """Fraction of a voxel of `width` mm that lies inside, from the distance of its centre."""
    return np.clip(np.float32(0.5) - distance / np.float32(width), 0, 1)
