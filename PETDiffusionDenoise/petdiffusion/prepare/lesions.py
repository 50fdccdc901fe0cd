"""Lesions on the PET's grid: each keeps its volume as nearly as whole voxels allow, and what is lost of any is told.

The majority rule, which organs keep, makes small things smaller: a sphere of 0.27 ml lost a third on voxels of 4 mm.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import find_objects

from ..measure.checks import bounding_box
from ..measure.lesions import split_lesions
from ..measure.segmentation import components, regions
from ..progress import Run
from ..read import LESIONS
from ..volume import Geometry, LabelMap, Volume
from .case import check_place
from .grids import covered, cropped, part_filled, reach, world_points

TOLD_OUTSIDE = 0.01
"""Part of a lesion beyond the PET's field above which it is told."""
NAMED = 10
"""Lesions that a sentence names."""
SPECKS = 10
"""Parts of a label, smaller than half a voxel of the PET and beside larger ones: more are noise of the mask, which as
voxels of the PET would be many times as large."""
ROOM = 12
"""Voxels around the lesions, as many as `part_filled` looks at."""


@dataclass(frozen=True)
class Part:
    """A lesion of the mask, and what became of it."""

    number: int
    ml: float
    inside_ml: float
    """Within the PET's field."""
    wanted: int
    """Voxels of the PET that come nearest to its volume there."""
    voxels: int = 0
    pieces: int = 0


def place(lesions: LabelMap, pet: Volume, run: Run, body: np.ndarray | None = None) -> LabelMap:
    """The mask on the PET's grid, every connected part a label of its own; one that lies on it stays as it is."""
    check_place(lesions, LESIONS, pet, run, body)
    if lesions.geometry.close_to(pet.geometry):
        return lesions
    clean = _without_specks(_framed(lesions), pet.geometry.voxel_ml / 2, run)
    placed, parts = resample_lesions(split_lesions(clean), pet.geometry)
    for text in _told(parts, pet.geometry.voxel_ml):
        run.warn(text)
    return placed


def _framed(lesions: LabelMap) -> LabelMap:
    """The part of the grid that holds the lesions, with room around them: a lesion may fill a mask that was cut out
    around it to the very edge, and most of a CT's grid is empty."""
    if not lesions.array.any():
        return lesions
    box = bounding_box(lesions.array)
    wide = tuple(slice(side.start - ROOM, side.stop + ROOM) for side in box)
    return LabelMap(np.pad(lesions.array[box], ROOM), cropped(lesions.geometry, wide), lesions.names)


def _without_specks(lesions: LabelMap, least_ml: float, run: Run) -> LabelMap:
    array, count = lesions.array.copy(), 0
    for _, box, mask in regions(lesions.array):
        parts, number = components(mask)
        small = np.bincount(parts.ravel()) * lesions.geometry.voxel_ml < least_ml
        small[0] = False
        if SPECKS < np.count_nonzero(small) < number:
            array[box][small[parts]] = 0
            count += np.count_nonzero(small)
    if not count:
        return lesions
    ml = np.count_nonzero(array != lesions.array) * lesions.geometry.voxel_ml
    run.warn(f"{count} specks of the mask, each smaller than half a voxel of the PET ({ml:.3g} ml in all), are taken "
             "for its noise and are in no number, table or total.")  # fmt: skip
    return LabelMap(array, lesions.geometry, lesions.names)


def resample_lesions(lesions: LabelMap, geometry: Geometry) -> tuple[LabelMap, list[Part]]:
    """Each label takes as many voxels as its volume asks for, those that it fills most, and one at least. The smallest
    choose first: a large lesion hardly misses a voxel, and takes another."""
    array, boxes, parts = np.zeros(geometry.shape, np.int16), find_objects(lesions.array), []
    given = [_part(lesions, number, box, geometry) for number, box in enumerate(boxes, 1) if box is not None]
    for part in sorted(given, key=lambda part: part.ml):
        box = boxes[part.number - 1]
        if part.wanted and (window := reach(box, lesions.geometry, geometry)):
            filled = part_filled(lesions, part.number, box, cropped(geometry, window))
            chosen = _fullest(np.where(array[window] > 0, 0.0, filled), part.wanted)
            array[window][chosen] = part.number
            part = replace(part, voxels=int(np.count_nonzero(chosen)), pieces=components(chosen)[1])
        parts.append(part)
    return LabelMap(array, geometry, lesions.names), sorted(parts, key=lambda part: part.number)


