"""Paints a whole person from the skin inwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...progress import Run
from .abdomen import organ_sizes, paint_upper_abdomen, stomach_line
from .bowel import paint_bowel
from .brownfat import paint_brown_fat
from .canvas import Canvas
from .frame import Frame
from .head import paint_head, paint_neck, paint_oesophagus
from .heart import Heart, heart_of, paint_heart, paint_heart_fat
from .limbbones import paint_limb_bones
from .limbs import Limbs, limbs_of
from .lungs import paint_airways, paint_lungs
from .muscles import paint_axillae, paint_muscles, paint_pelvic_floor, paint_septa
from .outline import SKIN_MM, Outline
from .pelvic import paint_pelvic_organs
from .person import Person
from .ribcage import paint_ribcage
from .shapes import ellipsoid, smooth_cut
from .spine import paint_spine
from .vessels import paint_portal, paint_vessels


@dataclass(frozen=True)
class Body:
    """All geometry of one person, drawn once and painted on as many grids as wanted."""

    person: Person
    frame: Frame
    limbs: Limbs
    heart: Heart
    sizes: dict[str, float]

    @classmethod
    def of(cls, person: Person) -> Body:
        frame = Frame(person)
        return cls(person, frame, limbs_of(frame), heart_of(frame), organ_sizes(frame))


def paint_body(canvas: Canvas, body: Body, run: Run) -> np.ndarray:
    """Everything but lesions; returns the signed distance to the skin."""
    frame, limbs, heart = body.frame, body.limbs, body.heart
    lean, skin = Outline(frame, limbs).on(canvas.grid)
    cardia = stomach_line(frame)[0, :3] + (-22, 4, 4)
    steps: list[Callable[[], None]] = [
        lambda: _layers(canvas, body, lean, skin),
        lambda: paint_septa(canvas, frame, limbs, lean) if canvas.fine else None,
        lambda: paint_axillae(canvas, limbs, lean),
        lambda: _cavity(canvas, body),
        lambda: paint_pelvic_floor(canvas),
        lambda: paint_muscles(canvas, frame),
        lambda: paint_head(canvas, frame, skin),
        lambda: paint_lungs(canvas, frame, heart),
        lambda: paint_bowel(canvas, frame),
        lambda: paint_heart_fat(canvas, heart),
        lambda: paint_vessels(canvas, frame, heart, limbs),
        lambda: paint_heart(canvas, heart),
        lambda: paint_airways(canvas, frame),
        lambda: paint_neck(canvas, frame),
        lambda: paint_oesophagus(canvas, frame, cardia),
        lambda: paint_pelvic_organs(canvas, frame),
        lambda: paint_upper_abdomen(canvas, frame, body.sizes),
        lambda: paint_portal(canvas, frame),
        lambda: paint_spine(canvas, frame),
        lambda: paint_ribcage(canvas, frame, limbs),
        lambda: paint_limb_bones(canvas, limbs),
        lambda: paint_brown_fat(canvas, frame),
    ]
    for i, step in enumerate(steps):
        step()
        run.progress((i + 1) / len(steps))
    _clear_air(canvas, skin)
    return skin


def _layers(canvas: Canvas, body: Body, lean: np.ndarray, skin: np.ndarray) -> None:
    p = canvas.grid.everywhere()
    canvas.paint(p, skin, "skin")
    canvas.paint(p, skin + SKIN_MM, "fat")
    _breast_glands(canvas, body)
    canvas.paint(p, lean, "muscle")


def _breast_glands(canvas: Canvas, body: Body) -> None:
    if body.person.male:
        return
    outline = Outline(body.frame, body.limbs)
    share = float(np.clip(0.75 - 0.006 * (body.person.age - 40) - 0.008 * (body.person.bmi - 25), 0.3, 0.8))
    for side in (-1, 1):
        centre, radii = outline.breast(side)
        p = canvas.box(centre - radii, centre + radii)
        if p is not None:
            lumps = 5 * canvas.texture("patch", p.where)
            canvas.paint(p, ellipsoid(p, centre - (0, 3, 0), radii * share) + lumps, "breast")


def _cavity(canvas: Canvas, body: Body) -> None:
    box = canvas.box((-190, -190, -110), (190, 120, 585))
    for p in box.slabs() if box else ():
        d = smooth_cut(body.frame.cavity.closed(p, 20), np.float32(-58) - p.z, 14)
        canvas.paint(p, d, "fat_visceral")


def _clear_air(canvas: Canvas, skin: np.ndarray) -> None:
    """Nothing may stick out of the skin."""
    outside = skin > canvas.grid.voxel_mm
    canvas.pet[outside], canvas.ct[outside], canvas.mr[outside], canvas.label[outside] = 0, -1000, 0, 0
