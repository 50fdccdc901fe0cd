"""What goes to the backend and comes back as files: MetaImage with a header of ours, in SUV wherever that is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from petdiffusion.errors import GeometryError, InputError, OutputError, UnitError
from petdiffusion.prepare import same_unit
from petdiffusion.read.sidecar import HEADER_KEY, OWN_KEY
from petdiffusion.volume import BQML, SUVBW, Geometry, LabelMap, Volume

from . import organs_cut, scene, units

SAME_GRID_MM = 0.05
BIDS_UNIT = {SUVBW: "SUVbw", BQML: "Bq/mL"}
FORMAT, SUFFIX = "mha", ".mha"
"""Uncompressed, so that handing over never keeps the user waiting."""


@dataclass(frozen=True)
class Sources:
    """The nodes of a job, and the user's word on the unit."""

    pet: Any
    ct: Any = None
    mr: Any = None
    labels: Any = None
    lesions: Any = None
    reference: Any = None
    region: Any = None
    unit_choice: str = units.AUTOMATIC
    suv_factor: float = 0.0


@dataclass(frozen=True)
class Handed:
    """What was written for the backend, and how to read its answer."""

    pet: str
    unit: str
    found: units.Unit
    scale: float
    """The node's values times this are the values that were written."""
    box: tuple[slice, slice, slice] | None
    geometry: Geometry
    files: Mapping[str, str] = field(default_factory=dict)
    organs: organs_cut.Volumes = field(default_factory=dict)
    """Of a region, what of the given organs lies in it and what outside."""
    told: tuple[str, ...] = ()
    """What was taken for granted."""


def write(sources: Sources, folder: Path, needs_suv: bool, wanted: tuple[str, ...]) -> Handed:
    """Write the PET and the other images that are wanted (ct, mr, labels, lesions, reference) into a folder."""
    found = units.find(sources.pet, sources.unit_choice, sources.suv_factor)
    unit, scale = working_unit(found, needs_suv)
    whole = scene.volume_of(sources.pet, unit)
    box = scene.region_of(sources.region, whole.geometry) if sources.region is not None else None
    pet = whole if box is None else scene.cropped(whole, box)
    pet = pet.with_array(pet.array * np.float32(scale)) if scale != 1.0 else pet
    others = {name: _other(name, node, sources.pet)
              for name in wanted if name != "reference" and (node := getattr(sources, name)) is not None}
    told = ""
    if "reference" in wanted and sources.reference is not None:
        others["reference"], told = _reference(sources, unit)
    files = {name: _write_other(name, image, folder) for name, image in others.items()}
    organs = organs_cut.volumes(others["labels"], pet.geometry) if box is not None and "labels" in others else {}
    pet = replace(pet, facts=units.facts_of(sources.pet))
    return Handed(_write_pet(pet, folder / f"pet{SUFFIX}"), unit, found, scale, box, pet.geometry, files,
                  organs, (told,) if told else ())


def working_unit(found: units.Unit, needs_suv: bool) -> tuple[str, float]:
    """The unit the backend works in, and what the node's values are multiplied by to be in it."""
    if found.unit is None:
        raise UnitError(found.problem.rstrip("."), "so no number could be trusted", found.remedy)
    if found.to_suv is not None:
        return SUVBW, found.to_suv
    if needs_suv:
        raise UnitError("This method works on SUV, and the SUV factor is not known", found.problem.rstrip("."),
                        found.remedy)
    return BQML, found.scale


def _other(name: str, node: Any, pet: Any) -> Volume | LabelMap:
    if name in ("labels", "lesions"):
        # A patient may well have no lesion; an organ map without organs is a mistake.
        return scene.labels_of(node, pet, may_be_empty=name == "lesions")
    return scene.volume_of(node)


def _write_other(name: str, image: Volume | LabelMap, folder: Path) -> str:
    path = folder / f"{name}{SUFFIX}"
    if isinstance(image, LabelMap):
        return write_labels(image, path)
    return _write_pet(image, path) if name == "reference" else write_image(image, path)


