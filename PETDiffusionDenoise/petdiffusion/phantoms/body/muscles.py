"""Named muscles of back, belly and buttock, and the planes of fat between all the others."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .limbbones import ilium
from .limbs import Limbs
from .shapes import Cloud, Points, curve, ellipsoid, resampled, rotation

# Level, distance from the midline, depth behind the vertebral bodies' middle, half width, half depth.
_BACK = np.array(
    [
        (45, 15, 34, 12, 9),
        (75, 19, 42, 17, 13),
        (120, 28, 46, 26, 20),
        (190, 33, 47, 30, 22),
        (260, 33, 49, 29, 21),
        (340, 30, 55, 26, 16),
        (440, 27, 51, 23, 14),
        (520, 24, 45, 20, 13.5),
        (590, 21, 42, 17, 15),
        (655, 20, 40, 15, 13),
    ]
)


def paint_muscles(canvas: Canvas, frame: Frame) -> None:
    for side, word in ((1, "left"), (-1, "right")):
        _back(canvas, frame, side, f"autochthon_{word}")
        _sheet(canvas, gluteus_maximus(frame), side, f"gluteus_maximus_{word}")
        _sheet(canvas, gluteus_medius(frame), side, f"gluteus_medius_{word}")
        _sheet(canvas, gluteus_minimus(), side, f"gluteus_minimus_{word}")
        _sheet(canvas, iliopsoas(frame), side, f"iliopsoas_{word}", gap=1.2)


def paint_pelvic_floor(canvas: Canvas) -> None:
    """Wedges of fat beside the anal canal."""
    p = canvas.box((-60, -10, -95), (60, 90, -15))
    if p is not None:
        half = Points(np.abs(p.x), p.y, p.z, p.where)
        wedge = ellipsoid(half, (24, 44, -54), (12, 23, 26), rotation(rz=-24))
        canvas.paint(p, wedge, "fat_visceral", None)


def _back(canvas: Canvas, frame: Frame, side: int, name: str) -> None:
    near, far = sorted((0, side * 75))
    p = canvas.box((near, 20, 40), (far, 135, 662))
    if p is None:
        return
    q = p.mirrored(side)
    away, depth, a, b = (np.interp(q.z, _BACK[:, 0], _BACK[:, i]).astype(np.float32) for i in (1, 2, 3, 4))
    y = frame.spine_y(q.z).astype(np.float32) + depth
    grown = np.float32(0.6 + 0.4 * frame.person.muscle)
    ratio = (np.abs((q.x - away) / (a * grown)) ** 2.5 + np.abs((q.y - y) / (b * grown)) ** 2.5) ** np.float32(0.4)
    d = (ratio - 1) * np.minimum(a, b)
    d = np.maximum(np.maximum(d, 40 - q.z), q.z - 655)
    canvas.paint(p, d - 1.6, "septum", None, cover=np.float32(0.6), within=(canvas.label[p.where] == 0) & (q.x > 0))
    canvas.paint(p, d, "muscle", name, within=q.x > 0)


def _sheet(canvas: Canvas, rows: np.ndarray, side: int, name: str, gap: float = 1.6) -> None:
    cloud = Cloud([rows * np.array([side, 1, 1, 1])])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d = cloud.distance(p)
    canvas.paint(p, d - gap, "septum", None, cover=np.float32(0.75))
    canvas.paint(p, d, "muscle", name)


def _between(a: np.ndarray, b: np.ndarray, bulge: np.ndarray, radius: tuple, n: int = 22, m: int = 30) -> np.ndarray:
    """Balls over a sheet from line a to line b, bulged in the middle; radius at start, middle and end."""
    a, b = resampled(curve(a), m), resampled(curve(b), m)
    s = np.linspace(0, 1, n)[:, None, None]
    sheet = a[None] * (1 - s) + b[None] * s + np.asarray(bulge) * 4 * s * (1 - s)
    r = np.interp(s[:, 0, 0], [0, 0.5, 1], radius)[:, None] * (1 - 0.3 * np.abs(np.linspace(-1, 1, m)) ** 3)
    return np.concatenate([sheet, r[..., None]], -1).reshape(-1, 4)


def gluteus_maximus(frame: Frame) -> np.ndarray:
    m = frame.person.muscle
    origin = np.array([(54, 92, 88), (42, 97, 60), (32, 94, 25), (20, 84, -12), (16, 72, -38)], float)
    insertion = np.array([(146, 30, 8), (146, 36, -25), (140, 38, -60), (132, 34, -100), (126, 30, -128)], float)
    return _between(origin, insertion, (4, 22, -6), (8, 21 * m, 8))


def gluteus_medius(frame: Frame) -> np.ndarray:
    m = frame.person.muscle
    crest = np.array([(134, -34, 92), (146, -10, 112), (136, 22, 124), (112, 52, 118), (90, 70, 98)], float)
    trochanter = np.array([(148, 6, 6), (150, 12, 8), (150, 18, 8), (148, 24, 6), (146, 28, 4)], float)
    return _between(crest, trochanter, (6, 4, 0), (7, 14 * m, 6))


def gluteus_minimus() -> np.ndarray:
    blade = np.array([(122, -28, 66), (124, -8, 76), (116, 14, 78), (102, 36, 72)], float)
    trochanter = np.array([(138, 0, 10), (140, 4, 10), (142, 8, 10), (142, 12, 10)], float)
    return _between(blade, trochanter, (3, 0, 2), (5, 8, 5), 16, 20)


def iliopsoas(frame: Frame) -> np.ndarray:
    m = frame.person.muscle
    y = frame.ahead
    psoas = curve(
        [
            (24, y(285) + 2, 285, 6 * m),
            (31, y(258) + 4, 258, 10 * m),
            (35, y(226) + 7, 226, 14 * m),
            (39, y(190) + 9, 190, 17 * m),
            (44, y(154) + 6, 154, 18.5 * m),
            (52, 20, 117, 18 * m),
            (63, 4, 80, 17 * m),
            (76, -26, 40, 16 * m),
            (87, -37, 8, 14 * m),
            (100, -22, -28, 11 * m),
            (114, 16, -56, 6),
        ],
        3.0,
    )
    blade = ilium(1).reshape(30, -1, 4)[4:26]
    inner = blade[:, 4:-6].copy()
    inner[..., 0] -= 13 * m
    inner[..., 1] -= 6
    inner[..., 3] = np.interp(np.arange(len(inner)), [0, 10, len(inner) - 1], [8 * m, 9 * m, 3])[:, None]
    return np.concatenate([psoas, inner.reshape(-1, 4)])


# Centres of the thigh's muscles in the plane across it, as shares of its radius: outwards, backwards.
_THIGH = np.array(
    [
        (0.12, -0.78),
        (0.66, -0.36),
        (-0.42, -0.52),
        (0.12, -0.32),
        (-0.60, 0.06),
        (-0.90, 0.22),
        (-0.32, 0.62),
        (0.02, 0.84),
        (0.44, 0.62),
        (-0.2, 0.25),
    ]
)


def paint_septa(canvas: Canvas, frame: Frame, limbs: Limbs, lean: np.ndarray) -> None:
    """Fat between muscles: around the thigh's muscles, and as irregular planes in the wall of trunk and arms."""
    for side in (1, -1):
        _thigh_septa(canvas, limbs, side, lean)
    thickness = np.float32(0.3 + 0.045 * frame.person.muscle_fat)
    for p in canvas.grid.everywhere().slabs():
        depth = lean[p.where]
        plane = np.abs(canvas.texture("septa", p.where)) * np.float32(11.0) - thickness
        fade = np.float32(0.65) * np.clip(-(depth + 4) / 6, 0, 1)
        canvas.paint(p, plane, "septum", cover=fade, within=(depth < -3) & (p.z > -60) & (p.z < 640))


