"""Digital patients on disk: made once by seed, sealed, verified before every use."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .. import read
from ..phantoms.dataset import write_scan
from ..phantoms.recipe import Job
from ..progress import Run, silent
from ..volume import LabelMap, Volume
from ..write.staging import writing
from . import store

SEAL = "seal.json"
SOURCES = ("phantoms", "physics", "volume.py", "write/images.py", "write/labels.py", "bench/patients.py")
_PART = re.compile(r"\.part-(\d+)-.*")


@dataclass(frozen=True)
class Patient:
    """One scan at a reduced dose with all that is known of the patient."""

    low: Volume
    normal: Volume
    ct: Volume | None
    mr: Volume | None
    organs: LabelMap | None
    lesions: LabelMap | None


def place_of(job: Job) -> Path:
    made_of = store.digest([job, store.code(*SOURCES)])
    return store.folder() / "patients" / f"{job.name}-{made_of}"


def ready(job: Job, run: Run) -> Path:
    """The patient's folder, made now if it is missing or damaged."""
    place = place_of(job)
    return place if sound(place) else make(job, place, run)


def sound(place: Path) -> bool:
    """Whether every file is the one that was sealed."""
    seal = store.read_json(place / SEAL)
    return bool(seal) and all((place / n).is_file() and store.sha256(place / n) == sha for n, sha in seal.items())


def make(job: Job, place: Path, run: Run) -> Path:
    """Draws and scans the patient; the folder appears whole or not at all."""
    quiet = Run(seed=job.seed, device=run.device, report=silent, cancelled=run.cancelled)
    _remove_stale(place.parent)
    part = place.with_name(f".part-{os.getpid()}-{place.name}")
    try:
        with writing(part):
            part.mkdir(parents=True)
        write_scan(job.scan(quiet), part)
        seal = {file.name: store.sha256(file) for file in sorted(part.iterdir())}
        store.write_json(seal, part / SEAL)
        run.check()
        with writing(place):
            _put(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _put(part: Path, place: Path) -> None:
    """Over a damaged folder; another program that made the same patient meanwhile is as good."""
    if place.exists() and not sound(place):
        shutil.rmtree(place)
    if not place.exists():
        os.replace(part, place)


def _remove_stale(folder: Path) -> None:
    """What a killed run left behind."""
    import psutil

    for part in folder.glob(".part-*") if folder.is_dir() else ():
        match = _PART.fullmatch(part.name)
        if match and not psutil.pid_exists(int(match.group(1))):
            shutil.rmtree(part, ignore_errors=True)


def load(place: Path, fraction: float) -> Patient:
    def image(name: str, role: str = "pet") -> Volume:
        return read.image(place / f"{name}.nii.gz", role)

    return Patient(image(f"low_{fraction:g}"), image("normal"), image("ct", "ct"), image("mr", "mr"),
                   read.labels(place / "organs.nii.gz"), read.labels(place / "lesions.nii.gz"))  # fmt: skip
