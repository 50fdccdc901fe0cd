"""What a data set or a stream is made of: which patients, tracers, scanners and doses, dealt out in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from ..progress import Run
from .scan import DEFAULT_SPACING_MM, PROTOCOLS, Scan, check_spacing, checked_kind, patient_of, scan


def check_names(fractions: Sequence[float]) -> None:
    """Files and ids are named by the dose to six digits: doses that are one name would be one file."""
    known: dict[str, float] = {}
    for fraction in fractions:
        if (other := known.setdefault(f"{fraction:g}", fraction)) != fraction:
            raise OptionError(f"Dose fractions {other} and {fraction}", f"would both be named {fraction:g}",
                              "Give doses that differ in their first six digits.")


@dataclass(frozen=True)
class Job:
    """One patient to draw and scan."""

    seed: int
    kind: str
    tracer: str
    preset: str | None
    fractions: tuple[float, ...]
    spacing_mm: float
    nested: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed:06d}"

    def scan(self, run: Run) -> Scan:
        """The patient, scanned; the scan's seed is the patient's."""
        patient = patient_of(self.kind, self.seed, spacing_mm=self.spacing_mm, tracer=self.tracer, run=run)
        return scan(patient, fractions=self.fractions, preset=self.preset, seed=self.seed, nested=self.nested, run=run)


@dataclass(frozen=True)
class Recipe:
    """Settings that all patients share; checked when it is made."""

    kinds: tuple[str, ...]
    tracers: tuple[str, ...]
    fractions: tuple[float, ...]
    """Reduced doses, the largest first."""
    presets: tuple[str | None, ...]
    spacing_mm: float | None
    nested: bool = False

    @classmethod
    def of(cls, kinds: Sequence[str], tracers: Sequence[str], fractions: Sequence[float],
           presets: Sequence[str | None], spacing_mm: float | None, nested: bool = False) -> Recipe:
        from ..physics import presets as scanners
        from ..physics.poisson import check_fraction

        for fraction in fractions:
            check_fraction(fraction)
        check_names(fractions)
        low = tuple(sorted({float(f) for f in fractions} - {1.0}, reverse=True))
        if not low:
            raise OptionError("Dose fractions", "name no reduced dose", "Give at least one below 1, such as 0.1.")
        for kind in kinds:
            checked_kind(kind)
            if spacing_mm is not None:
                check_spacing(kind, spacing_mm)
        names = tuple(None if p is None else scanners.scanner(p).name for p in presets)
        recipe = cls(tuple(kinds), tuple(tracers), low, names or (None,), spacing_mm, nested)
        given = {tracer for _, tracer, _ in recipe.turns}
        if not given or not given.issuperset(tracers):
            strange = ", ".join(dict.fromkeys(t for t in tracers if t not in given)) or "(none)"
            raise OptionError(f"Tracer {strange}", f"is not given to a digital {' or '.join(kinds) or 'patient'}",
                              "Choose FDG, or DASB for the brain.")
        return recipe

    @property
    def turns(self) -> list[tuple[str, str, str | None]]:
        """Kind, tracer and scanner of one patient after the other; each kind is given only tracers made for it."""
        return [(kind, tracer, preset) for preset in self.presets for kind in self.kinds for tracer in self.tracers
                if (kind, tracer) in PROTOCOLS]

    def job(self, number: int, seed: int) -> Job:
        """The patient whose turn it is."""
        kind, tracer, preset = self.turns[number % len(self.turns)]
        spacing = DEFAULT_SPACING_MM[kind] if self.spacing_mm is None else self.spacing_mm
        return Job(seed, kind, tracer, preset, self.fractions, spacing, self.nested)

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