def paint_axillae(canvas: Canvas, limbs: Limbs, lean: np.ndarray) -> None:
    """Fat of the armpits, in which vessels and nodes run."""
    for side in (1, -1):
        shoulder = np.array(limbs.shoulder)
        centre = np.array([0.68 * shoulder[0], shoulder[1] - 16, shoulder[2] - 34]) * (side, 1, 1)
        p = canvas.box(centre - 60, centre + 60)
        if p is not None:
            d = ellipsoid(p, centre, (17, 24, 34), rotation(ry=side * 22)) + 3 * canvas.texture("patch", p.where)
            canvas.paint(p, d.astype(np.float32), "fat", None, within=lean[p.where] < -6)


def _thigh_septa(canvas: Canvas, limbs: Limbs, side: int, lean: np.ndarray) -> None:
    knee = np.array(limbs.knee)
    near, far = sorted((side * 5, side * 230))
    p = canvas.box((near, -130, -470), (far, 140, -20))
    if p is None:
        return
    q = p.mirrored(side)
    u = np.clip(-q.z / 430, 0, 1)
    bend = 9 * canvas.texture("broad", p.where).astype(np.float32)
    wave = 4 * canvas.texture("patch", p.where).astype(np.float32)
    x = (q.x + bend - (104 + (knee[0] - 104) * u)) / np.float32(80)
    y = (q.y - bend + wave - 6) / np.float32(80)
    best, second = np.full(x.shape, 9.0, np.float32), np.full(x.shape, 9.0, np.float32)
    for cx, cy in _THIGH:
        d = np.sqrt((x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2)
        second = np.minimum(second, np.maximum(best, d))
        best = np.minimum(best, d)
    gap = (second - best) * np.float32(40.0) - np.float32(1.1)
    fade = np.clip((-30 - q.z) / 50, 0, 1) * 0.8
    canvas.paint(p, gap, "septum", cover=fade.astype(np.float32), within=lean[p.where] < -2)
