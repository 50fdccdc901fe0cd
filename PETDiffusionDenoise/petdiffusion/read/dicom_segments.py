"""Masks of a DICOM SEG: binary, fractional, or a label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from ..suv import header
from ..volume import Geometry, LabelMap
from . import checks
from .dicom import frame_of_reference
from .dicom_masks import LABELMAP_SEG, Tell, tell_overlaps
from .dicom_planes import ORIGINAL, check_straight, planes
from .label_maps import chosen

if TYPE_CHECKING:
    from pydicom import Dataset

MOST = 32767
"""What a label map holds."""
SAME = 1e-3
"""By so much what headers say of one thing may differ."""


def masks(ds: Dataset, name: str, only: Sequence[str], tell: Tell) -> LabelMap:
    """All segments in one map, by their numbers; where some overlap the smaller one is kept."""
    names = chosen(_names(ds, name), only)
    frames, positions, numbers = _frames(ds)
    orientation = _same(ds, "PlaneOrientationSequence", "ImageOrientationPatient", name)
    spacing = _same(ds, "PixelMeasuresSequence", "PixelSpacing", name)
    axes = _axes(orientation, name)
    check_straight(positions, axes[:, 2], min(spacing), name)
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
    made = LabelMap(array, geometry, names, frame_of_reference(header.text(ds, "FrameOfReferenceUID")))
    tell_overlaps(made, {int(n): int(size[n]) for n in names if 0 < n < len(size)}, tell)
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
        pixels = pixels >= 0.5 * float(ds.MaximumFractionalValue)
    labelled = header.text(ds, "SOPClassUID") == LABELMAP_SEG or header.text(ds, "SegmentationType") == "LABELMAP"
    groups = ds.PerFrameFunctionalGroupsSequence
    if len(groups) != len(pixels):
        raise ValueError(f"{len(groups)} descriptions for {len(pixels)} frames")
    numbers = [0 if labelled else _segment(ds, group) for group in groups]
    return pixels, _of_frames(ds, "PlanePositionSequence", "ImagePositionPatient"), numbers


def _segment(ds: Dataset, group: Dataset) -> int:
    told = group if "SegmentIdentificationSequence" in group else ds.SharedFunctionalGroupsSequence[0]
    return int(told.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _of_frames(ds: Dataset, sequence: str, keyword: str) -> np.ndarray:
    """The numbers (frame, value) that each frame says, or all share."""

    def said(group: Dataset) -> list[float]:
        return [float(v) for v in group[sequence].value[0][keyword].value]

    own = [said(group) if sequence in group else None for group in ds.PerFrameFunctionalGroupsSequence]
    shared = said(ds.SharedFunctionalGroupsSequence[0]) if None in own else None
    return np.array([shared if values is None else values for values in own])


def _same(ds: Dataset, sequence: str, keyword: str, name: str) -> tuple[float, ...]:
    """Of all frames: one grid has one."""
    values = _of_frames(ds, sequence, keyword)
    other = values[int(np.abs(values - values[0]).max(axis=1).argmax())]
    if np.abs(other - values[0]).max() > SAME:
        raise GeometryError(f"{name}: {keyword} {values[0].tolist()} and {other.tolist()}", "occur in its frames",
                            "Export masks of parallel planes, one series in a file.")
    return tuple(values[0].tolist())


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
