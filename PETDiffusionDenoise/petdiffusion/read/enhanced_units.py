"""What the values of a frame of an enhanced PET are: by its Real World Value Mapping, in the words of classic PET."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UnitError
from ..suv import header

if TYPE_CHECKING:
    from pydicom import Dataset

MAPPING = "RealWorldValueMappingSequence"
AGREE = 1e-4


class Meaning(NamedTuple):
    """Units (0054,1001), SUV type (0054,1006), and what values are multiplied by to be in that unit."""

    units: str
    suv_type: str = ""
    scale: float = 1.0


BY_CODE = {
    "bq/ml": Meaning("BQML"),
    "kbq/ml": Meaning("BQML", scale=1e3),
    "mbq/ml": Meaning("BQML", scale=1e6),
    "{suvbw}g/ml": Meaning("GML", "BW"),
    "g/ml{suvbw}": Meaning("GML", "BW"),
    "g/ml": Meaning("GML"),
    "{suvlbm}g/ml": Meaning("GML", "LBM"),
    "g/ml{suvlbm}": Meaning("GML", "LBM"),
    "{suvibw}g/ml": Meaning("GML", "IBW"),
    "g/ml{suvibw}": Meaning("GML", "IBW"),
    "{suvbsa}cm2/ml": Meaning("CM2ML", "BSA"),
    "cm2/ml{suvbsa}": Meaning("CM2ML", "BSA"),
    "{counts}": Meaning("CNTS"),
    "{propcounts}": Meaning("PROPCNTS"),
    "{counts}/s": Meaning("CPS"),
}
"""Units of UCUM that DICOM has for PET (PS3.16, CID 84 and 85). In the order in which a frame's mappings are taken."""
_ORDER = {meaning: place for place, meaning in enumerate(BY_CODE.values())}


def set_units(made: Dataset, *groups: Dataset) -> None:
    """Unit and rescaling of one frame, unless its header says the unit itself; its own mappings go before those of all
    frames. Where no mapping tells a unit that is known, the rescaling stays, and what is said of it."""
    if header.text(made, "Units"):
        return
    found = next((mappings for group in groups if (mappings := list(_mappings(group)))), [])
    known = sorted(((BY_CODE[word], mapping) for word, mapping in found if word in BY_CODE),
                   key=lambda pair: _ORDER[pair[0]])  # fmt: skip
    said = header.text(made, "RescaleType").upper().replace("BQ/ML", "BQML")
    if known:
        _set(made, known, said)
    elif said in {meaning.units for meaning in BY_CODE.values()}:
        made.Units = said
    elif found:
        made.Units = found[0][0].upper()[:16]


def _mappings(group: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Those by a slope, with the code of their unit."""
    for mapping in group.get(MAPPING) or ():
        code = header.item(mapping, "MeasurementUnitsCodeSequence")
        word = header.text(code, "CodeValue").lower() if code is not None else ""
        if word and header.number(mapping, "RealWorldValueSlope") is not None:
            yield word, mapping


def _set(made: Dataset, known: Sequence[tuple[Meaning, Dataset]], said: str) -> None:
    from pydicom.valuerep import format_number_as_ds

    meaning = known[0][0]
    lines = [_line(of, mapping) for of, mapping in known if of[:2] == meaning[:2]]
    if any(_apart(line, lines[0]) for line in lines):
        raise UnitError(f"File {made.filename}", f"maps its values to {meaning.units} in more than one way",
                        "Export single-frame DICOM, or convert it to NIfTI.")
    slope, intercept = lines[0]
    own = header.number(made, "RescaleSlope")
    if said == meaning.units and own and _apart((own, 0.0), (slope, 0.0)):
        raise UnitError(f"File {made.filename}", f"gives {meaning.units} by the slope {own:g} and by {slope:g}",
                        "Export the series again.")
    made.Units = meaning.units
    if meaning.suv_type:
        made.SUVType = meaning.suv_type
    made.RescaleSlope, made.RescaleIntercept = format_number_as_ds(slope), format_number_as_ds(intercept)


def _line(meaning: Meaning, mapping: Dataset) -> tuple[float, float]:
    slope, intercept = (header.number(mapping, f"RealWorldValue{name}") or 0.0 for name in ("Slope", "Intercept"))
    return slope * meaning.scale, intercept * meaning.scale


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return any(abs(a - b) > AGREE * max(abs(a), abs(b)) for a, b in zip(one, other))
