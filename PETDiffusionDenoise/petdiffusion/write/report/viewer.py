"""The slices to browse: every plane of every scan as one JPEG sheet, 8 bits over twice the grey scale.

The page shows the sheets inverted and windowed by the browser, so the window can be changed offline: as far as the
sheets reach, and no further.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from . import turning
from .colour import jpeg
from .model import DENOISED, LOW, REFERENCE
from .views import AXES, EDGES, Views, oriented, paths
from .words import tick

HEADROOM = 2.0
PIXELS_PER_SHEET = 5_000_000
"""Bounds both the file and what a phone has to unpack; thick stacks leave out slices evenly."""
LARGEST = 400
"""Pixels of a frame's longer side."""
BYTES = 7_500_000
"""The sheets' share of the page; coarser compression is taken where noise would make them larger."""
SMALL = 3_000_000
"""Pixels in all; smaller scans are shown enlarged, where compression would be seen, and can afford more bytes."""
QUALITIES = (90, 80, 65, 45, 25)
SHORT = {LOW: "low", DENOISED: "denoised", REFERENCE: "reference"}


def viewer(views: Views) -> str:
    """Controls, one canvas per scan, the sheets as JSON and the script that draws them."""
    data = {
        "planes": _planes(views),
        "start": largest(views),
        "top": views.grey.high,
        "headroom": HEADROOM,
        "quantity": views.grey.label,
        "images": [
            {"name": name, "sheets": sheets} for name, sheets in zip(views.report.scans, _sheets(views), strict=True)
        ],
        "lesions": _targets(views),
    }
    # "<" cannot end the script element early when it is written as an escape.
    packed = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    panes = "".join(
        f'<figure class="{SHORT[name]}"><figcaption>{escape(name)}</figcaption>'
        f'<div class="screen" role="group" aria-label="{escape(name)}, arrow keys change the slice">'
        f'<canvas role="img" aria-label="{escape(name)}"></canvas>'
        '<canvas class="over" aria-hidden="true"></canvas></div></figure>'
        for name in views.report.scans
    )
    template = files(__package__).joinpath("viewer.html").read_text(encoding="utf-8")
    outlines = "" if views.lesions is not None else " hidden"
    return (
        template.replace("@PANES@", panes)
        .replace("@TOP@", tick(views.grey.high))
        .replace("@QUANTITY@", escape(views.grey.label))
        .replace("@OUTLINES@", outlines)
        .replace("@THINNED@", _left_out(views))
        .replace("@DATA@", packed)
    )


def largest(views: Views) -> str:
    """The plane with the largest pictures, where the viewer begins: of a few slices the others are strips."""
    mm = [count * step for count, step in zip(views.shape, views.turn.spacing, strict=True)]
    return max(("coronal", "axial", "sagittal"), key=lambda plane: math.prod(mm) / mm[AXES[plane]])


def _left_out(views: Views) -> str:
    """Said of scans that are too large to be shown whole."""
    said = [f"{len(kept)} of {views.count(plane)} {plane}" for plane in ("axial", "coronal", "sagittal")
            if len(kept := chosen_slices(views, plane)) < views.count(plane)]  # fmt: skip
    step = max(_thin(views, plane) for plane in AXES)
    slices = [f"{', '.join(said)} slices, evenly spaced"] if said else []
    pixels = [f"every {'second' if step == 2 else f'{step}th'} pixel of the longer planes"] if step > 1 else []
    return f" Of so large a scan it shows {' and '.join(slices + pixels)}." if said or step > 1 else ""


