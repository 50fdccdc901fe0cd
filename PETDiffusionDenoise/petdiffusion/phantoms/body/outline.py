"""Skin and the lean body under it: trunk, neck, head, arms, thighs and the fat between the two surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .frame import Frame
from .grid import Grid
from .limbs import Limbs
from .pelvic import genital_front
from .shapes import FAR, Loft, Points, capsule, ellipsoid, smooth_cut, smooth_union

SKIN_MM = 2.0
# Fat over the trunk against that over the belly: level, front, side, back.
_FAT = np.array(
    [
        (-120, 0.55, 0.9, 1.2),
        (-60, 0.6, 0.95, 1.35),
        (20, 0.95, 1.0, 1.3),
        (100, 1.1, 1.1, 1.0),
        (165, 1.0, 0.95, 0.8),
        (240, 0.85, 0.75, 0.6),
        (320, 0.6, 0.6, 0.5),
        (430, 0.45, 0.55, 0.5),
        (520, 0.4, 0.45, 0.55),
        (580, 0.3, 0.3, 0.4),
    ]
)


@dataclass(frozen=True)
class Piece:
    """A part of a limb: cones (start, end, radii, flatness) melted together, its fat, how softly it joins the body."""

    cones: tuple[tuple, ...]
    fat: float
    join: float
    melt: float = 20.0

    def distance(self, p: Points) -> np.ndarray:
        total = capsule(p, *self.cones[0])
        for cone in self.cones[1:]:
            total = smooth_union(total, capsule(p, *cone), self.melt)
        return total

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        ends = np.array([end for cone in self.cones for end in cone[:2]])
        reach = max(max(cone[2:4]) for cone in self.cones) + self.fat
        return ends.min(0) - reach, ends.max(0) + reach


class Outline:
    """Signed distances to the lean body and to the skin on a grid."""

    def __init__(self, frame: Frame, limbs: Limbs) -> None:
        self.frame, self.limbs = frame, limbs
        person = frame.person
        self.fat, self.up = person.subcutaneous_mm, person.arms == "up"
        self.limb = 0.6 + 0.4 * person.muscle if person.male else 0.56 + 0.36 * person.muscle
        self.table_y = 131 + 0.42 * self.fat
        self.neck, self.face = _neck(person.male), _face()

    def on(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the lean surface and to the skin, for every voxel."""
        shape = grid.geometry.shape
        lean, skin = np.full(shape, FAR, np.float32), np.full(shape, FAR, np.float32)
        for low, high, part in self._core():
            self._join(grid, lean, skin, low, high, part)
        for piece in self.pieces():
            low, high = piece.bounds()
            self._join(
                grid, lean, skin, low, high, lambda p, one=piece: (one.distance(p), np.float32(one.fat), one.join)
            )
        self._add_breasts(grid, skin)
        for p in grid.everywhere().slabs():
            skin[p.where] = smooth_cut(skin[p.where], p.y - np.float32(self.table_y), 16)
            lean[p.where] = smooth_cut(lean[p.where], skin[p.where] + 3, 4)
        return lean, skin

    @staticmethod
    def _join(grid: Grid, lean: np.ndarray, skin: np.ndarray, low, high, part) -> None:
        box = grid.box(np.array(low) - 45, np.array(high) + 45)
        for p in box.slabs() if box else ():
            d, fat, k = part(p)
            lean[p.where] = smooth_union(lean[p.where], d, k)
            skin[p.where] = smooth_union(skin[p.where], d - fat, k)

    def _core(self):
        """Boxes and functions p -> (distance, fat thickness, rounding of the crease) of trunk, neck and head."""
        yield (-240, -200, -100), (240, 150, 575), lambda p: (self.frame.lean.closed(p, 45), self.trunk_fat(p), 4.0)
        yield (-85, -60, 500), (85, 95, 665), lambda p: (self.neck.closed(p, 30), np.float32(3 + 0.22 * self.fat), 34.0)
        yield (
            (-105, -130, 560),
            (105, 120, 850),
            lambda p: (head_surface(self.frame.head(p), self.face), np.float32(3.5 + 0.05 * self.fat), 22.0),
        )

    def trunk_fat(self, p: Points) -> np.ndarray:
        """Thickness of the subcutaneous fat at a level and side of the trunk."""
        front, side, back = (np.interp(p.z, _FAT[:, 0], _FAT[:, i]).astype(np.float32) for i in (1, 2, 3))
        c = np.clip((p.y - 8) / np.sqrt(p.x**2 + (p.y - 8) ** 2 + 1), -1, 1)
        share = np.where(c > 0, side + (back - side) * c * c, side + (front - side) * c * c)
        return np.maximum(share * np.float32(self.fat), 2.5)

    def pieces(self) -> Iterator[Piece]:
        """Shoulders, arms, hands, thighs and buttocks of both sides; scrotum and penis."""
        for side in (-1, 1):
            yield from self._arm(side)
            yield from self._leg(side)
        if self.frame.person.male:
            front = genital_front(self.frame)
            yield Piece(((np.array([-16, front + 22, -105]), np.array([16, front + 22, -108]), 20, 20),), 4.0, 14)
            yield Piece(((np.array([0, front + 26, -62]), np.array([2, front - 8, -100]), 13, 12),), 3.0, 12)

    def _arm(self, side: int) -> Iterator[Piece]:
        shoulder, elbow, wrist, hand = (
            Limbs.of(side, point)
            for point in (self.limbs.shoulder, self.limbs.elbow, self.limbs.wrist, self.limbs.hand)
        )
        m, fat, up = self.limb, 0.4 * self.fat + 1.5, self.up
        chest = np.array([side * (112 if up else 118), 30, 465 if up else 470])
        middle, bulge, palm = 0.4 * shoulder + 0.6 * elbow, 0.72 * elbow + 0.28 * wrist, 0.45 * wrist + 0.55 * hand
        yield Piece(
            ((shoulder, 0.55 * shoulder + 0.45 * elbow, 47 * m, 40 * m), (shoulder, chest, 44 * m, 52 * m)),
            0.8 * fat,
            45,
            40,
        )
        nape = (np.array([side * 24, 44, 580]), shoulder + (side * -14, 8, 22), 26 * m, (30 if up else 20) * m)
        yield Piece((nape,), 0.7 * fat, 26)
        yield Piece(((shoulder, middle, 42 * m, 41 * m), (middle, elbow, 41 * m, 34 * m)), fat, 30 if up else 16)
        yield Piece(((elbow, bulge, 34 * m, 37 * m), (bulge, wrist, 37 * m, 23 * m)), 0.6 * fat, 8)
        yield Piece(((wrist, palm, 21, 33, (1.9, 1.0, 1.0)),), 2.5, 8)

    def _leg(self, side: int) -> Iterator[Piece]:
        m, knee = self.limb, Limbs.of(side, self.limbs.knee)
        at = np.array([side, 1.0, 1.0])
        thigh = (at * (96, 6, -20), knee, 81 * m, 58 * m)
        quadriceps = (at * (104, -28, -60), at * (116, -18, -300), 52 * m, 46 * m)
        yield Piece((thigh, quadriceps), (0.75 if self.frame.person.male else 1.0) * self.fat, 18, 30)
        buttock = (at * (76, 68, -32), at * (72, 66, 14), 62 * m, 62 * m)
        yield Piece((buttock,), 1.15 * self.fat, 30)

    def _add_breasts(self, grid: Grid, skin: np.ndarray) -> None:
        if self.frame.person.male:
            return
        for side in (-1, 1):
            centre, radii = self.breast(side)
            p = grid.box(centre - radii - 20, centre + radii + 20)
            if p is not None:
                skin[p.where] = smooth_union(skin[p.where], ellipsoid(p, centre, radii), 24)

    def breast(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Centre and radii of a breast flattened by lying on the back."""
        front = float(self.frame.lean.surface(35.0, 402)[1]) - 0.45 * self.fat
        size = 0.82 + 0.012 * self.fat
        return np.array([side * 82.0, front + 8, 402.0]), np.array([62 * size, 30 * size + 0.2 * self.fat, 60 * size])


def _neck(male: bool) -> Loft:
    s = 1.0 if male else 0.88
    z = np.array([500, 530, 560, 590, 620, 650, 675])
    width = np.array([84, 68, 58, 56, 57, 60, 60]) * s
    front = np.array([-36, -38, -41, -46, -52, -55, -50]) * (0.5 + 0.5 * s)
    back = np.array([96, 88, 78, 71, 70, 74, 76]) * (0.6 + 0.4 * s)
    return Loft(z, width, front, back, 2.1)


def _face() -> Loft:
    z = np.array([582, 590, 605, 630, 660, 690, 720, 750])
    width = np.array([18, 33, 47, 58, 64, 66, 68, 66])
    front = np.array([-78, -87, -91, -92, -93, -88, -90, -86])
    back = np.array([-46, -30, -8, 20, 45, 60, 60, 55])
    return Loft(z, width, front, back, (2.2, 2.2, 2.3, 2.4, 2.4, 2.3, 2.2, 2.1))


def head_surface(p: Points, face: Loft) -> np.ndarray:
    """Scalp and face without fat: cranium, face, nose and ears."""
    skull = ellipsoid(p, (0, 3, 737), (73, 93, 78))
    d = smooth_union(skull, face.closed(p, 16), 22)
    nose = smooth_union(
        capsule(p, (0, -88, 690), (0, -108, 657), 6, 10), capsule(p, (-7, -98, 653), (7, -98, 653), 8), 8
    )
    d = smooth_union(d, nose, 10)
    ear = ellipsoid(Points(np.abs(p.x), p.y, p.z), (77, 14, 688), (6, 16, 30))
    return smooth_union(d, ear, 6)
