"""Pictures of a case: slices and projections, upright, cut to the patient, with lesion outlines in millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...measure.checks import bounding_box
from ...measure.lesions import split_lesions
from ...measure.rows import place_of
from ...prepare.upright import PLACES
from ...volume import SUVBW
from .colour import DIVERGING, SEQUENTIAL, Scale, grey_scale, resized, round_up
from .model import DENOISED, LOW, REFERENCE, SD, CaseReport
from .orient import Upright, upright

MARGIN_MM = 12.0
AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Axis of (superior, posterior, left) that runs through the slices."""
EDGES = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "H", "F"), "sagittal": ("A", "P", "H", "F")}
"""Letters at the left, right, upper and lower edge."""
LONGEST_PX, SHORTEST_PX = 520, 260
AGAINST_LOW, AGAINST_REFERENCE = f"{DENOISED} − {LOW}", f"{DENOISED} − {REFERENCE}"
LONG_FIELD_MM, WHOLE_BODY_SUV = 600.0, 7.0


@dataclass(frozen=True)
class Picture:
    """Values of one plane, rows from the top, and how large a pixel is (height, width in mm)."""

    values: np.ndarray
    pixel_mm: tuple[float, float]

    @property
    def size_mm(self) -> tuple[float, float]:
        """(width, height)."""
        return self.values.shape[1] * self.pixel_mm[1], self.values.shape[0] * self.pixel_mm[0]

    def square(self) -> np.ndarray:
        """On square pixels: fine enough for a screen, and no larger."""
        width, height = self.size_mm
        longest = float(np.clip(max(self.values.shape), SHORTEST_PX, LONGEST_PX))
        step = max(width, height) / longest
        return resized(self.values, max(round(width / step), 1), max(round(height / step), 1))


