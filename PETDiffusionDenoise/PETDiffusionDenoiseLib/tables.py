"""Rows of numbers as table nodes, and bar charts of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk

from . import terminology

Rows = Sequence[Mapping[str, Any]]
IMAGES = {"low": "before", "denoised": "denoised", "reference": "normal dose"}
CHART_COLORS = {"low": (0.60, 0.62, 0.65), "denoised": (0.05, 0.45, 0.70), "reference": (0.85, 0.55, 0.10)}
MOST_BARS = 10
READ_MOST = ("liver", "spleen", "aorta", "heart", "brain", "kidney_left", "kidney_right", "lung", "muscle", "bone",
             "pancreas")
_WORDS = {"volume_ml": "Volume (ml)", "CoV": "CoV (%)", "CoV_percent": "CoV (%)", "MTV_ml": "MTV (ml)",
          "outside_region_ml": "Outside the region (ml)",
          "x_mm": "x (mm, left)", "y_mm": "y (mm, back)", "z_mm": "z (mm, up)", "size_mm": "Size (mm)",
          "contrast_recovery_percent": "Contrast recovery (%)", "low95": "95 % from", "high95": "95 % to",
          "sd": "SD of samples", "expected": "Mean of samples", "denoised": "Denoised", "look": "Look again",
          "p": "Chance in its place", "p_adjusted": "Chance anywhere", "change_percent": "Change (%)",
          "SUVchange": "SUV change", "SUVsd": "SD in SUV", "body_mean": "Mean in the body", "activity": "Activity",
          "local_noise_percent": "Noise in the body (%)", "liver_CoV_percent": "Noise in the liver, CoV (%)",
          "SUVmean_noise": "SUVmean, 1 SD of the noise,", "mean_noise": "Mean, 1 SD of the noise,",
          "liver_mean": "Mean in the liver", "PSNR_dB": "PSNR (dB)", "bias_percent": "Bias (%)"}
_LESION = re.compile(r"lesion (?P<number>\d+)(?: \((?P<place>(?!\d+\)).*?)\))?(?: \((?P<part>\d+)\))?$", re.IGNORECASE)
_PER_IMAGE = {"sd": "SD"}
"""Called otherwise in a column for each image than alone."""
_PLACES = {"hottest_": "Hottest", "centre_": "Centre"}
_ENDINGS = {"_low95": "95 % from", "_high95": "95 % to", "_sd": "SD of samples"}


def title_of(column: str) -> str:
    """A column's name in words: `SUVmax_denoised_vs_low_percent` is `SUVmax denoised, change from before (%)`."""
    if column in _WORDS:
        return _WORDS[column]
    for kind, word in _PLACES.items():
        if column.startswith(kind):
            return f"{word} {title_of(column.removeprefix(kind))}"
    for ending, word in _ENDINGS.items():
        if column.endswith(ending):
            return f"{title_of(column.removesuffix(ending))}, {word}"
    for base, base_word in IMAGES.items():
        ending = f"_vs_{base}_percent"
        if column.endswith(ending):
            return f"{title_of(column.removesuffix(ending))}, change from {base_word} (%)"
    for image, word in IMAGES.items():
        if column.endswith(f"_{image}"):
            metric = column.removesuffix(f"_{image}")
            return f"{_PER_IMAGE.get(metric) or _WORDS.get(metric, metric)} {word}"
    return column.replace("_", " ")


