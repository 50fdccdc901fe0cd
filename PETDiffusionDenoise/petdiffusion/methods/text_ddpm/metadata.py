"""What is known of the whole scan, in words: sex, age band, tracer, dose fraction, scanner. Nothing names a person."""

from __future__ import annotations

from ...methods.contract import Case

SEXES = {"F": "female", "M": "male"}
AGES = ((18, "child"), (40, "young adult"), (65, "adult"), (200, "older adult"))
"""Up to this age, exclusive."""


def words_of(case: Case) -> str:
    """Such as "1/20 dose FDG, older adult female, Siemens Biograph mCT"; unknown facts are left out."""
    facts = case.pet.facts
    person = " ".join(w for w in (age_band(facts.age_years), SEXES.get((facts.sex or "").upper(), "")) if w)
    scan = " ".join(w for w in (dose(case.dose_fraction or facts.dose_fraction), facts.tracer or "") if w)
    return ", ".join(w for w in (scan, person, facts.scanner or "") if w)


def age_band(years: float | None) -> str:
    return "" if years is None else next((name for limit, name in AGES if years < limit), "")


def dose(fraction: float | None) -> str:
    """As a part of a normal dose: 0.05 is "1/20 dose"."""
    if not fraction:
        return ""
    return "normal dose" if fraction >= 0.95 else f"1/{round(1 / fraction)} dose"
