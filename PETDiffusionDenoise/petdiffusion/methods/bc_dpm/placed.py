"""A case as the network works on it: pixels it was trained for, cropped to the body; and the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...infer.tiles import body_box
from ...methods.contract import Case
from ...prepare import grids
from ...volume import Geometry, Volume

SLACK = 1.15
"""Pixels this much outside the trained range are still taken as they are."""
MARGIN, MULTIPLE = 12, 8
"""Pixels kept around the body: projections and filters need some air."""


@dataclass(frozen=True, eq=False)
class Placed:
    """`pet` and `body` on the working grid; `back` brings an image made there onto the case's own grid."""

    pet: Volume
    body: np.ndarray
    box: tuple[slice, slice, slice]
    case: Case

    @property
    def low(self) -> np.ndarray:
        return self.pet.array[self.box]

    @property
    def inside(self) -> np.ndarray:
        return self.body[self.box]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """(y, x)"""
        return self.pet.geometry.spacing[1], self.pet.geometry.spacing[0]

    @property
    def slice_mm(self) -> float:
        return self.pet.geometry.spacing[2]

    def cropped(self, image: np.ndarray) -> Volume:
        """An image of the box as a volume."""
        g = self.pet.geometry
        first = tuple(grids.world_points(np.array([[b.start for b in self.box]]), g)[0])
        return replace(self.pet, array=image, geometry=Geometry(image.shape[::-1], g.spacing, first, g.direction))

    def back(self, part: np.ndarray, around: np.ndarray) -> np.ndarray:
        """`part` fills the box, `around` (of the working grid) what lies outside of it."""
        whole = np.array(around, np.float32)
        whole[self.box] = part
        return grids.resample(self.pet.with_array(whole), self.case.pet.geometry).array


def place(case: Case, pixel_mm: tuple[float, float] | None) -> Placed:
    """Slices stay where they are; their pixels are resampled only if the network saw none so small or so large."""
    geometry = working_grid(case.pet.geometry, pixel_mm)
    body = case.body
    if geometry is not case.pet.geometry:
        mask = grids.resample(case.pet.with_array(body.astype(np.float32)), geometry)
        body = mask.array > 0.5
    pet = replace(grids.resample(case.pet, geometry), geometry=geometry)
    box = body_box(body, MARGIN, (1, MULTIPLE, MULTIPLE)) if body.any() else None
    whole = tuple(slice(0, n) for n in body.shape)
    return Placed(pet, body, whole if box is None else box.inside(body.shape), case)


def working_grid(geometry: Geometry, pixel_mm: tuple[float, float] | None) -> Geometry:
    """The same extent with pixels within the trained range; the very same grid where they are already."""
    if pixel_mm is None:
        return geometry
    low, high = pixel_mm[0] / SLACK, pixel_mm[1] * SLACK
    wanted = [float(np.clip(step, low, high)) for step in geometry.spacing[:2]]
    if np.allclose(wanted, geometry.spacing[:2]):
        return geometry
    size = [max(1, round(n * step / new)) for n, step, new in zip(geometry.size, geometry.spacing, wanted)]
    spacing = [n * step / m for n, step, m in zip(geometry.size, geometry.spacing, size)]
    first = np.array([[0.0, *((n / m - 1) / 2 for n, m in zip(geometry.size[1::-1], size[::-1]))]])
    origin = tuple(grids.world_points(first, geometry)[0])
    return Geometry((*size, geometry.size[2]), (*spacing, geometry.spacing[2]), origin, geometry.direction)
