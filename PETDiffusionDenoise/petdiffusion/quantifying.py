"""Numbers and conversions without denoising: the functions behind `quantify`, `compare` and `convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, OptionError, OutputError, PETDiffusionError, UnitError
from .progress import Run
from .read.dicom import DERIVED
from .suv.injection import Injection
from .volume import ARBITRARY, BQML, SUVBW, LabelMap, Volume
from .wording import an

Tables = dict[str, list[dict[str, Any]]]
Seen = list[np.ndarray]
"""What images show of the body that do not show all of it."""
CONVERTED = "Converted"
"""What the description of a DICOM series says of an image of unknown make."""
RESERVED = ("low", "denoised", "reference")
SAME_PLACE_MM = 1e-3
"""Voxels this near to each other are the same, in whatever order they are stored."""
ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def quantify(
    pet: Any,
    *,
    labels: Any = None,
    lesions: Any = None,
    find_above_suv: float | None = None,
    reference: Any = None,
    unit: str | None = None,
    weight_kg: float | None = None,
    run: Run | None = None,
) -> Tables:
    """SUVmean, SUVmax, SUVpeak, volume, MTV and TLG of organs and lesions."""
    run = run or Run()
    if labels is None and lesions is None and find_above_suv is None:
        raise OptionError(
            "Nothing to quantify",
            "neither organ labels nor lesions were given",
            "Give --labels, --lesions or --find-lesions 4.",
        )
    if lesions is not None and find_above_suv is not None:
        raise OptionError("--lesions and --find-lesions", "both say what the lesions are", "Give one of them.")
    with run.stage("read", "Reading the images"):
        said = _Said(unit, weight_kg)
        low = _first(pet, said, "pet", run)
        seen: Seen = []
        volumes = {"PET": low}
        if reference is not None:
            volumes["reference"] = _aligned(reference, "reference", low, "PET", said, seen, run)
        organs, mask = _organs_on(labels, low, run), _lesions_on(lesions, low, run)
    with run.stage("measure", "Measuring"):
        if mask is None and find_above_suv is not None:
            mask = _found(low, find_above_suv, run)
        return _tables(volumes, organs, mask, seen, run)


def compare(
    images: Any,
    reference: Any,
    *,
    labels: Any = None,
    lesions: Any = None,
    unit: str | None = None,
    weight_kg: float | None = None,
    register: bool = False,
    run: Run | None = None,
) -> Tables:
    """PSNR, SSIM, errors and bias of each image, of a list or one alone, against the reference, on the reference's
    grid. With `register` each image is moved rigidly onto it first; labels and lesions are the reference's."""
    run, images = run or Run(), images if isinstance(images, (list, tuple)) else [images]
    if register and (labels is not None or lesions is not None):
        run.warn("Images are moved onto the reference, organs and lesions not: they must be drawn on the reference.")
    with run.stage("read", "Reading the images"):
        said = _Said(unit, weight_kg, register)
        target = _first(reference, said, "reference", run)
        volumes, seen = {}, []
        for number, (image, column) in enumerate(zip(images, _columns(images)), 1):
            called = "image" if len(images) == 1 else f"image {number}"  # a file's name may hold the patient's
            volumes[column] = _aligned(image, called, target, "reference", said, seen, run)
        organs, mask = _organs_on(labels, target, run), _lesions_on(lesions, target, run)
    with run.stage("measure", "Measuring"):
        return _tables({**volumes, "reference": target}, organs, mask, seen, run)


