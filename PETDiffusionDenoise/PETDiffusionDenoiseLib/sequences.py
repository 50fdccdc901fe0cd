"""Dynamic PET in the scene: a sequence of volumes out to the backend, and the denoised one back as a sequence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import slicer
from petdiffusion import registry
from petdiffusion.errors import InputError, OutputError, UnitError
from petdiffusion.read.sidecar import HEADER_KEY, OWN_KEY
from petdiffusion.volume import Volume

from . import backend, batches, exchange, frames_results, results, scene, units
from .frames_results import FramesNodes
from .playing import SEQUENCE, sequence_of
from .process import Failure

SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}
INPUTS, SCAN, MARK = "input", "scan.mha", "written-by-petdiffusion.txt"
MARKED = "What 3D Slicer handed over to denoise a dynamic PET. The next run replaces it: keep other files elsewhere.\n"
IMAGES, MASKS = ("ct", "mr"), ("labels", "lesions")
FLAGS = ("frames", "unit", "weight_kg", "model", "seed", "device", "workers")


class FramesJob(batches.FolderJob):
    """Runs one dynamic PET. `ended` gets the nodes, a Failure, or None where it was cancelled."""

    outcome: FramesNodes | Failure | None

    def __init__(self, pet: Any, out: str | Path, method: str, python: backend.Backend | None = None,
                 say: batches.Say | None = None, given: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(out, python, say)
        self._pet, self._method, self._given = pet, method, dict(given)
        self._name = pet.GetName() if _is_sequence(pet) else Path(str(pet)).name.partition(".")[0]
        self._choice = (self._given.pop("unit_choice", units.AUTOMATIC), float(self._given.pop("suv_factor", 0.0)))
        settings = {name: value for name, value in self._given.items() if name not in (*IMAGES, *MASKS)}
        self._settings = batches.setting_words(method, settings, FLAGS, ("overwrite", "each"))
        if not _is_sequence(pet) and not isinstance(pet, (str, Path)):
            raise InputError("The dynamic PET", "is neither a sequence node nor a path",
                             "Give slicer.util.getNode('name') of a sequence, a 4D file, or a DICOM folder.")

    def _words(self) -> list[str]:
        """What is handed over is written beside the result: a run that was stopped goes on only with the files that it
        began with, at the same place."""
        file = self._written() if _is_sequence(self._pet) else Path(self._pet).expanduser().absolute()
        return ["dynamic", str(file), "--out", str(self._folder), "--json-lines", *self._images(), *self._settings]

    def _written(self) -> Path:
        import SimpleITK as sitk

        frames = [self._pet.GetNthDataNode(number) for number in range(self._pet.GetNumberOfDataNodes())]
        if len(frames) < 2 or not all(frame.IsA(scene.SCALAR) for frame in frames):
            raise InputError(f"'{self._pet.GetName()}'", "is not a sequence of two or more volumes",
                             "Choose the sequence of a dynamic PET.")
        unit, scale = self._unit(frames[0])
        volumes = [scene.volume_of(frame, unit) for frame in frames]
        image = sitk.JoinSeries([_scaled(volume, scale).to_sitk() for volume in volumes])
        facts = units.facts_of(frames[0]).to_json()
        notes = {"Units": exchange.BIDS_UNIT[unit], "Modality": "PT", OWN_KEY: {"facts": facts}, **_times(self._pet)}
        image.SetMetaData(HEADER_KEY, json.dumps(notes, ensure_ascii=True))
        file = _inputs_in(self._folder) / SCAN
        sitk.WriteImage(image, str(file))
        return file

    def _unit(self, frame: Any) -> tuple[str, float]:
        try:
            return exchange.working_unit(units.find(frame, *self._choice), registry.card(self._method).needs_suv)
        except UnitError as error:
            raise UnitError(error.what, error.why, "Give unit_choice='SUVbw', or 'Bq/ml' with suv_factor=what it is "
                            "multiplied by to give SUV; or the DICOM folder of the scan.") from None

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
        with _on_grid_of(self._pet) as reference:
            return exchange.write_labels(scene.labels_of(node, reference, may_be_empty=name == "lesions"), file)

    def _bring_in(self, result: Mapping[str, Any]) -> FramesNodes:
        given = {name: self._given.get(name) for name in (*IMAGES, *MASKS)}
        nodes = {name: node for name, node in given.items() if _in_scene(node)}
        source = self._pet if _in_scene(self._pet) else None
        facts = results.facts_of(registry.card(self._method), str(self._given.get("model") or ""),
                                 int(self._given.get("seed") or 0), result.get("record") or {})
        return frames_results.bring_in(result, f"{self._name} denoised", source,
                                       results.Inputs(None, None, **nodes), facts)


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
             **{name: node for name in used if (node := getattr(parameters, name)) is not None}}
    return FramesJob(sequence_of(parameters.pet), parameters.frames_folder.strip(), method, python, given=given)


def _is_sequence(node: Any) -> bool:
    return hasattr(node, "IsA") and node.IsA(SEQUENCE)


def _in_scene(given: Any) -> bool:
    return hasattr(given, "IsA") and bool(slicer.mrmlScene.IsNodePresent(given))


def _inputs_in(out: Path) -> Path:
    """The folder of what is handed over. Its mark says that files there are ours to replace; without it they are the
    user's."""
    folder = out / INPUTS
    ours = not folder.exists() or (folder / MARK).is_file()
    if not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}", "was there before, and images that are handed over could replace files in it",
                          "Choose another output folder.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(MARKED, encoding="utf-8")
    return folder


def _scaled(volume: Volume, scale: float) -> Volume:
    return volume if scale == 1.0 else volume.with_array(volume.array * np.float32(scale))


def _times(sequence: Any) -> dict[str, Any]:
    """When the frames began, where the sequence's index is a time."""
    scale = SECONDS.get(str(sequence.GetIndexUnit()).strip().lower())
    if scale is None or sequence.GetIndexType() != sequence.NumericIndex:
        return {}
    try:
        starts = [scale * float(sequence.GetNthIndexValue(n)) for n in range(sequence.GetNumberOfDataNodes())]
    except ValueError:
        return {}
    # an index that only counts, which Slicer calls seconds too, is no time; minutes are somebody's own word
    counting = [[scale * (first + number) for number in range(len(starts))] for first in (0, 1)]
    return {} if scale <= 1 and starts in counting else {"FrameTimesStart": starts}


class _on_grid_of:
    """A volume of the scene on the grid of a dynamic PET's first frame, for as long as masks are taken from it."""

    def __init__(self, pet: Any) -> None:
        self._pet = pet
        self._node: Any = None

    def __enter__(self) -> Any:
        if not _is_sequence(self._pet):
            raise InputError("Organs or lesions", "are a node, and the dynamic PET is a file",
                             "Load the PET as a sequence, or give the path of a mask.")
        geometry = scene.geometry_of(self._pet.GetNthDataNode(0))
        self._node = scene.new_volume(np.zeros(geometry.shape, np.int16), geometry, "grid of the frames")
        return self._node

    def __exit__(self, *error: object) -> None:
        slicer.mrmlScene.RemoveNode(self._node)
