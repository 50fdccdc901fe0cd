"""Skin and the lean body under it: trunk, neck, head, arms, thighs and the fat between the two surfaces."""

from __future__ import annotations

import numpy as np

from .frame import CROTCH_Z, Frame
from .grid import Grid
from .limbs import Limbs
from .shapes import FAR, Loft, Points, capsule, ellipsoid, smooth_cut, smooth_union

SKIN_MM = 2.0
# Fat over the trunk against that over the belly: level, front, side, back.
_FAT = np.array([(-120, 0.55, 0.9, 1.2), (-60, 0.6, 0.95, 1.35), (20, 0.95, 1.0, 1.3), (100, 1.1, 1.1, 1.0),
                 (165, 1.0, 0.95, 0.8), (240, 0.85, 0.75, 0.6), (320, 0.6, 0.6, 0.5), (430, 0.45, 0.55, 0.5),
                 (520, 0.4, 0.45, 0.55), (580, 0.3, 0.3, 0.4)])


class Outline:
    """Signed distances to the lean body and to the skin on a grid."""

    def __init__(self, frame: Frame, limbs: Limbs) -> None:
        self.frame, self.limbs = frame, limbs
        person = frame.person
        self.fat = person.subcutaneous_mm
        self.limb = 0.6 + 0.4 * person.muscle if person.male else 0.56 + 0.36 * person.muscle
        self.table_y = 131 + 0.42 * self.fat
        self.neck, self.face = _neck(person.male), _face()

    def on(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the lean surface and to the skin, for every voxel."""
        shape = grid.geometry.shape
        lean, skin = np.full(shape, FAR, np.float32), np.full(shape, FAR, np.float32)
        for low, high, part in self._parts():
            p = grid.box(np.array(low) - 45, np.array(high) + 45)
            if p is None:
                continue
            d, fat, k = part(p)
            lean[p.where] = smooth_union(lean[p.where], d, k)
            skin[p.where] = smooth_union(skin[p.where], d - fat, k)
        for low, high, part in self._breasts():
            p = grid.box(np.array(low) - 20, np.array(high) + 20)
            if p is not None:
                skin[p.where] = smooth_union(skin[p.where], part(p), 24)
        skin = smooth_cut(skin, grid.points.y - np.float32(self.table_y), 16)
        return smooth_cut(lean, skin + 3, 4), skin

    def _parts(self):
        """Boxes and functions p -> (distance, fat thickness, rounding of the crease)."""
        yield (-240, -200, -100), (240, 150, 575), self._trunk
        yield (-85, -60, 500), (85, 95, 665), self._neck
        yield (-105, -130, 560), (105, 120, 850), self._head
        for side in (-1, 1):
            for a, b, part in self._limb_parts(side):
                low, high = np.minimum(a, b) - 70 - self.fat, np.maximum(a, b) + 70 + self.fat
                yield low, high, part

    def _trunk(self, p: Points):
        d = self.frame.lean.closed(p, 45)
        return d, self.trunk_fat(p), 4.0

    def trunk_fat(self, p: Points) -> np.ndarray:
        """Thickness of the subcutaneous fat at a level and side of the trunk."""
        front, side, back = (np.interp(p.z, _FAT[:, 0], _FAT[:, i]).astype(np.float32) for i in (1, 2, 3))
        c = np.clip((p.y - 8) / np.sqrt(p.x**2 + (p.y - 8) ** 2 + 1), -1, 1)
        share = np.where(c > 0, side + (back - side) * c * c, side + (front - side) * c * c)
        return np.maximum(share * np.float32(self.fat), 2.5)

    def _neck(self, p: Points):
        return self.neck.closed(p, 30), np.float32(3.0 + 0.22 * self.fat), 34.0

    def _head(self, p: Points):
        return head_surface(self.frame.head(p), self.face), np.float32(3.5 + 0.05 * self.fat), 22.0

    def _limb_parts(self, side: int):
        at = lambda point: Limbs.of(side, point)  # noqa: E731
        l, m = self.limbs, self.limb
        fat_arm, fat_thigh = 0.4 * self.fat + 1.5, (0.75 if self.frame.person.male else 1.0) * self.fat
        up = self.frame.person.arms == "up"
        chest = np.array([side * (112 if up else 118), 30, 465 if up else 470])

        def shoulder(p: Points):
            muscle = smooth_union(capsule(p, at(l.shoulder), at(l.shoulder) * 0.55 + at(l.elbow) * 0.45, 47 * m, 40 * m),
                                  capsule(p, at(l.shoulder), chest, 44 * m, 52 * m), 40)
            return muscle, np.float32(fat_arm * 0.8), 45.0

        def nape(p: Points):
            """Trapezius from the neck to the shoulder."""
            d = capsule(p, np.array([side * 24, 44, 580]), at(l.shoulder) + (side * -14, 8, 22), 26 * m, (30 if up else 20) * m)
            return d, np.float32(fat_arm * 0.7), 26.0

        def upper(p: Points):
            middle = at(l.shoulder) * 0.4 + at(l.elbow) * 0.6
            d = smooth_union(capsule(p, at(l.shoulder), middle, 42 * m, 41 * m), capsule(p, middle, at(l.elbow), 41 * m, 34 * m), 20)
            return d, np.float32(fat_arm), 16.0 if not up else 30.0

        def fore(p: Points):
            bulge = at(l.elbow) * 0.72 + at(l.wrist) * 0.28
            d = smooth_union(capsule(p, at(l.elbow), bulge, 34 * m, 37 * m), capsule(p, bulge, at(l.wrist), 37 * m, 23 * m), 20)
            return d, np.float32(0.6 * fat_arm), 8.0

        def hand(p: Points):
            palm = at(l.wrist) * 0.45 + at(l.hand) * 0.55
            return capsule(p, at(l.wrist), palm, 21, 33, (1.9, 1.0, 1.0)), np.float32(2.5), 8.0

        def thigh(p: Points):
            hip = at((96, 6, -20))
            d = capsule(p, hip, at(l.knee), 81 * m, 58 * m)
            quad = capsule(p, at((104, -28, -60)), at((116, -18, -300)), 52 * m, 46 * m)
            return smooth_union(d, quad, 30), np.float32(fat_thigh), 18.0

        def buttock(p: Points):
            d = ellipsoid(p, at((74, 66, -8)), (70 * m, 64 * m, 84 * m))
            return d, np.float32(1.15 * self.fat), 30.0

        yield at(l.shoulder), chest, shoulder
        yield np.array([side * 24, 44, 580.0]), at(l.shoulder), nape
        yield at(l.shoulder), at(l.elbow), upper
        yield at(l.elbow), at(l.wrist), fore
        yield at(l.wrist), at(l.hand), hand
        yield at((96, 6, CROTCH_Z + 90)), at(l.knee), thigh
        yield at((74, 66, -80)), at((74, 66, 80)), buttock

    def _breasts(self):
        if self.frame.person.male:
            return
        for side in (-1, 1):
            centre, radii = self.breast(side)
            yield centre - radii, centre + radii, lambda p, c=centre, r=radii: ellipsoid(p, c, r)

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
    nose = smooth_union(capsule(p, (0, -88, 690), (0, -108, 657), 6, 10), capsule(p, (-7, -98, 653), (7, -98, 653), 8), 8)
    d = smooth_union(d, nose, 10)
    side = Points(np.abs(p.x), p.y, p.z)
    ear = ellipsoid(side, (77, 14, 688), (6, 16, 30))
    return smooth_union(d, ear, 6)
