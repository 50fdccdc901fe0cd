"""Hip bones, thigh bones, and the bones of the arms."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .limbs import Limbs
from .shapes import Cloud, Points, capsule, curve, ellipsoid, resampled, smooth_cut, smooth_union

_CREST = np.array(
    [(120, -50, 74), (136, -38, 101), (141, -12, 122), (131, 20, 135), (108, 50, 130), (78, 74, 108), (44, 86, 72)],
    float,
)
_BASE = np.array(
    [(100, -38, 34), (97, -24, 30), (92, -5, 32), (86, 15, 31), (75, 37, 30), (62, 58, 28), (46, 78, 48)], float
)
_CUP_AXIS = np.array([0.68, -0.30, -0.67])


def paint_limb_bones(canvas: Canvas, limbs: Limbs) -> None:
    for side, word in ((1, "left"), (-1, "right")):
        _hip(canvas, side, f"hip_{word}")
        _femur(canvas, limbs, side, f"femur_{word}")
        _humerus(canvas, limbs, side, f"humerus_{word}")
        _forearm(canvas, limbs, side)


def ilium(side: int = 1) -> np.ndarray:
    """Blade of the hip bone: balls from the socket's roof to the crest: x, y, z, radius."""
    n = max(len(curve(_CREST, 3.5)), len(curve(_BASE, 3.5)))
    crest, base = resampled(curve(_CREST, 3.5), n), resampled(curve(_BASE, 3.5), n)
    s = np.linspace(0, 1, 30)[:, None, None]
    sheet = base[None] * (1 - s) + crest[None] * s
    sheet = sheet + np.array([7.0, 0, 0]) * np.sin(np.pi * s)
    radius = np.interp(s[:, 0, 0], [0, 0.2, 0.5, 0.85, 1], [9.5, 7, 3.4, 4.2, 6.5])[:, None] * np.ones(n)
    radius = radius * (1 + 0.25 * np.cos(np.linspace(0, 2 * np.pi, n)) ** 2 * np.sin(np.pi * s[:, :, 0]))
    rows = np.concatenate([sheet, radius[..., None]], -1).reshape(-1, 4)
    return rows * np.array([side, 1, 1, 1])


def _hip(canvas: Canvas, side: int, name: str) -> None:
    cloud = Cloud([ilium(side)])
    near, far = sorted((0, side * 155))
    p = canvas.box((near, -75, -112), (far, 110, 155))
    if p is None:
        return
    q = p.mirrored(side)
    d = cloud.distance(p)
    d = smooth_union(d, _cup(q), 8)
    pubis = [
        ((70, -24, 6), (46, -42, 2), 9, 7.5),
        ((46, -42, 2), (14, -52, -14), 7.5, 8),
        ((9, -51, -10), (11, -46, -38), 7, 6.5),
        ((12, -44, -38), (36, -16, -68), 6.5, 6),
        ((36, -16, -68), (54, 14, -84), 6, 8),
    ]
    ischium = [
        ((78, 22, -12), (68, 32, -50), 15, 14),
        ((68, 32, -50), (58, 24, -80), 14, 12),
        ((70, 36, -6), (54, 47, -12), 9, 4),
    ]
    for a, b, ra, rb in pubis + ischium:
        d = smooth_union(d, capsule(q, a, b, ra, rb), 7)
    d = np.maximum(d, 26.5 - _from_joint(q))
    canvas.paint(p, d, "bone_cortex", name)
    canvas.paint(p, d + 1.9, "marrow_spine")


def _from_joint(q: Points) -> np.ndarray:
    return np.sqrt((q.x - 88) ** 2 + q.y**2 + q.z**2)


def _cup(q: Points) -> np.ndarray:
    """Socket of the hip: a hollow half ball open to the side, below and front."""
    along = (q.x - 88) * np.float32(_CUP_AXIS[0]) + q.y * np.float32(_CUP_AXIS[1]) + q.z * np.float32(_CUP_AXIS[2])
    return smooth_cut(_from_joint(q) - 34.5, along - 9, 5)


