"""Builds the case a method works on: PET, CT, MR and labels on the PET's grid, the body and the noise in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import GeometryError, InputError, UnitError
from ..methods.contract import Case
from ..progress import Run
from ..read import ORGANS
from ..volume import HU, SUVBW, Geometry, LabelMap, Volume
from ..wording import counted
from . import outside
from .grids import check_said, covered, resample, resample_labels, seen, world_points
from .mask import body_mask, from_ct
from .noise import noise_sd

LEAST_COVER, GOOD_COVER = 0.05, 0.5
"""Part of the body inside an extra image: below the first an error, below the second a warning."""
TOLD_COVER = 0.995
"""Part of the body that a reference shows, below which it is told: half a slice at the ends is no news."""
COMPARED_THERE = "images, organs and lesions are compared there, and their tables are of that part alone"
CHOSEN_THERE = "settings are chosen by that part alone"
"""What becomes of a comparison with an image that shows a part."""
REGISTER = "Align them with --register (in Python register=True), or make sure that they do."
"""What to do about a CT or MR in another frame of reference."""
DRAW_HERE = "Give one of this examination, or have it brought onto it by the registration of the program that drew it."
SAME_EXAMINATION = "Give one of the same examination, or register it first."
"""The same of masks, and of images to compare with."""
SAME_VALUES = 1e-6
"""Of the highest value: so much may come of bringing an image to another unit."""
LOWEST_SUV, HIGHEST_SUV = 0.02, 40.0
"""Of the mean over what the scan shows of the body, a full bladder or a brain alone included."""


def build(pet: Volume, ct: Volume | None = None, mr: Volume | None = None, labels: LabelMap | None = None,
          text: str = "", dose_fraction: float | None = None, run: Run | None = None) -> Case:
    """Everything on the PET's grid."""
    run = run or Run()
    _refuse_unusable(pet, "PET")
    body = body_mask(pet)
    run.progress(0.1)
    placed_ct, placed_mr = _placed(ct, "CT", pet, body, run), _placed(mr, "MR", pet, body, run)
    placed_labels = labels and organs_on(labels, pet, run, body)
    if placed_labels and not placed_labels.array.any():
        run.warn("The label map holds no structure within the PET.")
    run.progress(0.8)
    if not body.any():
        run.warn("No body was found in the PET: " + ("the CT's is used." if ct else "it shows no activity."))
        body = from_ct(placed_ct) if placed_ct else body
    check_suv(pet, body, run)
    noise = noise_sd(pet, body)
    run.progress(1.0)
    if dose_fraction is None:
        dose_fraction = pet.facts.dose_fraction
    return Case(pet, body, noise, placed_ct, placed_mr, placed_labels, text, dose_fraction)


def _refuse_unusable(volume: Volume, name: str) -> None:
    bad = int(volume.array.size - np.count_nonzero(np.isfinite(volume.array)))
    if bad:
        raise InputError(f"The {name}", f"holds {counted(bad, 'voxel')} without a number (NaN or infinite)",
                         "Export it again, or set such voxels to air.")
    if name == "CT" and volume.unit != HU:
        raise UnitError(f"The CT's unit '{volume.unit}'", "is not Hounsfield units",
                        "Give the CT in HU, or pass the image as MR if it is none.")


def check_suv(pet: Volume, body: np.ndarray, run: Run) -> None:
    """An SUV is one where all that was injected is spread evenly, so its mean over a body is near one."""
    if pet.unit != SUVBW or not body.any():
        return
    mean = float(pet.array[body].mean(dtype=np.float64))
    if not LOWEST_SUV < mean < HIGHEST_SUV:
        run.warn(f"The mean SUV of the body is {mean:.3g}, which no patient has: the values may be in Bq/ml, or the "
                 "SUV was made with a wrong dose or weight. Check the unit before any number is used.")


def _placed(image: Volume | None, name: str, pet: Volume, body: np.ndarray, run: Run) -> Volume | None:
    if image is None:
        return None
    _refuse_unusable(image, name)
    run.check()
    tell_other_frame(image.facts.frame_of_reference, name, pet, run, REGISTER)
    check_cover(image.geometry, name, pet, body, run)
    return resample(image, pet.geometry)


