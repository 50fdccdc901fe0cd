"""Paints a head onto a slab of the fine grid, from the outside in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..deform import SmoothField
from . import head
from .anatomy import LOBES, Structure, lobe
from .canvas import Canvas, Colour, Window
from .names import ID
from .person import Person
from .shapes import Chain, Ellipsoid, Points, inside
from .template import Template
from .uptake import Palette

CHOROID = Chain(((24, -42, 8, 2.6), (21, -34, 13, 2.2), (14, -20, 18, 1.4)), mirrored=True)
PINEAL = Ellipsoid((0, -33, 1), (2.6, 3.2, 2.4))


@dataclass(frozen=True)
class Moved:
    """A shape shifted and scaled about its own place, so that no two people have the same nuclei."""

    shape: object
    shift: tuple[float, float, float]
    scale: tuple[float, float, float]
    about: tuple[float, float, float]
    mirrored: bool

    def __call__(self, points: Points) -> np.ndarray:
        side = np.where(points[0] >= 0, np.float32(1), np.float32(-1)) if self.mirrored else np.float32(1)
        return self.shape([(p - c * s - d * s) / f + c * s for p, c, d, f, s in
                           zip(points, self.about, self.shift, self.scale, (side, 1, 1))])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.shape.bounds()
        return low - 4, high + 4


@dataclass(frozen=True)
class Textures:
    """Random fields in the head's axes that vary what the templates and tables leave uniform."""

    fold: SmoothField
    sulcus: SmoothField
    thickness: SmoothField
    skull: SmoothField
    marbling: SmoothField
    fine: SmoothField
    broad: SmoothField


@dataclass(frozen=True)
class Look:
    """Everything drawn for one patient before painting."""

    person: Person
    palette: Palette
    maps: Template
    nuclei: tuple[Structure, ...]
    brainstem: tuple[Structure, ...]
    textures: Textures
    calcified_pineal: bool


def textures(rng: np.random.Generator) -> Textures:
    return Textures(*(SmoothField(rng, knot, max(int(np.ceil(280 / knot)), 8))
                      for knot in (6.0, 7.0, 24.0, 34.0, 5.0, 5.0, 26.0)))


def individual(rng: np.random.Generator, structures: tuple[Structure, ...]) -> tuple[Structure, ...]:
    """The same structures, each a little elsewhere and of another size."""
    result = []
    for s in structures:
        low, high = s.shape.bounds()
        about = (low + high) / 2
        about[0] = high[0] / 2 if s.paired else 0.0
        moved = Moved(s.shape, tuple(rng.normal(0, 0.7, 3)), tuple(rng.normal(1, 0.05, 3)), tuple(about), s.paired)
        result.append(replace(s, shape=moved))
    return tuple(result)


def paint_head(canvas: Canvas, look: Look) -> None:
    """Skin to vessels; lesions come later."""
    cavity = head.cavity().at(canvas.places)
    skin = _paint_soft_tissue(canvas, look, cavity)
    body = inside(skin, canvas.step)
    for part in (*head.FACE, *head.NECK):
        _paint_part(canvas, look, part, body)
    _paint_skull(canvas, look, cavity, body)
    outside = body * inside(look.person.gap_mm - cavity, canvas.step)
    for part in head.HOLLOWS:
        _paint_part(canvas, look, part, outside)
    room = inside(cavity - look.person.gap_mm, canvas.step)
    canvas.paint(room, look.palette["csf"], ID["subarachnoid_space"])
    _paint_canal(canvas, look)
    _paint_brain(canvas, look)
    for part in head.VESSELS:
        _paint_part(canvas, look, part, room)


def _paint_soft_tissue(canvas: Canvas, look: Look, cavity: np.ndarray) -> np.ndarray:
    """Skin, fat under it and muscle marbled with fat; returns the distance to the skin's surface."""
    p, colours = look.person, look.palette
    scalp = p.gap_mm + p.skull_mm + p.scalp_mm * (1 + 0.12 * look.textures.broad.on_axes(*canvas.axes))
    skin = head.melt(cavity - scalp, head.face_skin().at(canvas.places), 8.0)
    fat_mm = 0.4 * p.scalp_mm + 0.25 * max(p.weight_kg / p.height_m**2 - 20, 0)
    canvas.paint(inside(skin, canvas.step), colours["skin"])
    canvas.paint(inside(skin + 1.8, canvas.step), colours["fat"])
    canvas.paint(inside(skin + 1.8 + fat_mm, canvas.step), colours["muscle"])
    streaks = 0.8 * inside(1.3 - look.textures.marbling.on_axes(*canvas.axes), 0.6)
    canvas.paint(inside(skin + 1.8 + fat_mm, canvas.step) * streaks, colours["fat"])
    return skin


def _paint_part(canvas: Canvas, look: Look, part: head.Part, within: np.ndarray) -> None:
    window = canvas.window(part.shape)
    if window is None:
        return
    label = None if part.label is None else canvas.label_of(part.label, part.paired, window)
    if part.label is None and part.tissue in ("face_bone", "petrous_bone", "air_cells", "tooth"):
        label = ID["skull"]
    canvas.paint(canvas.amount(part.shape, window) * within[window], look.palette[part.tissue], label, window)


