"""The JSON file beside an image: PET-BIDS, dcm2niix, or what this program wrote."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, UnitError
from ..suv import tracers
from ..suv.factor import ROUNDING_S, factor
from ..suv.injection import INJECTION, NONE, SCAN
from ..suv.units import becquerel
from ..volume import Facts
from ..wording import an
from . import inherited
from .left_out import if_readable

if TYPE_CHECKING:
    from ..progress import Run

OWN_KEY = "PETDiffusion"
HEADER_KEY = "petdiffusion"
"""Field of NRRD and MetaImage headers that holds what a sidecar would."""
_MODALITIES = {"pet": "pet", "pt": "pet", "ct": "ct", "mr": "mr", "mri": "mr"}
_FACT_TYPES = {f.name: str if "str" in str(f.type) else Real for f in fields(Facts)}
_LEVELS_UP = 5
_CORRECTIONS = ("AttenuationCorrection", "AttenuationCorrectionMethod")
"""As PET-BIDS and as dcm2niix have it."""
_UNCORRECTED = re.compile(r"\s*((none|nac|false|uncorrected)(?![\w/])|(no|non|not|without)(\s*$|[\s-]+(any\s+)?"
                          r"(attenuation|correct|applied|performed|done|ac\b)))", re.IGNORECASE)  # fmt: skip

_DECAY = {"START": SCAN, "ADMIN": INJECTION, "NONE": NONE}
"""DICOM's words (0054,1102), which dcm2niix hands on."""
_TAKE = "Give the corrected image, or stay in Bq/ml."


def path_of(image: Path) -> Path:
    """`a/b.nii.gz` -> `a/b.json`."""
    from .sources import suffix_of

    return image.with_name(image.name[: len(image.name) - len(suffix_of(image))] + ".json")


