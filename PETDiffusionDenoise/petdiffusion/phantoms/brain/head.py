"""Everything of the head outside the brain, in MNI space: skin, face, bones, sinuses, eyes, glands, vessels, neck.

The MNI maps are skull-stripped, so these are implicit shapes around them. Fixed points: nasion (0, 87, -40), ears
(+-86, -20, -48), inion (0, -119, -25), vertex (0, -9, 100).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from .shapes import Chain, Ellipsoid, Points, Shape, Union
from .template import Field, distance, grid_points, template


@dataclass(frozen=True)
class Part:
    """A shape filled with a tissue; `label` is its name in the label map (None: not labelled)."""

    tissue: str
    shape: Shape
    label: str | None = None
    paired: bool = True


@dataclass(frozen=True)
class Shell:
    """The layer between two distances (mm) of a shape: walls."""

    shape: Shape
    thickness: float

    def __call__(self, points: Points) -> np.ndarray:
        d = self.shape(points)
        return np.maximum(d - self.thickness, -d)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.shape.bounds()
        return low - self.thickness, high + self.thickness


ORBIT = Chain(((32, 64, -42, 15.5), (27, 46, -42, 12.0), (20, 32, -41, 5.0)), True)
MANDIBLE = Union(Chain(((52, -6, -60, 5.0), (52, 4, -85, 6.0), (50, 8, -126, 6.5)), True),
                 Chain(((50, 8, -128, 6.0), (42, 40, -142, 6.5), (22, 70, -148, 6.5), (0, 79, -150, 7.0)), True))

# Painted in this order over muscle and fat; the skull and then the brain's cavity lie on top.
FACE: tuple[Part, ...] = (
    Part("muscle", Ellipsoid((64, 24, -28), (8, 30, 34), mirrored=True)),
    Part("muscle", Ellipsoid((58, 22, -104), (9, 17, 28), mirrored=True)),
    Part("fat", Ellipsoid((52, 44, -90), (12, 13, 24), mirrored=True)),
    Part("parotid", Ellipsoid((61, -6, -94), (10, 15, 24), mirrored=True), "parotid_gland"),
    Part("submandibular", Ellipsoid((33, 34, -150), (8, 15, 10), mirrored=True), "submandibular_gland"),
    Part("tongue", Ellipsoid((0, 50, -120), (22, 29, 20))),
    Part("face_bone", Chain(((62, 8, -55, 3.5), (67, 30, -58, 3.0), (54, 58, -62, 6.0)), True)),
    Part("face_bone", Shell(Ellipsoid((33, 50, -72), (14.5, 17, 18), mirrored=True), 2.0)),
    Part("face_bone", Chain(((0, 82, -42, 4.0), (6, 84, -56, 3.0)), True)),
    Part("face_bone", Ellipsoid((0, 56, -97), (25, 28, 3.0), power=2.6), "hard_palate", False),
    Part("face_bone", Chain(((30, 34, -102, 6.0), (26, 58, -102, 6.0), (10, 78, -100, 6.0), (0, 80, -100, 6.0)), True)),
    Part("tooth", Chain(((28, 40, -109, 4.0), (24, 60, -109, 4.0), (9, 76, -109, 3.5), (0, 79, -109, 3.5)), True)),
    Part("tooth", Chain(((28, 40, -120, 4.0), (24, 60, -120, 4.0), (9, 75, -120, 3.0), (0, 77, -120, 3.0)), True)),
    Part("face_bone", MANDIBLE),
    Part("face_bone", Shell(ORBIT, 1.8)),
    Part("petrous_bone", Chain(((55, -30, -46, 9.0), (36, -22, -42, 8.0), (18, -10, -36, 5.0)), True)),
    Part("air_cells", Ellipsoid((58, -38, -55), (9, 12, 15), mirrored=True)),
    Part("face_bone", Chain(((0, -6, -32, 4.0), (0, -18, -60, 6.0)))),
    Part("face_bone", Ellipsoid((0, 18, -45), (17, 15, 13))),
    Part("face_bone", Ellipsoid((0, 50, -48), (19, 22, 16))),
    Part("mucosa", Ellipsoid((0, 62, -72), (17, 30, 23))),
    Part("mucosa", Ellipsoid((0, 22, -82), (18, 13, 22)), "nasopharynx", False),
    Part("soft_palate", Chain(((0, 30, -98, 5.5), (0, 14, -108, 4.5)), True), "soft_palate", False),
    Part("tonsil", Ellipsoid((15, 10, -118), (5, 6, 11), mirrored=True)),
    Part("sinus_air", Ellipsoid((0, 5, -116), (11, 6, 26)), "oropharynx", False),
    Part("sinus_air", Ellipsoid((0, 18, -84), (9, 6, 15))),
    Part("sinus_air", Chain(((0, 8, -150, 8.0), (0, 2, -230, 9.0))), "trachea", False),
    Part("fat", ORBIT),
    Part("eye_muscle", Chain(((20, 31, -41, 2.0), (24, 44, -42, 3.0), (22, 62, -42, 2.4)), True)),
    Part("eye_muscle", Chain(((20, 31, -41, 2.0), (35, 46, -42, 3.0), (43, 62, -42, 2.4)), True)),
    Part("eye_muscle", Chain(((20, 31, -40, 2.0), (27, 46, -31, 2.8), (32, 62, -29.5, 2.2)), True)),
    Part("eye_muscle", Chain(((20, 31, -42, 2.0), (27, 46, -52, 2.8), (32, 62, -54.5, 2.2)), True)),
    Part("white", Chain(((13, 14, -36, 2.2), (20, 31, -41, 2.2), (31, 54, -42, 2.2)), True), "optic_nerve"),
    Part("skin", Ellipsoid((32, 66, -42), (12.6, 12.4, 12.4), mirrored=True)),
    Part("vitreous", Ellipsoid((32, 66, -42), (11.4, 11.2, 11.2), mirrored=True), "eye"),
    Part("lens", Ellipsoid((32, 75, -42), (4.6, 2.2, 4.6), mirrored=True), "eye_lens"),
)

# Hollows in bone: painted after the skull.
HOLLOWS: tuple[Part, ...] = (
    Part("sinus_air", Ellipsoid((13, 77, -20), (11, 4.5, 11), mirrored=True)),
    Part("sinus_air", Ellipsoid((8, 17, -44), (7.2, 11, 9), mirrored=True)),
    Part("air_cells", Ellipsoid((8, 50, -47), (7.0, 18, 12), mirrored=True)),
    Part("sinus_air", Ellipsoid((33, 50, -72), (13.0, 15.5, 16.5), mirrored=True)),
    Part("sinus_air", Chain(((3.5, 84, -78, 3.0), (4.5, 62, -80, 3.2), (5, 36, -80, 3.5)), True), "nasal_cavity"),
    Part("sinus_air", Chain(((2.5, 74, -60, 1.8), (3, 54, -62, 2.0), (4, 36, -66, 2.0)), True), "nasal_cavity"),
    Part("sinus_air", Chain(((56, -22, -46, 2.6), (79, -20, -47, 3.4)), True), "auditory_canal"),
)

# Inside the cavity, beside the brain: vessels and glands.
VESSELS: tuple[Part, ...] = (
    Part("blood", Chain(((0, 62, 38, 1.5), (0, 44, 66, 2.5), (0, 4, 84, 3.2), (0, -38, 80, 3.6), (0, -78, 58, 4.0),
                         (0, -102, 18, 4.2), (0, -104, -8, 4.8))), "venous_sinuses", False),
    Part("blood", Chain(((0, -104, -8, 4.0), (36, -90, -20, 4.0), (57, -58, -28, 4.2), (54, -42, -44, 4.0)), True),
         "venous_sinuses", False),
    Part("blood", Chain(((0, -46, 4, 2.0), (0, -100, -6, 2.6))), "venous_sinuses", False),
    Part("blood", Chain(((0, -13, -48, 1.8), (0, -10, -22, 1.7))), None, False),
    Part("blood", Chain(((24, -6, -48, 2.6), (13, 0, -36, 2.6), (12, 5, -24, 2.3), (34, 4, -18, 1.6)), True)),
    Part("pituitary", Ellipsoid((0, 1, -33), (6, 4.5, 3.6)), "pituitary_gland", False),
)


def _vertebra(number: int) -> tuple[Part, ...]:
    top = -88 - 17.0 * (number - 1)
    ahead = -28 + 1.5 * min(number, 4)
    name = f"vertebrae_C{number}"
    ring = Shell(Chain(((0, ahead - 18, top - 5, 10.0), (0, ahead - 18, top + 4, 10.0))), 4.5)
    if number == 1:
        return (Part("vertebra", ring, name, False),
                Part("vertebra", Chain(((14, ahead - 8, top, 8.0), (24, ahead - 12, top, 5.5)), True), name, False))
    spine = Chain(((0, ahead - 33, top - 2, 4.0), (0, ahead - 46, top - 8, 3.0)))
    body = Ellipsoid((0, ahead, top), (11, 9, 7.2), power=3.2)
    dens = (Part("vertebra", Chain(((0, ahead + 1, top + 4, 5.0), (0, ahead + 2, top + 20, 4.5))), name, False),)
    return (Part("vertebra", ring, name, False), Part("vertebra", spine, name, False),
            Part("vertebra", body, name, False), *(dens if number == 2 else ()))


CORD = (
    Part("csf", Chain(((0, -40, -62, 10.0), (0, -46, -92, 8.5), (0, -42, -150, 8.0), (0, -40, -230, 8.0)))),
    Part("cord", Chain(((0, -40, -66, 6.0), (0, -46, -92, 5.5), (0, -42, -150, 5.2), (0, -40, -230, 5.2))),
         "spinal_cord", False),
)
NECK: tuple[Part, ...] = tuple(part for number in range(1, 8) for part in _vertebra(number)) + (
    Part("blood", Chain(((26, -6, -60, 3.0), (27, -4, -130, 3.4), (24, 0, -230, 3.8)), True),
         "common_carotid_artery"),
    Part("blood", Chain(((36, -14, -62, 4.5), (36, -10, -130, 5.5), (30, -4, -230, 6.0)), True),
         "internal_jugular_vein"),
    Part("muscle", Chain(((62, -42, -62, 7.0), (44, -10, -140, 9.0), (22, 18, -210, 8.0)), True)),
)


@cache
def cavity() -> Field:
    """Distance to the inside of the skull: the brain's envelope with its clefts closed, widely over the vault and
    closely at the base, where bone rises between the lobes."""
    hull = template().hull
    z = grid_points(hull.values.shape, hull.origin, hull.step)[2]
    vault = np.clip((z + 32) / np.float32(20), 0, 1)
    return Field(vault * _closed(hull, 16.0) + (1 - vault) * _closed(hull, 7.0), hull.origin, hull.step)


def _closed(hull: Field, reach: float) -> np.ndarray:
    """Grown by `reach` mm and shrunk again."""
    grown = distance(np.float32(reach) - hull.values, hull.step) + np.float32(reach)
    return ndimage.gaussian_filter(grown, 0.8)


FACE_SKIN = (
    Ellipsoid((0, 30, -92), (70, 60, 72), power=2.3),
    Ellipsoid((0, 56, -44), (52, 25, 26), power=3.0),
    Ellipsoid((32, 66, -43), (15.5, 14.5, 15.5), mirrored=True),
    Ellipsoid((0, 22, -44), (71, 46, 34), power=2.4),
    Ellipsoid((0, 42, -128), (52, 48, 40), power=2.2),
    Chain(((0, 82, -42, 7.0), (0, 98, -66, 9.0), (0, 104, -76, 10.0))),
    Chain(((12, 92, -80, 7.0), (0, 98, -78, 8.0)), True),
    Ellipsoid((0, 88, -104), (25, 9, 14)),
    Ellipsoid((0, 82, -140), (20, 13, 14)),
    Chain(((0, -30, -60, 58.0), (0, -28, -120, 56.0), (0, -24, -240, 60.0))),
)
EARS = Ellipsoid((80, -28, -46), (5.0, 17, 29), turn=-22, mirrored=True)


@cache
def face_skin(step: float = 2.5) -> Field:
    """Distance to the skin of face and neck, without the cranium; the parts flow into each other."""
    origin = (-115.0, -120.0, -240.0)
    shape = tuple(int(n / step) for n in (290, 240, 230))
    points = grid_points(shape, origin, step)
    values = np.broadcast_to(FACE_SKIN[0](points), shape)
    for part in FACE_SKIN[1:]:
        values = melt(values, part(points), 9.0)
    return Field(np.ascontiguousarray(melt(values, EARS(points), 4.0), dtype=np.float32), origin, step)


def melt(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Union of two shapes with a fillet of about `radius` mm."""
    h = np.clip(np.float32(radius) - np.abs(a - b), 0, None) / np.float32(radius)
    return np.minimum(a, b) - np.square(h) * np.float32(radius / 4)
