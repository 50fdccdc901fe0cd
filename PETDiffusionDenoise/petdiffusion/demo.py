"""The main job on an embedded digital patient: what a new user sees first."""

from __future__ import annotations

import json
from pathlib import Path

from . import __version__, registry
from .errors import OutputError
from .folders import held
from .progress import Run
from .request import Result, read_record

PATIENT, MARK = "patient", "demo.json"
"""The patient's folder, and the file that tells a folder that a demo made."""


def demo(out: str | Path, method: str, seed: int, fraction: float, run: Run) -> Result:
    """Draw a patient, scan it at normal and low dose, denoise the low-dose scan and measure against the normal one.

    The patient's images are kept in `out/patient`, so that everything can be tried on them again.
    """
    from .phantoms.commands import simulate_patient
    from .run import denoise

    out = Path(out)
    registry.card(method)  # an unknown one is said before a patient is drawn
    if out.exists() and any(held(out)) and not _made_by_a_demo(out):
        raise OutputError(
            f"Folder {out.name}",
            "holds files that are not a demo's, and a demo replaces only those of an earlier one",
            "Choose an empty folder with --out.",
        )
    making = Run(seed, report=run.report, cancelled=run.cancelled)  # its time is no part of the denoising's
    with making.stage("patient", f"Digital patient {seed}, scanned at normal dose and at {fraction:.0%} of it"):
        files = simulate_patient(
            "body", seed, out / PATIENT, fractions=(1.0, fraction), overwrite=True, run=making
        )
    _remove_others(out / PATIENT, files)
    (out / MARK).write_text(json.dumps({"made by": f"petdiffusion demo {__version__}"}) + "\n", encoding="utf-8")
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


def _made_by_a_demo(out: Path) -> bool:
    """A demo's mark, and no result of another scan put in the place of the demo's since."""
    if not (out / MARK).is_file():
        return False
    return not (out / "record.json").exists() or Path(read_record(out)["request"]["pet"]).parent.name == PATIENT


def _remove_others(folder: Path, files: dict[str, str]) -> None:
    """Scans that an earlier demo left at another dose."""
    kept = {Path(file).name.split(".nii")[0] for file in files.values()}
    for old in folder.glob("low_*"):
        if old.name.removesuffix(".json").split(".nii")[0] not in kept:
            old.unlink()
