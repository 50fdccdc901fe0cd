"""A DICOM series as a Volume with its unit and facts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, PETDiffusionError, UnitError
from ..suv import dicom as units
from ..suv import doubts, header, times, tracers
from ..suv.given import weight
from ..volume import ARBITRARY, HU, Facts, Volume
from . import checks, pixels, series, slices
from .checks import PET_ROLES
from .left_out import if_readable
from .sidecar import if_later

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
TALLEST_M = 2.6
DERIVED = "Denoised by "
"""How the description of a series that this program derives begins; `write/outputs` begins it so."""


def read(path: Path, role: str, declared: tuple[str, float] | None = None, weight_kg: float | None = None,
         run: Run | None = None) -> Volume:  # fmt: skip
    """The series of this role in a folder, or the one a file belongs to."""
    return of_slices(series.load(series.find(path, role, run)), path, role, declared, weight_kg, run)


def of_slices(loaded: Sequence[Dataset], path: Path, role: str, declared: tuple[str, float] | None = None,
              weight_kg: float | None = None, run: Run | None = None) -> Volume:  # fmt: skip
    """The volume that slices of one series make."""
    ordered, geometry = slices.arrange(loaded, run)
    unit, scale = _agreed_unit(ordered, role, declared, path.name, run)
    array = pixels.stack(ordered, geometry, needs_rescale=role != "mr")
    if scale != 1.0:
        array *= np.float32(scale)
    if role not in PET_ROLES:
        return Volume(array, geometry, unit, _of_one_frame(common_facts(ordered[0], path, run), ordered, role, run))
    used = weight(_known(lambda: units.weight_of(ordered), run), weight_kg, unit, checks.called(role), run)
    return Volume(array, geometry, unit, _of_one_frame(pet_facts(ordered, path, run, used), ordered, role, run))


def _agreed_unit(ordered: Sequence[Dataset], role: str, declared: tuple[str, float] | None, name: str,
                 run: Run | None) -> tuple[str, float]:
    """What the header says; where it says nothing that can be used, what was declared."""
    try:
        stated = _unit(ordered, role)
    except UnitError as error:
        return checks.instead(error, declared, name, role, run)
    return checks.agreed(declared, stated, name, role, run) or stated


def _unit(ordered: Sequence[Dataset], role: str) -> tuple[str, float]:
    if role in PET_ROLES:
        stored = units.stored_unit(ordered)
        return stored.unit, stored.scale
    return (HU if role == "ct" else ARBITRARY), 1.0


def _of_one_frame(facts: Facts, ordered: Sequence[Dataset], role: str, run: Run | None) -> Facts:
    """A grid that is regular all the same is more likely an anonymiser's work than slices of two examinations."""
    count = len({header.text(ds, "FrameOfReferenceUID") for ds in ordered})
    if count == 1:
        return facts
    if run is not None:
        run.warn(f"{checks.called(role)}: its slices name {count} frames of reference (0020,0052), so how they lie to "
                 "one another and to other images is not known. Check that they belong together.")
    return replace(facts, frame_of_reference=None)


def pet_facts(ordered: Sequence[Dataset], path: Path, run: Run | None = None, weight_kg: float | None = None
              ) -> Facts:  # fmt: skip
    """Everything known of the scan and its tracer, and the SUV factor if it can be had without guessing. The weight,
    if given, replaces the header's."""
    ds, facts = ordered[0], common_facts(ordered[0], path, run)
    weighs = _known(lambda: units.weight_of(ordered), run) if weight_kg is None else weight_kg
    info = header.item(ds, "RadiopharmaceuticalInformationSequence")
    known = {"tracer": _tracer(info) if info is not None else None,
             "weight_kg": weighs, "injected_dose_bq": _known(lambda: units.dose_of(ordered), run),
             "positron_fraction": _fraction(_positive(info, "RadionuclidePositronFraction", run)) if info else None,
             "frame_seconds": _thousandth(_positive(ds, "ActualFrameDuration", run))}
    injections = len(ds.get("RadiopharmaceuticalInformationSequence") or ())
    if run is not None and injections > 1:
        run.warn(f"The header lists {injections} injections: tracer, dose and time are taken from the first alone. "
                 "Check them before any SUV is used.")
    _tell(doubts.of_values(ordered), run)
    try:
        known["half_life_s"] = units.half_life_of(ordered)
        known["suv_factor"] = units.factor_from_dicom(ordered, Facts(weight_kg=weight_kg))
        _tell(doubts.of_times(ordered, known["half_life_s"]), run)
    except (UnitError, InputError) as error:
        if run is not None and not units.holds_suv(ordered):
            run.warn(f"{checks.NO_SUV}{error}")
    known["uptake_minutes"], known["frame_start_minutes"] = _minutes(ordered, known.get("half_life_s"))
    known["decay_factor"] = _decay_factor(ordered, known["uptake_minutes"], known.get("half_life_s"))
    return replace(facts, **known)


