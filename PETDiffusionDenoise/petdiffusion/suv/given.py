"""What the user says of the patient: checked, then taken before what a file says, and a contradiction is told."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..volume import SUVBW, Facts
from .factor import WEIGHT_KG

if TYPE_CHECKING:
    from ..progress import Run


def checked_weight(value: Any) -> float | None:
    """A weight that a patient can have; None where none was given."""
    if value is None:
        return None
    remedy = "Give kilograms, such as --weight-kg 72, or leave it out."
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise OptionError(f"Weight {value!r}", "is not a number", remedy)
    low, high = WEIGHT_KG
    if not low <= value <= high:
        raise OptionError(f"Weight {value:g} kg", f"cannot be a patient's ({low:g} to {high:g} kg)", remedy)
    return float(value)


def weight(stated: float | None, given: float | None, unit: str, called: str, run: Run | None = None) -> float | None:
    """The weight to use of the image that is `called` so. Values that are SUV already were made with the file's, which
    stays."""
    if given is None or given == stated:
        return stated
    if stated is None:
        return given
    stays = unit == SUVBW
    if run is not None:
        end = "changes nothing, since the values are SUV already" if stays else "is used"
        run.warn(f"{called} says a weight of {stated:g} kg; {given:g} kg was given and {end}.")
    return stated if stays else given


def weighed(facts: Facts, given: float | None, unit: str, called: str, run: Run | None = None) -> Facts:
    """The facts with the weight to use; an SUV is in proportion to it, and so is a factor that is known."""
    stated, factor = facts.weight_kg, facts.suv_factor
    if run is not None and given is not None and stated is None and factor and unit != SUVBW:
        run.warn(f"{called} tells an SUV factor and no weight that it was made with: {given:g} kg was given and "
                 "changes nothing in it.")
    used = weight(stated, given, unit, called, run)
    if used == stated:
        return facts
    return replace(facts, weight_kg=used, suv_factor=factor * used / stated if factor and stated else factor)
