"""Two PETs of one patient in one unit, where one of them says none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UnitError
from ..progress import Run
from ..volume import ARBITRARY, Volume

MOST_TIMES = 100.0
"""How far two scans of one patient can lie apart in the same unit. An SUV is a few thousand Bq/ml."""


def of(other: Volume, name: str, pet: Volume, its_name: str, run: Run) -> Volume:
    """The image, in the PET's unit where it says none, which is told; refused where the values speak against it."""
    if ARBITRARY in (other.unit, pet.unit) or other.unit == pet.unit:
        _check(other, name, pet, its_name)
    if other.unit != ARBITRARY or pet.unit == ARBITRARY:
        return other
    run.warn(taken(name, its_name, pet.unit))
    return replace(other, unit=pet.unit)


def taken(name: str, its_name: str, unit: str) -> str:
    """What is told of an image that says no unit."""
    return f"The {name} says no unit: its values are taken to be in that of the {its_name}, {unit}."


def _check(other: Volume, name: str, pet: Volume, its_name: str) -> None:
    levels = level(other), level(pet)
    low, high = min(levels), max(levels)
    if low > 0 and high > MOST_TIMES * low:
        way = "higher" if levels[0] == high else "lower"
        raise UnitError(f"The {name} ({other.unit}): its values are {high / low:.3g} times {way} than those of the "
                        f"{its_name} ({pet.unit})", "so they are not in the same unit",
                        "Say the unit in its file or JSON sidecar (Units: SUVbw or Bq/mL), or give another image.")


def level(pet: Volume) -> float:
    """High uptake, by every eighth voxel; a single hot voxel decides nothing."""
    return float(np.percentile(pet.array[::2, ::2, ::2], 99.0))