def convert(
    image: Any,
    target: str | Path,
    *,
    role: str = "pet",
    unit: str | None = None,
    weight_kg: float | None = None,
    to: str | None = None,
    frames: str | None = None,
    like: str | Path | None = None,
    only: Sequence[str] = (),
    dose_mbq: float | None = None,
    uptake_minutes: float | None = None,
    nuclide: str | None = None,
    corrected_to: str | None = None,
    suv_factor: float | None = None,
    overwrite: bool = False,
    run: Run | None = None,
) -> Path:
    """Write an image in another format or unit. `frames` such as '3' or '10-24' makes one image of some frames of a
    dynamic or gated PET: their mean, weighted by how long each lasted. With `like`, the folder of a DICOM PET, the
    target is a folder, and gets a DICOM series that is derived from that one: its patient, study and place. `only`
    names the structures of a label map that are kept. `dose_mbq`, `uptake_minutes` and `nuclide` of a PET in Bq/ml, or
    its `suv_factor`, are what its file lost: the new one tells them, so that its SUVs are known from then on."""
    injection = Injection(dose_mbq, uptake_minutes, nuclide, corrected_to, suv_factor)
    if injection.said and (role != "pet" or frames is not None or like is not None):
        raise OptionError("Dose, times or SUV factor", "are of one PET, written as a file of its own",
                          "Leave them out, or convert to NIfTI with them first.")
    if only and role != "labels":
        raise OptionError(f"only = {', '.join(only)}", f"names structures, and the image is {an(role.upper())}",
                          "Give it with role='labels' (--role labels), or leave it out.")  # fmt: skip
    if like is not None:
        return _as_dicom(image, Path(target), like, {"role": role, "to": to, "frames": frames},
                         _Said(unit, weight_kg), overwrite, run or Run())  # fmt: skip
    from . import read, suv
    from .write import images, staging
    from .write import labels as label_files

    run, target = run or Run(), Path(target)
    if not target.name.endswith(ENDINGS):
        raise OutputError(f"File {target.name}", f"does not end in one of {', '.join(ENDINGS)}", "Choose such a name.")
    changes = to is not None or frames is not None or bool(only) or injection.said
    sources = _originals(image, changes)
    with (
        run.stage("convert", "Converting"),
        staging.Staging(target.parent, protect=sources, overwrite=overwrite) as folder,
    ):
        if role == "labels":
            label_files.write(read.labels(image, only=only, run=run), folder / target.name)
        else:
            said = _Said(unit, weight_kg)
            volume = (_of_frames(image, role, frames, said, run) if frames is not None else
                      _told_suv(image, role, said, injection, run) if injection.said else
                      _of_role(image, role, said, run))  # fmt: skip
            volume = {None: lambda v: v, SUVBW: suv.to_suv, BQML: suv.to_bqml}[to](volume)
            images.write(volume.with_facts(source=None), folder / target.name)
    return target


def _told_suv(image: Any, role: str, said: _Said, injection: Injection, run: Run) -> Volume:
    """That the file knows no SUV is no news where it is told one, unless that fails. A dose or time that no patient has
    shows in the mean SUV of the body."""
    from . import suv
    from .prepare import case, mask
    from .read.checks import NO_SUV

    reading = replace(run, warnings=[], report=lambda event: None if event["event"] == "warning" else run.report(event))
    volume = _of_role(image, role, said, reading)
    lacks = [text for text in reading.warnings if text.startswith(NO_SUV) and "attenuation" not in text]
    for text in reading.warnings:
        if text not in lacks:
            run.warn(text)
    try:
        known = injection.onto(volume, run)
    except PETDiffusionError:
        for text in lacks:
            run.warn(text)
        raise
    case.check_suv(suv.to_suv(known), mask.body_mask(known), run)
    return known


def _originals(image: Any, changes: bool) -> list[Path]:
    """What a conversion may not replace. A sidecar that says what this one `changes` would say it of the source too,
    where the two have the same name."""
    from .read import files, sidecar
    from .read.sources import BESIDE, ITK, suffix_of
    from .write import images

    if not isinstance(image, (str, Path)):
        return []
    path = Path(image)
    suffix = suffix_of(path)
    reads_it = suffix in BESIDE or (suffix in ITK and path.is_file() and files.own_field(files.header_of(path)) is None)
    return [*images.originals(path), *([sidecar.path_of(path)] if changes and reads_it else [])]


def _as_dicom(image: Any, target: Path, like: str | Path, others: dict[str, Any], said: _Said, overwrite: bool, run: Run
              ) -> Path:  # fmt: skip
    from .write import dicom_pet
    from .write.outputs import check_apart

    if wrong := next((name for name, value in others.items() if value not in (None, "pet")), ""):
        raise OptionError(f"{wrong} = {others[wrong]}", "does not go with a DICOM series that is like another",
                          "Write NIfTI first, and DICOM of that.")
    if target.name.endswith(ENDINGS):
        raise OutputError(f"Folder {target.name}", "is named like a file, and a DICOM series is many",
                          "Give the name of a folder.")  # fmt: skip
    check_apart([like], target)
    with run.stage("convert", "Converting"):
        volume = _with_suv_of(like, said.read(image, "pet", run), said, run)
        described = volume.facts.denoised
        dicom_pet.write(volume, target, like, f"{DERIVED}{described}" if described else CONVERTED, overwrite=overwrite,
                        run=run)  # fmt: skip
    return target


