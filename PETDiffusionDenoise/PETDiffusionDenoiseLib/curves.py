"""The activity of organs and lesions over time, as a chart of Slicer's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from . import tables, terminology

Rows = Sequence[Mapping[str, Any]]
LESION = "lesion"
MOST_LESIONS, MOST_CURVES = 5, 10
MARKER_SIZE, LINE_WIDTH = 7.0, 2.0
BEFORE = " before"
COLORS = ((0.84, 0.15, 0.16), (0.95, 0.55, 0.10), (0.60, 0.31, 0.64), (0.12, 0.47, 0.71), (0.97, 0.51, 0.75),
          (0.17, 0.63, 0.17), (0.55, 0.34, 0.29), (0.09, 0.75, 0.81), (0.74, 0.74, 0.13), (0.50, 0.50, 0.50))
"""Of lesions, and of organs that no terminology names."""


def add_chart(rows: Rows, name: str) -> Any | None:
    """The mean of each region in each frame, dots as it was before and a line as it is denoised; None without regions.

    A chart of thirty curves cannot be read: the largest lesions and the organs that are read most are shown, the table
    has all.
    """
    frames = list(dict.fromkeys(row["frame"] for row in rows))
    chosen = _chosen(rows)
    if not chosen or len(frames) < 2:
        return None
    timed = all(row.get("middle_s") is not None for row in rows)
    across = "Minutes" if timed else "Frame"
    columns = _columns(chosen)
    data = _data(rows, frames, columns, across, name)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", slicer.mrmlScene.GenerateUniqueName(name))
    unit = str(rows[0].get("unit") or "")
    chart.SetTitle("Activity over time")
    chart.SetXAxisTitle("Minutes, middle of the frame" if timed else "Frame")
    chart.SetYAxisTitle(f"Mean ({unit})" if unit else "Mean")
    for place, (region, title) in enumerate(columns.items()):
        color = _color(region, place)
        for column, dots in ((title, False), (title + BEFORE, True)):
            chart.AddAndObservePlotSeriesNodeID(_series(data, across, column, color, dots).GetID())
    return chart


Region = tuple[str, int, str]
"""Kind, number, name."""


def _chosen(rows: Rows) -> list[Region]:
    first: dict[Region, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault((str(row["kind"]), int(row["number"]), str(row["region"])), row)
    lesions = [region for region in first if region[0] == LESION]
    organs = [region for region in first if region[0] != LESION]
    lesions = sorted(lesions, key=lambda region: -float(first[region].get("volume_ml") or 0.0))[:MOST_LESIONS]
    rank = {tables.spelled(organ): place for place, organ in enumerate(tables.READ_MOST)}
    organs.sort(key=lambda region: rank.get(tables.spelled(region[2]), len(rank)))
    return sorted(lesions, key=lambda region: region[1]) + organs[: MOST_CURVES - len(lesions)]


def _columns(chosen: Sequence[Region]) -> dict[Region, str]:
    """What each is called in the legend; two of one name are told apart by their numbers."""
    named = {region: _title(region) for region in chosen}
    several = [name for name, count in Counter(named.values()).items() if count > 1]
    return {region: f"{name} ({region[1]})" if name in several else name for region, name in named.items()}


def _title(region: Region) -> str:
    kind, _, name = region
    known = terminology.term(name) if kind != LESION else None
    return known.title if known is not None else name.replace("_", " ").capitalize()


def _data(rows: Rows, frames: Sequence[str], columns: Mapping[Region, str], across: str, name: str) -> Any:
    """The chart's own table, kept out of the way: a row a frame, two columns a region."""
    by = {(row["frame"], row["kind"], row["number"]): row for row in rows}
    made = []
    for place, frame in enumerate(frames):
        here = {title: by.get((frame, region[0], region[1]), {}) for region, title in columns.items()}
        middle = next((row["middle_s"] for row in here.values() if row.get("middle_s") is not None), None)
        made.append({across: place + 1.0 if middle is None else middle / 60.0,
                     **{title: row.get("mean_denoised") for title, row in here.items()},
                     **{title + BEFORE: row.get("mean_low") for title, row in here.items()}})
    node = tables.add_table(made, f"{name} (data)")
    node.SetHideFromEditors(True)
    return node


def _color(region: Region, place: int) -> tuple[float, float, float]:
    known = terminology.term(region[2]) if region[0] != LESION else None
    if known is None:
        return COLORS[place % len(COLORS)]
    red, green, blue = known.color
    return red / 255.0, green / 255.0, blue / 255.0


def _series(data: Any, across: str, column: str, color: tuple[float, float, float], dots: bool) -> Any:
    kinds = slicer.vtkMRMLPlotSeriesNode
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", column)
    series.SetAndObserveTableNodeID(data.GetID())
    series.SetPlotType(kinds.PlotTypeScatter)
    series.SetXColumnName(across)
    series.SetYColumnName(column)
    series.SetColor(*color)
    series.SetLineStyle(kinds.LineStyleNone if dots else kinds.LineStyleSolid)
    series.SetMarkerStyle(kinds.MarkerStyleCircle if dots else kinds.MarkerStyleNone)
    series.SetMarkerSize(MARKER_SIZE)
    series.SetLineWidth(LINE_WIDTH)
    return series
