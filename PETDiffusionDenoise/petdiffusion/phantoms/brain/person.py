"""Who the patient is: the numbers that shape a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Person:
    """Drawn once a seed; the same at every voxel size and for every tracer."""

    sex: str
    age_years: float
    weight_kg: float
    height_m: float
    scale: np.ndarray
    """MNI millimetres times this give the head's."""
    rotation: np.ndarray
    ventricle_mm: float
    """How far the ventricles' walls are moved outwards."""
    cortex_mm: float
    sulcus_mm: float
    """Half the width added to every sulcus."""
    gap_mm: float
    """CSF between brain and skull."""
    skull_mm: float
    scalp_mm: float
    contrast_agent: bool
    """Gadolinium: vessels, mucosa and tumours bright in MR."""


def person(rng: np.random.Generator) -> Person:
    """Ages 20 to 90; ventricles and sulci widen and cortex thins with age."""
    sex = "FM"[int(rng.integers(2))]
    age = float(np.clip(rng.normal(55, 18), 20, 90))
    old = float(np.clip((age - 45) / 40, 0, 1))
    height = float(rng.normal(1.76, 0.07) if sex == "M" else rng.normal(1.63, 0.065))
    bmi = float(np.clip(rng.lognormal(np.log(25.5), 0.16), 18, 42))
    size = (0.925 if sex == "M" else 0.887) * rng.normal(1, 0.018)
    nod = np.deg2rad(rng.normal((0, -4, 0), (3.0, 6.0, 2.5)))
    return Person(sex, round(age, 1), round(bmi * height**2, 1), round(height, 3),
                  scale=size * rng.normal(1, 0.022, 3), rotation=_rotation(nod),
                  ventricle_mm=_within(rng, 0.4 + 4.2 * old, 1.0, -1.2, 7.5),
                  cortex_mm=_within(rng, 3.7 - 0.45 * old, 0.15, 2.8, 4.2),
                  sulcus_mm=_within(rng, -0.15 + 0.5 * old, 0.12, -0.5, 0.8),
                  gap_mm=_within(rng, 0.4 + 1.4 * old, 0.3, 0.0, 3.0),
                  skull_mm=_within(rng, 6.6, 0.9, 4.5, 9.5),
                  scalp_mm=_within(rng, 5.5 + 0.12 * (bmi - 25), 0.8, 3.5, 9.0),
                  contrast_agent=bool(rng.random() < 0.3))


def _within(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sd), low, high))


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Turn about z, then nod about x, then tilt about y."""
    (cz, cx, cy), (sz, sx, sy) = np.cos(angles), np.sin(angles)
    about_z = np.array(((cz, -sz, 0), (sz, cz, 0), (0, 0, 1)))
    about_x = np.array(((1, 0, 0), (0, cx, -sx), (0, sx, cx)))
    about_y = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    return about_y @ about_x @ about_z