@dataclass(frozen=True)
class Sidecar:
    """What stands in the sidecar; empty where there is none."""

    path: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> Any:
        """The word for the image's unit; None where there is none."""
        return None if self.data.get("Units") in (None, "") else self.data["Units"]

    def facts(self, source: str | None = None, run: Run | None = None) -> Facts:
        """A number that cannot be read costs the SUV, which is told, and not the image."""
        if self.path is None:
            return Facts(source=source)
        own = self.data.get(OWN_KEY)
        found = self._own(own) if isinstance(own, Mapping) else self._bids(run)
        return Facts(**{**found, "source": source})

    def _own(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The facts as this program wrote them."""
        facts = own.get("facts", {})
        if not isinstance(facts, Mapping):
            raise self._wrong(f"{OWN_KEY}.facts", facts)
        for name, value in facts.items():
            if name in _FACT_TYPES and not (isinstance(value, _FACT_TYPES[name]) and not isinstance(value, bool)):
                raise self._wrong(f"{OWN_KEY}.facts.{name}", value)
        return {name: value for name, value in facts.items() if name in _FACT_TYPES}

    def _bids(self, run: Run | None) -> dict[str, Any]:
        known = {"modality": self._modality(),
                 "tracer": tracers.tracer(self._text("TracerName"), self._text("Radiopharmaceutical")),
                 "half_life_s": self._told(self._half_life, run), "injected_dose_bq": self._told(self._dose, run),
                 "uptake_minutes": self._told(self._minutes, run),
                 "frame_start_minutes": self._told(self._frame_minutes, None),
                 "frame_seconds": self._told(lambda: self._seconds("FrameDuration"), run),
                 "decay_factor": self._readable("DecayCorrectionFactor"),
                 "scanner": " ".join(filter(None, (self._text("Manufacturer"), self._text("ManufacturersModelName"))))
                 or None, **self._person(run)}
        if run is not None and self._uncorrected:
            run.warn(f"No SUV: {self._uncorrected}: says that the image is not corrected for attenuation. {_TAKE}")
        return {**known, "suv_factor": self.known_factor(Facts(**known), run)}

    def _told(self, asked: Callable[[], float | None], run: Run | None) -> float | None:
        return if_readable(asked, run, unnamed=f"{self.path.name}: ")

    def known_factor(self, facts: Facts, run: Run | None = None) -> float | None:
        """The SUV factor if the file and these facts tell it."""

        def asked() -> float | None:
            try:
                return self.suv_factor(facts)
            except UnitError:
                return None

        return self._told(asked, run) if self.path else None

    def check_attenuation(self, remedy: str) -> None:
        """Without that correction there is no SUV."""
        if self._uncorrected:
            raise UnitError(f"{self.path.name}: {self._uncorrected}",
                            "says that the image is not corrected for attenuation, so there is no SUV", remedy)

    @property
    def _uncorrected(self) -> str:
        """The key that says so, with its value."""
        said = ((key, self.data.get(key)) for key in _CORRECTIONS)
        return next((f"{key} '{word}'" for key, word in said
                     if word is not None and _UNCORRECTED.match(str(word))), "")  # fmt: skip

    def suv_factor(self, facts: Facts) -> float:
        """Refuses where the file does not say to which time the image is decay-corrected.

        The user's facts count first: an uptake time given by hand is the time to the decay reference.
        """
        self.check_attenuation(_TAKE)
        if facts.uptake_minutes not in (None, self._stated_uptake()):
            return factor(facts.injected_dose_bq, facts.weight_kg, facts.half_life_s, 60.0 * facts.uptake_minutes)
        if self.data.get("ImageDecayCorrected") is not True:
            lacking = "ImageDecayCorrected" not in self.data
            raise UnitError(f"{self.path.name}: ImageDecayCorrected",
                            f"{'is missing' if lacking else 'is not true'}, so Bq/ml and SUV cannot be converted",
                            f"{'Add it and its times to the sidecar' if lacking else 'Give a decay-corrected image'}, "
                            "or stay in the image's unit.")
        reference, injected = self._number("ImageDecayCorrectionTime"), self._number("InjectionStart")
        if reference is None or injected is None:
            lacking = "ImageDecayCorrectionTime" if reference is None else "InjectionStart"
            raise UnitError(f"{self.path.name}: {lacking}", "is missing, so the time of decay is unknown",
                            "Add it to the sidecar, give uptake_minutes, or go on in Bq/ml.")
        running = (self._readable("FrameTimesStart") or 0.0) - reference
        return factor(facts.injected_dose_bq, facts.weight_kg, facts.half_life_s, reference - injected,
                      max(running, 0.0))

    def corrected_to(self) -> str | None:
        """To what moment the image is corrected for decay; None where the file does not say."""
        if self.path is None:
            return None
        self.check_attenuation(_TAKE)
        if self.data.get("ImageDecayCorrected") is False:
            return NONE
        reference = self._number("ImageDecayCorrectionTime")
        if reference is None or self.data.get("ImageDecayCorrected") is not True:
            return _DECAY.get(self._text("DecayCorrection").upper())
        moments = {INJECTION: self._number("InjectionStart"), SCAN: self._number("ScanStart")}
        known = {moment: time for moment, time in moments.items() if time is not None}
        found = next((moment for moment, time in known.items() if abs(reference - time) <= ROUNDING_S), None)
        if found is None and SCAN in known:
            raise UnitError(f"{self.path.name}: ImageDecayCorrectionTime {reference:g} s",
                            f"is not that of the scan's start ({known[SCAN]:g} s), nor of the injection",
                            "Give the SUV factor by itself (--suv-factor).")  # fmt: skip
        return found or SCAN

    def _stated_uptake(self) -> float | None:
        own = self.data.get(OWN_KEY)
        return self._own(own).get("uptake_minutes") if isinstance(own, Mapping) else self._told(self._minutes, None)

    def _modality(self) -> str | None:
        return {"pet": "PT", "ct": "CT", "mr": "MR"}.get(_MODALITIES.get(self._text("Modality").lower(), ""))

    def _half_life(self) -> float | None:
        return self._number("RadionuclideHalfLife") or tracers.half_life(self._text("TracerRadionuclide"))

    def _dose(self) -> float | None:
        dose = self._number("InjectedRadioactivity")
        if dose is None:
            return self._number("RadionuclideTotalDose")
        unit = self.data.get("InjectedRadioactivityUnits")
        try:
            return becquerel(dose, unit)
        except UnitError as error:
            raise UnitError(f"{self.path.name}: InjectedRadioactivityUnits" + ("" if unit is None else f" {unit!r}"),
                            "is missing, so the dose is not known" if unit is None else error.why,
                            error.remedy) from error

    def _minutes(self) -> float | None:
        scan, injected = self._number("ScanStart"), self._number("InjectionStart")
        if scan is None:
            scan = self._number("ImageDecayCorrectionTime")
        return None if scan is None or injected is None or injected > scan else (scan - injected) / 60.0

    def _frame_minutes(self) -> float | None:
        start, injected = self._readable("FrameTimesStart"), self._number("InjectionStart")
        return None if start is None or injected is None else if_later((start - injected) / 60.0, self._minutes())

    def _seconds(self, key: str) -> float | None:
        value = self.data.get(key)
        if isinstance(value, list) and len(value) != 1:
            return None
        return self._number(key)

    def _readable(self, key: str) -> float | None:
        """A number above zero of the one frame. What is written otherwise is no reason to refuse the image."""
        try:
            value = self._seconds(key)
        except InputError:
            return None
        return value if value and value > 0 else None

    def _person(self, run: Run | None) -> dict[str, Any]:
        row = participant(self.path) if self.path else {}
        stated = (self._told(lambda key=key: self._number(key), run) for key in ("BodyWeight", "PatientWeight"))
        weight = next(filter(None, stated), None) or _float(row.get("weight"))
        sex = (self._text("PatientSex") or row.get("sex", "")).strip().upper()[:1]
        return {"weight_kg": weight, "sex": sex if sex in ("M", "F", "O") else None,
                "age_years": _float(row.get("age"))}

    def _text(self, key: str) -> str:
        value = self.data.get(key, "")
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, value)
        return value or ""

    def _number(self, key: str) -> float | None:
        value = self.data.get(key)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or value == "n/a":
            return None
        if isinstance(value, bool) or not isinstance(value, Real) or abs(value) == float("inf") or value != value:
            raise self._wrong(key, value)
        return float(value)

    def _wrong(self, key: str, value: Any) -> InputError:
        return InputError(f"{self.path.name}: {key} = {str(value)[:64]!r}", "has the wrong type",
                          "Correct the sidecar.")


def if_later(minutes: float, uptake_minutes: float | None) -> float | None:
    """From the injection to the start of a frame that began later than its scan; None of one that began with it."""
    return minutes if 60.0 * (minutes - (uptake_minutes or 0.0)) > ROUNDING_S else None


def of(image: Path, in_header: str | None = None) -> Sidecar:
    """What stands in the image's header for this program, otherwise in its sidecar and, in a BIDS data set, in those
    that hold for it above. What a lower one says goes before a higher one's."""
    if in_header:
        return Sidecar(image, _object(in_header, f"Header field '{HEADER_KEY}' of {image.name}"))
    told = [(path, _read(path)) for path in all_of(image)]
    if told and OWN_KEY in told[-1][1]:
        return Sidecar(*told[-1])
    return Sidecar(told[-1][0], {key: value for _, data in told for key, value in data.items()}) if told else Sidecar()


def all_of(image: Path) -> list[Path]:
    """The sidecars that hold for an image, its own last."""
    own = path_of(image)
    return [*inherited.above(own), *([own] if own.is_file() else [])]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"Sidecar {path.name}", f"cannot be read ({error})", "Correct it, or move it away.") from error
    return _object(text, f"Sidecar {path.name}")


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(name, f"cannot be read as JSON ({error})", "Correct it, or move it away.") from error
    if not isinstance(data, dict):
        raise InputError(name, "does not hold a JSON object", "Correct it, or move it away.")
    return data


