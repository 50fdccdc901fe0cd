"""What `petdiffusion simulate` does, as functions; each returns the files it wrote by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..progress import Run
from .dataset import make, write_scan
from .recipe import check_names
from .scan import patient_of, scan


def simulate_patient(kind: str, seed: int, out: str | os.PathLike[str], *, tracer: str = "FDG",
                     spacing_mm: float | Sequence[float] | None = None, fractions: Sequence[float] = (1.0, 0.1),
                     preset: str | None = None, lesions: int | None = None, counts: float | None = None,
                     nested: bool = False, choices: Mapping[str, Any] | None = None, overwrite: bool = False,
                     run: Run | None = None) -> dict[str, str]:
    """A digital patient with scans of it: truth, normal dose, reduced doses, CT, MR, organs and lesions.

    `choices` fix what is drawn otherwise: arms, sex and field of a body, field_mm of a brain.
    """
    from ..write.staging import Staging

    run = run or Run(seed=seed)
    _check(fractions, counts, preset)
    staging = Staging(out, overwrite=overwrite)
    names = ["normal", "truth", "ct", "mr", "organs", "lesions", *(f"low_{f:g}" for f in fractions if f != 1)]
    staging.check("patient.json", *(f"{name}.nii.gz" for name in names))
    patient = patient_of(kind, seed, spacing_mm=spacing_mm, tracer=tracer, lesions=lesions, run=run,
                         **(choices or {}))
    scanned = scan(patient, fractions=fractions, preset=preset, seed=seed, counts=counts, nested=nested, run=run)
    with run.stage("write", "Writing the patient"), staging as folder:
        written = write_scan(scanned, folder)
        run.check()
    return {name: str(Path(out) / file.name) for name, file in written.items()}


def simulate_dose(image: str | os.PathLike[str], fraction: float, seed: int, out: str | os.PathLike[str], *,
                  preset: str | None = None, counts: float | None = None, ct: str | os.PathLike[str] | None = None,
                  unit: str | None = None, weight_kg: float | None = None, overwrite: bool = False,
                  run: Run | None = None) -> dict[str, str]:
    """The scan as it would have been at a fraction of its dose, on its own grid and in its own unit."""
    from .. import read
    from ..physics.dose import reduce_dose
    from ..write import images
    from ..write.staging import Staging

    run = run or Run(seed=seed)
    _check((fraction,), counts, preset)
    name, record = f"low_{fraction:g}.nii.gz", f"simulation_{fraction:g}.json"
    staging = Staging(out, protect=[p for p in (image, ct) if p is not None], overwrite=overwrite)
    staging.check(name, record)
    with run.stage("read", "Reading the scan"):
        pet = read.image(image, "pet", unit=unit, weight_kg=weight_kg, run=run)
        attenuation = None if ct is None else read.image(ct, "ct", run=run)
        if weight_kg is not None and attenuation is not None:  # it may well mend what all headers say wrongly
            attenuation = attenuation.with_facts(weight_kg=None)
    reduced = reduce_dose(pet, fraction, seed=seed, preset=preset, counts=counts, ct=attenuation, run=run)
    with run.stage("write", "Writing the scan"), staging as folder:
        images.write(reduced.with_facts(source=None), folder / name)
        settings = {"fraction": fraction, "seed": seed, "preset": preset, "counts": counts, "ct": ct is not None,
                    "unit": reduced.unit, "weight_kg": weight_kg, "version": __version__, "said": run.warnings}
        (folder / record).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        run.check()
    return {"low": str(Path(out) / name), "record": str(Path(out) / record)}


def simulate_dataset(out: str | os.PathLike[str], n: int, *, kind: str = "body", tracers: Sequence[str] = ("FDG",),
                     split: str = "train", fractions: Sequence[float] = (1.0, 0.25, 0.1),
                     spacing_mm: float | None = None, presets: Sequence[str | None] = (None,), first_seed: int = 0,
                     workers: int = 0, run: Run | None = None) -> dict[str, str]:
    """Many digital patients with scans, a manifest and fixed splits; goes on where it was stopped."""
    return make(out, n, kinds=(kind,), tracers=tracers, fractions=fractions, presets=presets, split=split,
                first_seed=first_seed, spacing_mm=spacing_mm, workers=workers if workers > 1 else 0, run=run)


def _check(fractions: Sequence[float], counts: float | None, preset: str | None) -> None:
    """Impossible numbers and unknown scanners are refused before anything is read or drawn."""
    from ..physics.poisson import check_fraction, check_total
    from ..physics.presets import scanner

    for fraction in fractions:
        check_fraction(fraction)
    check_names(fractions)
    if counts is not None:
        check_total(counts)
    if preset is not None:
        scanner(preset)
