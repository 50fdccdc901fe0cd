"""Vertebrae with bodies, arches and processes, the discs between them, the canal with its cord, and the sacrum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..labels import ID
from .canvas import Canvas
from .frame import Frame, Vertebra
from .shapes import Cloud, Points, capsule, curve, smooth_cut, smooth_union

# Per region: canal radius, pedicle, lamina; spinous length, fall, radius; transverse reach, back, radius; facet radius.
_ARCH = {
    "C": dict(
        canal=7.5, pedicle=3.4, lamina=2.8, spine=17, fall=0.25, spine_r=3.4, reach=25, back=-3, trans_r=4.2, facet=5.4
    ),
    "T": dict(
        canal=7.8, pedicle=3.8, lamina=3.6, spine=33, fall=0.85, spine_r=3.4, reach=33, back=20, trans_r=4.2, facet=4.6
    ),
    "L": dict(
        canal=8.6, pedicle=5.2, lamina=4.4, spine=28, fall=0.15, spine_r=3.6, reach=43, back=12, trans_r=4.0, facet=7.0
    ),
}
SAC_MM = 6.8


def paint_spine(canvas: Canvas, frame: Frame) -> None:
    _discs(canvas, frame)
    _sacrum(canvas, frame)
    for v in frame.vertebrae:
        p = canvas.box((v.x - 62, v.y - 40, v.z - 45), (v.x + 62, v.y + 85, v.z + 35))
        if p is not None:
            _vertebra(canvas, p, v)
    _canal(canvas, frame)


def local(p: Points, v: Vertebra) -> Points:
    """Axes of a vertebra: x sideways, y to the back, z up, its body's middle at the origin."""
    t = np.deg2rad(v.tilt)
    return p.at((v.x, v.y, v.z), [[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]])


def body(q: Points, width: float, depth: float, height: float) -> np.ndarray:
    """Waisted drum with a flat back."""
    waist = 1 - 0.09 * (1 - np.clip(2 * q.z / np.float32(height), -1, 1) ** 2)
    a, b = np.float32(width / 2) * waist, np.float32(depth / 2) * waist
    flat = np.where(q.y > 0, np.float32(1.12), np.float32(1.0))
    ratio = (np.abs(q.x / a) ** 2.4 + np.abs(q.y * flat / b) ** 2.4) ** np.float32(1 / 2.4)
    side = (ratio - 1) * np.float32(min(width, depth) / 2)
    return smooth_cut(side, np.abs(q.z) - np.float32(height / 2), 2.5)


def _vertebra(canvas: Canvas, p: Points, v: Vertebra) -> None:
    q = local(p, v)
    name = f"vertebrae_{v.name}"
    if v.name == "C1":
        bone = _atlas(q)
        canvas.paint(p, bone, "bone_cortex_thin", name)
        canvas.paint(p, bone + 2.2, "marrow_spine")
        return
    drum = body(q, v.width, v.depth, v.height)
    if v.name == "C2":
        drum = smooth_union(drum, capsule(q, (0, -1, 6), (0, -2, 25), 6.0, 4.6), 5)
    arch = _arch(q, v)
    bone = smooth_union(drum, arch, 3)
    canvas.paint(p, bone, "bone_cortex_thin", name)
    canvas.paint(p, np.minimum(drum + 1.3, arch + 1.9), "marrow_spine")


def _atlas(q: Points) -> np.ndarray:
    half = Points(np.abs(q.x), q.y, q.z)
    front = capsule(half, (0, -10, 0), (18, -2, 0), 4.0, 5.5)
    mass = capsule(half, (20, 2, -3), (20, 8, 4), 8.0)
    wing = capsule(half, (24, 6, 0), (38, 9, 0), 5.0, 4.0)
    back = smooth_union(capsule(half, (20, 12, 0), (12, 27, 0), 4.0), capsule(half, (12, 27, 0), (0, 32, 0), 4.0), 4)
    return smooth_union(smooth_union(front, mass, 4), smooth_union(wing, back, 4), 4)


def _arch(q: Points, v: Vertebra) -> np.ndarray:
    k = _ARCH[v.region]
    half = Points(np.abs(q.x), q.y, q.z)
    w, back, h = v.width, v.depth / 2 - 2, v.height
    root = (min(w * 0.36, k["canal"] + k["pedicle"] + 1.5), back + 9, 0.12 * h)
    ridge = (0.0, back + 2 * k["canal"] + k["lamina"] + 3, -0.2 * h)
    parts = [
        capsule(half, (root[0] - 1, back - 3, 0.18 * h), root, k["pedicle"]),
        capsule(half, root, ridge, k["lamina"], None, (1.0, 1.0, 0.62)),
        capsule(
            half,
            (root[0] + 1, back + 13, -0.78 * h),
            (root[0] + 1, back + 9, 0.72 * h),
            k["facet"] * 0.9,
            k["facet"] * 0.8,
        ),
    ]
    reach = k["reach"] - (0.9 * max(v.number - 8, 0) if v.region == "T" else 0)
    parts.append(capsule(half, root, (reach, back + 9 + k["back"] * 0.8, 0.15 * h), k["trans_r"], k["trans_r"] * 0.85))
    length = k["spine"] * (1.5 if v.name in ("C7", "C2") else 1.0)
    fall = k["fall"] * (0.55 if v.region == "T" and v.number in (1, 2, 11, 12) else 1.0)
    tip = (0.0, ridge[1] + length * np.cos(fall), ridge[2] - length * np.sin(fall))
    tall = 0.42 if v.region == "L" else 0.75
    parts.append(capsule(half, ridge, tip, k["spine_r"], k["spine_r"] * 0.95, (1.15, 1.0, tall)))
    total = parts[0]
    for part in parts[1:]:
        total = smooth_union(total, part, 4)
    return total


