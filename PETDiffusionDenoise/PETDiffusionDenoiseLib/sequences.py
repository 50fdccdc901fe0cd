"""Dynamic PET in the scene: a sequence of volumes out to the backend, and the denoised one back as a sequence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from petdiffusion import registry
from petdiffusion.errors import InputError, OutputError, UnitError
from petdiffusion.read import sidecar
from petdiffusion.read.sidecar import HEADER_KEY, OWN_KEY
from petdiffusion.suv import parse_unit
from petdiffusion.volume import ARBITRARY, BQML, Geometry, Volume

from . import backend, batches, exchange, scene, tables, units
from .process import Failure

SEQUENCE, BROWSER = "vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode"
SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}
INPUTS, SCAN, MARK = "input", "scan.mha", "written-by-petdiffusion.txt"
MARKED = "What 3D Slicer handed over to denoise a dynamic PET. The next run replaces it: keep other files elsewhere.\n"
IMAGES, MASKS = ("ct", "mr"), ("labels", "lesions")
FLAGS = ("frames", "unit", "weight_kg", "model", "seed", "device", "workers")


@dataclass
class FramesNodes:
    """What a dynamic PET comes back as. `files` by name, such as report and denoised."""

    denoised: Any
    browser: Any
    time_activity: Any = None
    files: Mapping[str, str] | None = None


class FramesJob(batches.FolderJob):
    """Runs one dynamic PET. `ended` gets the nodes, a Failure, or None where it was cancelled."""

    outcome: FramesNodes | Failure | None

    def __init__(self, pet: Any, out: str | Path, method: str, python: backend.Backend | None, say: batches.Say,
                 given: Mapping[str, Any]) -> None:
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

    def _brought_in(self, result: Mapping[str, Any]) -> FramesNodes:
        return _loaded(result, f"{self._name} denoised")


def sequence_of(node: Any) -> Any:
    """The sequence of which a volume of the scene shows one item; None where it shows none, or the only one."""
    browsers = slicer.mrmlScene.GetNodesByClass(BROWSER)
    browsers.UnRegister(slicer.mrmlScene)
    for number in range(browsers.GetNumberOfItems()):
        browser = browsers.GetItemAsObject(number)
        sequence = browser.GetSequenceNode(node) if browser.IsProxyNodeID(node.GetID()) else None
        if sequence is not None and sequence.GetNumberOfDataNodes() > 1:
            return sequence
    return None


def _is_sequence(node: Any) -> bool:
    return hasattr(node, "IsA") and node.IsA(SEQUENCE)


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


def _loaded(result: Mapping[str, Any], name: str) -> FramesNodes:
    """The 4D image as a sequence with a browser, and the curves as a table."""
    rows = result["tables"]["frames"]
    sequence = slicer.mrmlScene.AddNewNodeByClass(SEQUENCE, slicer.mrmlScene.GenerateUniqueName(name))
    index = _index(rows)
    sequence.SetIndexName("time" if index else "frame")
    sequence.SetIndexUnit("s" if index else "")
    unit, factor = _unit_of(result["files"]["denoised"])
    for number, (array, geometry) in enumerate(_frames(result["files"]["denoised"])):
        node = scene.new_volume(array, geometry, name)
        value = index[number] if index else str(number + 1)
        sequence.SetDataNodeAtValue(node, value)
        slicer.mrmlScene.RemoveNode(node)
        if unit in exchange.BIDS_UNIT:  # now, since the sequence keeps a copy without it
            units.mark(sequence.GetDataNodeAtValue(value), unit, factor if unit == BQML else None)
    browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    browser.SetName(f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    curves = result["tables"].get("time_activity") or []
    table = tables.add_table(curves, f"{name}: activity over time") if curves else None
    return FramesNodes(sequence, browser, table, dict(result["files"]))


def _index(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """When each frame began, in all its digits; None where that does not tell the frames apart."""
    starts = [row.get("start_s") for row in rows]
    if None in starts or len(set(starts)) < len(starts):
        return None
    return [repr(float(start)).removesuffix(".0") for start in starts]


def _unit_of(path: str) -> tuple[str, float | None]:
    """Of the 4D image, and its way to SUV. It is in the input's unit; the tables are in that of the computing."""
    notes = sidecar.of(Path(path))
    return parse_unit(notes.unit or ARBITRARY)[0], notes.facts().suv_factor


def _frames(path: str) -> Iterator[tuple[np.ndarray, Geometry]]:
    import SimpleITK as sitk

    image = sitk.ReadImage(path)
    for number in range(image.GetSize()[3]):
        frame = sitk.Extract(image, [*image.GetSize()[:3], 0], [0, 0, 0, number])
        yield sitk.GetArrayFromImage(frame), Geometry.of_sitk(frame)


__all__ = ["FramesJob", "FramesNodes"]
