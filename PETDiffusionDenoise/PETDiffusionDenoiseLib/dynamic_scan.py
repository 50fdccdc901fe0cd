"""A dynamic PET of the scene as it is handed over: its frames, the unit of each, their moments, and where it lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
import vtk
from petdiffusion.errors import InputError, UnitError
from petdiffusion.read.sidecar import HEADER_KEY, OWN_KEY
from petdiffusion.volume import Volume

from . import exchange, scene, units

SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}
SAY_UNIT = ("In the panel choose the unit under 'Scans'; in a script give unit_choice='SUVbw', or 'Bq/ml' with "
            "suv_factor=what it is multiplied by to give SUV; or the DICOM folder of the scan.")


@dataclass(frozen=True)
class DynamicScan:
    """A sequence as it was handed over. What the denoised frames are given back in is read from here: the sequence may
    be another one by then, or gone."""

    sequence: Any
    shown: Any
    """The volume that shows a frame of it, under whose transform all frames are; None where nothing shows them."""
    index: tuple[str, ...]
    matrices: tuple[Any, ...]
    """Voxel to RAS of each frame, without the transform."""
    found: tuple[units.Unit, ...]
    scales: tuple[float, ...]
    """Each frame's values times its own are what was written."""

    @property
    def is_there(self) -> bool:
        return in_scene(self.sequence)

    @property
    def is_unchanged(self) -> bool:
        return index_of(self.sequence) == self.index

    def given_back(self, array: np.ndarray, number: int) -> np.ndarray:
        """A frame of the answer in the scan's own values; where no word says what those are, in its unit."""
        found = self.found[number]
        scale = self.scales[number] if units.has_word(found) else self.scales[number] / found.scale
        return array if scale == 1.0 else array.astype(np.float32) / np.float32(scale)


def in_scene(given: Any) -> bool:
    return hasattr(given, "IsA") and bool(slicer.mrmlScene.IsNodePresent(given))


def index_of(sequence: Any) -> tuple[str, ...]:
    return tuple(sequence.GetNthIndexValue(number) for number in range(sequence.GetNumberOfDataNodes()))


def image_of(sequence: Any, shown: Any, choice: tuple[str, float], needs_suv: bool) -> tuple[DynamicScan, Any]:
    """All frames as one 4D image, all in one unit. `choice` is the user's word on it."""
    import SimpleITK as sitk

    frames = frames_of(sequence)
    found = _units(frames, choice)
    working = [_working_unit(one, needs_suv) for one in found]
    if len({unit for unit, _ in working}) > 1:
        raise UnitError(f"'{sequence.GetName()}'", "has frames with an SUV factor and frames without", SAY_UNIT)
    volumes = [_scaled(scene.volume_of(frame, unit, under=shown), scale)
               for frame, (unit, scale) in zip(frames, working)]
    if not all(volume.geometry.close_to(volumes[0].geometry, exchange.SAME_GRID_MM) for volume in volumes):
        raise InputError(f"'{sequence.GetName()}'", "has frames that lie on different grids",
                         "Resample them to the grid of one, or denoise each by itself.")
    grid = volumes[0].geometry  # the very same for all, since a rounding apart they cannot be joined
    image = sitk.JoinSeries([replace(volume, geometry=grid).to_sitk() for volume in volumes])
    facts = units.facts_of(frames[0]).to_json()
    notes = {"Units": exchange.BIDS_UNIT[working[0][0]], "Modality": "PT", OWN_KEY: {"facts": facts},
             **times(sequence)}
    image.SetMetaData(HEADER_KEY, json.dumps(notes, ensure_ascii=True))
    scales = tuple(scale for _, scale in working)
    scan = DynamicScan(sequence, shown, index_of(sequence), tuple(map(_own_matrix, frames)), tuple(found), scales)
    return scan, image


def frames_of(sequence: Any) -> list[Any]:
    frames = [sequence.GetNthDataNode(number) for number in range(sequence.GetNumberOfDataNodes())]
    if len(frames) < 2 or not all(frame.IsA(scene.SCALAR) for frame in frames):
        raise InputError(f"'{sequence.GetName()}'", "is not a sequence of two or more volumes",
                         "Choose the sequence of a dynamic PET.")
    return frames


def _units(frames: Sequence[Any], choice: tuple[str, float]) -> list[units.Unit]:
    """Of every frame: each may have an SUV factor of its own, as beds and scans on several days have."""
    found = [units.find(frame, *choice) for frame in frames]
    for number, one in enumerate(found):
        if one.unit is not None and (one.unit, one.scale) != (found[0].unit, found[0].scale):
            raise UnitError(f"Frame {number + 1}", f"is in {units.word_of(one)}, the first in "
                            f"{units.word_of(found[0]) or 'a unit that is not known'}", SAY_UNIT)
    return found


def _working_unit(found: units.Unit, needs_suv: bool) -> tuple[str, float]:
    try:
        return exchange.working_unit(found, needs_suv)
    except UnitError as error:
        raise UnitError(error.what, error.why, SAY_UNIT) from None


def _scaled(volume: Volume, scale: float) -> Volume:
    return volume if scale == 1.0 else volume.with_array(volume.array * np.float32(scale))


def _own_matrix(frame: Any) -> Any:
    matrix = vtk.vtkMatrix4x4()
    frame.GetIJKToRASMatrix(matrix)
    return matrix


def times(sequence: Any) -> dict[str, Any]:
    """When the frames began, where the sequence's index is a time."""
    scale = SECONDS.get(str(sequence.GetIndexUnit()).strip().lower())
    if scale is None or sequence.GetIndexType() != sequence.NumericIndex:
        return {}
    try:
        starts = [scale * float(value) for value in index_of(sequence)]
    except ValueError:
        return {}
    # an index that only counts, which Slicer calls seconds too, is no time; minutes are somebody's own word
    counting = [[scale * (first + number) for number in range(len(starts))] for first in (0, 1)]
    return {} if scale <= 1 and starts in counting else {"FrameTimesStart": starts}


@contextmanager
def on_grid_of(sequence: Any, shown: Any) -> Any:
    """A volume of the scene on the grid of a dynamic PET's first frame, for as long as masks are taken from it."""
    geometry = scene.geometry_of(frames_of(sequence)[0], under=shown)
    node = scene.new_volume(np.zeros(geometry.shape, np.int16), geometry, "grid of the frames")
    try:
        yield node
    finally:
        slicer.mrmlScene.RemoveNode(node)