def _part(lesions: LabelMap, number: int, box: tuple[slice, ...], geometry: Geometry) -> Part:
    index = np.argwhere(lesions.array[box] == number) + [side.start for side in box]
    inside = np.count_nonzero(covered(geometry, world_points(index, lesions.geometry)))
    ml, inside_ml = len(index) * lesions.geometry.voxel_ml, inside * lesions.geometry.voxel_ml
    return Part(number, ml, inside_ml, max(round(inside_ml / geometry.voxel_ml), 1) if inside else 0)


def _fullest(filled: np.ndarray, wanted: int) -> np.ndarray:
    """So many voxels. Of what is thinner than a voxel the fullest are crumbs, each a lesion of its own to whom counts
    them: they are left for the fullest voxels beside the rest."""
    order = np.argsort(-filled, axis=None, kind="stable")[:wanted]
    order = order[filled.flat[order] > 0]
    chosen = np.zeros(filled.shape, bool)
    chosen.flat[order] = True
    pieces, count = components(chosen)
    if count > 1:
        whole = np.unique(pieces[chosen & (filled >= 0.5)])
        chosen = np.isin(pieces, whole if whole.size else pieces.flat[order[0]])
        _grow(chosen, filled, wanted)
    return chosen


def _grow(chosen: np.ndarray, filled: np.ndarray, wanted: int) -> None:
    """Adds the fullest voxel that touches those chosen until there are as many as wanted."""
    seen, beside = chosen.copy(), []
    fresh, missing = np.argwhere(chosen), wanted - np.count_nonzero(chosen)
    for _ in range(missing):
        for voxel in fresh:
            around = tuple(slice(max(i - 1, 0), i + 2) for i in voxel)
            for found in np.argwhere(~seen[around] & (filled[around] > 0)) + [side.start for side in around]:
                seen[tuple(found)] = True
                heapq.heappush(beside, (-filled[tuple(found)], *found))
        if not beside:
            return
        voxel = heapq.heappop(beside)[1:]
        chosen[voxel] = True
        fresh = [voxel]


def _told(parts: Sequence[Part], voxel_ml: float) -> Iterator[str]:
    outside = [part for part in parts if not part.inside_ml]
    if outside:
        yield (f"{_lesions(outside, 'lies', 'lie')} outside of the PET ({_ml(p.ml for p in outside)} ml) and "
               f"{'is' if len(outside) == 1 else 'are'} in no number, table or total.")  # fmt: skip
    cut = [part for part in parts if 0 < part.inside_ml < (1 - TOLD_OUTSIDE) * part.ml]
    if cut:
        yield (f"{_lesions(cut, 'lies', 'lie')} partly outside of the PET: {_ml(p.ml - p.inside_ml for p in cut)} of "
               f"{_ml(p.ml for p in cut)} ml are in no number, table or total.")  # fmt: skip
    few = [part for part in parts if part.voxels < part.wanted]
    if few:
        yield (f"{_lesions(few, 'finds', 'find')} too few voxels that no other lesion holds: "
               f"{_ml(p.voxels * voxel_ml for p in few)} of {_ml(p.inside_ml for p in few)} ml are counted.")
    small = [part for part in parts if part.voxels and part.inside_ml < voxel_ml / 2]
    if small:
        whole = "counts as a whole one" if len(small) == 1 else "count as a whole one each"
        yield (f"{_lesions(small, 'is', 'are')} smaller than half a voxel of the PET and {whole}: "
               f"{_ml(p.voxels * voxel_ml for p in small)} instead of {_ml(p.inside_ml for p in small)} ml.")
    apart = [part for part in parts if part.pieces > 1]
    if apart:
        yield (f"{_lesions(apart, 'falls', 'fall')} apart on the PET's voxels, which are too large for what joins the "
               "pieces: each is a lesion of its own in the tables.")  # fmt: skip


def _lesions(parts: Sequence[Part], one: str, several: str) -> str:
    if len(parts) == 1:
        return f"Lesion {parts[0].number} of the mask {one}"
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return f"Lesions {', '.join(str(part.number) for part in parts[:NAMED])}{more} of the mask {several}"


def _ml(volumes: Iterator[float]) -> str:
    return f"{sum(volumes):.3g}"
