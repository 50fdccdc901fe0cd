"""What a DICOM PET series says of its unit and of the way to SUV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UnitError
from ..volume import BQML, SUVBW, Facts
from . import header, tracers
from .days import of_their_days
from .factor import factor, half_life
from .injection import INJECTION, NONE, SCAN
from .times import Uptake, check_administered, uptake
from .units import UnsaidUnit

if TYPE_CHECKING:
    from pydicom import Dataset

PHILIPS = "Philips PET Private Group"
SUV_SCALE, ACTIVITY_SCALE = 0x00, 0x09
HALF_LIVES_AGREE = 0.02
_SAY = "Export in Bq/ml, or say with --unit what the values are; in Python unit='a.u.' if only the picture matters."


@dataclass(frozen=True)
class Stored:
    """Unit of the values in the files: rescaled pixels times `scale` are in `unit`."""

    unit: str
    scale: float


def stored_unit(series: Sequence[Dataset]) -> Stored:
    """BQML, GML (SUVbw) or Philips counts with their private factors; anything else is refused."""
    found = sorted({header.text(ds, "Units").upper() for ds in series})
    if len(found) > 1:
        raise UnitError(f"Units {', '.join(found)}", "occur in one series", "Export the series again.")
    units = found[0]
    if units == "BQML":
        return Stored(BQML, 1.0)
    if units == "GML":
        return _suv(series)
    if units == "CNTS":
        return _counts(series)
    if units in ("PROPCNTS", "NONE", ""):
        raise UnsaidUnit(f"DICOM Units (0054,1001) '{units or 'absent'}'", "do not say what the values are", _SAY)
    raise UnitError(f"DICOM Units (0054,1001) '{units}'", "cannot be turned into Bq/ml or SUV",
                    "Export in Bq/ml, or read it with unit='a.u.' if only the picture matters.")


def _suv(series: Sequence[Dataset]) -> Stored:
    kind = header.text(series[0], "SUVType").upper()
    if kind not in ("", "BW"):
        raise UnitError(f"SUV type (0054,1006) '{kind}'", "is not normalised to body weight",
                        "Export the PET in Bq/ml or SUVbw.")
    return _corrected(series, 1.0)


def _counts(series: Sequence[Dataset]) -> Stored:
    activity, suv = (_philips(series, element) for element in (ACTIVITY_SCALE, SUV_SCALE))
    if activity:
        return Stored(BQML, activity)
    if suv:
        return _corrected(series, suv)
    raise UnsaidUnit("DICOM Units (0054,1001) 'CNTS'",
                     "are counts, and Philips' factors (7053,1000) and (7053,1009) are absent or zero", _SAY)


def _corrected(series: Sequence[Dataset], scale: float) -> Stored:
    """Who writes SUVs answers for them, unless the header says that they can be none."""
    for ds in series:
        corrections, decay = header.words(ds, "CorrectedImage"), header.text(ds, "DecayCorrection").upper()
        said = f"corrected image (0028,0051) '{', '.join(corrections)}' lacks"
        wrong = [f"{said} {word}" for word in ("ATTN", "DECY") if corrections and word not in corrections]
        wrong += [f"decay correction (0054,1102) '{decay}'"] if decay == "NONE" else []
        if wrong:
            raise UnitError("Values in SUV", f"cannot be: {wrong[0]}", "Take the corrected series, or read it with "
                            "unit='a.u.' in Python if only the picture matters.")
    return Stored(SUVBW, scale)


def holds_suv(series: Sequence[Dataset]) -> bool:
    """Are the values SUV already, so that dose, weight and times change nothing in them?"""
    try:
        return stored_unit(series).unit == SUVBW
    except UnitError:
        return False


def _philips(series: Sequence[Dataset], element: int) -> float | None:
    """One of Philips' factors; None where it is absent or zero."""
    values = {header.private_number(ds, 0x7053, PHILIPS, element) or 0.0 for ds in series}
    if len(values) > 1 or min(values) < 0:
        raise UnitError(f"Philips' factor (7053,10{element:02x}) {sorted(values)}",
                        "differs between slices or is negative", "Export the series again.")
    return values.pop() or None


def factor_from_dicom(datasets: Iterable[Dataset] | Dataset, given: Facts | None = None) -> float:
    """What Bq/ml of this series are multiplied by to give SUVbw.

    `given` holds what the user says of the scan: weight, dose, half-life and uptake time replace the header's.
    """
    series, given = of_their_days(as_list(datasets)), given or Facts()
    for ds in series:
        _check_attenuation(ds)
    scales = philips_scales(series)
    if scales:
        return scales[0] / scales[1] * _given_over_stated(series[0], given)
    return _standard(series, given)


def philips_scales(series: Sequence[Dataset]) -> tuple[float, float] | None:
    """From counts to SUV and to Bq/ml, where Philips' header has both: then no time is asked."""
    if header.text(series[0], "Units").upper() != "CNTS":
        return None
    suv, activity = _philips(series, SUV_SCALE), _philips(series, ACTIVITY_SCALE)
    return (suv, activity) if suv and activity else None


