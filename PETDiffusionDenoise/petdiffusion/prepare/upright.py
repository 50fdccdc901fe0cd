"""A scan as methods know it, however its file lies in memory: x to the patient's left, y to the back, z to the head.

NIfTI files often run to the right and to the front. To a network that knows where in a body it is, such a scan shows a
patient lying face down with the liver on the left: it is turned before, and the result is turned back. Nothing is
interpolated: axes change their order and their sense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any, TypeVar

import numpy as np

from ..errors import GeometryError
from ..methods.contract import Case, Output
from ..progress import Run
from ..volume import Geometry, LabelMap, Volume

I = TypeVar("I", Volume, LabelMap)
Denoise = Callable[[Case, Mapping[str, Any], Run], Output]
PLACES = ("column", "row", "slice")
"""Columns of tables that count voxels along x, y, z."""


@dataclass(frozen=True)
class Turn:
    """`order`: which of the file's axes becomes x, y and z; `reversed`: which of these then run the other way."""

    order: tuple[int, int, int]
    reversed: tuple[bool, bool, bool]
    given: Geometry

    @classmethod
    def of(cls, geometry: Geometry) -> Turn:
        """By the axes of the patient that the file's are nearest to."""
        towards = np.reshape(geometry.direction, (3, 3))  # [patient's axis, file's axis]
        order = max(permutations(range(3)), key=lambda p: sum(abs(towards[i, axis]) for i, axis in enumerate(p)))
        return cls(order, tuple(bool(towards[i, axis] < 0) for i, axis in enumerate(order)), geometry)

    @classmethod
    def onto(cls, geometry: Geometry, other: Geometry, tolerance_mm: float) -> Turn | None:
        """That which lays the voxels of one grid onto those of another; None where none does."""
        ways = ((order, turned) for order in permutations(range(3)) for turned in product((False, True), repeat=3))
        turns = (cls(*way, geometry) for way in ways)
        return next((turn for turn in turns if turn.geometry.close_to(other, tolerance_mm)), None)

    @property
    def needed(self) -> bool:
        return self.order != (0, 1, 2) or any(self.reversed)

    @property
    def geometry(self) -> Geometry:
        g, order = self.given, list(self.order)
        first = [0.0, 0.0, 0.0]
        for axis, turned in zip(order, self.reversed):
            first[axis] = g.size[axis] - 1.0 if turned else 0.0
        signs = np.where(self.reversed, -1.0, 1.0)
        direction = np.reshape(g.direction, (3, 3))[:, order] * signs
        origin = (g.affine @ [*first, 1.0])[:3]
        size, spacing = (tuple(values[axis] for axis in order) for values in (g.size, g.spacing))
        return Geometry(size, spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))

    def array(self, given: np.ndarray) -> np.ndarray:
        """(z, y, x) as methods know it."""
        moved = given.transpose([2 - axis for axis in self.order[::-1]])
        return np.ascontiguousarray(moved[self._senses])

    def back(self, upright: np.ndarray) -> np.ndarray:
        """(z, y, x) as in the file."""
        order = [2 - axis for axis in self.order[::-1]]
        return np.ascontiguousarray(upright[self._senses].transpose(np.argsort(order)))

    @property
    def _senses(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if turned else 1) for turned in self.reversed[::-1])

    def image(self, given: I) -> I:
        return replace(given, array=self.array(given.array), geometry=self.geometry) if self.needed else given

    def case(self, case: Case) -> Case:
        given = {name: getattr(case, name) for name in ("pet", "ct", "mr", "labels")}
        images = {name: None if image is None else self.image(image) for name, image in given.items()}
        return replace(case, body=self.array(case.body), as_given=self.given, **images)

    def slice_of(self, number: int) -> int:
        """The slice, counted from the feet, of one that the file counts."""
        if self.order[2] != 2:
            raise GeometryError(f"Slice {number}", "cannot be told: this file's slices are not axial",
                                "Give places in millimetres (z_mm).")  # fmt: skip
        return self.given.size[2] - 1 - number if self.reversed[2] else number

    def output(self, output: Output, pet: Volume) -> Output:
        """On the grid of the PET as it was given."""

        def back(image: Volume | LabelMap | None) -> Any:
            return None if image is None else replace(image, array=self.back(image.array), geometry=pet.geometry)

        images = {name: back(getattr(output, name)) for name in ("pet", "sd", "organs", "lesions")}
        maps = {name: back(image) for name, image in output.maps.items()}
        tables = {name: [self._row(row) for row in rows] for name, rows in output.tables.items()}
        return replace(output, **images, maps=maps, tables=tables)

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Voxels counted as in the file."""
        found = {}
        for new, name in enumerate(PLACES):
            if row.get(name) is not None:
                axis = self.order[new]
                last = self.given.size[axis] - 1
                found[PLACES[axis]] = last - row[name] if self.reversed[new] else row[name]
        return {name: value for name, value in row.items() if name not in PLACES or name in found} | found


def upright(denoise: Denoise) -> Denoise:
    """The method, given every case as it knows it."""

    def worked(case: Case, options: Mapping[str, Any], run: Run) -> Output:
        turn = Turn.of(case.pet.geometry)
        if not turn.needed:
            return denoise(case, options, run)
        heard = run.on_sample
        if heard is not None:
            run.on_sample = lambda image: heard(turn.back(np.asarray(image)))
        try:
            return turn.output(denoise(turn.case(case), options, run), case.pet)
        finally:
            run.on_sample = heard

    return worked


def turned(image: I) -> I:
    """The image upright, as trainings take it."""
    return Turn.of(image.geometry).image(image)
