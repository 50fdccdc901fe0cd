"""Units of PET: between Bq/ml and SUVbw. Refuses rather than guesses; the decay arithmetic is pysuv's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..volume import Facts, Volume


def to_suv(volume: Volume) -> Volume:
    """The same PET in SUVbw."""
    from .convert import to_suv as convert

    return convert(volume)


def to_bqml(volume: Volume) -> Volume:
    """The same PET in Bq/ml."""
    from .convert import to_bqml as convert

    return convert(volume)


def factor_from_dicom(datasets: Iterable[Dataset] | Dataset, given: Facts | None = None) -> float:
    """What Bq/ml of this series are multiplied by to give SUVbw. `given` fills in what the headers lack."""
    from ..read.enhanced import classic
    from ..read.series import file_name
    from .dicom import as_list
    from .dicom import factor_from_dicom as factor

    return factor([one for ds in as_list(datasets) for one in classic(ds, file_name(ds))], given)


def factor_from_facts(facts: Facts) -> float:
    """The same from dose, weight, half-life and uptake time, for an image decay-corrected to the scan start."""
    from .factor import factor_from_facts as factor

    return factor(facts)


def parse_unit(word: Any) -> tuple[str, float]:
    """The program's unit for a word such as 'kBq/mL', and what values are multiplied by to be in it."""
    from .units import parse_unit as parse

    return parse(word)
