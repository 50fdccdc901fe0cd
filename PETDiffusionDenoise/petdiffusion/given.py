"""The images of a run: read, brought to the unit of the work, moved onto the PET where asked, and put on its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import InputError, UnitError
from .methods.contract import Case, MethodCard
from .progress import Run
from .request import IMAGES, IN_MEMORY, Request
from .volume import ARBITRARY, BQML, SUVBW, LabelMap, Volume


@dataclass(frozen=True)
class Given:
    """The images as they were read, each on its own grid."""

    pet: Volume
    ct: Volume | None
    mr: Volume | None
    labels: LabelMap | None
    lesions: LabelMap | None
    reference: Volume | None
    tune: Volume | None
    sources: tuple[str, ...]
    seen: np.ndarray | None = None
    """What the reference covers; None where it covers the body."""
    tune_seen: np.ndarray | None = None
    """The same of the validation image."""


def read_all(images: Mapping[str, Any], request: Request, run: Run) -> Given:
    from . import read

    def image(name: str, role: str | None = None, unit: str | None = None) -> Volume | None:
        if images[name] is None:
            return None
        weight = None if name in ("ct", "mr") else request.weight_kg
        return read.image(images[name], role or name, unit=unit, weight_kg=weight, run=run)

    def labels(name: str) -> LabelMap | None:
        # a patient may well have no lesion; an organ map without organs is a mistake
        if images[name] is None:
            return None
        called = read.LESIONS if name == "lesions" else read.ORGANS
        return read.labels(images[name], allow_empty=name == "lesions", called=called, run=run)

    pet = image("pet", unit=request.unit)
    if pet is None:
        raise InputError("No PET", "nothing was given to denoise", "Give a file, a DICOM folder or an image.")
    if pet.facts.denoised:
        run.warn(f"The PET is an output of this program ({pet.facts.denoised}), not a scan: what is said of its noise, "
                 "the check and every interval mean nothing. Give the scan itself.")
    given = Given(
        _at_dose(pet, request.dose_fraction, run),
        image("ct"),
        image("mr"),
        labels("labels"),
        labels("lesions"),
        _like(image("reference", "reference"), "reference", pet, run),
        _like(image("tune", "reference"), "validation PET", pet, run),
        tuple(v for name in IMAGES if (v := getattr(request, name)) not in (None, IN_MEMORY)),
    )
    _tell_other_patients(given, request, run)
    return given


def _tell_other_patients(given: Given, request: Request, run: Run) -> None:
    from .prepare.case import tell_other_patient

    others = {"CT": given.ct, "MR": given.mr, "reference": given.reference, "validation PET": given.tune}
    for name, other in others.items():
        if other is not None:
            tell_other_patient(other, name, given.pet, run, weight_given=request.weight_kg is not None)


def _at_dose(pet: Volume, fraction: float | None, run: Run) -> Volume:
    """The dose fraction that was asked for goes before the file's, and a contradiction is told."""
    stated = pet.facts.dose_fraction
    if fraction is None or fraction == stated:
        return pet
    if stated is not None:
        said = f"The file says {100 * stated:.3g} % of the normal dose; {100 * fraction:.3g} % was given and is used."
        run.warn(said)
    return pet.with_facts(dose_fraction=fraction)


def _like(reference: Volume | None, name: str, pet: Volume, run: Run) -> Volume | None:
    """A reference that says no unit is taken in the PET's, as a scan of the same patient."""
    from .prepare import same_unit

    if reference is None:
        return None
    found = same_unit.of(reference, name, pet, "PET", run)
    factor = reference.facts.suv_factor or pet.facts.suv_factor
    return found if found.unit == reference.unit else found.with_facts(suv_factor=factor)