def columns_of(rows: Rows) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def add_table(rows: Rows, name: str) -> Any:
    """A table node of the rows: numbers as numbers, an unknown number as NaN, column titles in words."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(name))
    wanted = columns_of(rows)
    for column in wanted:
        node.AddColumn(_array(column, [row.get(column) for row in rows]))
    for column in wanted:
        node.SetColumnTitle(column, title_of(column))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def _array(column: str, values: Sequence[Any]) -> Any:
    """One of numbers where nothing in it is anything else, also if none is known: a reader would take "" for one."""
    numeric = all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
                  for value in values)
    array = vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
    array.SetName(column)
    for value in values:
        if numeric:
            array.InsertNextValue(math.nan if value is None else float(value))
        else:
            array.InsertNextValue(_text(value))
    return array


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def rows_of(node: Any) -> list[dict[str, Any]]:
    """The rows of a table node, NaN as None."""
    table = node.GetTable()
    arrays = [table.GetColumn(i) for i in range(table.GetNumberOfColumns())]
    return [{array.GetName(): _value(array, row) for array in arrays} for row in range(table.GetNumberOfRows())]


def _value(array: Any, row: int) -> Any:
    value = array.GetValue(row)
    return None if isinstance(value, float) and math.isnan(value) else value


def add_chart(rows: Rows, labels: str, metric: str, name: str) -> Any | None:
    """Bars of one metric before, after and in the reference, side by side; None where the metric is absent.

    A chart of a hundred structures cannot be read, so it shows the ones that are read most; the table has all.
    """
    present = [image for image in IMAGES if any(row.get(f"{metric}_{image}") is not None for row in rows)]
    if not present:
        return None
    scene = slicer.mrmlScene
    data = _chart_data(rows, labels, metric, present, name)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
    chart.SetTitle(f"{metric} per {labels}")
    more = f" (the {MOST_BARS} main ones of {len(rows)})" if len(rows) > MOST_BARS else ""
    chart.SetXAxisTitle(f"{labels.capitalize()}{more}")
    chart.SetYAxisTitle(f"{metric} ({rows[0]['unit']})" if rows[0].get("unit") else metric)
    for image in present:
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", f"{metric} {IMAGES[image]}")
        series.SetAndObserveTableNodeID(data.GetID())
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetYColumnName(f"{metric}_{image}")
        series.SetLabelColumnName(labels)
        series.SetColor(*CHART_COLORS[image])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def _chart_data(rows: Rows, labels: str, metric: str, images: Sequence[str], name: str) -> Any:
    """The chart's own small table, kept out of the way."""
    columns = [f"{metric}_{image}" for image in images]
    chosen = [{labels: short(str(row.get(labels, ""))), **{c: row.get(c) for c in columns}}
              for row in main_rows(rows, labels)]
    node = add_table(chosen, f"{name} (data)")
    node.SetHideFromEditors(True)
    return node


def short(name: str) -> str:
    """A name that fits under a bar: `Lesion 3 (lymph node)` is `3`, `Kidney, left` is `Kidney L`."""
    name = name.replace("_", " ")
    if lesion := lesion_of(name):
        number, _, part = lesion
        return f"{number}, part {part}" if part else number
    return re.sub(r",? (left|right)$", lambda found: f" {found[1][0].upper()}", name)


def lesion_of(name: str) -> tuple[str, str, str] | None:
    """Number, place and part of `lesion 2 (lymph node) (1)`. A mask that falls apart is measured in parts."""
    found = _LESION.match(name)
    return (found["number"], found["place"] or "", found["part"] or "") if found else None


def main_rows(rows: Rows, labels: str) -> list[Mapping[str, Any]]:
    """A few rows: the organs that are read most, then the largest; lesions, the largest."""
    if len(rows) <= MOST_BARS:
        return list(rows)
    rank = {spelled(organ): i for i, organ in enumerate(READ_MOST)}

    def key(row: Mapping[str, Any]) -> tuple[int, float]:
        return rank.get(spelled(str(row.get(labels, ""))), len(rank)), -float(row.get("volume_ml") or 0.0)

    kept = sorted(rows, key=key)[:MOST_BARS]
    return [row for row in rows if any(row is other for other in kept)]


def spelled(organ: str) -> str:
    """Files call it `kidney_left`, segments `Kidney, left`."""
    known = terminology.term(organ)
    return (known.title if known is not None else organ).lower()
