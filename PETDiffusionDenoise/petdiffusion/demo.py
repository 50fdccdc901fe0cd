"""The main job on an embedded digital patient: what a new user sees first."""

from __future__ import annotations

from pathlib import Path

from .errors import OutputError
from .progress import Run
from .request import Result

MARK = "record.json"


def demo(out: str | Path, method: str, seed: int, fraction: float, run: Run) -> Result:
    """Draw a patient, scan it at normal and low dose, denoise the low-dose scan and measure against the normal one."""
    from .phantoms import body, scan
    from .run import denoise

    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise OutputError(
            f"Folder {out.name}",
            "holds files that are not a result of this program",
            "Choose an empty folder with --out.",
        )
    making = Run(seed, report=run.report, cancelled=run.cancelled)  # its time is no part of the denoising's
    with making.stage("patient", f"Drawing digital patient {seed}"):
        patient = body.draw(seed, spacing_mm=4.0, run=making)
    with making.stage("scan", f"Scanning it at normal dose and at {fraction:.0%} of that"):
        scans = scan.scan(patient, fractions=(1.0, fraction), seed=seed, run=making)
    run.warn("This is a digital patient: every number here is from a simulation.")
    return denoise(
        scans.at(fraction),
        method,
        ct=patient.ct,
        labels=patient.organs,
        lesions=patient.lesion_map,
        reference=scans.normal,
        dose_fraction=fraction,
        seed=seed,
        out=out,
        overwrite=True,
        run=run,
    )
