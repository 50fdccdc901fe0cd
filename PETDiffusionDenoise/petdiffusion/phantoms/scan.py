"""A digital patient in a scanner: the image of the normal dose, those of reduced doses, and the truth behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError, PhysicsError
from ..progress import Run
from ..volume import Facts, Volume
from .patient import Patient

if TYPE_CHECKING:
    from ..physics.presets import Scanner


@dataclass(frozen=True)
class Protocol:
    """How a tracer is usually given and scanned."""

    mbq: float | None
    """Injected activity; None: the scanner's usual activity per kg."""
    uptake_minutes: float | None
    seconds: float | None
    half_life_s: float


# Brain FDG: EANM procedure guidelines, Guedj et al., Eur J Nucl Med Mol Imaging 2022;49:632 (125 to 250 MBq in 3D,
# 10 to 20 min). Brain DASB: 577 MBq as in the CSRD paper, all 90 min of a dynamic scan summed. Body: the scanner's own.
PROTOCOLS: Mapping[tuple[str, str], Protocol] = {
    ("brain", "FDG"): Protocol(200.0, 45.0, 900.0, 6586.2),
    ("brain", "DASB"): Protocol(577.0, 0.0, 5400.0, 1221.66),
    ("body", "FDG"): Protocol(None, None, None, 6586.2),
}


@dataclass(frozen=True)
class Scan:
    """All images lie on the patient's grid, in SUVbw."""

    patient: Patient
    preset: str
    normal: Volume
    low: Mapping[float, Volume]
    """Reduced doses by fraction, without 1."""
    truth: Volume
    """The patient's activity: no noise, no blur."""

    def at(self, fraction: float) -> Volume:
        return self.normal if fraction == 1 else self.low[fraction]


def scan(patient: Patient, *, fractions: Sequence[float] = (1.0, 0.25), preset: str | Scanner | None = None,
         seed: int = 0, counts: float | None = None, nested: bool = False,
         run: Run | None = None) -> Scan:
    """Scans the patient at the normal dose and at each fraction of it.

    `counts` are the expected true counts of the normal dose in the whole image; by default those of the scanner's
    sensitivity, the injected dose and the time. With `nested`, reduced doses are a random part of the normal dose's
    events (as when list-mode data are thinned); otherwise each is a scan of its own. `preset` is HRRT for DASB and
    mCT otherwise.
    """
    import torch

    from ..physics import attenuation, dose
    from ..physics.poisson import check_fraction

    run = run or Run(seed=seed)
    for fraction in fractions:
        check_fraction(fraction)
    scanner = preset_of(patient, preset)
    facts = facts_of(patient, scanner, seed)
    spacing_mm = patient.pet.geometry.spacing[::-1]
    wanted = tuple(dict.fromkeys((1.0, *(float(f) for f in fractions))))
    images = dose.acquire(torch.tensor(patient.pet.array), spacing_mm,
                          mu=attenuation.mu_from_hu(torch.tensor(patient.ct.array)), preset=scanner, counts=counts,
                          fractions=wanted, nested=nested, seed=seed,
                          facts=replace(facts, frame_seconds=effective_seconds(facts)), run=run)
    volumes = {f: _volume(patient, image.numpy(), replace(facts, dose_fraction=f)) for f, image in images.items()}
    normal = volumes.pop(1.0)
    return Scan(patient, scanner.name, normal, volumes, patient.pet)


def preset_of(patient: Patient, preset: str | Scanner | None) -> Scanner:
    """The scanner by name; HRRT for DASB, mCT for all else."""
    from ..physics import presets

    return presets.scanner(preset or ("HRRT" if patient.tracer == "DASB" else "mCT"))


def facts_of(patient: Patient, scanner: Scanner, seed: int) -> Facts:
    """Dose and times as they vary from patient to patient: dose by 8 %, waiting by 5 min."""
    protocol = PROTOCOLS.get((patient.kind, patient.tracer))
    if protocol is None:
        raise PhysicsError(f"A {patient.kind} scan with {patient.tracer}", "has no usual protocol",
                           f"Known are {', '.join(f'{k} {t}' for k, t in PROTOCOLS)}.")
    rng = np.random.default_rng([patient.seed, seed, 0x5CA4])
    usual = protocol.mbq or scanner.mbq_per_kg * patient.weight_kg
    dose_bq = usual * 1e6 * float(np.exp(rng.normal(0, 0.08)))
    waiting = scanner.uptake_minutes if protocol.uptake_minutes is None else protocol.uptake_minutes
    late = float(np.clip(rng.normal(0, 5), -12, 12))
    minutes = max(waiting + late, 5.0) if waiting else 0.0  # a scan from the injection on starts with it
    factor = patient.weight_kg * 1000 / (dose_bq * 0.5 ** (minutes * 60 / protocol.half_life_s))
    return replace(patient.pet.facts, modality="PT", tracer=patient.tracer, half_life_s=protocol.half_life_s,
                   injected_dose_bq=round(dose_bq), uptake_minutes=round(minutes, 1),
                   frame_seconds=protocol.seconds or scanner.seconds, weight_kg=patient.weight_kg,
                   height_m=patient.height_m, sex=patient.sex, scanner=scanner.title, suv_factor=factor)


def effective_seconds(facts: Facts) -> float:
    """Time at the activity of the start that gives the same counts as the frame, during which the tracer decays."""
    rate = math.log(2) / facts.half_life_s
    return (1 - math.exp(-rate * facts.frame_seconds)) / rate


def _volume(patient: Patient, array: np.ndarray, facts: Facts) -> Volume:
    return replace(patient.pet, array=array, facts=facts)


DEFAULT_SPACING_MM = {"body": 4.0, "brain": 2.0}
KINDS = tuple(DEFAULT_SPACING_MM)


def check_spacing(kind: str, spacing_mm: float) -> None:
    """That a patient of this kind can be drawn with such voxels."""
    from .body.make import voxel_of
    from .brain.drawing import check_voxel

    (voxel_of if kind == "body" else check_voxel)(spacing_mm)


CHOICES = {"body": ("arms", "sex", "field"), "brain": ("field_mm",)}
"""What may be chosen about a patient of a kind instead of being drawn."""


def patient_of(kind: str, seed: int, *, spacing_mm: float | Sequence[float] | None = None, tracer: str = "FDG",
               lesions: int | None = None, run: Run | None = None, **choices: Any) -> Patient:
    """The digital patient of a kind and seed, at the kind's usual voxel size if none is given.

    `choices` are those of `body.draw` (arms, sex, field) and `brain.draw` (field_mm).
    """
    checked_kind(kind)
    for name in choices:
        if name not in CHOICES[kind]:
            raise OptionError(f"Option '{name}'", f"is not one of a digital {kind}",
                              f"Leave it out; there are {', '.join(CHOICES[kind])}.")
    if isinstance(seed, bool) or seed != int(seed) or seed < 0:
        raise OptionError(f"Seed {seed}", "must be a whole number from 0", "Give another seed.")
    from . import body, brain

    draw = body.draw if kind == "body" else brain.draw
    spacing = DEFAULT_SPACING_MM[kind] if spacing_mm is None else spacing_mm
    return draw(int(seed), spacing_mm=spacing, tracer=tracer, lesions=lesions, run=run, **choices)


def checked_kind(kind: str) -> str:
    if kind not in KINDS:
        raise OptionError(f"Kind '{kind}'", f"is not one of {', '.join(KINDS)}", "Choose one of these.")
    return kind
