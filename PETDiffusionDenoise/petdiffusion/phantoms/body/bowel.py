"""Small bowel as folded loops, the frame of the large bowel with its bulges, and the vessels of their mesentery."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .shapes import Cloud, Points, curve, rotation, thin_cover


def paint_bowel(canvas: Canvas, frame: Frame) -> None:
    small = small_bowel_line(frame)
    if canvas.fine:
        _mesentery(canvas, frame, small)
    _loops(canvas, frame, small)
    _colon(canvas, frame)


def _slow(rng: np.random.Generator, length: float, scale: float, n: int) -> np.ndarray:
    """Smooth random function along a tube: unit variance, changing over `scale` mm."""
    knots = rng.standard_normal(max(int(length / scale) + 3, 4))
    t = np.linspace(0, len(knots) - 1.001, n)
    i = t.astype(int)
    u = (1 - np.cos(np.pi * (t - i))) / 2
    return (knots[i] * (1 - u) + knots[i + 1] * u) * 1.2


def small_bowel_line(frame: Frame) -> np.ndarray:
    """A path through a jittered lattice of the lower belly, row by row, as loops lie folded on one another."""
    rng = frame.person.rng("small bowel")
    step = 29.0 + rng.normal(0, 0.8)
    turn = rotation(*rng.normal(0, 28, 3))
    half = np.array([92 + 0.4 * frame.belly, 44 + 0.45 * frame.belly, 112])
    centre = np.array([4.0, -28 - 0.45 * frame.belly, 128]) + rng.normal(0, 4, 3)
    n = 6
    points = []
    for k in range(-n, n + 1):
        rows = list(range(-n, n + 1))[:: 1 if k % 2 else -1]
        for j in rows:
            columns = list(range(-n, n + 1))[:: 1 if (j + k) % 2 else -1]
            points += [((i + 0.5 * (j % 2)) * step, j * step * 0.92, k * step * 0.95) for i in columns]
    lattice = np.array(points) @ turn + rng.normal(0, 5.0, (len(points), 3)) + centre
    keep = np.sum(((lattice - centre) / half) ** 2, 1) < 1.0
    lattice = lattice[keep]
    p = Points(*(np.ascontiguousarray(lattice[:, i], np.float32) for i in range(3)))
    wall, spine = frame.cavity.distance(p), frame.spine(p)
    pelvis = (
        (lattice[:, 2] < 50)
        & (np.abs(lattice[:, 1] + 5) < 45)
        & (lattice[:, 2] < 42 + 0.2 * frame.person.bladder_ml * 0.6)
    )
    keep = (wall < -13) & (spine > 27) & ~pelvis
    lattice = _shortcut(lattice[keep])
    line = curve(lattice, 3.0)
    radius = 10.8 + 2.3 * _slow(rng, 3.0 * len(line), 55, len(line))
    return np.c_[line, np.clip(radius, 7.0, 15.5)]


def _shortcut(points: np.ndarray) -> np.ndarray:
    """Order by nearest neighbour, preferring the row's own successor, so that no piece jumps across the belly."""
    left = list(range(len(points)))
    order = [left.pop(0)]
    while left:
        here = points[order[-1]]
        distance = np.linalg.norm(points[left] - here, axis=1) + 0.35 * np.abs(np.array(left) - order[-1])
        order.append(left.pop(int(np.argmin(distance))))
    return points[order]


def _loops(canvas: Canvas, frame: Frame, line: np.ndarray) -> None:
    rng = frame.person.rng("small bowel uptake")
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p)
    d = np.maximum(d, frame.cavity.distance(p) + 2.5)
    gain = np.exp(0.38 * _slow(rng, 3.0 * len(line), 70, len(line)).clip(-2, 2)).astype(np.float32)[index]
    canvas.paint(p, d, "bowel_wall", "small_bowel", gain=gain)
    filled = np.clip(0.6 + 0.6 * _slow(rng, 3.0 * len(line), 90, len(line)), 0, 1).astype(np.float32)[index]
    canvas.paint(p, d + 3.4, "bowel_content", "small_bowel", cover=filled)
    pocket = (_slow(rng, 3.0 * len(line), 60, len(line)) > 1.5)[index]
    radius = cloud.radii[index]
    above = p.y - cloud.points[index][..., 1].astype(np.float32) + 0.1 * radius
    canvas.paint(p, np.maximum(d + 4.0, above), "gas", "small_bowel", within=pocket)


