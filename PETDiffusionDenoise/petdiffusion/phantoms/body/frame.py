"""Landmarks all organs are placed by: spine, inner and outer surface of the trunk wall, diaphragm.

Canonical millimetres of a person 1.72 m tall lying on the back: origin between the hip joints, x to the left, y to the
back, z to the head. Levels follow anatomical tables of vertebral heights and standard body proportions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from .person import Person
from .shapes import Loft, Points, smooth_union

CROTCH_Z, HIP_X, HEAD_BASE = -78.0, 88.0, 650.0


@dataclass(frozen=True)
class Vertebra:
    """One vertebral body: where it stands, its half sizes and the tilt of the spine there."""

    name: str
    x: float
    y: float
    z: float
    height: float
    width: float
    depth: float
    tilt: float
    """Degrees by which the body's upper end leans to the back."""

    @property
    def region(self) -> str:
        return self.name[0]

    @property
    def number(self) -> int:
        return int(self.name[1:])


_SPINE = (  # name, y, z, height, width, depth of the body
    ("C1", 13, 672, 10, 44, 10),
    ("C2", 9, 655, 19, 19, 15),
    ("C3", 6, 636, 13.5, 20, 16),
    ("C4", 5, 618, 13.5, 21, 16),
    ("C5", 7, 600, 13.5, 23, 16.5),
    ("C6", 11, 582, 13.5, 25, 17),
    ("C7", 17, 564, 14.5, 28, 17),
    ("T1", 24, 545, 16, 29, 17),
    ("T2", 32, 525.5, 17, 28, 18.5),
    ("T3", 39, 505.5, 17.5, 27, 20.5),
    ("T4", 46, 484.5, 18, 26.5, 22.5),
    ("T5", 51, 463, 18.5, 27, 24.5),
    ("T6", 54, 441, 19, 28, 26),
    ("T7", 55, 418, 19.5, 29, 27.5),
    ("T8", 54, 394.5, 20, 30.5, 28.5),
    ("T9", 51, 370.5, 21, 32, 29.5),
    ("T10", 46, 345.5, 22, 34.5, 30),
    ("T11", 39, 319, 23, 38, 31),
    ("T12", 32, 291, 24.5, 41.5, 31.5),
    ("L1", 24, 260, 26, 43.5, 32.5),
    ("L2", 17, 226.5, 27, 45, 33.5),
    ("L3", 14, 191, 27.5, 46.5, 34.5),
    ("L4", 17, 154.5, 27.5, 48.5, 35),
    ("L5", 26, 117, 27, 51, 35),
)
# Trunk: level, then half width, front and back of the cavity's wall, then the same of the lean body (male).
_TRUNK = (
    (-90, 16, -30, 40, 120, -42, 78),
    (-50, 34, -44, 46, 164, -70, 102),
    (-25, 52, -50, 50, 168, -76, 108),
    (0, 60, -54, 56, 171, -80, 112),
    (40, 67, -62, 64, 164, -85, 110),
    (80, 100, -70, 62, 152, -86, 97),
    (120, 115, -73, 56, 143, -86, 88),
    (160, 113, -72, 53, 136, -85, 84),
    (200, 114, -71, 58, 135, -84, 88),
    (240, 118, -72, 69, 138, -85, 97),
    (280, 124, -73, 80, 143, -88, 106),
    (320, 131, -78, 89, 149, -95, 115),
    (360, 135, -80, 93, 154, -100, 122),
    (400, 136, -79, 93, 159, -101, 126),
    (440, 133, -75, 90, 164, -98, 125),
    (470, 124, -65, 82, 167, -86, 120),
    (500, 106, -50, 70, 158, -68, 109),
    (520, 84, -35, 59, 132, -51, 99),
    (540, 58, -21, 48, 98, -40, 91),
    (556, 34, -8, 38, 76, -36, 85),
    (568, 12, 6, 28, 66, -34, 82),
)
_EXPONENT = (2.2, 2.2, 2.2, 2.3, 2.4, 2.5, 2.5, 2.5, 2.5, 2.5, 2.4, 2.35, 2.3, 2.2, 2.1, 2.05, 2.0, 2.0, 2.0, 2.0, 2.0)
_FEMALE_WIDTH = {-90: 1.05, -50: 1.06, 0: 1.06, 40: 1.05, 80: 1.02, 120: 0.97, 160: 0.93, 200: 0.91, 240: 0.91}


