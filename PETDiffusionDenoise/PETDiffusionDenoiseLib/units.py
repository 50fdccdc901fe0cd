"""What the numbers of a PET mean: from the node, its DICOM files or the user; refused, with the reason, if unclear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import slicer
from petdiffusion.errors import PETDiffusionError, UnitError
from petdiffusion.suv import parse_unit
from petdiffusion.volume import BQML, SUVBW, Facts

from . import backend, other_python, playing

AUTOMATIC = "auto"
FACTOR_ATTRIBUTE, UNIT_ATTRIBUTE = "PETDiffusion.SUVFactor", "PETDiffusion.Unit"
"""Attributes go where a volume's own entry of its unit does not: into a frame that is shown or saved."""
_CODES = {SUVBW: ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
          BQML: ("Bq/ml", "UCUM", "Becquerels/milliliter")}


_THOUSANDS = {1e3: "k", 1e6: "M"}


@dataclass(frozen=True)
class Unit:
    """What is known of a PET's unit. `scale` brings its values to `unit`; `factor` brings Bq/ml to SUVbw."""

    unit: str | None
    source: str = ""
    scale: float = 1.0
    factor: float | None = None
    problem: str = ""
    """Why the unit, or the SUV factor, is not known."""
    remedy: str = ""
    doubts: tuple[str, ...] = ()
    """What is odd about the factor's dose and times, and no reason to refuse it."""

    @property
    def suv_known(self) -> bool:
        return self.unit == SUVBW or self.factor is not None

    @property
    def to_suv(self) -> float | None:
        """Multiplies the node's values to give SUVbw; None where that is not known."""
        if self.unit == SUVBW:
            return self.scale
        return None if self.factor is None else self.scale * self.factor

    @property
    def text(self) -> str:
        """One line for the panel."""
        if self.unit is None:
            return f"{self.problem} {self.remedy}".strip()
        if self.unit == SUVBW:
            return f"SUV (body weight), {self.source}."
        if self.factor is not None:
            return f"Bq/ml, {self.source}. SUV factor {self.factor:.4g}."
        return f"Bq/ml, {self.source}. No SUV: {self.problem}"


def find(node: Any, choice: str = AUTOMATIC, factor: float = 0.0) -> Unit:
    """The unit of a PET node. `choice` and `factor` (SUV of 1 Bq/ml; 0 = not given) are the user's word."""
    found = _chosen(choice) if choice != AUTOMATIC else _of_node(node) or _of_dicom(node)
    if found.unit != BQML:
        return found
    return _with_factor(node, found, factor)


def _chosen(word: str) -> Unit:
    try:
        unit, scale = parse_unit(word)
    except UnitError as error:
        return Unit(None, problem=f"{error.what}: {error.why}.", remedy=error.remedy)
    if unit not in (SUVBW, BQML):
        return Unit(None, problem=f"The unit {word} is none of a PET.", remedy=f"Choose {SUVBW} or {BQML}.")
    return Unit(unit, "as you chose", scale)


def _of_node(node: Any) -> Unit | None:
    """The unit that the volume itself carries, as DICOM loaders set it."""
    entry = playing.units_entry_of(node)
    kept = node.GetAttribute(UNIT_ATTRIBUTE)
    words = (entry.GetCodeValue(), entry.GetCodeMeaning()) if entry is not None else (kept,)
    problem = None
    for word in filter(None, words):
        try:
            unit, scale = parse_unit(word)
        except UnitError as error:
            problem = problem or error
            continue
        if unit in (SUVBW, BQML):
            return Unit(unit, "from the volume", scale)
        problem = problem or UnitError(f"The volume's unit is {unit}", "which no PET has", "Choose a PET, or its unit.")
    return Unit(None, problem=f"{problem.what}: {problem.why}.", remedy=_CHOOSE) if problem else None


_CHOOSE = "Choose the unit below if you know it."
_GIVE = "Enter the SUV factor if you know it."


def _of_dicom(node: Any) -> Unit:
    try:
        headers = dicom_headers(node)
    except PETDiffusionError as error:
        return Unit(None, problem=f"{error.what}: {error.why}.", remedy=_CHOOSE)
    if not headers:
        return Unit(None, problem="The unit of this PET is not known: neither the volume nor DICOM says it.",
                    remedy=_CHOOSE)
    from petdiffusion.suv.dicom import stored_unit

    try:
        stored = stored_unit(headers)
    except PETDiffusionError as error:
        return Unit(None, problem=f"{error.what}: {error.why}.", remedy=_CHOOSE)
    return Unit(stored.unit, "from DICOM", stored.scale)