def _paint_skull(canvas: Canvas, look: Look, cavity: np.ndarray, body: np.ndarray) -> None:
    p, step = look.person, canvas.step
    thick = p.skull_mm * (1 + 0.16 * look.textures.skull.on_axes(*canvas.axes))
    above = inside(-70.0 - canvas.places[2], 6.0)  # no vault below the foramen magnum
    depth = cavity - p.gap_mm
    bone = inside(depth - thick, step) * above * body
    canvas.paint(bone, look.palette["cortical_bone"], ID["skull"])
    diploe = inside(depth - thick + 1.7, step) * inside(1.6 - depth, step)
    canvas.paint(diploe * above * body, look.palette["diploe"])


def _paint_canal(canvas: Canvas, look: Look) -> None:
    """Spinal canal and cord run on through the foramen magnum."""
    for part in head.CORD:
        window = canvas.window(part.shape)
        if window is not None:
            below = inside(canvas.places[2][window] + 66.0, 2.0)
            label = None if part.label is None else ID[part.label]
            canvas.paint(canvas.amount(part.shape, window) * below, look.palette[part.tissue], label, window)


def _paint_brain(canvas: Canvas, look: Look) -> None:
    window = canvas.window(look.maps.hull_box, margin=8.0)
    if window is None:
        return
    cortex = _Cortex(canvas, look, window)
    cortex.paint()
    for structure in (*look.brainstem, *look.nuclei):
        _paint_structure(canvas, look, structure)
    ventricle = look.maps.ventricle.at(canvas.places[(slice(None), *window)])
    canvas.paint(inside(ventricle, canvas.step), look.palette["csf"], ID["ventricle"], window)
    for shape, tissue in ((CHOROID, "choroid_plexus"), (PINEAL, "choroid_plexus")):
        near = canvas.window(shape)
        if near is not None:
            colour = look.palette[tissue]
            if shape is PINEAL and look.calcified_pineal:
                colour = Colour(colour.pet, 220.0, 0.35)
            canvas.paint(canvas.amount(shape, near), colour, None, near)


def _paint_structure(canvas: Canvas, look: Look, structure: Structure) -> None:
    window = canvas.window(structure.shape)
    if window is not None:
        label = canvas.label_of(structure.name, structure.paired, window)
        canvas.paint(canvas.amount(structure.shape, window), look.palette[structure.name], label, window)


class _Cortex:
    """Grey and white matter of cerebrum and cerebellum within a window of the slab."""

    def __init__(self, canvas: Canvas, look: Look, window: Window) -> None:
        self.canvas, self.look, self.window = canvas, look, window
        self.places = canvas.places[(slice(None), *window)]
        self.axes = [a[w] for a, w in zip(canvas.axes, window[::-1])]
        maps = look.maps
        self.hull, self.white = maps.hull.at(self.places), maps.white.at(self.places)
        self.sulcus = maps.sulcus.at(self.places)
        self.cerebellum = inside(maps.cerebellum.at(self.places), 2.0)

    def paint(self) -> None:
        grey, white = self._cerebrum()
        colours, step = self.look.palette, self.canvas.step
        values = colours["grey"]
        regional = values.pet * colours.cortex.at(self.places)
        tissue = np.maximum(grey, white) * (1 - self.cerebellum)
        self._cover(tissue, Colour(regional, values.ct, values.mr), self._lobes())
        self._cover(white * (1 - self.cerebellum), colours["white"], self._sided("cerebral_white_matter"))
        t1 = self.look.maps.t1.at(self.places)
        folia = np.clip((t1 - 0.42) / 0.14, 0, 1) * inside(self.hull, step) * self.cerebellum
        self._cover(folia, colours["cerebellar_grey"], self._sided("cerebellum"))
        core = np.clip((t1 - 0.72) / 0.08, 0, 1) * folia
        self._cover(core, colours["cerebellar_white"], self._sided("cerebellar_white_matter"))

    def _cerebrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Fractions of brain tissue and of white matter."""
        p, t, step = self.look.person, self.look.textures, self.canvas.step
        surface = self.white + np.float32(0.55) * t.fold.on_axes(*self.axes) * inside(-self.white - 4, 2.0)
        thick = p.cortex_mm * (1 + 0.12 * t.thickness.on_axes(*self.axes))
        gap = p.sulcus_mm + np.float32(0.25) * t.sulcus.on_axes(*self.axes)
        ribbon = inside(surface - thick, step) * inside(gap - self.sulcus, step) * inside(self.hull, step)
        white = inside(surface, step) * inside(self.hull + 1, step)
        return np.maximum(ribbon, white), white

    def _lobes(self) -> np.ndarray:
        pairs = np.array([[ID[f"{name}_cortex_{side}"] for side in ("left", "right")] for name in LOBES], np.int16)
        return pairs[lobe(self.places), (self.places[0] > 0).astype(np.uint8)]

    def _sided(self, name: str) -> np.ndarray:
        return self.canvas.label_of(name, True, self.window)

    def _cover(self, amount: np.ndarray, colour: Colour, label: np.ndarray) -> None:
        self.canvas.paint(amount, colour, label, self.window)