class Views:
    """Every image of the report, turned upright and cut to the patient."""

    def __init__(self, report: CaseReport) -> None:
        self.report = report
        self.turn: Upright = upright(report.low.geometry)
        box = self._box()
        self.offset = tuple(s.start for s in box)
        self.images = {name: self.turn(v.array)[box] for name, v in report.images.items()}
        self.body = None if report.body is None or not report.body.any() else self.turn(report.body)[box]
        self.lesions = None if report.lesions is None else self.turn(split_lesions(report.lesions).array)[box]

    def placed(self, array: np.ndarray) -> np.ndarray:
        """Another array of the scan's grid, turned and cut like the images."""
        return self.turn(array)[self._box()]

    def at(self, row: Mapping[str, Any]) -> tuple[int, int, int] | None:
        """The voxel of these images at a row's place (LPS); None without a place inside them."""
        place = place_of(row)
        if place is None:
            return None
        geometry = self.report.low.geometry
        index = np.rint(np.linalg.solve(geometry.affine, [*place, 1.0])[:3]).astype(int)[::-1]
        turned = [index[axis] for axis in self.turn.axes]
        counts = [geometry.shape[axis] for axis in self.turn.axes]
        upright_ = [n - 1 - i if flip else i for i, n, flip in zip(turned, counts, self.turn.flips, strict=True)]
        voxel = tuple(int(i) - start for i, start in zip(upright_, self.offset, strict=True))
        return voxel if all(0 <= i < n for i, n in zip(voxel, self.shape, strict=True)) else None

    def _box(self) -> tuple[slice, ...]:
        body = self.report.body
        patient = body if body is not None and body.any() else np.ones(self.report.low.geometry.shape, bool)
        margin = tuple(int(np.ceil(MARGIN_MM / step)) for step in self.turn.spacing)
        return bounding_box(self.turn(patient), margin)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images[LOW].shape

    def count(self, plane: str) -> int:
        return self.shape[AXES[plane]]

    def numbers(self, plane: str) -> np.ndarray:
        """The file's own index, from 0, of every slice of a plane: what tables call slice, row or column."""
        axis = AXES[plane]
        index = np.arange(self.shape[axis]) + self.offset[axis]
        return self.file_count(plane) - 1 - index if self.turn.flips[axis] else index

    def counted(self, plane: str) -> str:
        """The tables' column that counts these slices: tables call the file's axes column, row and slice."""
        return PLACES[2 - self.turn.axes[AXES[plane]]]

    def file_count(self, plane: str) -> int:
        """Slices of the plane in the file, of which these images are cut out."""
        return self.report.low.geometry.shape[self.turn.axes[AXES[plane]]]

    def slice_of(self, array: np.ndarray, plane: str, index: int) -> Picture:
        return Picture(oriented(np.take(array, index, axis=AXES[plane]), plane), self.pixel_mm(plane))

    def projection_of(self, array: np.ndarray, plane: str) -> Picture:
        """Maximum intensity projection, seen from the front (coronal) or from the left (sagittal)."""
        return Picture(oriented(array.max(axis=AXES[plane]), plane), self.pixel_mm(plane))

    def pixel_mm(self, plane: str) -> tuple[float, float]:
        rows, columns = (self.turn.spacing[a] for a in range(3) if a != AXES[plane])
        return rows, columns

    @cached_property
    def differences(self) -> dict[str, np.ndarray]:
        found = {AGAINST_LOW: self.images[DENOISED] - self.images[LOW]}
        if REFERENCE in self.images:
            found[AGAINST_REFERENCE] = self.images[DENOISED] - self.images[REFERENCE]
        return found

    @cached_property
    def grey(self) -> Scale:
        """0 to a round value above 99.5 % of the patient's voxels, in the best image there is.

        On a long field brain and bladder alone would decide it: there it ends at the SUV that readers are used to.
        """
        suv = self.report.unit == SUVBW
        top = round_up(self._percentile(self.best, 99.5), suv)
        long = max(n * step for n, step in zip(self.shape, self.turn.spacing)) > LONG_FIELD_MM
        return grey_scale(min(top, WHOLE_BODY_SUV) if suv and long else top, self.report.quantity)

    @cached_property
    def diverging(self) -> Scale:
        wide = max(self._percentile(np.abs(d), 99.0) for d in self.differences.values())
        top = min(round_up(wide, self.report.unit == SUVBW), max(self.grey.high, 1e-30))
        return Scale(-top, top, DIVERGING, f"difference in {self.report.quantity}")

    @cached_property
    def spread(self) -> Scale:
        top = round_up(self._percentile(self.images[SD], 99.5), self.report.unit == SUVBW)
        return Scale(0.0, top, SEQUENTIAL, f"SD in {self.report.quantity}")

    def _percentile(self, array: np.ndarray, percent: float) -> float:
        values = array[self.body] if self.body is not None else array.ravel()
        return float(np.percentile(values[:: max(values.size // 2_000_000, 1)], percent))

    @cached_property
    def best(self) -> np.ndarray:
        return self.images.get(REFERENCE, self.images[DENOISED])

    @cached_property
    def peaks(self) -> dict[int, tuple[int, int, int]]:
        """The hottest voxel of every lesion in the best image there is."""
        from scipy import ndimage

        boxes = [] if self.lesions is None else ndimage.find_objects(self.lesions)
        return {
            n: _hottest(np.where(self.lesions[box] == n, self.best[box], -np.inf), box)
            for n, box in enumerate(boxes, start=1)
            if box
        }

    @cached_property
    def focus(self) -> tuple[int, int, int]:
        """Where the slices are taken: the hottest voxel of the lesions, else the middle of the activity."""
        if self.peaks:
            return max(self.peaks.values(), key=lambda voxel: self.best[voxel])
        weights = [np.maximum(self.best, 0).sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        return tuple(
            round(float(np.average(np.arange(len(w)), weights=w))) if w.sum() > 0 else len(w) // 2 for w in weights
        )

    def outlines(self, plane: str, index: int | None) -> dict[int, str]:
        """SVG paths in mm by lesion number, of one slice or, for None, of the projection."""
        if self.lesions is None:
            return {}
        shown = self.lesions.max(axis=AXES[plane]) if index is None else np.take(self.lesions, index, AXES[plane])
        return paths(oriented(shown, plane), self.pixel_mm(plane))


def _hottest(values: np.ndarray, box: tuple[slice, ...]) -> tuple[int, int, int]:
    where = np.unravel_index(np.argmax(values), values.shape)
    return tuple(int(v) + s.start for v, s in zip(where, box, strict=True))


def oriented(plane_values: np.ndarray, plane: str) -> np.ndarray:
    """Coronal and sagittal rows run from head to feet on the page; axial rows already run from front to back."""
    return plane_values if plane == "axial" else plane_values[::-1]


def paths(labels: np.ndarray, pixel_mm: tuple[float, float]) -> dict[int, str]:
    """A smooth line just outside every label, as an SVG path in mm from the upper left corner."""
    from scipy.ndimage import gaussian_filter
    from skimage.measure import find_contours

    found = {}
    for number in np.unique(labels):
        if number == 0:
            continue
        box = tuple(slice(int(w.min()), int(w.max()) + 1) for w in np.nonzero(labels == number))
        soft = gaussian_filter(np.pad(labels[box] == number, 4).astype(float), 0.8)
        corner = np.array([s.start - 4 + 0.5 for s in box])
        lines = find_contours(soft, min(0.3, 0.5 * soft.max()))
        found[int(number)] = "".join(_path((line + corner) * pixel_mm) for line in lines)
    return found


def _path(points: np.ndarray) -> str:
    moves = "L".join(f"{x:.1f} {y:.1f}" for y, x in points[:-1])
    return f"M{moves}Z"


def anchors(outlines: Mapping[int, str]) -> dict[int, tuple[float, float]]:
    """Where to write each lesion's number: just beyond the right end of its outline."""
    found = {}
    for number, path in outlines.items():
        points = np.array(
            [[float(v) for v in p.split()] for p in path.replace("M", "L").replace("Z", "").split("L") if p.strip()]
        )
        found[number] = tuple(float(v) for v in points[points[:, 0].argmax()])
    return found
