"""Organ sizes drawn from published volumes, met by solving for the one number that sets an organ's size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .person import Person
from .shapes import Points

_STEP_MM = 8.0


def lattice(low, high) -> Points:
    """Points every 8 mm of a canonical box."""
    axes = [np.arange(a, b + _STEP_MM, _STEP_MM, dtype=np.float32) for a, b in zip(low, high)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return Points(x, y, z)


def volume_ml(d: np.ndarray, person: Person) -> float:
    """World volume inside a signed distance sampled on the lattice."""
    return float(np.clip(0.5 - d / _STEP_MM, 0, 1).sum() * _STEP_MM**3 / 1000 * np.prod(person.scale))


def solve(volume: Callable[[float], float], target: float, low: float, high: float, steps: int = 7) -> float:
    """The number in [low, high] that gives the target volume, by bisection; `volume` may rise or fall with it."""
    rising = volume(high) > volume(low)
    for _ in range(steps):
        middle = (low + high) / 2
        if (volume(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def body_surface(person: Person) -> float:
    """Mosteller's body surface in square metres."""
    return float(np.sqrt(person.height_m * 100 * person.bmi * person.height_m**2 / 3600))


def liver_ml(person: Person, rng: np.random.Generator) -> float:
    """Vauthey et al., Liver Transpl 2002;8:233: volume from body surface."""
    mean = -794.41 + 1267.28 * body_surface(person)
    return float(np.clip(mean * np.exp(rng.normal(0.02, 0.12)), 1150, 2150))


def spleen_ml(rng: np.random.Generator) -> float:
    """Prassopoulos et al., Eur Radiol 1997;7:246: about 215 ml, 107 to 315 in adults."""
    return float(np.clip(190 * np.exp(rng.normal(0, 0.3)), 110, 360))
