"""Dynamic PET in the scene: a sequence of volumes out to the backend, and the denoised one back as a sequence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import slicer
from petdiffusion import registry
from petdiffusion.errors import InputError, OutputError
from petdiffusion.folders import held

from . import backend, batches, dynamic_scan, exchange, frames_results, playing, results, scene, units
from .frames_results import FramesNodes
from .playing import SEQUENCE, sequence_of
from .process import Ending, Failure

INPUTS, SCAN, MARK = "input", "scan.mha", "written-by-petdiffusion.txt"
MARKED = "What 3D Slicer handed over to denoise a dynamic PET. The next run replaces it: keep other files elsewhere.\n"
IMAGES, MASKS = ("ct", "mr"), ("labels", "lesions")
OVERWRITE = re.compile(r"or (?:replace|overwrite) (?:it|them) \(--overwrite\)")
GIVE = (f"Give slicer.util.getFirstNodeByClassByName('{SEQUENCE}', 'name'), a 4D file, or a DICOM folder; one volume "
        "alone is for denoise.")
FLAGS = ("frames", "patlak", "patlak_from", "unit", "weight_kg", "model", "seed", "device", "workers")


class FramesJob(batches.FolderJob):
    """Runs one dynamic PET. `ended` gets the nodes, a Failure, or None where it was cancelled."""

    outcome: FramesNodes | Failure | None

    def __init__(self, pet: Any, out: str | Path, method: str, python: backend.Backend | None = None,
                 say: batches.Say | None = None, given: Mapping[str, Any] = MappingProxyType({}),
                 shown: Any = None) -> None:
        """`shown` is the volume in which the user sees a frame of the sequence, where several show one. It may be given
        for the sequence, whose name Slicer gives it."""
        super().__init__(out, python, say)
        if (sequence := _sequence_shown_in(pet)) is not None:
            pet, shown = sequence, pet
        self._pet, self._method, self._given = pet, method, dict(given)
        self._name = pet.GetName() if _is_sequence(pet) else Path(str(pet)).name.partition(".")[0]
        self._choice = (self._given.pop("unit_choice", units.AUTOMATIC), float(self._given.pop("suv_factor", 0.0)))
        self._with_sd = bool(self._given.pop("uncertainty", True))
        settings = {name: value for name, value in self._given.items() if name not in (*IMAGES, *MASKS)}
        self._settings = batches.setting_words(method, settings, FLAGS, ("overwrite", "each"))
        if not _is_sequence(pet) and not isinstance(pet, (str, Path)):
            raise _no_dynamic_pet(pet)
        self._shown = playing.shown_by(pet, shown) if _is_sequence(pet) else None
        self._scan: dynamic_scan.DynamicScan | None = None

    def _words(self) -> list[str]:
        """What is handed over is written beside the result: a run that was stopped goes on only with the files that it
        began with, at the same place."""
        file = self._written() if _is_sequence(self._pet) else Path(self._pet).expanduser().absolute()
        return ["dynamic", str(file), "--out", str(self._folder), "--json-lines", *self._images(), *self._settings]

    def _written(self) -> str:
        needs_suv = registry.card(self._method).needs_suv
        self._scan, image = dynamic_scan.image_of(self._pet, self._shown, self._choice, needs_suv)
        return exchange.write_file(image, _inputs_in(self._folder) / SCAN)

    def _images(self) -> list[str]:
        """CT, MR, organs and lesions: paths as they are, nodes as files."""
        words = []
        for name in (*IMAGES, *MASKS):
            given = self._given.get(name)
            if given is not None:
                path = given if isinstance(given, (str, Path)) else self._handed(name, given)
                words += [f"--{name}", str(Path(path).expanduser().absolute())]
        return words

    def _handed(self, name: str, node: Any) -> str:
        file = _inputs_in(self._folder) / f"{name}{exchange.SUFFIX}"
        if name in IMAGES:
            return exchange.write_image(scene.volume_of(node), file)
        if not _is_sequence(self._pet):
            raise InputError("Organs or lesions", "are a node, and the dynamic PET is a file",
                             "Load the PET as a sequence, or give the path of a mask.")
        with dynamic_scan.on_grid_of(self._pet, self._shown) as reference:
            return exchange.write_labels(scene.labels_of(node, reference, may_be_empty=name == "lesions"), file)

    def _on_end(self, ending: Ending) -> None:
        failure = ending.failure and replace(ending.failure, remedy=_in_words_of_slicer(ending.failure.remedy))
        super()._on_end(replace(ending, failure=failure))

    def _bring_in(self, result: Mapping[str, Any]) -> FramesNodes:
        given = {name: self._given.get(name) for name in (*IMAGES, *MASKS)}
        nodes = {name: node for name, node in given.items() if dynamic_scan.in_scene(node)}
        record = self._named(result.get("record") or {})
        facts = results.facts_of(registry.card(self._method), str(self._given.get("model") or ""),
                                 int(self._given.get("seed") or 0), record)
        return frames_results.bring_in({**result, "record": record}, self._name, self._scan,
                                       results.Inputs(None, None, **nodes), facts, self._with_sd)

    def _named(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The run record, with the name of the sequence where the backend saw a file on this computer: the record goes
        with the scene to others."""
        source = dict(record.get("source") or {})
        if source.get("pet"):
            source["pet"] = f"node '{self._name}'" if self._scan is not None else Path(str(source["pet"])).name
        return {**record, "source": source}