def _discs(canvas: Canvas, frame: Frame) -> None:
    below = [*frame.vertebrae[2:], None]
    for upper, lower in zip(frame.vertebrae[1:], below):
        bottom = upper.z - upper.height / 2
        top = lower.z + lower.height / 2 if lower else bottom - 10
        y = (upper.y + (lower.y if lower else upper.y + 12)) / 2
        disc = Vertebra(
            "disc", upper.x, y, (bottom + top) / 2, bottom - top + 1.0, upper.width * 0.98, upper.depth, upper.tilt
        )
        p = canvas.box((disc.x - 35, y - 28, disc.z - 14), (disc.x + 35, y + 28, disc.z + 14))
        if p is not None:
            canvas.paint(p, body(local(p, disc), disc.width, disc.depth, disc.height), "disc", None)


def canal_line(frame: Frame) -> np.ndarray:
    """Centre of the spinal canal from the skull to the sacrum: rows of x, y, z."""
    rows = []
    for v in frame.vertebrae:
        t, offset = np.deg2rad(v.tilt), (13 if v.name == "C1" else v.depth / 2 + _ARCH[v.region]["canal"] - 1)
        rows.append((v.x, v.y + offset * np.cos(t), v.z - offset * np.sin(t)))
    rows.append((0, float(frame.spine_y(80)) + 27, 74))
    rows.append((0, float(frame.spine_y(50)) + 14, 46))
    return np.array([(0, 14, 690), *rows])


def _canal(canvas: Canvas, frame: Frame) -> None:
    line = canal_line(frame)
    tube = Cloud([curve(np.c_[line, np.full(len(line), SAC_MM)], 3.0)])
    p = canvas.box(*tube.bounds())
    if p is None:
        return
    d = tube.distance(p)
    canvas.paint(p, d - 1.6, "fat_visceral", None, within=p.z < 680)
    canvas.paint(p, d, "csf", "spinal_cord", within=p.z < 682)
    cord = Cloud([curve(np.c_[line[:21], np.r_[6.5, 6.2, np.full(5, 5.6), np.full(11, 4.5), 4.6, 3.6, 2.0]], 3.0)])
    canvas.paint(p, cord.distance(p), "spinal_cord", within=p.z < 690)


def sacrum_rows(frame: Frame) -> np.ndarray:
    """Middle line of the sacrum with its half width and half thickness: x, y, z, width, thickness."""
    y = frame.spine_y
    return np.array(
        [
            (0, float(y(84)) - 2, 86, 54, 14),
            (0, float(y(66)), 66, 53, 14),
            (0, float(y(45)) - 1, 45, 44, 11),
            (0, float(y(22)), 22, 33, 9),
            (0, float(y(2)), 2, 23, 7),
            (0, float(y(-14)), -14, 13, 5.5),
            (0, float(y(-28)) - 2, -28, 7, 4.5),
            (0, float(y(-42)) - 8, -42, 4, 3.5),
        ]
    )


def _sacrum(canvas: Canvas, frame: Frame) -> None:
    sheet = []
    for _, y, z, width, thick in curve(sacrum_rows(frame), 4.0):
        across = np.linspace(-1, 1, max(int(2 * width / 4.5), 3))
        wing = np.abs(across) * width
        radius = np.clip(thick * (1 - 0.30 * across**2), 3, None)
        back = 9 * (wing / 54) ** 1.5 + 2.0 * (wing < 10)
        rows = np.stack(
            [
                across * np.maximum(width - radius * 0.7, 1),
                y + back + 0 * across,
                z - 5 * across**2 * (width > 40),
                radius,
            ],
            1,
        )
        sheet.append(rows)
    cloud = Cloud([np.concatenate(sheet)])
    p = canvas.box(*cloud.bounds(20))
    if p is None:
        return
    d = cloud.distance(p)
    for a, b in _crest(frame):
        d = smooth_union(d, capsule(p, a, b, 4.5), 4)
    d = smooth_union(d, body(local(p, _promontory(frame)), 50, 33, 26), 4)
    holes = Cloud([np.concatenate([_hole(frame, z, x) for z, x in ((62, 23), (42, 21), (22, 18), (4, 14))])])
    d = np.maximum(d, -holes.distance(p))
    canvas.paint(p, d, "bone_cortex_thin", "sacrum")
    canvas.paint(p, d + 1.7, "marrow_spine")
    label = canvas.label[p.where]
    label[(label == ID["sacrum"]) & (p.z > 66)] = ID["vertebrae_S1"]


def _promontory(frame: Frame) -> Vertebra:
    return Vertebra("L9", 0, float(frame.spine_y(84)) - 6, 84, 26, 50, 33, -32)


def _crest(frame: Frame):
    levels = (70, 48, 26, 6)
    points = [np.array([0, float(frame.spine_y(z)) + d, z]) for z, d in zip(levels, (28, 22, 15, 10))]
    return list(pairwise(points))


def _hole(frame: Frame, z: float, x: float) -> np.ndarray:
    y = float(frame.spine_y(z))
    depth = np.arange(-20, 6, 3.0)
    return np.concatenate(
        [np.stack([np.full_like(depth, s * x), y + depth, z + 0 * depth, np.full_like(depth, 4.0)], 1) for s in (-1, 1)]
    )
