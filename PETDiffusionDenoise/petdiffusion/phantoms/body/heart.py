"""The heart: a left ventricle with its muscle open at the valves, right ventricle wrapped round it, atria, fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .shapes import Cloud, Points, capsule, curve, ellipsoid, smooth_cut, smooth_union


@dataclass(frozen=True)
class Heart:
    """Place, axes and wall of the left ventricle; the axes' rows point to apex, right ventricle and across."""

    centre: np.ndarray
    axes: np.ndarray
    long: float
    short: float
    wall: float
    size: float

    def local(self, p: Points) -> Points:
        return p.at(self.centre, self.axes)

    def world(self, a: float, b: float, c: float) -> np.ndarray:
        """Canonical place of a point given along the three axes."""
        return self.centre + np.array([a, b, c]) @ self.axes


def heart_of(frame: Frame) -> Heart:
    rng = frame.person.rng("heart")
    size = float(np.clip(rng.normal(1.17, 0.05), 1.04, 1.3)) * float(np.prod(frame.person.scale)) ** -0.1
    apex = (
        np.array([0.70, -0.56, -0.44]) + rng.normal(0, 0.06, 3) + np.array([0, 0, 0.12 * (frame.person.visceral - 1)])
    )
    apex = apex / np.linalg.norm(apex)
    right = np.array([-0.55, -0.72, 0.10])
    right = right - apex * (right @ apex)
    right = right / np.linalg.norm(right)
    floor = frame.domes["centre"] + 0.3 * (frame.domes["left"] - frame.domes["centre"])
    centre = np.array([43.0, -22.0 - 0.10 * frame.belly, floor + 33.0 * size]) + rng.normal(0, 3, 3) * (1, 0.6, 0.3)
    return Heart(centre, np.stack([apex, right, np.cross(apex, right)]), 47 * size, 33 * size, 10.0 * size, size)


def left_ventricle(q: Points, h: Heart, inset: float = 0.0) -> np.ndarray:
    """An egg pointed at the apex, still to be cut at the plane of the valves."""
    return ellipsoid(q, (-6 * h.size, 0, 0), (h.long + 6 * h.size - inset, h.short - inset, h.short - inset))


def chambers(p: Points, h: Heart) -> dict[str, np.ndarray]:
    q, s = h.local(p), h.size
    base = -q.x - np.float32(27 * s)
    outer = smooth_cut(left_ventricle(q, h), base, 3)
    cavity = np.maximum(left_ventricle(q, h, h.wall), base - 4)
    crescent = ellipsoid(q, (-9 * s, 27 * s, 4 * s), (44 * s, 27 * s, 40 * s))
    right = smooth_cut(smooth_cut(crescent, base - 6, 4), -outer - 0.5, 2)
    c = h.centre
    left_atrium = ellipsoid(p, c + np.array([-30, 39, 27]) * s, (34 * s, 19 * s, 24 * s))
    right_atrium = ellipsoid(p, c + np.array([-64, 8, 14]) * s, (23 * s, 25 * s, 33 * s))
    appendage = capsule(p, c + np.array([-2, 25, 42]) * s, c + np.array([20, -8, 45]) * s, 9 * s, 6 * s)
    return {
        "ventricle": outer,
        "cavity": cavity,
        "right": right,
        "left_atrium": left_atrium,
        "right_atrium": right_atrium,
        "appendage": appendage,
    }


def surface(p: Points, h: Heart, rounding: float = 14.0) -> np.ndarray:
    """The heart's outside with its fat, for the lungs to lie on."""
    parts = chambers(p, h)
    d = parts["ventricle"]
    for name in ("right", "left_atrium", "right_atrium", "appendage"):
        d = smooth_union(d, parts[name], rounding)
    root = capsule(
        p,
        h.centre + np.array([-38, 4, 30]) * h.size,
        h.centre + np.array([-38, 2, 62]) * h.size,
        22 * h.size,
        20 * h.size,
    )
    return smooth_union(d, root, rounding)


def _box(canvas: Canvas, h: Heart) -> Points | None:
    return canvas.box(h.centre - np.array([125, 75, 85]), h.centre + np.array([75, 90, 110]))


def paint_heart_fat(canvas: Canvas, h: Heart) -> None:
    """Fat between heart and lungs; laid before the great vessels that run through it."""
    p = _box(canvas, h)
    if p is not None:
        canvas.paint(p, surface(p, h) - 3.0, "fat_visceral", None)


def paint_heart(canvas: Canvas, h: Heart) -> None:
    p = _box(canvas, h)
    if p is None:
        return
    parts = chambers(p, h)
    for name in ("left_atrium", "right_atrium"):
        canvas.paint(p, parts[name], "atrium", "heart")
        canvas.paint(p, parts[name] + 2.2, "heart_blood", "heart")
    canvas.paint(p, parts["right"], "myocardium_right", "heart")
    canvas.paint(p, parts["right"] + 3.6, "heart_blood", "heart")
    canvas.paint(p, parts["ventricle"], "myocardium", "heart")
    canvas.paint(p, parts["cavity"], "heart_blood", "heart")
    canvas.paint(p, parts["appendage"], "atrium", "atrial_appendage_left")
    _pulmonary_veins(canvas, h)
    _papillary(canvas, p, h)


def _papillary(canvas: Canvas, p: Points, h: Heart) -> None:
    s = h.size
    for b, c in ((9, 13), (8, -13)):
        d = capsule(p, h.world(22 * s, b * s, c * s), h.world(-2 * s, b * s * 0.8, c * s * 0.8), 4.5 * s, 3.0 * s)
        canvas.paint(p, d, "myocardium", "heart")


def _pulmonary_veins(canvas: Canvas, h: Heart) -> None:
    s, c = h.size, h.centre
    lines = []
    for side in (1, -1):
        for up, back in ((14, 6), (-8, 9)):
            root = c + np.array([-30 + side * 26, 42, 27 + up * 0.6]) * s
            lines.append(
                curve(
                    [
                        (*root, 7.5),
                        (*(root + np.array([side * 17, back, up * 0.7])), 6.5),
                        (*(root + np.array([side * 31, back + 3, up])), 5.0),
                    ]
                )
            )
    cloud = Cloud(lines)
    p = canvas.box(*cloud.bounds())
    if p is not None:
        canvas.paint(p, cloud.distance(p), "blood", "pulmonary_vein")