class Frame:
    """The trunk of one person; every organ module asks it where things are."""

    def __init__(self, person: Person) -> None:
        self.person = person
        rng = person.rng("frame")
        self.vertebrae = _spine(rng)
        z = np.array([v.z for v in self.vertebrae][::-1])
        self._spine_y = CubicSpline(
            np.r_[-45, -10, 30, 62, 84, z], np.r_[48, 66, 70, 58, 44, [v.y for v in self.vertebrae][::-1]]
        )
        levels = np.array(_TRUNK, float)
        self.belly = 8.0 + 11.0 * person.visceral - (0 if person.male else 3)
        self.cavity = self._loft(levels[:, 0], *levels[:, 1:4].T, lean=False)
        self.lean = self._loft(levels[:, 0], *levels[:, 4:7].T, lean=True)
        self.domes = self._domes(rng)
        self.head_size = (
            np.asarray(person.scale) ** -0.75
            * (0.97 if person.male else 0.955)
            * np.exp(np.clip(rng.normal(0, 0.018), -0.03, 0.03))
        )

    def head(self, p: Points) -> Points:
        """Points in the frame of a head of average size: heads differ less between people than bodies do."""
        kx, ky, kz = (np.float32(1 / k) for k in self.head_size)
        return Points(p.x * kx, 10 + (p.y - 10) * ky, HEAD_BASE + (p.z - HEAD_BASE) * kz, p.where)

    def from_head(self, points) -> np.ndarray:
        """Canonical place of points of the average head."""
        return (np.asarray(points, float) - (0, 10, HEAD_BASE)) * self.head_size + (0, 10, HEAD_BASE)

    def spine_y(self, z) -> np.ndarray:
        """y of the middle of the vertebral bodies (below, of the sacrum's canal side) at a level."""
        return self._spine_y(np.clip(z, -50, 690))

    def ahead(self, z: float, depth: float = 0.0) -> float:
        """y of a point `depth` mm in front of the middle of the vertebral bodies at a level."""
        return float(self.spine_y(z)) - depth

    def vertebra(self, name: str) -> Vertebra:
        return next(v for v in self.vertebrae if v.name == name)

    def _loft(self, z: np.ndarray, width: np.ndarray, front: np.ndarray, back: np.ndarray, lean: bool) -> Loft:
        """Fat inside the belly pushes its wall to the front and the sides; women are narrower above the hips."""
        person = self.person
        bulge = np.exp(-(((z - 165) / 90) ** 2)) + 0.35 * np.exp(-(((z - 280) / 70) ** 2))
        front = front - self.belly * bulge * 0.95
        width = width + 0.45 * self.belly * bulge
        if lean:
            thicker = (person.muscle - 1) * 30
            width, front, back = width + thicker, front - thicker * 0.35, back + thicker * 0.45
        if not person.male:
            factor = np.interp(z, list(_FEMALE_WIDTH), list(_FEMALE_WIDTH.values()), right=0.92)
            width = width * factor
        dent = _back_groove if lean else _chest_gutters
        return Loft(z, width, front, back, _EXPONENT, dent=dent)

    def _domes(self, rng: np.random.Generator) -> dict[str, float]:
        small = max(1 - float(np.prod(self.person.scale)), 0)
        right = 362 - self.person.breath_mm - 30 * small + rng.normal(0, 4) + 3.0 * (self.person.visceral - 1)
        right = float(np.clip(right, 332, 372))
        return {"right": right, "left": right - rng.normal(13, 5), "centre": right - rng.normal(20, 4)}

    def diaphragm(self, p: Points) -> np.ndarray:
        """Height of the diaphragm above a point's (x, y): two domes, falling to the wall where it is attached."""
        d = self.domes
        rho, wall, angle = self.cavity.polar(Points(p.x, p.y, np.full_like(p.z, 320.0)))
        t = np.clip(rho / np.maximum(wall, 1), 0, 1.1)
        right = np.exp(-(((p.x + 68) / 62) ** 2) - ((p.y + 4) / 85) ** 2) * np.float32(d["right"] - d["centre"])
        left = np.exp(-(((p.x - 74) / 55) ** 2) - ((p.y - 4) / 80) ** 2) * np.float32(d["left"] - d["centre"])
        top = np.float32(d["centre"]) + right + left - 12 * np.clip(p.y / 60, 0, 1) ** 2
        edge = np.interp(angle, [0, 35, 80, 120, 160, 180], [345, 325, 278, 262, 262, 285]).astype(np.float32)
        edge = edge + np.float32(0.4 * (d["centre"] - 356))
        return edge + (top - edge) * (1 - t**8).clip(0, 1)

    def spine(self, p: Points, margin: float = 0.0) -> np.ndarray:
        """Rough distance to the column of vertebral bodies, for organs that lie against it."""
        y = p.y - self.spine_y(p.z).astype(np.float32)
        size = np.interp(p.z, [80, 120, 260, 420, 560, 690], [26, 25, 22, 14.5, 12, 10]).astype(np.float32)
        return np.sqrt(p.x**2 + (y * np.float32(1.25)) ** 2) - size - np.float32(margin)

    def thorax(self, p: Points, inset: float = 0.0) -> np.ndarray:
        return self.cavity.distance(p) + np.float32(inset)