def _with_suv_of(series: str | Path, volume: Volume, said: _Said, run: Run) -> Volume:
    """An SUV image that does not tell its way to Bq/ml goes by the series it is like: any program finds its SUVs again
    by that series' tags. An image in Bq/ml may be corrected for decay otherwise, so it gets none."""
    from .read import origin
    from .read.dicom import pet_facts
    from .suv.convert import factor_of
    from .suv.given import weighed

    if volume.unit != SUVBW:
        return volume
    try:
        factor_of(volume)
        return volume
    except UnitError:
        facts = pet_facts(origin.headers(series), Path(series))
        facts = weighed(facts, said.weight_kg, SUVBW, "The series", run)
        return volume.with_facts(source=facts.source, weight_kg=facts.weight_kg, suv_factor=facts.suv_factor)


@dataclass(frozen=True)
class _Said:
    """What was said of the PETs where their files do not, or do so wrongly."""

    unit: str | None
    weight_kg: float | None
    register: bool = False
    """Images are moved onto the one that they are compared with."""

    def read(self, source: Any, role: str, run: Run) -> Volume:
        from . import read

        return read.image(source, role, unit=self.unit, weight_kg=self.weight_kg, run=run)


def _of_role(image: Any, role: str, said: _Said, run: Run) -> Volume:
    try:
        return said.read(image, role, run)
    except InputError as error:
        if role != "pet":
            raise
        raise InputError(error.what, error.why, f"{error.remedy} A CT, MR or label map needs --role.") from None


def _of_frames(image: Any, role: str, frames: str, said: _Said, run: Run) -> Volume:
    from . import read
    from .read.dynamic import chosen, mean

    if role != "pet":
        raise OptionError(f"Frames of {an(role.upper())}", "are not known", "Leave --frames out.")
    found = read.frames(image, unit=said.unit, weight_kg=said.weight_kg, run=run)
    return mean(found, chosen(frames, len(found)))


def _first(source: Any, said: _Said, role: str, run: Run) -> Volume:
    """The PET that the others are held against."""
    from .read.checks import called

    volume = _pet(source, said, role, run)
    if volume.unit == ARBITRARY:
        run.warn(f"{called(role)}'s unit is unknown: no number is an SUV. Say it with --unit.")
    return volume


def _pet(source: Any, said: _Said, role: str, run: Run) -> Volume:
    from . import suv

    volume = said.read(source, role, run)
    if volume.unit == BQML:
        try:
            return suv.to_suv(volume)
        except UnitError as error:
            run.warn(f"Measured in Bq/ml, and no SUV is reported: {error}")
            return volume
    return volume


def _aligned(source: Any, name: str, target: Volume, its_name: str, said: _Said, seen: Seen, run: Run) -> Volume:
    """The image on the target's grid; where it does not show all of the body, `seen` gets what it shows."""
    from . import suv
    from .prepare import case, grids, mask, same_unit

    volume = _pet(source, said, "reference" if name == "reference" else "pet", run)
    case.tell_other_patient(volume, name, target, run, its_name)
    volume = same_unit.of(volume, name, target, its_name, run)
    if {volume.unit, target.unit} == {SUVBW, BQML}:
        volume = suv.to_bqml(volume) if target.unit == BQML else suv.to_suv(volume)
    if said.register:
        volume = _moved(volume, name, target, its_name, run)
    else:
        remedy = case.SAME_EXAMINATION if its_name == "PET" else case.REGISTER
        case.tell_other_frame(volume.facts.frame_of_reference, name, target, run, remedy, its_name)
    if laid := _laid(volume, target):
        case.tell_same(laid, name, target, run, its_name)
        return laid
    if grids.overlap(volume.geometry, target.geometry) < 0.05:
        raise InputError("The images", "do not overlap in space", "Give images of the same scan position.")
    run.warn(f"The {name} lies on another grid than the {its_name} and was resampled for the comparison.")
    part = case.seen_by(volume.geometry, name, target, mask.body_mask(target), run)
    seen.extend([] if part is None else [part])
    return grids.resample(volume, target.geometry)


def _laid(volume: Volume, target: Volume) -> Volume | None:
    """On the target's grid, where the voxels are the same in whatever order; None where they are others."""
    from .prepare import upright

    if volume.geometry.close_to(target.geometry):
        return replace(volume, geometry=target.geometry)
    turn = upright.Turn.onto(volume.geometry, target.geometry, SAME_PLACE_MM)
    return replace(turn.image(volume), geometry=target.geometry) if turn else None


