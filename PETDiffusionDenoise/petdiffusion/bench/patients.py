"""Digital patients on disk: made once by seed, sealed, verified before every use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import read
from ..phantoms.dataset import write_scan
from ..phantoms.recipe import Job
from ..progress import Run, silent
from ..volume import LabelMap, Volume
from . import sealed, sources, store

SOURCES = ("phantoms", "physics", "volume.py", "write/images.py", "write/labels.py")


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
    made_of = store.digest([job, sources.code(*SOURCES)])
    return store.folder() / "patients" / f"{job.name}-{made_of}"


def ready(job: Job, run: Run) -> Path:
    """The patient's folder, drawn and scanned now if it is missing or damaged."""
    quiet = Run(seed=job.seed, device=run.device, report=silent, cancelled=run.cancelled)
    return sealed.ready(place_of(job), lambda folder: write_scan(job.scan(quiet), folder), run)


def load(place: Path, fraction: float) -> Patient:
    def image(name: str, role: str = "pet") -> Volume:
        return read.image(place / f"{name}.nii.gz", role)

    return Patient(image(f"low_{fraction:g}"), image("normal"), image("ct", "ct"), image("mr", "mr"),
                   read.labels(place / "organs.nii.gz"), read.labels(place / "lesions.nii.gz"))  # fmt: skip
