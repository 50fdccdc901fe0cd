"""Dose and times that a file lost, said by hand: an image in Bq/ml gets its way to SUV."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from ..errors import OptionError, UnitError
from ..volume import BQML, SUVBW, Facts, Volume
from . import tracers
from .factor import factor

if TYPE_CHECKING:
    from ..progress import Run

SCAN, INJECTION, NONE = "scan", "injection", "none"
MOMENTS = (SCAN, INJECTION)
_WORDS = {SCAN: "to the start of the scan", INJECTION: "to the injection", NONE: "to nothing"}
_SAME = 1e-3
"""Factors this near to each other are one, rounded."""


@dataclass(frozen=True)
class Injection:
    """What was said of it; None where nothing was, and the file's own counts."""

    dose_mbq: float | None = None
    uptake_minutes: float | None = None
    """From the injection to the start of the scan."""
    nuclide: str | None = None
    corrected_to: str | None = None
    """The moment that the image is corrected for decay to, one of `MOMENTS`; by default what its file says, else the
    start of the scan."""
    suv_factor: float | None = None
    """Known by itself: what Bq/ml are multiplied by to give SUV."""

    def __post_init__(self) -> None:
        others = [f.name for f in fields(self) if f.name != "suv_factor" and getattr(self, f.name) is not None]
        if self.suv_factor is not None and others:
            raise OptionError(f"suv_factor and {', '.join(others)}", "say the same thing twice",
                              "Give the factor, or dose, time and nuclide.")
        if self.suv_factor is not None and not (math.isfinite(self.suv_factor) and self.suv_factor > 0):
            raise OptionError(f"SUV factor {self.suv_factor:g}", "is not a positive number",
                              "Give what Bq/ml are multiplied by to give SUV, such as 0.0002.")
        if self.corrected_to not in (None, *MOMENTS):
            raise OptionError(f"corrected_to = {self.corrected_to}", f"is not one of {', '.join(MOMENTS)}",
                              "Give the moment that the image is corrected for decay to.")
        if self.nuclide is not None and tracers.half_life(self.nuclide) is None:
            raise OptionError(f"Nuclide '{self.nuclide}'", "is not known",
                              "Write it such as F-18, Ga-68, C-11 or Zr-89.")

    @property
    def said(self) -> bool:
        return self != Injection()

    def onto(self, pet: Volume, run: Run) -> Volume:
        """The PET with its SUV factor; one that its file tells already gives way, which is told."""
        if not self.said:
            return pet
        if pet.unit != BQML:
            raise UnitError(f"PET in {pet.unit}", *(
                ("is SUV already, which dose and time cannot change", "Leave them out.") if pet.unit == SUVBW else
                ("has no way to SUV by dose and time", "If you know it to be in Bq/ml, say so with --unit Bq/ml.")))
        facts = self._by_factor(pet.facts) if self.suv_factor is not None else self._by_dose(pet.facts, run)
        before = pet.facts.suv_factor
        if not before:
            self._tell_other(pet.facts, run)
        elif abs(facts.suv_factor / before - 1) > _SAME:
            run.warn(f"The file tells an SUV factor of {before:.4g}; {facts.suv_factor:.4g} by what was given is used.")
        return replace(pet, facts=facts)

    def _tell_other(self, stated: Facts, run: Run) -> None:
        """What the file tells otherwise, of which it knows too little to tell a factor."""
        dose = stated.injected_dose_bq and stated.injected_dose_bq / 1e6
        life = None if self.nuclide is None else tracers.half_life(self.nuclide)
        for said, given, text in ((dose, self.dose_mbq, "a dose of {:.4g} MBq; {:.4g} MBq"),
                                  (stated.uptake_minutes, self.uptake_minutes,
                                   "{:.4g} min from injection to scan; {:.4g} min"),
                                  (stated.half_life_s, life, "a half-life of {:.4g} s; {:.4g} s")):  # fmt: skip
            if None not in (said, given) and abs(given - said) > _SAME * abs(said):
                run.warn(f"The file tells {text.format(said, given)} was given and is used.")

    def _by_factor(self, facts: Facts) -> Facts:
        return replace(facts, suv_factor=float(self.suv_factor))

    def _by_dose(self, facts: Facts, run: Run) -> Facts:
        life = facts.half_life_s if self.nuclide is None else tracers.half_life(self.nuclide)
        if life is None:
            raise OptionError("The nuclide", "is not known, so decay cannot be counted",
                              "Give it, such as --nuclide F-18.")
        dose_bq = facts.injected_dose_bq if self.dose_mbq is None else 1e6 * self.dose_mbq
        if dose_bq is None:
            raise OptionError("The injected dose", "is not known, so there is no SUV",
                              "Give it, such as --dose-mbq 350.")
        minutes = facts.uptake_minutes if self.uptake_minutes is None else self.uptake_minutes
        moment = self._moment(facts, run)
        if minutes is None and moment != INJECTION:
            raise OptionError("The time from injection to scan", "is not known, so there is no SUV",
                              "Give it, such as --uptake-minutes 60.")
        seconds = 0.0 if moment == INJECTION else 60.0 * minutes
        known = factor(dose_bq, facts.weight_kg, life, seconds)
        return replace(facts, injected_dose_bq=dose_bq, uptake_minutes=minutes, half_life_s=life, suv_factor=known)

    def _moment(self, facts: Facts, run: Run) -> str:
        """Refused where the file says that its image is that of no one moment, unless the moment is said by hand."""
        from ..read.origin import corrected_to

        stated = None if facts.source is None else corrected_to(facts)
        if stated == NONE and self.corrected_to is None:
            raise UnitError("The image", "is not corrected for decay by what its file says, so it has no SUV",
                            "Give the corrected image; if the file is wrong, say what it is corrected to "
                            "(--corrected-to scan).")  # fmt: skip
        if None not in (stated, self.corrected_to) and stated != self.corrected_to:
            run.warn(f"The file says that the image is corrected for decay {_WORDS[stated]}; "
                     f"{_WORDS[self.corrected_to]} was given and is used.")
        return self.corrected_to or stated or SCAN
