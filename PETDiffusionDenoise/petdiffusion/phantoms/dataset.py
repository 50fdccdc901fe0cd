"""Data sets of digital patients on disk: a folder per patient, a manifest, a card, and fixed splits.

    OUT/dataset.json        how it was made; compared when the work goes on after a stop
    OUT/README.md           the same for people
    OUT/manifest.csv        a row for each low-dose scan, as `petdiffusion batch` and `train` read it
    OUT/brain-000012/       low_0.25.nii.gz, normal.nii.gz, truth.nii.gz, ct, mr, organs, lesions, patient.json

A patient's folder appears whole or not at all, so whatever was finished before a stop is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import OptionError, OutputError
from ..folders import held
from ..progress import Run, silent
from ..wording import counted
from ..write import images, labels, lock, moving, tables
from ..write.staging import writing
from .recipe import Job, Recipe
from .scan import Scan
from .splits import seeds_of, split_of

CARD, MANIFEST, README, PATIENT = "dataset.json", "manifest.csv", "README.md", "patient.json"


def make(out: str | os.PathLike[str], n: int, *, kinds: Sequence[str] = ("body",), tracers: Sequence[str] = ("FDG",),
         fractions: Sequence[float] = (0.25,), presets: Sequence[str | None] = (None,), split: str = "train",
         first_seed: int = 0, spacing_mm: float | None = None, nested: bool = False, workers: int = 0,
         run: Run | None = None) -> dict[str, str]:
    """Makes a data set of `n` patients, or goes on with it; returns the files that describe it.

    Kinds, tracers and presets are dealt out in turn. `first_seed` counts from the beginning of the split. With
    `workers`, patients are made in that many processes.
    """
    run = run or Run()
    recipe = Recipe.of(kinds, tracers, fractions, presets, spacing_mm, nested)
    jobs = [recipe.job(number, seed) for number, seed in enumerate(seeds_of(split, n, first_seed))]
    if not jobs:
        raise OptionError("A data set of 0 patients", "holds nothing", "Ask for at least one.")
    folder, settings = Path(out), {"made_by": "petdiffusion simulate dataset", "version": __version__,
                                   "patients": len(jobs), "split": split, "first_seed": first_seed, **recipe.to_json()}
    with lock.alone_in(folder, "simulation"):
        return _grown(folder, settings, jobs, workers, run)


def _grown(folder: Path, settings: dict[str, Any], jobs: Sequence[Job], workers: int, run: Run) -> dict[str, str]:
    """What is missing of the data set, and what describes it."""
    _claim(folder, settings)
    todo = [job for job in jobs if not (folder / job.name / PATIENT).exists()]
    with run.stage("dataset", f"Making {len(todo)} of {counted(len(jobs), 'digital patient')}"):
        for done, _ in enumerate(_made(todo, folder, workers, run), 1):
            run.progress(done / len(todo))
    rows = [row for job in jobs for row in _rows(job, folder)]
    tables.write_csv(rows, folder / MANIFEST)
    _write_text(folder / README, _readme(folder, jobs, rows))
    return {name: str(folder / file) for name, file in (("manifest", MANIFEST), ("card", CARD), ("readme", README))}


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Begins the folder, or checks that it is this very data set; it may only have grown."""
    card = folder / CARD
    if card.exists():
        _check_same(_read(card), settings, folder)
    elif any(file.name != lock.FILE for file in held(folder)):
        raise OutputError(f"Folder {folder}", "holds other files and no data set", "Choose an empty or new folder.")
    _remove_stale(folder)
    _write_text(card, json.dumps(settings, indent=2) + "\n")


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    free = ("patients", "version")
    changed = [name for name in now if name not in free and before.get(name) != now[name]]
    mixed = now["split"] == "mixed" and before.get("patients") != now["patients"]
    if changed or mixed or before.get("patients", 0) > now["patients"]:
        name = (changed or ["patients"])[0]
        raise OutputError(f"Data set {folder}", f"was begun with {name} = {before.get(name)}, not {now[name]}",
                          "Go on with the same settings, or choose another folder.")


def _remove_stale(folder: Path) -> None:
    """What a killed run left behind, on this machine or another: whoever holds the folder works alone in it."""
    for part in folder.glob(".part-*"):
        shutil.rmtree(part, ignore_errors=True)


def _made(jobs: Sequence[Job], folder: Path, workers: int, run: Run) -> Iterator[str]:
    """Makes the patients, here or in other processes; yields each when it is finished."""
    if workers <= 0:
        for job in jobs:
            yield make_patient(job, folder, run)
        return
    from .workers import Pool

    with Pool(min(workers, max(len(jobs), 1)), run) as pool:
        yield from pool.unordered(make_patient, [(job, folder) for job in jobs])