def _with_factor(node: Any, found: Unit, given: float) -> Unit:
    """Adds what turns Bq/ml into SUV: the user's number, the node's, or the DICOM tags'."""
    stored = node.GetAttribute(FACTOR_ATTRIBUTE)
    if given > 0 or stored:
        return Unit(found.unit, found.source, found.scale, given if given > 0 else float(stored))
    try:
        headers = dicom_headers(node)
    except PETDiffusionError as error:
        return Unit(found.unit, found.source, found.scale, problem=f"{error.what}: {error.why}.", remedy=_GIVE)
    if not headers:
        return Unit(found.unit, found.source, found.scale, problem="dose, weight and times are not known here.",
                    remedy="Enter the SUV factor, or load the PET from DICOM.")
    try:
        from petdiffusion.suv import factor_from_dicom

        return Unit(found.unit, found.source, found.scale, factor_from_dicom(headers), doubts=_doubts(headers))
    except ImportError as error:
        if (told := _told_by_another_python(node)) is not None:
            return Unit(found.unit, found.source, found.scale, told.factor, told.problem, told.remedy,
                        tuple(told.doubts))
        package = str(error.name).split(".")[0]
        problem, remedy = f"the Python package '{package}' is missing.", "Install the packages in 'Set-up'."
    except PETDiffusionError as error:
        problem, remedy = f"{error.what}: {error.why}.", _GIVE
    return Unit(found.unit, found.source, found.scale, problem=problem, remedy=remedy)


def _doubts(headers: Sequence[Any]) -> tuple[str, ...]:
    from petdiffusion.progress import Run
    from petdiffusion.read.dicom import pet_facts

    run = Run()
    pet_facts(headers, Path(), run)
    return tuple(run.warnings)


def _told_by_another_python(node: Any) -> other_python.Told | None:
    """None where Slicer's own Python is the one that computes."""
    python = backend.chosen()
    return other_python.facts_in(_dicom_files(node), python) if python.external else None


def _dicom_files(node: Any) -> list[str]:
    """The DICOM files a volume was loaded from; empty where it was not."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    return list(filter(None, map(database.fileForInstance, uids))) if database is not None else []


def dicom_headers(node: Any) -> Sequence[Any]:
    """The headers of those files, as classic slices have them."""
    files = _dicom_files(node)
    if not files:
        return []
    import pydicom
    from petdiffusion.read import enhanced

    headers = []
    for file in files:
        try:
            headers += enhanced.classic(pydicom.dcmread(file, stop_before_pixels=True), Path(file).name)
        except (OSError, pydicom.errors.InvalidDicomError):
            return []
    return headers


def facts_of(node: Any) -> Facts:
    """What DICOM says of a PET's tracer, dose and scan; nothing that names the patient."""
    try:
        headers = dicom_headers(node)
        if not headers:
            return Facts(modality="PT")
        from petdiffusion.read.dicom import pet_facts

        return replace(pet_facts(headers, Path()), source=None)
    except ImportError:
        told = _told_by_another_python(node)
        return Facts(**told.facts) if told is not None and told.facts else Facts(modality="PT")
    except PETDiffusionError:
        return Facts(modality="PT")


def mark(node: Any, unit: str, factor: float | None = None, scale: float = 1.0) -> None:
    """Write a unit, and the SUV factor of a Bq/ml volume, into a node. Thousands of it have no code here, and a word
    alone."""
    if scale == 1.0:
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(*_CODES[unit])
        node.SetVoxelValueUnits(entry)
    node.SetAttribute(UNIT_ATTRIBUTE, f"{_THOUSANDS.get(scale, '')}{unit}")
    if factor:
        node.SetAttribute(FACTOR_ATTRIBUTE, repr(float(factor)))


def mark_as(node: Any, found: Unit) -> None:
    """Write what was found of one image into another whose values are the same; where no word says them, its unit."""
    mark(node, found.unit, found.factor, found.scale if has_word(found) else 1.0)


def word(node: Any) -> str:
    """What a volume's own numbers are in: SUV, Bq/ml, kBq/ml; empty where it is not known."""
    found = _of_node(node)
    return word_of(found) if found is not None else ""


def word_of(found: Unit) -> str:
    if found.unit is None:
        return ""
    return "SUV" if found.unit == SUVBW else f"{_THOUSANDS.get(found.scale, '')}{BQML}"


def has_word(found: Unit) -> bool:
    """Whether `mark` can say what the values are, which those of a scanner's own scale are not."""
    return found.scale == 1.0 or found.scale in _THOUSANDS


def copy(node: Any, source: Any, found: Unit) -> None:
    """Give an output the input's unit, or the one that the user said."""
    entry, own = playing.units_entry_of(source), _of_node(source)
    is_own = own is not None and own.unit is not None and (own.unit, own.scale) == (found.unit, found.scale)
    if is_own and entry is not None:
        node.SetVoxelValueUnits(entry)
        quantity = source.GetVoxelValueQuantity()
        if quantity is not None:
            node.SetVoxelValueQuantity(quantity)
        if found.factor:
            node.SetAttribute(FACTOR_ATTRIBUTE, repr(float(found.factor)))
    elif found.unit is not None and (is_own or found.scale == 1.0):  # of a frame that was loaded the word alone is left
        mark(node, found.unit, found.factor, found.scale)
