"""From the result of a run to its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ...volume import BQML, SUVBW, Volume
from .model import DENOISED, LOW, QUALITY, REFERENCE, SD, CaseReport
from .page import case_report
from .words import fact

if TYPE_CHECKING:
    from ...methods.contract import Case, MethodCard
    from ...request import Result

OWN_TABLES = ("image", "organs", "lesions", "lesion_totals", "organ_errors", "trust", "intervals", "clinical",
              "marks_left_out")  # fmt: skip
FACTS = {
    "half_life_s": ("half-life", "min", 1 / 60, 1),
    "injected_dose_bq": ("injected dose", "MBq", 1e-6, 0),
    "uptake_minutes": ("uptake", "min", 1.0, 0),
    "frame_seconds": ("frame", "s", 1.0, 0),
    "weight_kg": ("weight", "kg", 1.0, 1),
    "height_m": ("height", "m", 1.0, 2),
    "age_years": ("age", "years", 1.0, 0),
    "dose_fraction": ("part of the normal dose", "%", 100.0, 1),
    "suv_factor": ("SUV per kBq/ml", "", 1000.0, 4),
}
"""What a reader calls a fact: word, unit, factor and digits."""
HEADINGS = {"tuning": "Settings tried", "prompts": "Text prompts", "matches": "Best matching structures",
            "quality": QUALITY}  # fmt: skip


def of_result(result: Result, case: Case, card: MethodCard, name: str = "") -> str:
    """The report in the unit the numbers were measured in (SUV where it is known). `name`: what the user calls it."""
    sd = None if result.sd is None else _in_unit_of(result.sd, case.pet)
    images = {LOW: case.pet, DENOISED: _in_unit_of(result.pet, case.pet), REFERENCE: result.reference, SD: sd}
    tables, alone = result.tables, bool(result.record.get("options", {}).get("masks_only"))
    title = f"{'Lesions and organs by' if alone else 'Low-count PET denoised with'} {card.title}"
    return case_report(
        CaseReport(
            title=f"{name} · {title}" if name else title,
            method=card.title,
            masks_only=alone,
            images={name: volume for name, volume in images.items() if volume is not None},
            body=case.body,
            organs=result.organs,
            lesions=result.lesions,
            image_rows=tables.get("image", ()),
            organ_rows=tables.get("organs", ()),
            lesion_rows=tables.get("lesions", ()),
            lesion_totals=tables.get("lesion_totals", ()),
            trust_rows=tables.get("trust", ()),
            trust_facts=result.record.get("trust", {}),
            interval_rows=tables.get("intervals", ()),
            interval_facts=result.record.get("uncertainty", {}),
            marked=result.lesions is not None and not result.record.get("request", {}).get("lesions"),
            drawn=result.organs is not None and not result.record.get("request", {}).get("labels"),
            clinical_rows=tables.get("clinical", ()),
            left_out_rows=tables.get("marks_left_out", ()),
            other_tables={
                HEADINGS.get(name, name.replace("_", " ").capitalize()): rows
                for name, rows in tables.items()
                if name not in OWN_TABLES and rows
            },
            settings=settings_of(result.record, card),
            warnings=result.warnings,
            maps={HEADINGS[name]: image for name, image in result.maps.items() if name in HEADINGS},
        )
    )


def settings_of(record: Mapping[str, Any], card: MethodCard) -> dict[str, dict[str, Any]]:
    """The record without paths: a file's name may name the patient."""
    request, details = record.get("request", {}), dict(record.get("details", {}))
    given = [_given(kind, card) for kind in ("ct", "mr", "labels", "lesions", "reference", "tune") if request.get(kind)]
    seconds = {name: f"{value:.1f} s" for name, value in record.get("seconds", {}).items()}
    facts = record.get("input", {}).get("facts", {})
    return {
        "Method": {
            "name": card.title,
            "kind": card.family,
            "summary": card.summary,
            "paper": card.paper or None,
            "licence of the weights": card.weights_licence or None,
        },
        "Options": {k: without_folder(v) for k, v in record.get("options", {}).items()},
        "Run": {
            "version": record.get("version"),
            "seed": request.get("seed"),
            "device": record.get("device") or request.get("device"),
            "model": without_folder(request.get("model")),
            "network evaluations": record.get("evaluations") or None,
            "given beside the PET": given or None,
            "noise in the body (SD)": record.get("input", {}).get("noise_sd"),
        },
        "Details": {str(k).replace("_", " "): without_folder(v) for k, v in details.items()},
        "Scan": scan_in_words(facts),
        "Time": seconds,
        "Versions": dict(record.get("versions", {})),
    }


def _given(kind: str, card: MethodCard) -> str:
    """CT and MR may be given to a method that does not look at them; one that finds lesions asks the CT for fat."""
    used = {condition.kind for condition in card.conditions}
    return kind if kind in used or kind not in ("ct", "mr") else f"{kind} (not used by the method)"


def scan_in_words(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The scan's facts as a reader says them; those without a word of their own as they are."""
    said, facts = {}, dict(facts)
    if "frame_start_minutes" in facts:
        facts["uptake_minutes"] = facts.pop("frame_start_minutes")
    for name, value in facts.items():
        label, unit, scale, digits = FACTS.get(name, (name.replace("_", " "), "", 1.0, 4))
        if name != "source":
            said[label] = f"{fact(value * scale, digits)} {unit}".strip() if name in FACTS else value
    return said


def without_folder(value: Any) -> Any:
    """The last part of a path, everything else as it is."""
    if isinstance(value, str) and (PureWindowsPath(value).is_absolute() or PurePosixPath(value).is_absolute()):
        return PureWindowsPath(value).name
    if isinstance(value, Mapping):
        return {k: without_folder(v) for k, v in value.items()}
    return [without_folder(v) for v in value] if isinstance(value, (list, tuple)) else value


def _in_unit_of(volume: Volume, working: Volume) -> Volume:
    if volume.unit == working.unit or {volume.unit, working.unit} != {SUVBW, BQML}:
        return volume
    factor = float(working.facts.suv_factor or volume.facts.suv_factor)
    scale = factor if working.unit == SUVBW else 1.0 / factor
    return replace(volume, array=volume.array * np.float32(scale), unit=working.unit)
