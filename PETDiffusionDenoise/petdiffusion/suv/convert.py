"""Between Bq/ml and SUVbw."""

from __future__ import annotations

import math
from numbers import Real

from ..errors import PETDiffusionError, UnitError
from ..volume import BQML, SUVBW, Volume
from .factor import factor_from_facts


def to_suv(volume: Volume) -> Volume:
    """The same PET in SUVbw; the factor used is kept in its facts."""
    return _converted(volume, SUVBW)


def to_bqml(volume: Volume) -> Volume:
    """The same PET in Bq/ml; the factor used is kept in its facts."""
    return _converted(volume, BQML)


def _converted(volume: Volume, unit: str) -> Volume:
    if volume.unit == unit:
        return volume
    if volume.unit not in (SUVBW, BQML):
        raise UnitError(f"Image in {volume.unit}", f"cannot be turned into {unit}",
                        f"Say what it is: unit {BQML} or {SUVBW} (--unit).")
    known = factor_of(volume)
    scaled = volume.array * (known if unit == SUVBW else 1.0 / known)
    return volume.with_array(scaled, unit).with_facts(suv_factor=known)


def factor_of(volume: Volume) -> float:
    """What its Bq/ml are multiplied by to give SUVbw, or the reason why that is not known."""
    facts = volume.facts
    if facts.suv_factor is None:
        return _derived(volume)
    if not isinstance(facts.suv_factor, Real) or not math.isfinite(facts.suv_factor) or facts.suv_factor <= 0:
        raise UnitError(f"SUV factor {facts.suv_factor!r}", "is not a positive number", "Read the PET again.")
    return float(facts.suv_factor)


def _derived(volume: Volume) -> float:
    """A volume that was read is asked at its source, where the decay correction is known; others by their facts."""
    if volume.facts.source is None:
        return factor_from_facts(volume.facts)
    from ..read.origin import suv_factor

    try:
        return suv_factor(volume.facts)
    except UnitError:
        raise
    except PETDiffusionError as error:
        raise UnitError("The SUV factor", f"is not known, and the original cannot be asked ({error.what}: {error.why})",
                        "Give weight, dose and times, or go on in Bq/ml.") from error