def _spine(rng: np.random.Generator) -> tuple[Vertebra, ...]:
    """The table above with a person's own curves: a little more or less lordosis, kyphosis and scoliosis."""
    z = np.array([row[2] for row in _SPINE], float)
    kyphosis, lordosis, side = rng.normal(0, 4), rng.normal(0, 4), rng.normal(0, 3.5)
    phase = rng.uniform(0, 2 * np.pi)
    y = np.array([row[1] for row in _SPINE]) + kyphosis * np.exp(-(((z - 420) / 90) ** 2))
    y = y - lordosis * np.exp(-(((z - 190) / 70) ** 2))
    x = side * np.sin(z / 75 + phase) * np.exp(-(((z - 330) / 180) ** 2))
    slope = np.gradient(y, z)
    return tuple(
        Vertebra(row[0], float(a), float(b), float(c), row[3], row[4], row[5], float(np.rad2deg(np.arctan(s))))
        for row, a, b, c, s in zip(_SPINE, x, y, z, slope)
    )


def _back_groove(angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The furrow over the spinous processes and the flat of the flanks."""
    groove = 0.055 * np.exp(-(((angle - 180) / 9) ** 2)) * np.exp(-(((z - 240) / 150) ** 2))
    shoulder_blades = 0.02 * np.exp(-(((angle - 148) / 18) ** 2)) * np.exp(-(((z - 440) / 60) ** 2))
    return 1 - groove + shoulder_blades


def _chest_gutters(angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The chest reaches further back beside the spine than in the midline."""
    chest = np.clip((z - 240) / 60, 0, 1) * np.clip((560 - z) / 40, 0, 1)
    return 1 + chest * (0.05 * np.exp(-(((angle - 148) / 18) ** 2)) - 0.10 * np.exp(-(((angle - 180) / 16) ** 2)))


def blend(parts: list[np.ndarray], k: float) -> np.ndarray:
    """Union of several parts with rounded creases."""
    total = parts[0]
    for part in parts[1:]:
        total = smooth_union(total, part, k)
    return total