def _tell(doubts_there: Sequence[str], run: Run | None) -> None:
    for text in doubts_there if run is not None else ():
        run.warn(text)


def common_facts(ds: Dataset, path: Path, run: Run | None = None) -> Facts:
    """What any image says; nothing that names the patient."""
    height = _positive(ds, "PatientSize", run)
    sex = header.text(ds, "PatientSex").upper()
    return Facts(modality=header.text(ds, "Modality").upper() or None,
                 weight_kg=_positive(ds, "PatientWeight", run),
                 height_m=height if height and height <= TALLEST_M else None,
                 sex=sex if sex in ("M", "F", "O") else None, age_years=_age(header.text(ds, "PatientAge")),
                 scanner=" ".join(filter(None, (header.text(ds, "Manufacturer"),
                                                header.text(ds, "ManufacturerModelName")))) or None,
                 frame_of_reference=frame_of_reference(header.text(ds, "FrameOfReferenceUID")),
                 denoised=_denoised(header.text(ds, "DerivationDescription")), source=str(path))


def frame_of_reference(uid: str) -> str | None:
    """Facts go into sidecars and records: a hash tells frames apart there as well, and leads nobody to the patient."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16] if uid else None


def _denoised(derivation: str) -> str | None:
    """The method, of a series that this program derived: it stands before the settings."""
    return derivation.removeprefix(DERIVED).split(". ")[0] if derivation.startswith(DERIVED) else None


def _tracer(info: Dataset) -> str | None:
    code = header.item(info, "RadiopharmaceuticalCodeSequence")
    return tracers.tracer(header.text(info, "Radiopharmaceutical"),
                          header.text(code, "CodeMeaning") if code is not None else "")


def _minutes(ordered: Sequence[Dataset], half_life_s: float | None) -> tuple[float | None, float | None]:
    """From the injection to the scan, unless that was running before, and to the image, where that is later than its
    scan; None where the times do not agree."""
    from ..suv.factor import ROUNDING_S, half_life, uptake

    try:
        life = half_life(half_life_s)
        found = times.uptake(ordered, life)
        waited = uptake(found.seconds, life, found.running_s)
    except (PETDiffusionError, OverflowError, ValueError):
        return None, None
    scan = max(waited, 0.0) / 60.0 if waited >= -ROUNDING_S else None
    return scan, if_later((waited + found.running_s) / 60.0, scan)


def _positive(ds: Dataset, keyword: str, run: Run | None) -> float | None:
    return _known(lambda: header.number(ds, keyword), run)


def _known(asked: Callable[[], float | None], run: Run | None) -> float | None:
    """A number above zero."""
    value = if_readable(asked, run)
    return value if value and value > 0 else None


def _decay_factor(ordered: Sequence[Dataset], uptake_minutes: float | None, half_life_s: float | None) -> float | None:
    """Of the whole series; a bed that was scanned later was multiplied by more."""
    correction = header.text(ordered[0], "DecayCorrection").upper()
    if correction not in ("START", "ADMIN"):
        return None
    factors = [_positive(ds, "DecayFactor", None) for ds in ordered]
    if None not in factors:
        return harmonic_mean(factors)  # activities, not factors, are what has a mean
    known = correction == "ADMIN" and uptake_minutes is not None and half_life_s
    return 2 ** (60 * uptake_minutes / half_life_s) if known else None


def _fraction(value: float | None) -> float | None:
    return value if value and value <= 1 else None


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000.0


def _age(text: str) -> float | None:
    """'045Y' -> 45."""
    return int(text[:-1]) * _YEARS[text[-1].upper()] if text[:-1].isdigit() and text[-1].upper() in _YEARS else None