def asked_for_all(parameters: Any) -> bool:
    """Whether the panel's PET is one frame of a dynamic scan of which all are to be denoised."""
    return parameters.all_frames and parameters.pet is not None and sequence_of(parameters.pet) is not None


def job_of(parameters: Any, method: str, options: Mapping[str, Any], model: str, python: backend.Backend) -> FramesJob:
    """All frames of the scan of which the panel shows one. Where they were done before, in the same folder and in the
    same way, those that are there are kept."""
    card = registry.card(method)
    used = [name for name in (*IMAGES, *MASKS) if name in MASKS or card.uses(name)]
    given = {"options": dict(options), "model": model or None, "seed": parameters.seed, "device": parameters.device,
             "unit_choice": parameters.unit, "suv_factor": parameters.suv_factor,
             "uncertainty": parameters.make_uncertainty,
             **{name: node for name in used if (node := getattr(parameters, name)) is not None}}
    return FramesJob(sequence_of(parameters.pet), parameters.frames_folder.strip(), method, python, given=given,
                     shown=parameters.pet)


def _is_sequence(node: Any) -> bool:
    return hasattr(node, "IsA") and node.IsA(SEQUENCE)


def _sequence_shown_in(node: Any) -> Any:
    is_volume = hasattr(node, "IsA") and node.IsA(scene.SCALAR) and slicer.mrmlScene.IsNodePresent(node)
    return sequence_of(node) if is_volume else None


def _no_dynamic_pet(given: Any) -> InputError:
    if not hasattr(given, "IsA"):
        return InputError("The dynamic PET", "is neither a sequence node nor a path", GIVE)
    return InputError(f"'{given.GetName()}'", "is no sequence, and shows no frame of a sequence of two or more", GIVE)


def _in_words_of_slicer(remedy: str) -> str:
    """The panel has no word of the command line's."""
    return OVERWRITE.sub("or remove what is in it (in a script: overwrite=True)", remedy)


def _inputs_in(out: Path) -> Path:
    """The folder of what is handed over. Its mark says that files there are ours to replace; without it they are the
    user's."""
    folder = out / INPUTS
    ours = not folder.exists() or (folder / MARK).is_file()
    if not ours and (not folder.is_dir() or any(held(folder))):
        raise OutputError(f"{folder}", "was there before, and images that are handed over could replace files in it",
                          "Choose another output folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text(MARKED, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The folder {out}", f"cannot be written to: {error.strerror or error}",
                          "Choose another folder for all frames.") from None
    return folder
