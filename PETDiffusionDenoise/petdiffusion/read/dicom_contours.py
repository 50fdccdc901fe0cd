"""Masks of an RTSTRUCT: its contours, filled plane by plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from ..suv import header
from ..volume import Geometry, LabelMap
from . import checks
from .dicom_planes import ORIGINAL, planes

if TYPE_CHECKING:
    from pydicom import Dataset

FINEST_MM, MOST_PIXELS = 1.0, 1024
"""Contours are filled on pixels of that size, larger ones where there would be more than so many along an axis."""
OUTLINE = "EXTERNAL"
"""The patient's outline: neither organ nor lesion."""


def masks(ds: Dataset, name: str) -> LabelMap:
    """Every region but the patient's outline, by a number of its own; where some overlap the smaller one is kept."""
    titles = {int(item.ROINumber): header.text(item, "ROIName") for item in ds.get("StructureSetROISequence", ())}
    outlines = {int(item.ReferencedROINumber) for item in ds.get("RTROIObservationsSequence", ())
                if header.text(item, "RTROIInterpretedType").upper() == OUTLINE}  # fmt: skip
    regions = {number: list(contours) for number, contours in _contours(ds, name) if number not in outlines}
    regions = {number: contours for number, contours in regions.items() if contours}
    if not regions:
        raise InputError(f"{name}", "holds no closed contour besides the patient's outline",
                         "Give another structure set.")
    axes = _plane_axes([contour for contours in regions.values() for contour in contours], name)
    turned = {number: [contour @ axes for contour in contours] for number, contours in regions.items()}
    every = np.concatenate([contour for contours in turned.values() for contour in contours])
    heights = np.array([contour[:, 2].mean() for contours in turned.values() for contour in contours])
    first, step, count = planes(heights, _slab(ds), name)
    low, high = every[:, :2].min(axis=0), every[:, :2].max(axis=0)
    pixel = max(FINEST_MM, float((high - low).max()) / MOST_PIXELS)
    size = [int(n) for n in np.ceil((high - low) / pixel) + 3]
    checks.memory((*size, count), 2, name)
    start = np.array([*(low - pixel), first])
    array = np.zeros((count, size[1], size[0]), np.int16)
    values = {number: value for value, number in enumerate(sorted(turned), 1)}
    for number in sorted(turned, key=lambda n: -sum(map(_area, turned[n]))):  # a small one stays within a large one
        _fill(array, values[number], turned[number], start, (pixel, step))
    geometry = Geometry((*size, count), (pixel, pixel, step), tuple(axes @ start), tuple(axes.ravel()))
    return LabelMap(array, geometry, {value: titles.get(number) or f"region {number}"
                                      for number, value in values.items()})  # fmt: skip


def _contours(ds: Dataset, name: str) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    for region in ds.get("ROIContourSequence", ()):
        yield int(region.ReferencedROINumber), _points(region, name)


def _points(region: Dataset, name: str) -> Iterator[np.ndarray]:
    for item in region.get("ContourSequence", ()):
        if not header.text(item, "ContourGeometricType").upper().startswith("CLOSED"):
            continue
        try:
            points = np.array([float(v) for v in item.ContourData]).reshape(-1, 3)
        except (AttributeError, ValueError, TypeError) as error:
            raise InputError(f"{name}: a contour", f"cannot be read ({error})", ORIGINAL) from error
        if len(points) > 2:
            yield points


def _plane_axes(contours: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Columns: two in the planes of all contours and their normal; those of the patient where they fit."""
    largest = max(contours, key=lambda points: float(np.ptp(points, axis=0).max()))
    normal = np.linalg.svd(largest - largest.mean(axis=0))[2][2]
    nearest = int(np.argmax(np.abs(normal)))
    if abs(normal[nearest]) > 1 - 1e-4:
        normal = np.eye(3)[nearest]
    normal = normal * np.sign(normal[nearest])
    across = np.eye(3)[0 if nearest else 1]
    across = across - normal * (across @ normal)
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(normal, across), normal], axis=1)
    if max(float(np.ptp(points @ normal)) for points in contours) > 1.0:
        raise GeometryError(f"{name}: its contours", "do not lie in parallel planes", ORIGINAL)
    return axes


def _slab(ds: Dataset) -> float | None:
    """What a file may say of planes whose distance no second plane tells."""
    for region in ds.get("ROIContourSequence", ()):
        for item in region.get("ContourSequence", ()):
            if value := header.number(item, "ContourSlabThickness"):
                return value
    return None


def _area(points: np.ndarray) -> float:
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def _fill(array: np.ndarray, value: int, contours: Sequence[np.ndarray], start: np.ndarray, steps: tuple[float, float]
          ) -> None:  # fmt: skip
    """A region plane by plane; where its contours lie within one another every second is a hole."""
    from skimage.draw import polygon

    pixel, step = steps
    by_plane: dict[int, list[np.ndarray]] = {}
    for points in contours:
        by_plane.setdefault(round((float(points[:, 2].mean()) - start[2]) / step), []).append(points)
    for number, own in by_plane.items():
        inside = np.zeros(array.shape[1:], bool)
        for points in own:
            rows, columns = (points[:, 1] - start[1]) / pixel, (points[:, 0] - start[0]) / pixel
            inside[polygon(rows, columns, inside.shape)] ^= True
        array[number][inside] = value
