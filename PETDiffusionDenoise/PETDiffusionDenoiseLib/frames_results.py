"""The denoised frames as citizens of the scene: a sequence that plays with the scan's own, a volume that shows one
frame at a time and can be reviewed like any result, tables, and a chart of the curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from petdiffusion.read import sidecar
from petdiffusion.suv import parse_unit
from petdiffusion.volume import ARBITRARY, BQML, Geometry

from . import colors, curves, exchange, playing, results, scene, tables, units

CURVES = "time_activity"


@dataclass
class FramesNodes:
    """What a dynamic PET comes back as. `files` by name, such as report and denoised."""

    denoised: Any
    browser: Any
    result: results.ResultNodes
    """One frame at a time, with the tables and the chart: what the review shows."""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def time_activity(self) -> Any:
        return self.result.tables.get(CURVES)

    @property
    def chart(self) -> Any:
        return self.result.charts.get(CURVES)


def bring_in(answer: Mapping[str, Any], name: str, source: Any, inputs: results.Inputs,
             facts: Mapping[str, str]) -> FramesNodes:
    """The backend's answer as nodes. `source` is the sequence of the scan, if it was one; of `inputs` the PET is left
    out, which is whichever volume shows a frame of that sequence. If anything fails half-way, no node is left."""
    with scene.whole_or_nothing():
        sequence = _sequence(answer, name, source)
        browser, before = _browser(sequence, source)
        shown = browser.GetProxyNode(sequence)
        found = results.ResultNodes(shown, warnings=tuple(answer.get("warnings") or ()),
                                    record=answer.get("record") or {})
        _add_tables(found, answer["tables"], name)
        if before is not None:
            colors.like_input(shown, before)
        results.sign(found, replace(inputs, pet=before), facts)
        _sign_frames(sequence, shown, facts)
        return FramesNodes(sequence, browser, found, dict(answer["files"]))


def _sign_frames(sequence: Any, shown: Any, facts: Mapping[str, str]) -> None:
    """Every frame says for itself what it is: the volume that shows it takes over what the frame says."""
    for number in range(sequence.GetNumberOfDataNodes()):
        for attribute in results.signature(facts):
            sequence.GetNthDataNode(number).SetAttribute(attribute, shown.GetAttribute(attribute))


def _sequence(answer: Mapping[str, Any], name: str, source: Any) -> Any:
    rows, file = answer["tables"]["frames"], answer["files"]["denoised"]
    sequence = slicer.mrmlScene.AddNewNodeByClass(playing.SEQUENCE, slicer.mrmlScene.GenerateUniqueName(name))
    index = _index_of(source, rows) if source is not None else _times(rows)
    sequence.SetIndexName(source.GetIndexName() if source is not None else "time" if index else "frame")
    sequence.SetIndexUnit(source.GetIndexUnit() if source is not None else "s" if index else "")
    if source is not None:
        sequence.SetIndexType(source.GetIndexType())
    unit, factor = _unit_of(file)
    for number, (array, geometry) in enumerate(_frames(file)):
        node = scene.new_volume(array, geometry, name)
        value = index[number] if index else str(number + 1)
        sequence.SetDataNodeAtValue(node, value)
        slicer.mrmlScene.RemoveNode(node)
        if unit in exchange.BIDS_UNIT:  # now, since the sequence keeps a copy without it
            units.mark(sequence.GetDataNodeAtValue(value), unit, factor if unit == BQML else None)
    return sequence


def _index_of(source: Any, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scan's own index, so that one slider moves both."""
    return [source.GetNthIndexValue(number_of(row["frame"]) - 1) for row in rows]


def number_of(frame: str) -> int:
    """`frame_012` is the twelfth of the scan."""
    return int(frame.rpartition("_")[2])


def _times(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """When each frame began, in all its digits; None where that does not tell the frames apart."""
    starts = [row.get("start_s") for row in rows]
    if None in starts or len(set(starts)) < len(starts):
        return None
    return [repr(float(start)).removesuffix(".0") for start in starts]


def _browser(sequence: Any, source: Any) -> tuple[Any, Any]:
    """What plays the frames, the scan's own browser where it has one; and the volume in which that shows the scan."""
    own = next((one for one in playing.browsers() if source is not None and one.GetProxyNode(source) is not None), None)
    if own is not None:
        own.AddSynchronizedSequenceNode(sequence)
    else:
        browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
        browser.SetName(f"{sequence.GetName()} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser = own or browser
    if browser.GetProxyNode(sequence) is None:  # Slicer's Sequences module makes one at once, where it is loaded
        item = min(max(browser.GetSelectedItemNumber(), 0), sequence.GetNumberOfDataNodes() - 1)
        browser.AddProxyNode(sequence.GetNthDataNode(item), sequence, True)
    return browser, own.GetProxyNode(source) if own is not None else None


def _add_tables(found: results.ResultNodes, rows: Mapping[str, tables.Rows], name: str) -> None:
    for kind in ("frames", CURVES, "patlak"):
        if rows.get(kind):
            found.tables[kind] = tables.add_table(rows[kind], f"{name}: {results.title_of(kind)}")
    if (chart := curves.add_chart(rows.get(CURVES) or (), f"{name}: curves")) is not None:
        found.charts[CURVES] = chart


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
