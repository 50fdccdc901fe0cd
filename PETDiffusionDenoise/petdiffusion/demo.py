"""The main job on an embedded digital patient: what a new user sees first."""

from __future__ import annotations

from pathlib import Path

from . import registry
from .errors import OutputError
from .progress import Run
from .request import Result

PATIENT = "patient"
MARKS = ("record.json", f"{PATIENT}/patient.json")
"""One of these tells a folder that an earlier demo made."""


def demo(out: str | Path, method: str, seed: int, fraction: float, run: Run) -> Result:
    """Draw a patient, scan it at normal and low dose, denoise the low-dose scan and measure against the normal one.

    The patient's images are kept in `out/patient`, so that everything can be tried on them again.
    """
    from .phantoms.commands import simulate_patient
    from .run import denoise

    out = Path(out)
    registry.card(method)  # an unknown one is said before a patient is drawn
    if out.exists() and any(out.iterdir()) and not any((out / mark).exists() for mark in MARKS):
        raise OutputError(
            f"Folder {out.name}",
            "holds files that are not a result of this program",
            "Choose an empty folder with --out.",
        )
    making = Run(seed, report=run.report, cancelled=run.cancelled)  # its time is no part of the denoising's
    with making.stage("patient", f"Digital patient {seed}, scanned at normal dose and at {fraction:.0%} of it"):
        files = simulate_patient(
            "body", seed, out / PATIENT, fractions=(1.0, fraction), overwrite=True, run=making
        )
    _remove_others(out / PATIENT, files)
    return denoise(
        files.get(f"low_{fraction:g}", files["normal"]),
        method,
        ct=files["ct"],
        labels=files["organs"],
        lesions=files["lesions"],
        reference=files["normal"],
        dose_fraction=fraction,
        seed=seed,
        out=out,
        overwrite=True,
        run=run,
    )


def _remove_others(folder: Path, files: dict[str, str]) -> None:
    """Scans that an earlier demo left at another dose."""
    kept = {Path(file).name.split(".nii")[0] for file in files.values()}
    for old in folder.glob("low_*"):
        if old.name.removesuffix(".json").split(".nii")[0] not in kept:
            old.unlink()