def tell_other_frame(frame: str | None, name: str, pet: Volume, run: Run, remedy: str, than: str = "PET") -> None:
    """Positions in two frames of reference have nothing to do with each other (DICOM PS3.3 C.7.4.1)."""
    if None not in (frame, pet.facts.frame_of_reference) and frame != pet.facts.frame_of_reference:
        run.warn(f"The {name} lies in another frame of reference than the {than} (0020,0052): its position may be "
                 f"wrong unless the two are known to lie together. {remedy}")


def tell_other_patient(image: Volume, name: str, pet: Volume, run: Run, than: str = "PET", weight_given: bool = False
                       ) -> None:  # fmt: skip
    """Of files that speak of two people. A weight that was given may well mend what all headers say wrongly."""
    own = replace(pet.facts, weight_kg=None) if weight_given else pet.facts
    if told := own.other_patient(image.facts):
        run.warn(f"The {name} seems to be of another patient than the {than} ({told}). Check that both are of one.")


def tell_same(image: Volume, name: str, pet: Volume, run: Run, than: str = "PET") -> None:
    """Of two images on one grid and in one unit: one that is given twice compares well with itself."""
    most = float(np.abs(pet.array).max(initial=0.0))
    if np.abs(image.array - pet.array).max(initial=0.0) <= SAME_VALUES * most:
        run.warn(f"The {name} has the same voxels as the {than}: an image is held against itself, and what is compared "
                 "with it says nothing of quality. Check which files were given.")  # fmt: skip


def check_cover(geometry: Geometry, name: str, pet: Volume, body: np.ndarray, run: Run,
                beyond: str = "the rest is treated as air") -> None:
    """An image that covers hardly any of the body is an error; one that covers less than half of it is told, with what
    becomes of what lies `beyond`, if anything."""
    voxels = np.flatnonzero(body) if body.any() else np.arange(body.size)
    some = np.unravel_index(voxels[:: max(1, len(voxels) // 50_000)], body.shape)
    points = world_points(np.stack(some, axis=1), pet.geometry)
    part = float(np.mean(covered(geometry, points)))
    if part < LEAST_COVER:
        raise GeometryError(f"The {name}", f"covers only {part:.0%} of the body seen in the PET",
                            f"Give the {name} of the same examination, or register it first.")
    if part < GOOD_COVER and beyond:
        run.warn(f"The {name} covers only {part:.0%} of the body seen in the PET; {beyond}.")


def check_place(given: LabelMap, name: str, pet: Volume, run: Run, body: np.ndarray | None = None) -> None:
    """A mask that may be cut out around what it shows need not cover the body; one that may have lost its place does:
    it has as many voxels as the PET but lies elsewhere, or the grid of a file that says nothing of its own."""
    tell_other_frame(given.frame_of_reference, name, pet, run, DRAW_HERE)
    check_said(given, name, pet.geometry)
    mask = given.geometry
    nothing_said = mask.spacing == (1.0, 1.0, 1.0) and mask.origin == (0.0, 0.0, 0.0)
    if not mask.close_to(pet.geometry) and (mask.size == pet.geometry.size or nothing_said):
        body = body_mask(pet) if body is None else body
        check_cover(mask, name, pet, body, run, beyond="it may have lost its place in space")


def seen_by(geometry: Geometry, name: str, pet: Volume, body: np.ndarray, run: Run,
            therefore: str = COMPARED_THERE) -> np.ndarray | None:
    """Where an image to compare with is, on the PET's grid; None where that is all of the body. What it does not show
    would count as zero: it is left out of every comparison, and that is told."""
    if geometry.close_to(pet.geometry):
        return None
    shown = seen(geometry, pet.geometry)
    part = float(shown[body].mean()) if body.any() else float(shown.mean())
    if part == 1.0:
        return None
    if LEAST_COVER <= part < TOLD_COVER:
        run.warn(f"The {name} covers {part:.0%} of the body: {therefore}.")
    return shown


def organs_on(labels: LabelMap, pet: Volume, run: Run, body: np.ndarray | None = None) -> LabelMap:
    """A map of organs on the PET's grid."""
    check_place(labels, ORGANS, pet, run, body)
    outside.tell(labels, pet.geometry, run)
    return resample_labels(labels, pet.geometry)
