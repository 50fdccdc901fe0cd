"""SUV factor from dose, weight, half-life and time, each checked; the arithmetic is pysuv's."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..errors import UnitError
from ..volume import Facts

WEIGHT_KG = (0.3, 400.0)
DOSE_BQ = (1e5, 1e11)
HALF_LIFE_S = (10.0, 3.2e7)
LONGEST_UPTAKE_HALF_LIVES = 10.0
ROUNDING_S = 1.0
_IN_BQML = "or go on in Bq/ml, which needs no SUV."


def checked(value: Any, name: str, unit: str, limits: tuple[float, float], hint: str) -> float:
    """A number within its physical limits, or a UnitError that says what is wrong with it."""
    if value is None:
        raise UnitError(f"{name}", "is not known, so there is no SUV", f"Give {hint}, {_IN_BQML}")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise UnitError(f"{name} {value!r}", "is not a number", f"Give {hint}, {_IN_BQML}")
    low, high = limits
    if not low <= value <= high:
        raise UnitError(f"{name} {value:g} {unit}", f"lies outside {low:g} to {high:g} {unit}; is it in another unit?",
                        f"Give {hint}, {_IN_BQML}")
    return float(value)


def _in_file(tag: str, key: str) -> str:
    return f"it in the file (DICOM {tag}, sidecar {key}; of a PET in Bq/ml also with petdiffusion convert)"


def weight(value: Any) -> float:
    where = _in_file("PatientWeight (0010,1030)", "BodyWeight").removeprefix("it ")
    hint = f"it with --weight-kg (in a manifest the column weight_kg) or {where}"
    return checked(value, "The patient's weight", "kg", WEIGHT_KG, hint)


def dose(value: Any) -> float:
    where = _in_file("RadionuclideTotalDose (0018,1074)", "InjectedRadioactivity")
    return checked(value, "The injected dose", "Bq", DOSE_BQ, where)


def half_life(value: Any) -> float:
    where = _in_file("RadionuclideHalfLife (0018,1075)", "RadionuclideHalfLife")
    return checked(value, "The half-life", "s", HALF_LIFE_S, where)


def uptake(seconds: Any, half_life_s: float, running_s: float = 0.0) -> float:
    """Time from injection to what the image is decay-corrected to; refuses times that cannot be. It is negative only
    where the scan had been running (for `running_s`) when the image was acquired, as dynamic scans are."""
    if seconds is None:
        raise UnitError("The time from injection to scan", "is not known, so there is no SUV",
                        f"Give the times of injection and scan in the file, {_IN_BQML}")
    if not isinstance(seconds, Real) or not math.isfinite(seconds):
        raise UnitError(f"Time from injection to scan {seconds!r}", "is not a number",
                        f"Give the times of injection and scan in the file, {_IN_BQML}")
    if seconds < -max(running_s, ROUNDING_S):
        raise UnitError(f"Injection {-seconds / 60:.1f} min after the scan", "cannot be",
                        f"Correct the injection time in the file, {_IN_BQML}")
    if seconds > LONGEST_UPTAKE_HALF_LIVES * half_life_s:
        raise UnitError(f"Injection {seconds / 3600:.1f} h before the scan",
                        f"is more than {LONGEST_UPTAKE_HALF_LIVES:g} half-lives of {half_life_s / 60:.1f} min",
                        f"Correct the injection's date and time in the file, {_IN_BQML}")
    return max(float(seconds), -running_s)


def factor(dose_bq: Any, weight_kg: Any, half_life_s: Any, uptake_s: Any, running_s: float = 0.0) -> float:
    """SUVbw of 1 Bq/ml: weight in grams over the dose left after the uptake time."""
    from pysuv.core.decay import calculate_decay_factor
    from pysuv.core.suv_calculator import calculate_suv_bw

    kg, bq, life = weight(weight_kg), dose(dose_bq), half_life(half_life_s)
    try:
        decay = calculate_decay_factor(uptake(uptake_s, life, running_s), life)
        return float(calculate_suv_bw(1.0, bq, 1000.0 * kg, decay))
    except (ValueError, OverflowError) as error:
        raise UnitError("The SUV factor", str(error), f"Check dose, weight and times, {_IN_BQML}") from error


def factor_from_facts(facts: Facts) -> float:
    """The factor for an image decay-corrected to the start of the scan, `uptake_minutes` after the injection."""
    minutes = facts.uptake_minutes
    seconds = minutes * 60.0 if isinstance(minutes, Real) else minutes
    return factor(facts.injected_dose_bq, facts.weight_kg, facts.half_life_s, seconds)


def corrected_to(facts: Facts) -> float | None:
    """Seconds from the injection to what the image is decay-corrected to: the start of the scan or the injection
    itself, whichever made its SUV factor. None where neither did, or the facts do not tell."""
    known = (facts.suv_factor, facts.injected_dose_bq, facts.weight_kg, facts.half_life_s)
    minutes = facts.uptake_minutes
    if not all(isinstance(value, Real) and math.isfinite(value) and value > 0 for value in known):
        return None
    if not isinstance(minutes, Real) or not 0 <= minutes < math.inf:
        return None
    suv_factor, bq, kg, life = known
    seconds = life * math.log2(suv_factor * bq / (1000.0 * kg))
    return next((time for time in (60.0 * minutes, 0.0) if abs(seconds - time) <= ROUNDING_S), None)
