"""Masks of a DICOM SEG: binary, fractional, or a label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from ..suv import header
from ..volume import Geometry, LabelMap
from . import checks
from .dicom_masks import LABELMAP_SEG, tell_overlaps
from .dicom_planes import ORIGINAL, planes
from .label_maps import chosen

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

MOST = 32767
"""What a label map holds."""


def masks(ds: Dataset, name: str, only: Sequence[str] = (), run: Run | None = None) -> LabelMap:
    """All segments in one map, by their numbers; where some overlap the smaller one is kept."""
    names = chosen(_names(ds, name), only)
    frames, positions, numbers = _frames(ds)
    orientation = _shared(ds, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _shared(ds, "PixelMeasuresSequence", "PixelSpacing")
    axes = _axes(orientation, name)
    along = positions @ axes[:, 2]
    first, step, count = planes(along, _stated(ds, "SpacingBetweenSlices"), _stated(ds, "SliceThickness"), name)
    shape = (count, *frames.shape[1:])
    checks.memory(shape[::-1], 2, name)
    array = np.zeros(shape, np.int16)
    size = np.bincount(numbers, weights=[np.count_nonzero(frame) for frame in frames])
    for place in sorted(range(len(numbers)), key=lambda n: -size[numbers[n]]):  # a small one stays within a large one
        frame, plane = frames[place], array[round((along[place] - first) / step)]
        if numbers[place]:
            if not only or numbers[place] in names:
                plane[frame > 0] = numbers[place]
        else:
            taken = np.isin(frame, list(names)) if only else frame > 0
            plane[taken] = frame[taken]
    lowest = int(np.argmin(along))
    origin = positions[lowest] + axes[:, 2] * (first - along[lowest])
    geometry = Geometry(shape[::-1], (spacing[1], spacing[0], step), tuple(origin), tuple(axes.ravel()))
    made = LabelMap(array, geometry, names)
    tell_overlaps(made, {int(n): int(size[n]) for n in names if 0 < n < len(size)}, name, run)
    return made


def _names(ds: Dataset, name: str) -> dict[int, str]:
    """The segments by their numbers; 0 of a label map is its background."""
    titles = {int(item.SegmentNumber): header.text(item, "SegmentLabel") for item in ds.SegmentSequence}
    if max(titles, default=0) > MOST:
        raise InputError(f"{name}: segment number {max(titles)}", f"is above {MOST}", "Renumber its segments.")
    return {number: title or f"segment {number}" for number, title in titles.items() if number}


def _frames(ds: Dataset) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Pixels (frame, row, column) that are zero outside, where each frame lies, and its segment; 0 of label maps."""
    pixels = np.asarray(ds.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if header.text(ds, "SegmentationType") == "FRACTIONAL":
        pixels = pixels > 0.5 * float(ds.MaximumFractionalValue)
    labelled = header.text(ds, "SOPClassUID") == LABELMAP_SEG or header.text(ds, "SegmentationType") == "LABELMAP"
    groups = ds.PerFrameFunctionalGroupsSequence
    if len(groups) != len(pixels):
        raise ValueError(f"{len(groups)} descriptions for {len(pixels)} frames")
    positions, numbers = [], []
    for group in groups:
        place = group if "PlanePositionSequence" in group else ds.SharedFunctionalGroupsSequence[0]
        positions.append([float(v) for v in place.PlanePositionSequence[0].ImagePositionPatient])
        numbers.append(0 if labelled else _segment(ds, group))
    return pixels, np.array(positions), numbers


def _segment(ds: Dataset, group: Dataset) -> int:
    told = group if "SegmentIdentificationSequence" in group else ds.SharedFunctionalGroupsSequence[0]
    return int(told.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _shared(ds: Dataset, sequence: str, keyword: str) -> tuple[float, ...]:
    shared = ds.SharedFunctionalGroupsSequence[0]
    group = shared if sequence in shared else ds.PerFrameFunctionalGroupsSequence[0]
    return tuple(float(v) for v in group[sequence].value[0][keyword].value)


def _stated(ds: Dataset, keyword: str) -> float | None:
    shared = ds.SharedFunctionalGroupsSequence[0]
    group = shared if "PixelMeasuresSequence" in shared else ds.PerFrameFunctionalGroupsSequence[0]
    value = header.number(group.PixelMeasuresSequence[0], keyword)
    return value if value and value > 0 else None


def _axes(orientation: Sequence[float], name: str) -> np.ndarray:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    axes = np.stack([row, column, np.cross(row, column)], axis=1)
    if axes.shape != (3, 3) or np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        raise GeometryError(f"{name}: the axes of its planes", "are not at right angles", ORIGINAL)
    left, _, right = np.linalg.svd(axes)
    return left @ right