def _given_over_stated(ds: Dataset, given: Facts) -> float:
    """Philips' factor is made with the header's weight, and in proportion to it."""
    stated = header.number(ds, "PatientWeight")
    return given.weight_kg / stated if given.weight_kg and stated else 1.0


def _standard(series: Sequence[Dataset], given: Facts) -> float:
    correction = _one([_decay_correction(ds) for ds in series], "DecayCorrection")
    life = half_life(given.half_life_s or half_life_of(series))
    dose = dose_of(series) if given.injected_dose_bq is None else given.injected_dose_bq
    weight = weight_of(series) if given.weight_kg is None else given.weight_kg
    if correction == "ADMIN":
        check_administered(series, life)
    return factor(dose, weight, life, *(Uptake(0.0) if correction == "ADMIN" else _uptake(series, given, life)))


def _one(values: Sequence[float | str | None], keyword: str) -> Any:
    """The value of every slice, if it is one."""
    found = sorted(set(values), key=str)
    if len(found) > 1:
        listed = " and ".join("none" if v is None else v if isinstance(v, str) else f"{v:g}" for v in found)
        raise UnitError(f"{keyword} {listed}", "occur in one series", "Export the series again, or go on in Bq/ml.")
    return found[0]


def weight_of(series: Sequence[Dataset]) -> float | None:
    return _one([header.number(ds, "PatientWeight") for ds in series], "PatientWeight")


def dose_of(series: Sequence[Dataset]) -> float | None:
    infos = [header.item(ds, "RadiopharmaceuticalInformationSequence") for ds in series]
    return _one([None if info is None else header.number(info, "RadionuclideTotalDose") for info in infos],
                "RadionuclideTotalDose")


def half_life_of(series: Sequence[Dataset]) -> float | None:
    return _one([_nuclide_half_life(ds) for ds in series], "RadionuclideHalfLife")


def _uptake(series: Sequence[Dataset], given: Facts, life: float) -> Uptake:
    if given.uptake_minutes is not None:
        return Uptake(60.0 * given.uptake_minutes)
    try:
        return uptake(series, life)
    except (OverflowError, ValueError) as error:
        raise UnitError("The times of injection and scan", f"cannot be used ({error})",
                        "Correct the times of injection and scan in the file.") from error


def _nuclide_half_life(ds: Dataset) -> float | None:
    """The header's half-life, if it is the one of the nuclide the header names; without one, the nuclide's."""
    info = header.item(ds, "RadiopharmaceuticalInformationSequence")
    if info is None:
        return None
    stated = header.number(info, "RadionuclideHalfLife")
    code = header.item(info, "RadionuclideCodeSequence")
    name = header.text(code, "CodeMeaning") if code is not None else ""
    known = tracers.half_life(name)
    if stated and known and abs(stated / known - 1) > HALF_LIVES_AGREE:
        raise UnitError(f"Half-life {stated:g} s", f"is not that of {name} ({known:g} s)",
                        "Check nuclide and half-life, give half_life_s, or go on in Bq/ml.")
    return stated or known


def _check_attenuation(ds: Dataset) -> None:
    corrections = header.words(ds, "CorrectedImage")
    if "ATTN" not in corrections:
        raise UnitError(f"Corrected image (0028,0051) '{', '.join(corrections) or 'empty'}'",
                        "lacks ATTN: without attenuation correction there is no SUV",
                        "Take the corrected series, or go on in Bq/ml.")


def _decay_correction(ds: Dataset) -> str:
    """START or ADMIN."""
    correction = header.text(ds, "DecayCorrection").upper()
    if correction not in ("START", "ADMIN"):
        raise UnitError(f"Decay correction (0054,1102) '{correction or 'absent'}'",
                        "does not say to which time the activity is corrected",
                        "Take a series corrected to START or ADMIN, or go on in Bq/ml.")
    if "DECY" not in header.words(ds, "CorrectedImage"):
        raise UnitError(f"Decay correction '{correction}'", "is contradicted by (0028,0051), which lacks DECY",
                        "Export the series again, or go on in Bq/ml.")
    return correction


def corrected_to(series: Sequence[Dataset], half_life_s: float | None) -> str | None:
    """To what moment the header says that the slices are corrected for decay; None where it does not say. Where it says
    that they are not corrected for attenuation, it is refused."""
    said = [words for ds in series if (words := header.words(ds, "CorrectedImage"))]
    for ds in series if said else ():
        _check_attenuation(ds)
    word = _one([header.text(ds, "DecayCorrection").upper() or None for ds in series], "DecayCorrection")
    if word == "NONE" or any("DECY" not in words for words in said):
        return NONE
    if word == "ADMIN" and half_life_s:
        check_administered(series, half_life_s)
    return {"START": SCAN, "ADMIN": INJECTION}.get(word)


def as_list(datasets: Iterable[Dataset] | Dataset) -> list[Dataset]:
    from pydicom import Dataset as One

    series = [datasets] if isinstance(datasets, One) else list(datasets)
    if not series:
        raise UnitError("A series without slices", "has no SUV factor", "Give the headers of the series.")
    return series
