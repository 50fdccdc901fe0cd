"""Ribs, their cartilages, sternum, collar bones and shoulder blades, all lying on the wall of the chest."""

from __future__ import annotations

import numpy as np

from ..labels import ID
from .canvas import Canvas
from .frame import Frame
from .limbs import Limbs
from .shapes import Cloud, Points, capsule, curve, ellipsoid, smooth_union

# Angle from the front and level at which the bone of each rib ends.
_RIB_END = (
    (36, 489),
    (29, 462),
    (27, 430),
    (28, 405),
    (31, 381),
    (35, 358),
    (41, 334),
    (51, 311),
    (61, 288),
    (74, 266),
    (100, 256),
    (130, 262),
)
_STERNUM_LEVEL = (484, 453, 432, 413, 396, 382, 370)
_WALL = 4.2


def paint_ribcage(canvas: Canvas, frame: Frame, limbs: Limbs) -> None:
    rows, names = [], []
    for side, word in ((1, "left"), (-1, "right")):
        for n in range(1, 13):
            rows.append(_thickened(rib_line(frame, n, side), n))
            names.append(f"rib_{word}_{n}")
    _paint_tubes(canvas, Cloud(rows), names, inner=1.5)
    cartilages = Cloud([_cartilage(frame, n, side) for side in (1, -1) for n in range(1, 11)])
    p = canvas.box(*cartilages.bounds())
    if p is not None:
        canvas.paint(p, cartilages.distance(p), "cartilage", "costal_cartilages")
    _sternum(canvas, frame)
    for side, word in ((1, "left"), (-1, "right")):
        _clavicle(canvas, frame, limbs, side, f"clavicula_{word}")
        _scapula(canvas, frame, limbs, side, f"scapula_{word}")


def _paint_tubes(canvas: Canvas, cloud: Cloud, names: list[str], inner: float) -> None:
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p)
    canvas.paint(p, d, "bone_cortex_thin", names[0])
    canvas.paint(p, d + inner, "marrow")
    ids = np.array([ID[name] for name in names], np.int16)
    inside = d < 0
    canvas.label[p.where][inside] = ids[cloud.tag[index[inside]]]


def rib_line(frame: Frame, n: int, side: int) -> np.ndarray:
    """Path of a rib from its joint with the spine, over the transverse process, along the chest wall."""
    v = frame.vertebra(f"T{n}")
    joint = (v.x + side * (v.width / 2 + 1), v.y + v.depth * 0.28, v.z + (v.height * 0.35 if n < 11 else 0))
    neck = (v.x + side * 31, v.y + v.depth / 2 + 17, v.z + 2)
    angle_end, z_end = _RIB_END[n - 1]
    angle = np.linspace(146, angle_end, 14)
    u = (146 - angle) / (146 - angle_end)
    z = (v.z - 2) + (z_end - v.z + 2) * (0.80 * u + 0.20 * u**2)
    wall = frame.cavity.surface(angle, z, _WALL, side)
    return curve(np.vstack([joint, neck, wall]), 2.5)


def _thickened(line: np.ndarray, n: int) -> np.ndarray:
    """A rib is a flat strap: three strands of balls, one above the other (the first rib lies flat)."""
    strands = []
    for offset in (-3.0, 0.0, 3.0):
        shift = np.zeros(3)
        rows = line.copy()
        if n == 1:
            out = rows[:, :2] - np.array([0, 20.0])
            rows[:, :2] += offset * out / np.linalg.norm(out, axis=1, keepdims=True)
        else:
            shift[2] = offset
            rows = rows + shift
        strands.append(np.c_[rows, np.full(len(rows), 3.3)])
    return np.concatenate(strands)


def _cartilage(frame: Frame, n: int, side: int) -> np.ndarray:
    angle_end, z_end = _RIB_END[n - 1]
    if n <= 7:
        z_in, angle_in = _STERNUM_LEVEL[n - 1], 13
    else:
        angle_in, z_in = {8: (24, 352), 9: (36, 330), 10: (50, 304)}[n]
    angle = np.linspace(angle_end, angle_in, 7)
    u = np.linspace(0, 1, 7)
    dip = -9 * np.sin(np.pi * np.clip(u * 1.4, 0, 1)) * (n >= 5)
    z = z_end + (z_in - z_end) * u**1.3 + dip
    line = curve(frame.cavity.surface(angle, z, _WALL, side), 2.5)
    return np.c_[line, np.full(len(line), 4.6)]


def sternum_y(frame: Frame, z) -> np.ndarray:
    return frame.cavity.surface(0.0, z, 7.0)[..., 1]


def _sternum(canvas: Canvas, frame: Frame) -> None:
    z = np.arange(332, 499, 3.5)
    half = np.interp(z, [332, 352, 362, 400, 447, 452, 470, 490, 498], [3, 6, 15, 17, 12, 13, 20, 27, 24])
    rows = [
        np.stack(
            [
                x := np.linspace(-w, w, max(int(w / 2), 2)),
                np.full_like(x, float(sternum_y(frame, level))),
                np.full_like(x, level) - (np.abs(x) < 9) * (level > 492) * 5,
                np.full_like(x, 5.0),
            ],
            1,
        )
        for level, w in zip(z, half)
    ]
    cloud = Cloud([np.concatenate(rows)])
    p = canvas.box(*cloud.bounds())
    if p is not None:
        d = cloud.distance(p)
        canvas.paint(p, d, "bone_cortex_thin", "sternum")
        canvas.paint(p, d + 1.4, "marrow_spine")


