"""Words for units, as files and people write them."""

from __future__ import annotations

from typing import Any

from ..errors import UnitError
from ..volume import ARBITRARY, BQML, HU, SUVBW, UNITS

RATE = "ml/min/ml"
"""Of Ki: no activity, so none of the units that an image is converted from."""
_WORDS: dict[str, tuple[str, float]] = {
    "bq/ml": (BQML, 1.0), "bqml": (BQML, 1.0), "bq/cc": (BQML, 1.0), "bq/cm3": (BQML, 1.0), "bq/cm^3": (BQML, 1.0),
    "kbq/ml": (BQML, 1e3), "kbqml": (BQML, 1e3), "kbq/cc": (BQML, 1e3), "mbq/ml": (BQML, 1e6),
    "suv": (SUVBW, 1.0), "suvbw": (SUVBW, 1.0), "suv_bw": (SUVBW, 1.0), "suv bw": (SUVBW, 1.0),
    "g/ml": (SUVBW, 1.0), "gml": (SUVBW, 1.0), "g/ml{suvbw}": (SUVBW, 1.0), "{suvbw}g/ml": (SUVBW, 1.0),
    "hu": (HU, 1.0), "[hnsf'u]": (HU, 1.0), "hounsfield": (HU, 1.0), "hounsfield unit": (HU, 1.0),
    "hounsfield units": (HU, 1.0),
    "a.u.": (ARBITRARY, 1.0), "au": (ARBITRARY, 1.0), "arbitrary": (ARBITRARY, 1.0),
    "arbitrary units": (ARBITRARY, 1.0), RATE: (ARBITRARY, 1.0),
}
_COUNTS = ("counts", "count", "cnts", "propcnts", "none")
_OTHER_SUV = ("suvlbm", "sul", "suvbsa", "suvibw", "suvlbmjames128", "suvlbmjanma")

_ACTIVITY = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "uci": 37e3, "µci": 37e3, "μci": 37e3, "mci": 37e6,
             "ci": 37e9}


class UnsaidUnit(UnitError):
    """Counts, or no unit at all: what the values are can be said by hand, as nothing in the file contradicts it."""


def parse_unit(word: Any) -> tuple[str, float]:
    """The program's unit for a word such as 'kBq/mL', and what values are multiplied by to be in it."""
    key = word.strip().lower() if isinstance(word, str) else ""
    if key in _WORDS:
        return _WORDS[key]
    if key in _OTHER_SUV:
        raise UnitError(f"Unit '{word}'", "is an SUV normalised to something else than body weight",
                        "Give the PET in Bq/ml or SUVbw.")
    if key in _COUNTS:
        raise UnsaidUnit(f"Unit '{word}'", "are counts, not activity or SUV" if key != "none" else "says nothing",
                         "If you know them to be in Bq/ml or SUVbw, say so with --unit.")
    raise UnitError(f"Unit {word!r}", "is not one this program knows", f"Use one of {', '.join(UNITS)}.")


def becquerel(value: float, unit: Any) -> float:
    """An activity in Bq."""
    key = unit.strip().lower() if isinstance(unit, str) else ""
    if key not in _ACTIVITY:
        raise UnitError(f"Activity unit {unit!r}", "is not known", "Use Bq, kBq, MBq, GBq, uCi or mCi.")
    return value * _ACTIVITY[key]