def _reference(sources: Sources, unit: str) -> tuple[Volume, str]:
    """The normal-dose PET in the unit of the low-count one, and what is to be told where it says none."""
    node = sources.reference
    found, told = units.find(node), ""
    if found.unit is None:
        pet = units.find(sources.pet, sources.unit_choice, sources.suv_factor)
        found, told = units.find(node, sources.unit_choice, sources.suv_factor), taken_in_unit_of(pet)
        found = pet if found.unit is None else found
    scale = found.to_suv if unit == SUVBW else (found.scale if found.unit == BQML else None)
    if scale is None:
        raise UnitError(f"The normal-dose PET '{node.GetName()}'", f"cannot be brought to the input's unit, {unit}",
                        "Leave it out, or load it from DICOM, where dose and weight stand.")
    volume = scene.volume_of(node, unit)
    return volume.with_array(volume.array * np.float32(scale)), told


def taken_in_unit_of(pet: units.Unit) -> str:
    """What is to be told of a normal-dose PET without a unit of its own."""
    return same_unit.taken("normal-dose PET", "PET", units.word_of(pet) or pet.unit) if pet.unit is not None else ""


def _write_pet(volume: Volume, path: Path) -> str:
    notes = {"Units": BIDS_UNIT[volume.unit], "Modality": "PT", OWN_KEY: {"facts": volume.facts.to_json()}}
    return write_image(volume, path, notes)


def write_labels(labels: LabelMap, path: Path) -> str:
    """A label map with the names of its values in its header."""
    return write_image(labels, path, {"labels": {str(value): name for value, name in labels.names.items()}})


def write_image(volume: Volume | LabelMap, path: Path, notes: Mapping[str, Any] | None = None) -> str:
    image = volume.to_sitk()
    if notes:
        image.SetMetaData(HEADER_KEY, json.dumps(notes, ensure_ascii=True))
    return write_file(image, path)


def write_file(image: Any, path: Path) -> str:
    import SimpleITK as sitk

    try:
        sitk.WriteImage(image, str(path))
    except RuntimeError as error:
        raise OutputError("The images could not be handed to the backend", str(error).strip().splitlines()[-1],
                          f"Make space on the disk of '{path.parent}', and try again.") from None
    return str(path)


def read_image(path: str, handed: Handed, whole: np.ndarray) -> np.ndarray:
    """A result in the node's own values on the node's whole grid; outside a region, `whole` stands."""
    array, _ = _read(path, handed)
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError("The result", "holds values that are not numbers", "Try another device, and report it.")
    return _placed(array / np.float32(handed.scale), handed, whole)


def read_labels(path: str, handed: Handed, shape: tuple[int, ...]) -> LabelMap:
    """A mask on the node's whole grid, with the names in its header."""
    from petdiffusion.read import label_names

    array, header = _read(path, handed)
    array = _placed(array, handed, np.zeros(shape, np.int16))
    return LabelMap(array, Geometry(array.shape[::-1], handed.geometry.spacing),
                    label_names.in_fields(header, Path(path).name))


def _placed(part: np.ndarray, handed: Handed, whole: np.ndarray) -> np.ndarray:
    if handed.box is None:
        return part
    placed = whole.astype(part.dtype, copy=True)
    placed[handed.box] = part
    return placed


def _read(path: str, handed: Handed) -> tuple[np.ndarray, dict[str, str]]:
    """Voxels and header of a result, which must lie on the grid that was handed over."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"The result {Path(path).name}", "cannot be read", "See the log, and try again.") from None
    if not Geometry.of_sitk(image).close_to(handed.geometry, SAME_GRID_MM):
        raise GeometryError(f"The result {Path(path).name}", "lies on another grid than the PET", "Please report this.")
    return sitk.GetArrayFromImage(image), {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