def _femur(canvas: Canvas, limbs: Limbs, side: int, name: str) -> None:
    knee = Limbs.of(side, limbs.knee)
    top, bottom = np.array([side * 129.0, 9, -38]), knee + np.array([0, 0, 10.0])
    p = canvas.box(np.minimum(top, bottom) - (70, 40, 0), np.maximum(top, bottom) + (70, 40, 80))
    if p is None:
        return
    q = p.mirrored(side)
    shaft = capsule(q, (129, 9, -38), bottom * (side, 1, 1), 15.5, 14)
    head = ellipsoid(q, (88, 0, 0), (24, 24, 24))
    neck = capsule(q, (92, 1, -3), (127, 8, -26), 15.5, 18)
    greater = capsule(q, (134, 14, -28), (139, 19, -4), 15, 10)
    lesser = capsule(q, (124, 18, -52), (116, 26, -58), 10, 6)
    d = smooth_union(smooth_union(head, neck, 7), smooth_union(shaft, smooth_union(greater, lesser, 8), 9), 9)
    canvas.paint(p, d, "bone_shaft", name)
    canvas.paint(p, d + np.interp(p.z, [-110, -60, -20], [6.5, 4.5, 1.6]).astype(np.float32), "marrow")
    canvas.paint(p, np.maximum(shaft + 6.5, p.z + 75), "fat_marrow")


def _humerus(canvas: Canvas, limbs: Limbs, side: int, name: str) -> None:
    a, b = Limbs.of(side, limbs.shoulder), Limbs.of(side, limbs.elbow)
    p = canvas.box(np.minimum(a, b) - 34, np.maximum(a, b) + 34)
    if p is None:
        return
    axis = (b - a) / np.linalg.norm(b - a)
    start = a + 12 * axis + np.array([side * 5, 0, 0])
    shaft = capsule(p, start, b, 12.5, 11)
    head = ellipsoid(p, a, (22, 22, 23))
    epicondyles = capsule(p, b - 14 * axis + (17, 0, 0), b - 14 * axis - (17, 0, 0), 8)
    d = smooth_union(
        smooth_union(head, shaft, 12), smooth_union(epicondyles, capsule(p, b - 45 * axis, b, 9, 13), 8), 8
    )
    along = (p.x - a[0]) * axis[0] + (p.y - a[1]) * axis[1] + (p.z - a[2]) * axis[2]
    wall = np.interp(along, [0, 30, 60, 230, 290], [1.6, 2.5, 4.6, 4.6, 2.0]).astype(np.float32)
    canvas.paint(p, d, "bone_shaft", name)
    canvas.paint(p, d + wall, "marrow")
    canvas.paint(p, np.maximum(d + wall, 75 - along), "fat_marrow")


def _forearm(canvas: Canvas, limbs: Limbs, side: int) -> None:
    elbow, wrist, hand = (Limbs.of(side, point) for point in (limbs.elbow, limbs.wrist, limbs.hand))
    apart = np.array([side * 1.0, 12.0, 0.0])
    lines = [
        curve(np.c_[np.stack([elbow + apart * 0.6, (elbow + wrist) / 2 + apart, wrist + apart * 0.9]), [10, 6.5, 8]]),
        curve(np.c_[np.stack([elbow - apart * 0.6, (elbow + wrist) / 2 - apart, wrist - apart * 0.9]), [9, 6.5, 9.5]]),
    ]
    for finger in np.linspace(-1.4, 1.4, 5):
        knuckle = wrist * 0.5 + hand * 0.5 + apart * finger * 1.6
        lines.append(
            curve(np.c_[np.stack([wrist + apart * finger * 0.7, knuckle, hand + apart * finger * 1.7]), [4.5, 4, 3.5]])
        )
    cloud = Cloud(lines)
    p = canvas.box(*cloud.bounds())
    if p is not None:
        d = cloud.distance(p)
        canvas.paint(p, d, "bone_cortex", None)
        canvas.paint(p, d + 2.6, "fat_marrow")