def to_working_unit(pet: Volume, card: MethodCard, run: Run) -> Volume:
    from . import suv

    if pet.unit == SUVBW:
        return pet
    if pet.unit == BQML:
        try:
            return suv.to_suv(pet)
        except UnitError as error:
            if card.needs_suv:
                raise
            run.warn(f"Worked in Bq/ml, and no SUV is reported: {error}")
            return pet
    if card.needs_suv:
        raise UnitError(
            "The PET's unit",
            "is unknown, and this method was trained on SUV",
            "Say it with --unit SUVbw or --unit Bq/ml, or give DICOM or a JSON sidecar.",
        )
    run.warn(
        "The PET's unit is unknown: its values are used as they are and no number is an SUV. "
        "Say the unit with --unit SUVbw or --unit Bq/ml."
    )
    return pet


def registered(low: Volume, given: Given, run: Run) -> Given:
    """CT and MR moved rigidly onto the PET, and with each the organs and lesions that were drawn on its grid.

    A movement is another place of the grid: no voxel is touched. Lesions on the PET's own grid were drawn on the PET,
    and stay.
    """
    from .prepare import grids
    from .prepare.register import rigid

    moved: dict[str, Any] = {}
    for name in ("ct", "mr"):
        image = getattr(given, name)
        if image is None:
            continue
        with run.stage(f"register {name.upper()}", f"Registering {name.upper()} to PET"):
            geometry = grids.moved(image.geometry, rigid(image, low, run, run.seed).matrix)
        frame = low.facts.frame_of_reference
        moved[name] = replace(image.with_facts(frame_of_reference=frame), geometry=geometry)
        for mask in ("labels", "lesions"):
            drawn = getattr(given, mask)
            of_the_pet = mask == "lesions" and drawn is not None and drawn.geometry.close_to(low.geometry)
            if drawn is not None and drawn.geometry.close_to(image.geometry) and not of_the_pet:
                here = replace(drawn, geometry=geometry, frame_of_reference=frame, says_place=True)
                moved.setdefault(mask, here)
    for mask in ("labels", "lesions") if moved else ():
        drawn = getattr(given, mask)
        if drawn is not None and mask not in moved and not drawn.geometry.close_to(low.geometry):
            run.warn(f"The {mask} have a grid of their own, as those of a DICOM RTSTRUCT or SEG do, and were not moved "
                     "with what was registered. Masks that were drawn on it must be given on its grid to move along.")
    return replace(given, **moved)


def placed(given: Given, case: Case, run: Run) -> Given:
    """Reference, validation image and lesions in the case's unit and on its grid; what cannot be is refused now."""
    from .prepare import lesions
    from .prepare.case import CHOSEN_THERE, seen_by

    def seen(image: Volume | None, name: str, **said: str) -> np.ndarray | None:
        return None if image is None else seen_by(image.geometry, name, case.pet, case.body, run, **said)

    return replace(
        given,
        seen=seen(given.reference, "reference"),
        tune_seen=seen(given.tune, "validation PET", therefore=CHOSEN_THERE),
        reference=_image_on(given.reference, "reference", case, run),
        tune=_image_on(given.tune, "validation PET", case, run),
        lesions=given.lesions and lesions.place(given.lesions, case.pet, run, case.body),
    )


def _image_on(image: Volume | None, name: str, case: Case, run: Run) -> Volume | None:
    from . import suv
    from .prepare import grids
    from .prepare.case import SAME_EXAMINATION, check_cover, tell_other_frame, tell_same

    if image is None:
        return None
    tell_other_frame(image.facts.frame_of_reference, name, case.pet, run, SAME_EXAMINATION)
    if image.unit != case.pet.unit:
        if ARBITRARY in (case.pet.unit, image.unit):
            raise UnitError(
                f"The {name} is in {image.unit}, the PET in {case.pet.unit}",
                "so they cannot be compared",
                "Say the PET's unit with --unit, or give both in one unit.",
            )
        image = suv.to_suv(image) if case.pet.unit == SUVBW else suv.to_bqml(image)
    if image.geometry.close_to(case.pet.geometry):
        tell_same(image, name, case.pet, run)
        return replace(image, geometry=case.pet.geometry)
    check_cover(image.geometry, name, case.pet, case.body, run, beyond="")
    return grids.resample(image, case.pet.geometry)
