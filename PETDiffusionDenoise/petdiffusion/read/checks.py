"""Is there room for an image, and can its values be what it was given as?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ResourceError, UnitError
from ..suv.units import UnsaidUnit
from ..volume import ARBITRARY, BQML, HU, SUVBW, Volume
from ..wording import counted

if TYPE_CHECKING:
    from ..progress import Run

PET_ROLES = ("pet", "reference")
NO_SUV = "No SUV: "
"""How it is told that a file does not know its way to SUV, and why."""
FLOAT_BYTES = 4
HIGHEST = {SUVBW: 1e5, BQML: 1e11, HU: 1e6, ARBITRARY: 1e30}
"""Beyond these a value is not physical: the whole dose in one ml of an adult is an SUV of 70,000."""
NARROWEST_CT_HU = 20.0
HIGHEST_OF_AIR_HU = -300.0
"""A CT shows air, which is at about -1000 HU; without its intercept at about 0."""
LEAST_MASK = 500
"""Voxels from which on two values alone can be no chance."""
MOST_LABELS, FLAT_PART = 512, 0.8
"""A label map has no more values than the first, and equal neighbours inside for at least the second part."""
_GB = 1e9


def called(role: str) -> str:
    """How warnings name an image: they go into the report, and a file's name may be the patient's."""
    return f"The {role if role == 'reference' else role.upper()}"


def memory(shape: Sequence[int], stored_bytes: int, name: str) -> None:
    """Refuse an image that does not fit before it is loaded: the stored voxels and one float copy."""
    import psutil

    needed = math.prod(int(n) for n in shape) * (stored_bytes + FLOAT_BYTES)
    available = psutil.virtual_memory().available
    if needed > available:
        raise ResourceError(f"{name} ({' x '.join(str(int(n)) for n in shape)} voxels)",
                            f"needs {needed / _GB:.1f} GB of memory, and {available / _GB:.1f} GB are available",
                            "Close other programs, crop the image, or use a machine with more memory.")


def values(volume: Volume, role: str, name: str, run: Run | None = None) -> Volume:
    """The volume, if its values can be an image of this role."""
    low, high = _range(volume, name)
    _check_unit(volume.unit, max(abs(low), abs(high)), name)
    if role in PET_ROLES:
        _check_pet(volume, low, high, name, role, run)
    elif role == "ct":
        _check_ct(low, high, name, run)
    elif high == low:
        raise InputError(f"{name}: all voxels are {low:g}", "there is no image in it", "Check the file.")
    return volume


def _range(volume: Volume, name: str) -> tuple[float, float]:
    low, high = float(volume.array.min()), float(volume.array.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    bad = int(volume.array.size - np.isfinite(volume.array).sum())
    raise InputError(f"{name}: {bad} of {counted(volume.array.size, 'voxel')}",
                     f"{'is' if bad == 1 else 'are'} NaN or infinite",
                     "Set them to zero if they lie outside the field of view, or export the image again.")


def _check_unit(unit: str, largest: float, name: str) -> None:
    if largest > HIGHEST[unit]:
        raise UnitError(f"{name}: a value of {largest:g} {unit}", f"is beyond {HIGHEST[unit]:g}; the unit is wrong "
                        "or the file is damaged", "Say what the values are with unit='Bq/ml' or unit='SUVbw'.")


def _check_ct(low: float, high: float, name: str, run: Run | None) -> None:
    if high - low < NARROWEST_CT_HU:
        raise InputError(f"{name}: values {low:g} to {high:g}", "are not Hounsfield units of a CT",
                         "Give the CT in HU, not normalised.")
    if run is not None and low > HIGHEST_OF_AIR_HU:
        run.warn(f"{called('ct')} has no value below {low:.0f} HU, and air is at about -1000: if it was saved without "
                 "its intercept, all values are too high by about 1000. Export it again in HU.")


def _check_pet(volume: Volume, low: float, high: float, name: str, role: str, run: Run | None) -> None:
    if high == low:
        raise InputError(f"{name}: all voxels are {low:g}", "there is no activity in it", "Check the file.")
    mean = float(volume.array.mean(dtype=np.float64))
    if mean <= 0:
        raise InputError(f"{name}: values {low:g} to {high:g} with a mean of {mean:g}",
                         "activity cannot be negative on the whole; is this a CT?", "Give the PET.")
    if volume.array.size >= LEAST_MASK and not np.any((volume.array != low) & (volume.array != high)):
        raise InputError(f"{name}: only the two values {low:g} and {high:g}", "make a mask, not a PET", "Give the PET.")
    if volume.unit == ARBITRARY and _is_label_map(volume.array):
        raise InputError(f"{name}: whole numbers in flat patches", "make a label map, not a PET",
                         "Give the PET; say its unit with --unit if it is one.")
    if run is not None and volume.unit == BQML and high < 10:
        run.warn(f"{called(role)}: the largest value is {high:.3g} Bq/ml, which looks like SUV.")


def _is_label_map(array: np.ndarray) -> bool:
    """Few whole numbers, and neighbours of the same one nearly everywhere. Counts are whole numbers too, but noisy."""
    if array.size < LEAST_MASK or np.any(array.ravel()[::101] % 1):
        return False
    if np.any(array % 1) or len(np.unique(array)) > MOST_LABELS:
        return False
    one, next_ = array[..., :-1], array[..., 1:]
    inside = (one != 0) & (next_ != 0)
    return bool(inside.any()) and float(np.mean((one == next_)[inside])) > FLAT_PART


def agreed(declared: tuple[str, float] | None, stated: tuple[str, float] | None, name: str, role: str,
           run: Run | None = None) -> tuple[str, float] | None:  # fmt: skip
    """The unit and scale that the image states, else those that were declared; where both are there they must agree.

    'a.u.' is no unit: stated it leaves the word to the declaration, declared it takes the image as a mere picture.
    """
    if stated is None or declared is None or ARBITRARY in (stated[0], declared[0]):
        return declared or stated
    if declared[0] != stated[0]:
        raise UnitError(f"{name} is in {stated[0]}", f"and was declared to be in {declared[0]}",
                        "Leave the declaration out, or correct the file's own unit.")
    if run is not None and declared[1] not in (1.0, stated[1]):
        run.warn(f"{called(role)} says its unit itself: the values are not multiplied by {declared[1]:g}, as was "
                 "declared.")
    return stated


def instead(error: UnitError, declared: tuple[str, float] | None, name: str, role: str, run: Run | None
            ) -> tuple[str, float]:  # fmt: skip
    """What was declared, where the image's own unit cannot be used: counts may be declared to be anything, what is
    known to be something else (SUV of lean mass, a rate) a mere picture."""
    if declared is None or not (isinstance(error, UnsaidUnit) or declared[0] == ARBITRARY):
        raise type(error)(f"{name}: {error.what}", error.why, error.remedy) from error
    if run is not None and declared[0] != ARBITRARY:
        run.warn(f"{called(role)}: {error.what}: {error.why}. The values are taken for {declared[0]}, as was declared.")
    return declared