def _clavicle(canvas: Canvas, frame: Frame, limbs: Limbs, side: int, name: str) -> None:
    y0 = float(sternum_y(frame, 494))
    end = np.array(limbs.shoulder) + np.array([-8, -6, 27])
    rise = end[2] - 497
    line = curve(
        [
            (19, y0 - 3, 497, 7.5),
            (48, y0 - 5, 501 + 0.12 * rise, 6),
            (92, y0 * 0.55, 503 + 0.45 * rise, 5.2),
            (end[0] - 28, end[1] + 6, 500 + 0.88 * rise, 5.5),
            (end[0], end[1] + 2, end[2], 6),
        ]
    )
    line[:, 0] *= side
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is not None:
        d = cloud.distance(p)
        canvas.paint(p, d, "bone_cortex", name)
        canvas.paint(p, d + 2.0, "marrow")


def scapula_points(frame: Frame, limbs: Limbs, side: int) -> dict[str, np.ndarray]:
    """Named points of the shoulder blade on one side; with the arms up it is turned up and out."""
    shoulder = np.array(limbs.shoulder)
    up = frame.person.arms == "up"
    points = {
        "superior": (64, 84, 502),
        "inferior": (88, 110, 395),
        "neck": (shoulder[0] - 32, shoulder[1] + 14, shoulder[2] - 4),
        "root": (66, 98, 476),
    }
    if up:
        points |= {"superior": (62, 88, 496), "inferior": (128, 84, 408), "root": (70, 100, 470)}
    points |= {
        "acromion": shoulder + (2, 4, 33),
        "acromion_front": shoulder + (0, -14, 31),
        "glenoid": shoulder + (-25, 6, -2),
        "coracoid": shoulder + (-30, -24, 14),
        "crest": (np.array(points["root"]) + shoulder + (-10, 10, 24)) / 2 + (0, 24, 2),
    }
    return {key: np.asarray(value, float) * (side, 1, 1) for key, value in points.items()}


def _scapula(canvas: Canvas, frame: Frame, limbs: Limbs, side: int, name: str) -> None:
    k = scapula_points(frame, limbs, side)
    s, t = np.meshgrid(np.linspace(0, 1, 34), np.linspace(0, 1, 34))
    keep = s + t <= 1.0
    s, t = s[keep][:, None], t[keep][:, None]
    blade = _outside_chest(frame, k["superior"] * (1 - s - t) + k["inferior"] * s + k["neck"] * t)
    edge = np.minimum(np.minimum(s, t), 1 - s - t)
    lateral = np.exp(-(((1 - s - t) / 0.06) ** 2))
    rows = [np.c_[blade, 2.4 + 1.2 * np.exp(-((edge / 0.05) ** 2)) + 1.6 * lateral]]
    spine = _outside_chest(frame, curve([k["root"], k["crest"], k["acromion"]]))
    lower = spine + np.array([0, -7, 0]) * np.linspace(1, 0.2, len(spine))[:, None]
    rows += [np.c_[spine, np.full(len(spine), 4.0)], np.c_[lower, np.full(len(spine), 3.0)]]
    rows += [
        np.c_[
            curve([k["acromion"], k["acromion_front"]]), np.full(len(curve([k["acromion"], k["acromion_front"]])), 5.5)
        ]
    ]
    hook = curve([k["neck"], k["neck"] * 0.5 + k["coracoid"] * 0.5 + (0, 0, 9), k["coracoid"]])
    rows += [np.c_[hook, np.full(len(hook), 4.8)]]
    cloud = Cloud([np.concatenate(rows)])
    p = canvas.box(*cloud.bounds(20))
    if p is None:
        return
    d = cloud.distance(p)
    d = smooth_union(d, ellipsoid(p, k["glenoid"], (5.5, 12, 17)), 4)
    d = smooth_union(d, capsule(p, k["neck"], k["glenoid"], 9, 10), 5)
    canvas.paint(p, d, "bone_cortex", name)
    canvas.paint(p, d + 2.2, "marrow")


def _outside_chest(frame: Frame, points: np.ndarray, gap: float = 17.0) -> np.ndarray:
    """Push points out of the chest wall."""
    p = Points(*(np.ascontiguousarray(points[:, i], np.float32) for i in range(3)))
    rho, wall, _ = frame.cavity.polar(p)
    push = np.maximum((wall + gap) / np.maximum(rho, 1), 1.0)
    centre = np.interp(points[:, 2], frame.cavity.zs, frame.cavity.centre)
    moved = points.copy()
    moved[:, 0] *= push
    moved[:, 1] = centre + (points[:, 1] - centre) * push
    return moved