def _moved(volume: Volume, name: str, target: Volume, its_name: str, run: Run) -> Volume:
    from .prepare import grids
    from .prepare.register import rigid

    with run.stage("register", f"Registering the {name}"):
        found = rigid(volume, target, run)
    run.warn(f"The {name} was moved by {found.shift_mm:.1f} mm onto the {its_name}, turned if need be, and resampled: "
             "that smooths it a little.")
    return replace(volume, geometry=grids.moved(volume.geometry, found.matrix))


def _organs_on(source: Any, target: Volume, run: Run) -> LabelMap | None:
    from . import read
    from .prepare import case

    if source is None:
        return None
    labels = read.labels(source, called=read.ORGANS, run=run)
    return _not_empty(labels, case.organs_on(labels, target, run))


def _lesions_on(source: Any, target: Volume, run: Run) -> LabelMap | None:
    from . import read
    from .prepare import lesions

    if source is None:
        return None
    mask = read.labels(source, allow_empty=True, called=read.LESIONS, run=run)  # a patient may well have no lesion
    return _not_empty(mask, lesions.place(mask, target, run))


def _not_empty(given: LabelMap, placed: LabelMap) -> LabelMap:
    if given.array.any() and not placed.array.any():
        raise InputError("The label map", "shows nothing inside the PET", "Give the labels of the same scan position.")
    return placed


def _found(pet: Volume, threshold: float, run: Run) -> LabelMap:
    from .measure import lesions

    if pet.unit != SUVBW:
        why = "this one's unit is unknown" if pet.unit == ARBITRARY else "the SUV of this one is not known"
        raise UnitError("--find-lesions", f"needs a PET in SUV, and {why}", "Say the unit, or what the SUV lacks.")
    rule = lesions.Threshold("fixed", threshold)
    found = lesions.find_lesions(pet, rule)
    run.warn(f"Lesions are all connected regions of SUV {rule.describe()}: physiological uptake is among them."
             if found.array.any() else f"There is no connected region of SUV {rule.describe()}.")  # fmt: skip
    return found


def _tables(volumes: dict[str, Volume], organs: LabelMap | None, lesions: LabelMap | None, seen: Seen, run: Run
            ) -> Tables:
    from . import measure
    from .prepare import case, mask

    body = mask.body_mask(volumes.get("reference", next(iter(volumes.values()))))
    for volume in volumes.values():
        case.check_suv(volume, body, run)
    by_all = np.logical_and.reduce(seen) if seen else None
    _tell_covered(organs, lesions, run)
    return measure.tables(volumes, body, organs, lesions, run=run, seen=by_all)


def _tell_covered(organs: LabelMap | None, lesions: LabelMap | None, run: Run) -> None:
    if organs is None or lesions is None:
        return
    left = set(np.unique(organs.array[lesions.array == 0]))
    if covered := [name for value, name in organs.present().items() if value not in left]:
        run.warn(f"No row of {', '.join(covered)}: all of it lies in lesions, whose voxels count for no organ.")


def _columns(images: Sequence[Any]) -> list[str]:
    """A column for each image: its file's name, with as many of its folders as tell it from the others; never a name
    that means something else."""
    paths = [_parts(image) or (f"image {number}",) for number, image in enumerate(images, 1)]
    shown = dict.fromkeys(paths, 1)

    def column(path: tuple[str, ...]) -> str:
        return "/".join(path[-shown[path]:])

    def is_clear(path: tuple[str, ...]) -> bool:
        return column(path) not in RESERVED and [column(other) for other in shown].count(column(path)) == 1

    while deeper := [path for path in shown if not is_clear(path) and shown[path] < len(path)]:
        for path in deeper:
            shown[path] += 1
    names: list[str] = []
    for number, name in enumerate(map(column, paths), 1):
        names.append(f"{name} {number}" if name in {*RESERVED, *names} else name)
    return names


def _parts(source: Any) -> tuple[str, ...]:
    """Folders and name of an image's file, without its ending; none where it is in memory."""
    if not isinstance(source, (str, Path)):
        return ()
    from .read.sources import suffix_of

    path = Path(source).absolute()
    name = path.name if path.is_dir() else path.name[: len(path.name) - len(suffix_of(path))] or path.name
    return (*path.parts[1:-1], name)
