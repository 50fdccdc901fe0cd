"""Slices of normal-dose scans at low counts, as BC-DPM's paper makes them: project, count, ML-EM of 100 iterations.

A patient gives a stack of slices that are far apart in the body. In the stack's geometry they lie 100 mm apart, so that
whatever filters in three dimensions takes each by itself. The reference is the normal-dose slice, which is also what
was projected; the body is found in the whole normal-dose scan and is the same for every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import read
from ..phantoms.scan import patient_of, scan
from ..prepare.mask import body_mask
from ..progress import Run, silent
from ..volume import SUVBW, Geometry, Volume
from ..write import images
from . import real, sealed, sources, store
from .contract import Dose, SliceTable

SIZE = 128
APART_MM = 100.0
ITERATIONS = 100
EDGE = 0.04
"""Part of the body's length at either end that is left out."""
NORMAL, BODY = "normal.nii.gz", "body.npy"
SOURCES = ("phantoms", "physics", "prepare/mask.py", "volume.py", "write/images.py", "bench/stacks.py")

Who = int | Path
"""The seed of a digital patient, or the folder of a real one."""


def ready(table: SliceTable, who: Who, run: Run) -> Path:
    """The patient's stack at all count levels, made now if it is missing or damaged."""
    quiet = Run(seed=seed_of(who), device=run.device, report=silent, cancelled=run.cancelled)
    return sealed.ready(place_of(table, who), lambda folder: _write(table, who, folder, quiet), run)


def place_of(table: SliceTable, who: Who) -> Path:
    levels = [dose.counts for dose in table.doses]
    made_of = {"who": _identity(who), "slices": table.slices, "levels": levels, "preset": table.preset,
               "pixel": table.pixel_mm, "code": sources.code(*SOURCES)}  # fmt: skip
    return store.folder() / "slices" / f"{name_of(who)}-{store.digest(made_of)}"


def name_of(who: Who) -> str:
    return f"body-{who:06d}" if isinstance(who, int) else who.name


def seed_of(who: Who) -> int:
    return who if isinstance(who, int) else real.number_of(who)


def _identity(who: Who) -> Any:
    return who if isinstance(who, int) else {"real": store.sha256(who / real.PET), "number": real.number_of(who)}


def _write(table: SliceTable, who: Who, folder: Path, run: Run) -> None:
    import torch

    from ..physics.geometry import ScanGeometry
    from ..physics.noise import insert_noise
    from ..physics.poisson import generator

    normal, body = stack(_normal(table, who, run), table.slices)
    images.write(normal, folder / NORMAL)
    np.save(folder / BODY, body)
    geometry = ScanGeometry((SIZE, SIZE), normal.geometry.spacing[1::-1])
    for dose in table.doses:
        run.check()
        chance = generator(seed_of(who), int(dose.counts))
        low = insert_noise(torch.tensor(normal.array), geometry, dose.counts, chance, iterations=ITERATIONS)
        images.write(normal.with_array(low.numpy()), folder / low_of(dose))


def low_of(dose: Dose) -> str:
    return f"low_{dose.counts:.0f}.nii.gz"


def _normal(table: SliceTable, who: Who, run: Run) -> Volume:
    if isinstance(who, int):
        patient = patient_of("body", who, spacing_mm=table.pixel_mm, run=run)
        return scan(patient, fractions=(1.0,), preset=table.preset, seed=who, run=run).normal
    return read.image(who / real.PET, unit=SUVBW)


def stack(volume: Volume, count: int) -> tuple[Volume, np.ndarray]:
    """So many slices evenly spaced over the body, in a square of 128 pixels around it, and the body in them."""
    body = body_mask(volume)
    filled = np.flatnonzero(body.any((1, 2)))
    first, last = filled[0] + EDGE * len(filled), filled[-1] - EDGE * len(filled)
    chosen = np.unique(np.linspace(first, last, count).round().astype(int))
    middle = [int(np.flatnonzero(body[chosen].any((0, other)))[[0, -1]].mean()) for other in (2, 1)]
    array = square(np.maximum(volume.array[chosen], 0), middle)
    inside = square(body[chosen], middle)
    spacing = (*volume.geometry.spacing[:2], APART_MM)
    geometry = Geometry(array.shape[::-1], spacing, (0.0, 0.0, 0.0), tuple(np.eye(3).flatten()))
    facts = replace(volume.facts, dose_fraction=None, source=None)
    return replace(volume, array=np.ascontiguousarray(array), geometry=geometry, facts=facts), inside


def square(array: np.ndarray, middle: Sequence[int]) -> np.ndarray:
    """Slices cut or filled with zeros to 128 x 128 pixels about a pixel."""
    padded = np.pad(array, ((0, 0), (SIZE // 2, SIZE // 2), (SIZE // 2, SIZE // 2)))
    y, x = middle
    return padded[:, y : y + SIZE, x : x + SIZE]


def load(table: SliceTable, who: Who, dose: Dose, run: Run) -> tuple[Volume, Volume, np.ndarray]:
    """(normal dose, low counts, body) of a patient."""
    place = ready(table, who, run)
    return read.image(place / NORMAL), read.image(place / low_of(dose)), np.load(place / BODY)
