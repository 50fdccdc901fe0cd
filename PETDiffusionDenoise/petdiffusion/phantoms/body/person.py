"""Who is drawn: sex, size, fat, age, posture and breath, as they vary in a clinic's patients."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

REFERENCE_HEIGHT_M = 1.72
"""Height of the person whose landmarks the shapes are written for."""


@dataclass(frozen=True)
class Person:
    """One patient's build; lengths in canonical millimetres, that is, of a person 1.72 m tall."""

    seed: int
    sex: str
    age: float
    height_m: float
    bmi: float
    arms: str
    subcutaneous_mm: float
    """Thickness of the fat layer over the belly."""
    visceral: float
    """Fat inside the belly: 0 lean, 1 average, 3 very much."""
    muscle: float
    """Breadth of the muscles against the average."""
    scale: tuple[float, float, float]
    """World millimetres per canonical millimetre (x, y, z)."""
    breath_mm: float
    """How much lower than at mid-expiration the diaphragm stands."""
    nod_degrees: float
    turn_degrees: float
    lean_mm: float
    """Sideways shift of the head against the pelvis."""
    bladder_ml: float
    bone: float
    """Mineral of the bones against a healthy adult of 40 years."""
    fatty_liver: float

    @property
    def male(self) -> bool:
        return self.sex == "M"

    @property
    def muscle_fat(self) -> float:
        """How far fat has crept into the muscles with age and weight: HU that they have lost."""
        return max(0.32 * (self.age - 40) + 0.6 * (self.bmi - 25), 0.0)

    def rng(self, name: str) -> np.random.Generator:
        """A stream of its own for each part of the body, so that changing one part leaves the others alone."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def draw_person(seed: int, sex: str | None, arms: str | None) -> Person:
    rng = np.random.default_rng([seed, zlib.crc32(b"person")])
    sex_drawn, arms_drawn = ("M" if rng.random() < 0.52 else "F"), ("up" if rng.random() < 0.65 else "down")
    sex, arms = sex or sex_drawn, arms or arms_drawn
    male = sex == "M"
    height = float(np.clip(rng.normal(1.76 if male else 1.63, 0.07), 1.48, 2.0))
    bmi = float(np.clip(25.3 * np.exp(rng.normal(0, 0.16)), 17.0, 40.0))
    age = float(np.clip(rng.normal(60, 14), 20, 90))
    return Person(
        seed=seed,
        sex=sex,
        age=age,
        height_m=height,
        bmi=bmi,
        arms=arms,
        bone=float(_bone(rng, age, male)),
        subcutaneous_mm=_subcutaneous(rng, bmi, male),
        visceral=_visceral(rng, bmi, male, age),
        muscle=float(np.clip(rng.normal(0.97 if male else 0.88, 0.05) + 0.006 * (bmi - 24), 0.78, 1.2)),
        scale=_scale(rng, height, bmi),
        breath_mm=float(np.clip(rng.normal(2, 9), -12, 28)),
        nod_degrees=float(rng.normal(0, 5)),
        turn_degrees=float(rng.normal(0, 6)),
        lean_mm=float(rng.normal(0, 7)),
        bladder_ml=float(np.clip(130 * np.exp(rng.normal(0, 0.55)), 40, 450)),
        fatty_liver=float(rng.beta(1.2, 4.0) * (1.4 if bmi > 28 else 0.8)),
    )


def _bone(rng: np.random.Generator, age: float, male: bool) -> float:
    return np.clip(rng.normal(1.1 - 0.006 * (age - 30) - (0.0 if male else 0.002 * max(age - 50, 0)), 0.12), 0.45, 1.4)


def _subcutaneous(rng: np.random.Generator, bmi: float, male: bool) -> float:
    """About 17 mm in men and 23 mm in women of BMI 25, as abdominal CT measures it."""
    mean = (17 if male else 22) + (1.4 if male else 1.65) * (bmi - 25)
    return float(np.clip(mean * np.exp(rng.normal(0, 0.17)), 3.5, 58))


def _visceral(rng: np.random.Generator, bmi: float, male: bool, age: float) -> float:
    mean = 1.0 + 0.11 * (bmi - 25) + 0.01 * (age - 55) + (0.25 if male else -0.2)
    return float(np.clip(mean * np.exp(rng.normal(0, 0.2)), 0.0, 3.2))


def _scale(rng: np.random.Generator, height: float, bmi: float) -> tuple[float, float, float]:
    """Breadth grows less than height does."""
    tall = height / REFERENCE_HEIGHT_M
    broad = tall**0.6 * (1 + 0.006 * (bmi - 25))
    noise = np.exp(rng.normal(0, 0.02, 2))
    return float(broad * noise[0]), float(broad * noise[1]), float(tall)
