"""The picture under work: organs are painted one over the other with soft edges, so masks are crisp at any spacing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..deform import SmoothField
from ..labels import ID
from .grid import Grid
from .person import Person
from .shapes import Points

if TYPE_CHECKING:
    from ..uptake import Uptake
    from .materials import Looks

TEXTURES = {"fine": 4.5, "patch": 12.0, "broad": 45.0, "septa": 24.0, "gyri": 7.6}
"""Random fields by the distance of their knots in mm."""
ONCE = ("septa", "gyri")
"""Fields needed in one place only, not worth keeping for the whole grid."""


class Canvas:
    """PET, CT, MR and labels on one grid.

    A shape given as signed distance d covers a voxel by clip(1/2 - d/voxel): the partial volume of a plane edge.
    """

    def __init__(self, grid: Grid, person: Person, looks: Looks, uptake: Uptake, fine: bool = True) -> None:
        """`fine` = False leaves out what a coarse draft cannot show."""
        self.fine = fine
        self.grid, self.person, self.looks, self.uptake = grid, person, looks, uptake
        shape = grid.geometry.shape
        self.pet = np.zeros(shape, np.float32)
        self.ct = np.full(shape, -1000.0, np.float32)
        self.mr = np.zeros(shape, np.float32)
        self.label = np.zeros(shape, np.int16)
        self._fields = {name: SmoothField(person.rng(f"texture {name}"), knot) for name, knot in TEXTURES.items()}
        self._whole: dict[str, np.ndarray] = {}

    def texture(self, name: str, where: tuple[slice, slice, slice]) -> np.ndarray:
        """Unit-variance random field over a box; half precision is plenty for it and saves memory."""
        if name in ONCE:
            return self._fields[name].on_axes(*self.grid.world_axes(where))
        if name not in self._whole:
            self._whole[name] = self._fields[name].on_axes(*self.grid.axes).astype(np.float16)
        return self._whole[name][where]

    def box(self, low, high) -> Points | None:
        return self.grid.box(low, high)

    def paint(
        self,
        p: Points,
        d: np.ndarray,
        material: str,
        label: str | None = "",
        cover: np.ndarray | None = None,
        within: np.ndarray | None = None,
        gain: np.ndarray | None = None,
    ) -> None:
        """Lay a material over the voxels where d < 0.

        `label`: "" keeps the label that is there, None clears it. `cover` scales the coverage (fine structures);
        `within`: where False nothing is painted; `gain` multiplies the uptake.
        """
        first = 0
        for part in p.slabs():
            cut = slice(first, first + len(part.x))
            first = cut.stop
            cover_here, within_here, gain_here = (_cut(v, cut) for v in (cover, within, gain))
            self._paint(part, d[cut], material, label, cover_here, within_here, gain_here)

    def _paint(self, p: Points, d: np.ndarray, material: str, label: str | None, cover, within, gain) -> None:
        alpha = np.clip(np.float32(0.5) - d / np.float32(self.grid.voxel_mm), 0, 1)
        if cover is not None:
            alpha = alpha * cover
        if within is not None:
            alpha = np.where(within, alpha, np.float32(0))
        hit = np.nonzero(alpha)
        if not hit[0].size:
            return
        self._lay(p.where, alpha[hit], hit, material, np.float32(1) if gain is None else gain[hit])
        if label != "":
            inside = (d < 0) if within is None else (d < 0) & within
            self.label[p.where][inside] = ID[label] if label else 0

    def _lay(self, where: tuple[slice, slice, slice], alpha: np.ndarray, hit: tuple, material: str, gain) -> None:
        look, suv = self.looks[material], self.uptake[material]
        names = {name for name, amount in ((look.texture, look.hu_sd), (suv.texture, suv.cv)) if amount}
        fields = {name: self.texture(name, where)[hit].astype(np.float32) for name in names}
        for image, value in (
            (self.pet, gain * suv.values(fields.get(suv.texture))),
            (self.ct, look.ct(fields.get(look.texture))),
            (self.mr, look.mr_value(fields.get(look.texture))),
        ):
            block = image[where]
            before = block[hit]
            block[hit] = before + alpha * (value - before)


def _cut(values, part: slice):
    """A slab of an array; None and single numbers as they are."""
    return values[part] if np.ndim(values) == 3 else values