# Large bowel along the wall: angle from the front, level, depth from the wall, side, radius, and how much of the
# diaphragm's descent it follows.
_ALONG_THE_WALL = (
    (70, 78, 30, -1, 21, 0),
    (88, 105, 27, -1, 25, 0),
    (104, 140, 27, -1, 24, 0),
    (112, 175, 27, -1, 22, 0),
    (104, 208, 28, -1, 22, 1),
    (72, 214, 30, -1, 20, 1),
    (45, 202, 24, -1, 20, 0),
    (22, 190, 23, -1, 20, 0),
    (3, 180, 22, 1, 20, 0),
    (28, 198, 22, 1, 19, 0),
    (55, 236, 24, 1, 19, 1),
    (80, 264, 22, 1, 18, 1),
    (98, 272, 22, 1, 18, 1),
    (110, 245, 20, 1, 16, 1),
    (114, 200, 19, 1, 15, 0),
    (110, 150, 18, 1, 15, 0),
    (98, 108, 20, 1, 15, 0),
    (75, 80, 28, 1, 15, 0),
)
# Sigmoid, rectum and anal canal: x, y, z, radius, freedom to move.
_DOWN_THE_PELVIS = (
    (44, 8, 62, 15, 1),
    (8, -8, 76, 15, 1),
    (-26, 14, 72, 15, 1),
    (-10, 36, 60, 15, 0.4),
    (0, 45, 38, 16, 0),
    (0, 45, 10, 18, 0),
    (0, 47, -18, 17, 0),
    (0, 42, -42, 11, 0),
    (0, 50, -68, 8, 0),
)


def colon_line(frame: Frame) -> np.ndarray:
    """From the caecum round the belly to the anus; rows of x, y, z, radius."""
    rng = frame.person.rng("colon")
    sag, low = rng.normal(0, 18), 0.5 * (frame.domes["centre"] - 358)
    rows = []
    for angle, z, depth, side, radius, follows in _ALONG_THE_WALL:
        hangs = sag * np.exp(-((angle / 35) ** 2))
        level = z + follows * low + hangs + rng.normal(0, 4)
        rows.append((*frame.cavity.surface(angle, level, -depth, side), radius))
    for x, y, z, radius, free in _DOWN_THE_PELVIS:
        rows.append((*(np.array([x, y, z]) + free * rng.normal(0, 5, 3)), radius))
    size = float(np.clip(rng.normal(1.0, 0.12), 0.75, 1.3))
    return curve(np.array(rows) * (1, 1, 1, size), 2.5)


def _colon(canvas: Canvas, frame: Frame) -> None:
    rng = frame.person.rng("colon content")
    line = colon_line(frame)
    along = 2.5 * np.arange(len(line))
    bulges = 1 - 0.20 * (0.5 + 0.5 * np.cos(2 * np.pi * along / (30 + 6 * np.sin(along / 190)))) ** 3
    line = line * np.c_[np.ones((len(line), 3)), np.where(along < along[-1] - 130, bulges, 1.0)]
    line[:, 3] *= np.clip(1 + 0.12 * _slow(rng, along[-1], 80, len(line)), 0.65, 1.3)
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p)
    inside_wall = frame.cavity.distance(p) + 2.0
    d = np.where(p.z > 20, np.maximum(d, inside_wall), d)
    d = d + 0.7 * canvas.texture("fine", p.where)
    gain = np.exp(0.42 * _slow(rng, along[-1], 120, len(line)).clip(-2, 1.7)).astype(np.float32)[index]
    canvas.paint(p, d, "colon_wall", "colon", gain=gain)
    inner = d + np.float32(3.2)
    empty = (_slow(rng, along[-1], 140, len(line)) < -0.9)[index] | (index > len(line) - 30)
    canvas.paint(p, inner, "stool", "colon", within=~empty, gain=gain)
    level = np.clip(-0.15 + 0.75 * _slow(rng, along[-1], 110, len(line)), -2.0, 1.2).astype(np.float32)[index]
    above = p.y - cloud.points[index][..., 1].astype(np.float32) - level * cloud.radii[index] + 4
    canvas.paint(p, np.maximum(inner + 0.3, above), "gas", "colon", within=~empty)
    crumbs = canvas.texture("fine", p.where)
    canvas.paint(p, np.maximum(inner + 4, 6 * (1.35 - crumbs)), "gas", "colon", within=~empty)


def _mesentery(canvas: Canvas, frame: Frame, line: np.ndarray) -> None:
    """Thin vessels from the root of the mesentery to the loops, seen on CT as strands in the fat."""
    rng = frame.person.rng("mesentery")
    root = np.array([-6.0, -30, 175])
    rows = []
    for i in range(0, len(line), 9):
        start = root + rng.normal(0, 1, 3) * (10, 5, 25)
        middle = (start + line[i, :3]) / 2 + rng.normal(0, 7, 3)
        rows.append(curve([(*start, 2.3), (*middle, 1.7), (*line[i, :3], 1.1)], 2.5))
    cloud = Cloud([np.concatenate(rows)])
    p = canvas.box(*cloud.bounds())
    if p is not None:
        d, index = cloud.nearest(p, 2.0 + canvas.grid.voxel_mm)
        canvas.paint(
            p,
            d,
            "blood",
            cover=thin_cover(cloud.radii[index], canvas.grid.voxel_mm),
            within=frame.cavity.distance(p) < -4,
        )
