"""Real scans at simulated reduced doses, against the clinical image. Never mixed with digital patients.

DIR holds a folder per patient, its name ending in the patient's number, with `pet_suv.nii.gz` (SUVbw),
`tumour.nii.gz` and, where there is one, `ct_hu.nii.gz`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import read
from ..errors import InputError, OptionError
from ..prepare import case as preparing
from ..progress import Run
from ..volume import SUVBW, Volume
from ..write import images
from . import sealed, sources, store, tuning
from .cases import CaseResult, Settings, Subject, judged, run_rows
from .contract import Dose, Real, Row

PET, CT, TUMOUR, LOW = "pet_suv.nii.gz", "ct_hu.nii.gz", "tumour.nii.gz", "low.nii.gz"
SOURCES = ("physics", "volume.py", "write/images.py", "bench/real.py")
_NUMBER = re.compile(r".*?(\d+)")


def folders(directory: str | Path, numbers: tuple[int, int]) -> list[Path]:
    """Patients from the first to the last number, both counted, that have a PET and a tumour."""
    place = Path(directory)
    if not place.is_dir():
        raise InputError(f"Folder {place.name}", "is not there", "Give the folder that holds the patients' folders.")
    found: dict[int, Path] = {}
    for folder in sorted(f for f in place.iterdir() if _NUMBER.fullmatch(f.name) and (f / PET).is_file()):
        other = found.setdefault(number_of(folder), folder)
        if other is not folder:
            raise InputError(f"Folder {place.name}", f"holds patient {number_of(folder)} twice: {other.name} and "
                             f"{folder.name}", "Rename one: the number tells patients apart.")
    chosen = [f for n, f in sorted(found.items()) if numbers[0] <= n <= numbers[1] and (f / TUMOUR).is_file()]
    if not chosen:
        raise InputError(f"Folder {place.name}", f"holds no patient from {numbers[0]} to {numbers[1]}",
                         f"Each patient's folder needs {PET} and {TUMOUR}, and a name that ends in a number.")
    return chosen


def number_of(folder: Path) -> int:
    return int(_NUMBER.fullmatch(folder.name).group(1))


def run_case(real: Real, folder: Path, dose: Dose, tuned: Mapping[str, Mapping[str, Any]], settings: Settings,
             run: Run) -> CaseResult:  # fmt: skip
    number = number_of(folder)
    if not real.test[0] <= number <= real.test[1]:
        raise OptionError(f"Patient {number}", "is not a test patient", f"Those are {real.test[0]} to {real.test[1]}.")
    subject = subject_of(real, folder, dose, run)
    return run_rows(judged(subject, real.judge), real.rows, tuned, settings, run, folder.name, dose.label)


def tuned(real: Real, row: Row, dose: Dose, directory: str | Path, run: Run) -> dict[str, Any]:
    """Settings of a filter found on the patients that may be tuned on."""
    chosen = folders(directory, real.tuning)
    made_of = {"patients": [_identity(real, f, dose) for f in chosen], "fraction": dose.fraction}

    def pairs() -> list[tuning.Pair]:
        subjects = [subject_of(real, f, dose, run) for f in chosen]
        return [(s.case, s.normal) for s in subjects]

    found = tuning.kept(row, made_of, pairs, run)
    return {"table": "real", "dose": dose.label, "row": row.name, "patients": [f.name for f in chosen], **found}


def subject_of(real: Real, folder: Path, dose: Dose, run: Run) -> Subject:
    identity = _identity(real, folder, dose)
    normal, ct = _normal(folder), _ct(folder)
    low = _low(real, folder, normal, ct, dose, identity, run)
    case = preparing.build(low, ct, run=Run(cancelled=run.cancelled))
    seed = number_of(folder)
    return Subject(identity, seed, case, normal, None, read.labels(folder / TUMOUR), ())


def _identity(real: Real, folder: Path, dose: Dose) -> dict[str, Any]:
    files = {name: store.sha256(folder / name) for name in (PET, CT, TUMOUR) if (folder / name).is_file()}
    return {"real": files, "number": number_of(folder), "fraction": dose.fraction, "preset": real.preset,
            "code": sources.code(*SOURCES)}  # fmt: skip


def _normal(folder: Path) -> Volume:
    return read.image(folder / PET, unit=SUVBW)


def _ct(folder: Path) -> Volume | None:
    return read.image(folder / CT, "ct") if (folder / CT).is_file() else None


def _low(real: Real, folder: Path, normal: Volume, ct: Volume | None, dose: Dose, identity: Mapping[str, Any],
         run: Run) -> Volume:  # fmt: skip
    """The scan at a reduced dose; its random numbers depend on the patient's number."""
    from ..physics.dose import reduce_dose

    def fill(place: Path) -> None:
        quiet, seed = Run(cancelled=run.cancelled), number_of(folder)
        low = reduce_dose(normal, dose.fraction, seed=seed, preset=real.preset, ct=ct, run=quiet)
        images.write(low.with_facts(source=None), place / LOW)

    return read.image(sealed.ready(store.folder() / "real" / store.digest(identity), fill, run) / LOW)


def prepare(real: Real, folder: Path, dose: Dose, run: Run) -> None:
    """Simulates the reduced dose, for later."""
    subject_of(real, folder, dose, run)