def make_patient(job: Job, folder: Path, run: Run) -> str:
    """Draws, scans and writes one patient; the folder appears at the end."""
    quiet = Run(seed=job.seed, device=run.device, report=silent, cancelled=run.cancelled)
    scanned = job.scan(quiet)
    part = folder / f".part-{job.name}-{os.getpid()}"
    try:
        with writing(part):
            part.mkdir()
        write_scan(scanned, part)
        run.check()
        with writing(folder / job.name):
            moving.replace(part, folder / job.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return job.name


def write_scan(scanned: Scan, folder: Path) -> dict[str, Path]:
    """Everything known of a scanned patient as files."""
    patient = scanned.patient
    volumes = {"normal": scanned.normal, "truth": scanned.truth, "ct": patient.ct, "mr": patient.mr,
               **{f"low_{fraction:g}": volume for fraction, volume in scanned.low.items()}}
    files = {name: images.write(volume, folder / f"{name}.nii.gz") for name, volume in volumes.items()}
    files["organs"] = labels.write(patient.organs, folder / "organs.nii.gz")
    files["lesions"] = labels.write(patient.lesion_map, folder / "lesions.nii.gz")
    files["patient"] = folder / PATIENT
    _write_text(files["patient"], json.dumps(describe(scanned), indent=2, default=_plain) + "\n")
    return files


def describe(scanned: Scan) -> dict[str, Any]:
    """The patient's truth and the scan's facts, for JSON."""
    patient = scanned.patient
    return {"seed": patient.seed, "split": split_of(patient.seed), "kind": patient.kind, "tracer": patient.tracer,
            "preset": scanned.preset, "fractions": sorted(scanned.low, reverse=True), "sex": patient.sex,
            "weight_kg": patient.weight_kg, "height_m": patient.height_m, "details": dict(patient.details),
            "scan": scanned.normal.facts.to_json(), "lesions": [lesion.to_json() for lesion in patient.lesions]}


def _rows(job: Job, folder: Path) -> list[dict[str, Any]]:
    """Manifest rows of a finished patient."""
    known = _read(folder / job.name / PATIENT)
    images_ = {column: f"{job.name}/{file}.nii.gz" for column, file in
               (("ct", "ct"), ("mr", "mr"), ("labels", "organs"), ("lesions", "lesions"), ("reference", "normal"),
                ("truth", "truth"))}
    return [{"id": f"{job.name}-{fraction:g}", "pet": f"{job.name}/low_{fraction:g}.nii.gz", **images_,
             "fraction": fraction, "split": split_of(job.seed), "kind": job.kind, "tracer": job.tracer,
             "preset": known["preset"], "seed": job.seed} for fraction in job.fractions]


def _readme(folder: Path, jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> str:
    splits = {name: sum(split_of(job.seed) == name for job in jobs) for name in ("train", "validation", "test")}
    settings = json.dumps(_read(folder / CARD), indent=2)
    return f"""# {folder.name}: digital PET patients

Digital patients: {len(jobs)}; low-dose scans: {len(rows)}; made by petdiffusion {__version__}.
Nobody was scanned: anatomy, activity and counts are simulated, so the truth behind every image is known.

| split | patients |
| --- | --- |
{chr(10).join(f'| {name} | {count} |' for name, count in splits.items())}

Splits go by seed for good: 0 to 799,999 train, 800,000 to 899,999 validation, 900,000 and above test.

`manifest.csv` has one row for each low-dose scan, for `petdiffusion batch` and `train`. In a patient's folder:
`low_F.nii.gz` (dose fraction F), `normal.nii.gz` (full dose), `truth.nii.gz` (activity without noise and blur),
`ct.nii.gz` (HU), `mr.nii.gz` (T1-like), `organs.nii.gz`, `lesions.nii.gz`, and `patient.json` with the truth of every
lesion and the facts of the scan. PET is in SUVbw; all images of a patient lie on one grid.

Made with:

```json
{settings}
```
"""


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}", f"cannot be read ({error})", "Remove the folder it is in and go on.") from error


def _write_text(file: Path, text: str) -> None:
    """Aside, then into place."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with writing(file):
        aside.write_text(text, encoding="utf-8")
        moving.replace(aside, file)


def _plain(value: Any) -> Any:
    """NumPy values as JSON's own."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else asdict(value)