def _planes(views: Views) -> dict[str, Any]:
    planes: dict[str, Any] = {"mip": {**turning.facts(views), "columns": _columns(turning.ANGLES)}}
    for plane in ("coronal", "axial", "sagittal"):
        chosen, step = chosen_slices(views, plane), _thin(views, plane)
        rows, columns = (n for a, n in enumerate(views.shape) if a != AXES[plane])
        rows_mm, columns_mm = views.pixel_mm(plane)
        focus = views.focus[AXES[plane]]
        planes[plane] = {
            "frames": len(chosen),
            "columns": _columns(len(chosen)),
            "w": -(-columns // step),
            "h": -(-rows // step),
            "mm": [round(columns * columns_mm, 1), round(rows * rows_mm, 1)],
            "edges": EDGES[plane],
            "start": int(np.argmin(np.abs(chosen - focus))),
            "numbers": views.numbers(plane)[chosen].tolist(),
            "last": views.file_count(plane) - 1,
            "outlines": _outlines(views, plane, chosen),
            "thickness": round(views.turn.spacing[AXES[plane]], 2),
        }
    return planes


def _sheets(views: Views) -> list[dict[str, str]]:
    """JPEG sheets of every scan, all at the best quality that keeps within the page's share."""
    stacks = [_stacks(views, name) for name in views.report.scans]
    small = sum(stack.size for planes in stacks for stack in planes.values()) < SMALL
    for quality in (95,) if small else QUALITIES:
        sheets = [{plane: jpeg(_sheet(stack), quality) for plane, stack in planes.items()} for planes in stacks]
        if sum(len(uri) for planes in sheets for uri in planes.values()) < BYTES:
            break
    return sheets


def _stacks(views: Views, name: str) -> dict[str, np.ndarray]:
    scaled = _bytes(views, name)
    stacks = {"mip": turning.projections(views, scaled)}
    for plane in ("coronal", "axial", "sagittal"):
        step = _thin(views, plane)
        stack = np.moveaxis(scaled, AXES[plane], 0)[chosen_slices(views, plane)]
        stacks[plane] = (stack if plane == "axial" else stack[:, ::-1])[:, ::step, ::step]
    return stacks


def _bytes(views: Views, name: str) -> np.ndarray:
    return np.clip(views.images[name] * (255.0 / (HEADROOM * views.grey.high)) + 0.5, 0, 255).astype(np.uint8)


def chosen_slices(views: Views, plane: str) -> np.ndarray:
    """Slices in reading order (head to feet, front to back, right to left), evenly thinned where there are too many."""
    count = views.count(plane)
    frame = int(np.prod(views.shape)) // count // _thin(views, plane) ** 2
    kept = int(np.clip(PIXELS_PER_SHEET // max(frame, 1), 8, count)) if count > 8 else count
    chosen = np.unique(np.linspace(0, count - 1, kept).round().astype(int))
    return chosen[::-1] if plane == "axial" else chosen


def _thin(views: Views, plane: str) -> int:
    """Frames larger than that are thinned in the plane."""
    return -(-max(n for a, n in enumerate(views.shape) if a != AXES[plane]) // LARGEST)


def _columns(frames: int) -> int:
    return max(1, int(np.ceil(np.sqrt(frames))))


def _sheet(stack: np.ndarray) -> np.ndarray:
    """Frames side by side, row by row; the last row is filled with black."""
    frames, height, width = stack.shape
    columns = _columns(frames)
    rows = -(-frames // columns)
    padded = np.zeros((rows * columns, height, width), np.uint8)
    padded[:frames] = stack
    return padded.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def _outlines(views: Views, plane: str, chosen: np.ndarray) -> dict[int, str]:
    """One path per slice that holds a lesion, by its place in the sheet."""
    if views.lesions is None:
        return {}
    hit = np.flatnonzero((views.lesions > 0).any(axis=tuple(a for a in range(3) if a != AXES[plane])))
    found = {}
    for place in np.flatnonzero(np.isin(chosen, hit)):
        labels = np.take(views.lesions, chosen[place], AXES[plane])
        found[int(place)] = "".join(paths(oriented(labels, plane), views.pixel_mm(plane)).values())
    return found


def _targets(views: Views) -> dict[int, dict[str, int]]:
    """Where the viewer goes when a lesion of the table is chosen."""
    return {n: target(views, peak) for n, peak in views.peaks.items()}


def target(views: Views, voxel: Sequence[int]) -> dict[str, int]:
    """The frame of every plane that runs through a voxel of the views, or nearest to it."""
    return {plane: int(np.argmin(np.abs(chosen_slices(views, plane) - voxel[axis]))) for plane, axis in AXES.items()}


def spot(views: Views, voxel: Sequence[int]) -> dict[str, tuple[float, float]]:
    """Where a voxel lies in the picture of every plane, as parts of its width and height from the upper left."""
    part = [(index + 0.5) / count for index, count in zip(voxel, views.shape, strict=True)]
    head, back, left = 1 - part[0], part[1], part[2]
    places = {"axial": (left, back), "coronal": (left, head), "sagittal": (back, head)}
    return {plane: (round(across, 4), round(down, 4)) for plane, (across, down) in places.items()}


def go(label: str, views: Views, row: Mapping[str, Any], kind: str = "go") -> str:
    """A button that shows the place of a table's row in the viewer; the label alone where the row has no place."""
    voxel = views.at(row)
    if voxel is None:
        return escape(label)
    place = escape(json.dumps({"frames": target(views, voxel), "spot": spot(views, voxel)}))
    return f'<button type="button" class="{kind}" data-at="{place}" title="Show in the viewer">{escape(label)}</button>'
