"""Radionuclides and tracers as files name them."""

from __future__ import annotations

import re

_HOUR = 3600.0
_LONG_LIVED_S = {"Cu-64": 12.70 * _HOUR, "Zr-89": 78.41 * _HOUR, "I-124": 4.176 * 24 * _HOUR}
"""ICRP 107; pysuv knows the short-lived ones."""
_ELEMENTS = {"fluorine": "F", "gallium": "Ga", "carbon": "C", "oxygen": "O", "nitrogen": "N", "rubidium": "Rb",
             "copper": "Cu", "zirconium": "Zr", "iodine": "I"}
_FDG = ("fdg", "deoxyglucose", "deoxy-d-glucose")


def half_life(word: str) -> float | None:
    """Half-life in seconds of '18F', 'F-18', '^18^Fluorine' and the like; None where it is not one of the known."""
    from pysuv.radionuclides import HALF_LIVES

    mass, names = re.search(r"\d+", word), re.findall(r"[A-Za-z]+", word)
    if mass is None:
        return None
    known = {**HALF_LIVES, **_LONG_LIVED_S}
    symbols = [_ELEMENTS.get(name.lower(), name.capitalize()) for name in names]
    found = {f"{symbol}-{mass.group()}" for symbol in symbols} & known.keys()
    return known[found.pop()] if len(found) == 1 else None


def tracer(*words: str) -> str | None:
    """'FDG' for all its spellings, otherwise the first word given."""
    given = [" ".join(word.split()) for word in words if word and word.strip()]
    if any(part in word.lower() for word in given for part in _FDG):
        return "FDG"
    return given[0][:64] if given else None
