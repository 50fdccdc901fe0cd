"""The denoised frames as citizens of the scene: a sequence that plays with the scan's own, a volume that shows one
frame at a time and can be reviewed like any result, the same of SD maps, Ki, tables, and a chart of the curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from petdiffusion.read import sidecar
from petdiffusion.suv import parse_unit
from petdiffusion.volume import ARBITRARY, BQML, Geometry

from . import colors, curves, dynamic_scan, exchange, playing, results, scene, tables, units

UNCERTAINTY = "uncertainty"
CURVES = "time_activity"
KI = "ki"
CHANGED = ("The sequence was changed while the job ran. The denoised frames are of the scan as it was, and play in a "
           "browser of their own.")


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


def bring_in(answer: Mapping[str, Any], name: str, scan: dynamic_scan.DynamicScan | None, inputs: results.Inputs,
             facts: Mapping[str, str], with_sd: bool = True) -> FramesNodes:
    """The backend's answer as nodes. `scan` is what was handed over, if it was a sequence; of `inputs` the PET is left
    out, which is the volume that shows a frame of that sequence. If anything fails half-way, no node is left."""
    files, rows = answer["files"], answer["tables"]["frames"]
    with scene.whole_or_nothing():
        sequence = _sequence(files["denoised"], rows, f"{name} denoised", scan)
        browser = _browser(sequence, scan)
        shown = _shown(browser, sequence)
        before = browser.GetProxyNode(scan.sequence) if scan is not None and scan.is_there else None
        found = results.ResultNodes(shown, warnings=(*(answer.get("warnings") or ()), *_changed(scan)),
                                    record=answer.get("record") or {})
        played = {sequence: shown}
        if with_sd and UNCERTAINTY in files:
            maps = _sequence(files[UNCERTAINTY], rows, f"{name} {UNCERTAINTY}", scan)
            browser.AddSynchronizedSequenceNode(maps)
            found.uncertainty = played[maps] = _shown(browser, maps)
            colors.as_uncertainty(found.uncertainty, slicer.util.arrayFromVolume(found.uncertainty))
        if KI in files:
            found.extras[KI] = _ki(files[KI], f"{name} Ki", scan)
        _add_tables(found, answer["tables"], f"{name} denoised")
        if scan is not None and dynamic_scan.in_scene(scan.shown):
            for node in (*played.values(), *found.extras.values()):
                node.SetAndObserveTransformNodeID(scan.shown.GetTransformNodeID())
            colors.like_input(shown, scan.shown)
        results.sign(found, replace(inputs, pet=before), facts)
        for of_sequence, node in played.items():
            _sign_frames(of_sequence, node, facts)
        return FramesNodes(sequence, browser, found, dict(files))


def _changed(scan: dynamic_scan.DynamicScan | None) -> list[str]:
    return [CHANGED] if scan is not None and scan.is_there and not scan.is_unchanged else []


def _sign_frames(sequence: Any, shown: Any, facts: Mapping[str, str]) -> None:
    """Every frame says for itself what it is: the volume that shows it takes over what the frame says."""
    for number in range(sequence.GetNumberOfDataNodes()):
        for attribute in results.signature(facts):
            sequence.GetNthDataNode(number).SetAttribute(attribute, shown.GetAttribute(attribute))


def _ki(file: str, name: str, scan: dynamic_scan.DynamicScan | None) -> Any:
    """One image for all frames: a map that the review can lay over the PET. It is no activity, so it has no unit."""
    import SimpleITK as sitk

    image = sitk.ReadImage(file)
    array = sitk.GetArrayFromImage(image)
    node = scene.new_volume(array, Geometry.of_sitk(image), name)
    if scan is not None:
        node.SetIJKToRASMatrix(scan.matrices[0])
    colors.as_uncertainty(node, array)
    return node


def _sequence(file: str, rows: tables.Rows, name: str, scan: dynamic_scan.DynamicScan | None) -> Any:
    """The frames of a 4D image, each at the moment of its row."""
    sequence = slicer.mrmlScene.AddNewNodeByClass(playing.SEQUENCE, slicer.mrmlScene.GenerateUniqueName(name))
    numbers = [number_of(row["frame"]) - 1 for row in rows]
    # the scan's own index, so that one slider moves both
    index = [scan.index[number] for number in numbers] if scan is not None else _times(rows)
    sequence.SetIndexName(scan.sequence.GetIndexName() if scan is not None else "time" if index else "frame")
    sequence.SetIndexUnit(scan.sequence.GetIndexUnit() if scan is not None else "s" if index else "")
    if scan is not None:
        sequence.SetIndexType(scan.sequence.GetIndexType())
    unit, factor = _unit_of(file)
    for place, (array, geometry) in enumerate(_frames(file)):
        given = array if scan is None else scan.given_back(array, numbers[place])
        node = scene.new_volume(given, geometry, name)
        if scan is not None:  # as the scan's own frame lies, under whose transform it is shown
            node.SetIJKToRASMatrix(scan.matrices[numbers[place]])
        value = index[place] if index else str(place + 1)
        sequence.SetDataNodeAtValue(node, value)
        slicer.mrmlScene.RemoveNode(node)
        # marked now, since the sequence keeps a copy without it
        if scan is not None:
            units.mark_as(sequence.GetDataNodeAtValue(value), scan.found[numbers[place]])
        elif unit in exchange.BIDS_UNIT:
            units.mark(sequence.GetDataNodeAtValue(value), unit, factor if unit == BQML else None)
    return sequence


def number_of(frame: str) -> int:
    """`frame_012` is the twelfth of the scan."""
    return int(frame.rpartition("_")[2])


def _times(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """When each frame began, in all its digits; None where that does not tell the frames apart."""
    starts = [row.get("start_s") for row in rows]
    if None in starts or len(set(starts)) < len(starts):
        return None
    return [repr(float(start)).removesuffix(".0") for start in starts]


def _browser(sequence: Any, scan: dynamic_scan.DynamicScan | None) -> Any:
    """What plays the frames: the scan's own browser where it has one and each of its moments has its frame. A browser
    shows the nearest frame where there is none, and would set other moments side by side."""
    browser = None
    if scan is not None and scan.is_there and scan.is_unchanged and dynamic_scan.index_of(sequence) == scan.index:
        browser = playing.browser_of(scan.sequence, scan.shown)
    if browser is not None:
        browser.AddSynchronizedSequenceNode(sequence)
    else:
        browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
        browser.SetName(f"{sequence.GetName()} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    return browser


def _shown(browser: Any, sequence: Any) -> Any:
    """The volume in which a browser shows the frames."""
    if browser.GetProxyNode(sequence) is None:  # Slicer's Sequences module makes one at once, where it is loaded
        item = min(max(browser.GetSelectedItemNumber(), 0), sequence.GetNumberOfDataNodes() - 1)
        browser.AddProxyNode(sequence.GetNthDataNode(item), sequence, True)
    return browser.GetProxyNode(sequence)


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
