"""Back to where a volume was read from, for what its facts alone do not say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..suv import dicom
from ..suv.dicom import factor_from_dicom
from ..suv.factor import factor_from_facts
from ..volume import Facts
from . import files, series, sidecar
from .sources import kind_of

if TYPE_CHECKING:
    from pydicom import Dataset


def headers(source: str | Path) -> list[Dataset]:
    """The headers of the PET series that a source stands for."""
    path = Path(source)
    if kind_of(path) != "dicom":
        raise InputError(f"{path.name}", "is not DICOM", "Give the original DICOM folder.")
    return series.load(series.find(path, "pet"), pixels=False)


def suv_factor(facts: Facts) -> float:
    """The SUV factor by the original's own decay correction, completed by what the user added to the facts."""
    path = Path(str(facts.source))
    if kind_of(path) == "dicom":
        return factor_from_dicom(headers(path), facts)
    notes = sidecar.of(path, files.own_field(files.opened(path)))
    return notes.suv_factor(facts) if notes.path else factor_from_facts(facts)


def corrected_to(facts: Facts) -> str | None:
    """To what moment the original says that it is corrected for decay (`suv.injection`); None where it does not say."""
    path = Path(str(facts.source))
    if kind_of(path) == "dicom":
        return dicom.corrected_to(headers(path), facts.half_life_s)
    return sidecar.of(path, files.own_field(files.opened(path))).corrected_to()
