"""What a result has to look at: images to lay over each other, maps, masks, charts, tables and prompts."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import slicer.util

from . import results, tables, units

HEAD_MM = 300.0
"""A field lower than this shows a head or one part of the body, and its window is taken from its own values."""
BODY_SUV = 7.0
WINDOW_PERCENTILE = 99.0
ROUNDING_MM = 0.01


def suv_of(node: Any) -> float | None:
    """SUV of the value 1 in this node, None where it is not known."""
    return units.find(node).to_suv


def suv_in(nodes: results.ResultNodes, node: Any) -> float | None:
    """The same for one of a result's PETs. The input may have its unit or SUV factor by the user's word alone, which
    the result keeps; a normal dose without a unit or factor of its own was taken in the input's."""
    of_result = suv_of(nodes.denoised)
    if node is nodes.denoised or node is results.input_of(nodes.denoised):
        return of_result
    found = units.find(node)
    if found.to_suv is None and found.unit in (None, units.find(nodes.denoised).unit):
        return of_result
    return found.to_suv


def window_of(node: Any, factor: float | None) -> float:
    """The upper end to begin with, in SUV or the scan's own unit: the one it is shown with if somebody set it."""
    display = node.GetDisplayNode()
    if display is not None and not display.GetAutoWindowLevel() and display.GetWindowLevelMax() > 0:
        return float(display.GetWindowLevelMax()) * (factor or 1.0)
    array = slicer.util.arrayFromVolume(node)
    height = array.shape[0] * node.GetSpacing()[2]  # its own: a transform, which may bend space, is no matter here
    if factor is not None and height > HEAD_MM:
        return BODY_SUV
    inside = array[array > 0]
    bright = float(np.percentile(inside, WINDOW_PERCENTILE)) if inside.size else 1.0
    return float(math.ceil(bright * factor)) if factor is not None else bright


def brightest(node: Any) -> float:
    image = node.GetImageData()
    return max(float(image.GetScalarRange()[1]), 1.0) if image is not None else 1.0


def pets(nodes: results.ResultNodes) -> dict[str, Any]:
    """The PETs that are compared, by view."""
    found = {"low": results.input_of(nodes.denoised), "denoised": nodes.denoised,
             "reference": results.reference_of(nodes.denoised)}
    return {name: node for name, node in found.items() if node is not None}


def maps(nodes: results.ResultNodes) -> dict[str, Any]:
    """The maps that can have a view of their own."""
    found = {"uncertainty": nodes.uncertainty, "difference": nodes.difference}
    return {name: node for name, node in found.items() if node is not None}


def underlays(nodes: results.ResultNodes) -> dict[str, Any]:
    """What the PETs can be laid over, by the name shown."""
    found = {"CT": nodes.denoised.GetNodeReference(results.CT), "MR": nodes.denoised.GetNodeReference(results.MR)}
    return {name: node for name, node in found.items() if node is not None}


def overlays(nodes: results.ResultNodes) -> dict[str, Any]:
    """What can be laid over the denoised PET: its uncertainty, and whatever else the method explains itself with."""
    extras = {_capital(results.title_of(name)): node for name, node in nodes.extras.items()}
    found = {"Uncertainty": nodes.uncertainty, **extras}
    return {name: node for name, node in found.items() if node is not None}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def segmentations(nodes: results.ResultNodes) -> list[tuple[Any, str]]:
    """The masks of a result, found by the method or given to it, with what they are of."""
    given = ((nodes.denoised.GetNodeReference(results.LESIONS), "lesions"),
             (nodes.denoised.GetNodeReference(results.LABELS), "organs"))
    found = ((nodes.lesions, "lesions"), (nodes.marked, "lesions"), (nodes.organs, "organs"))
    return [(node, kind) for node, kind in (*found, *given) if node is not None and node.IsA("vtkMRMLSegmentationNode")]


def numbers(nodes: results.ResultNodes) -> dict[str, tuple[str, Any]]:
    """Charts and tables that can stand below the views: key to title and node."""
    charts = {f"chart {kind}": (f"Chart: {node.GetTitle()}", node) for kind, node in nodes.charts.items()}
    listed = {f"table {kind}": (f"Table: {results.title_of(kind)}", node) for kind, node in nodes.tables.items()}
    return charts | listed


def prompt_at(nodes: results.ResultNodes, s_mm: float) -> str:
    """The text that a text-guided method used for the axial slice at this height; empty where it was told nothing."""
    table = nodes.tables.get("prompts")
    rows = tables.rows_of(table) if table is not None else []
    told = {row["z_mm"]: str(row.get("prompt") or "") for row in rows if isinstance(row.get("z_mm"), (int, float))}
    if not told:
        return ""
    heights = sorted(told)
    reach = min((b - a for a, b in pairwise(heights)), default=math.inf) / 2
    nearest = min(heights, key=lambda z: abs(z - s_mm))
    return told[nearest] if abs(nearest - s_mm) <= reach + ROUNDING_MM else ""


def scan_words(nodes: results.ResultNodes) -> str:
    """What a text-guided method was told of the whole scan."""
    table = nodes.tables.get("prompts")
    return next((str(row["scan"]) for row in tables.rows_of(table) if row.get("scan")), "") if table is not None else ""