def check_modality(notes: Sidecar, role: str, image: Path) -> None:
    """A sidecar that says the image is something else than it was given as."""
    stated = str(notes.data.get("Modality", ""))
    is_a = _MODALITIES.get(stated.lower())
    if is_a and is_a != {"reference": "pet"}.get(role, role):
        raise InputError(f"{image.name}", f"is {an(stated)} by its sidecar, but was given as {role.upper()}",
                         "Check that the right image was given.")


def participant(path: Path) -> dict[str, str]:
    """The row of this image's subject in a BIDS data set's participants.tsv; weight only if it is in kg."""
    subject = re.match(r"(sub-[A-Za-z0-9]+)", path.name)
    if subject is None:
        return {}
    for folder in list(path.resolve().parents)[:_LEVELS_UP]:
        table = folder / "participants.tsv"
        if table.is_file():
            return _row(table, subject.group(1))
    return {}


def _row(table: Path, subject: str) -> dict[str, str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.DictReader(stream, delimiter="\t") if row.get("participant_id") == subject]
        notes = table.with_suffix(".json")
        columns = json.loads(notes.read_text(encoding="utf-8-sig")) if notes.is_file() else {}
        unit = str((columns.get("weight") or {}).get("Units", "kg"))
    except (OSError, ValueError, AttributeError, csv.Error) as error:
        raise InputError(f"{table.name}", f"cannot be read ({error})", "Correct it, or move it away.") from error
    row = {str(k).lower(): v for k, v in rows[0].items() if k and v} if rows else {}
    if unit.strip().lower() not in ("kg", "kilogram", "kilograms"):
        row.pop("weight", None)
    return row


def _float(word: str | None) -> float | None:
    try:
        return float(word) if word else None
    except ValueError:
        return None
