"""Organs of the upper belly: liver, gallbladder, spleen, stomach, pancreas, duodenum, kidneys, adrenals."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .fit import lattice, liver_ml, solve, spleen_ml, volume_ml
from .frame import Frame
from .shapes import Cloud, Points, capsule, curve, ellipsoid, rotation, smooth_cut, smooth_union, thin_cover


def paint_upper_abdomen(canvas: Canvas, frame: Frame, sizes: dict[str, float]) -> None:
    _stomach(canvas, frame)
    _renal_fat(canvas, frame, 1, "left")
    _spleen(canvas, frame, sizes["spleen"])
    _liver(canvas, frame, sizes["liver"])
    _tube(canvas, pancreas_line(frame), "pancreas", "pancreas", lumps=1.6)
    _duodenum(canvas, frame)
    _renal_fat(canvas, frame, -1, "right")
    for side, word in ((1, "left"), (-1, "right")):
        _kidney(canvas, frame, side, word)
    for side, word in ((1, "left"), (-1, "right")):
        _adrenal(canvas, frame, side, f"adrenal_gland_{word}")


def descent(frame: Frame) -> float:
    """How far organs under the diaphragm move with its dome."""
    return 0.75 * (frame.domes["centre"] - 358.0)


def liver_surface(p: Points, frame: Frame, tip: float) -> np.ndarray:
    """Under the right dome, filling the space to the ribs, cut by the slanting visceral surface that ends at `tip`."""
    rng = frame.person.rng("liver")
    slope, back, reach = 0.60 + rng.normal(0, 0.05), 0.26 + rng.normal(0, 0.06), 66 + rng.normal(0, 14)
    under = frame.cavity.distance(p) + np.float32(3.5)
    roof = (p.z - frame.diaphragm(p) + np.float32(4.0)) * np.float32(0.8)
    x = p.x + np.float32(112)
    floor = tip + slope * np.maximum(x, 0) - 10 * np.exp(-(((x - 20) / 30) ** 2)) + np.float32(back) * p.y
    floor = floor + 10 * np.sin((p.x + p.y) / np.float32(27)) * np.exp(-(((p.x + 30) / 50) ** 2))
    below = (floor - p.z) * np.float32(0.78)
    left = (p.x - np.float32(reach) + 0.25 * (p.z - 340)) * np.float32(0.8)
    behind = (p.y - 34 + 0.45 * np.maximum(p.x + 42, 0)) * np.float32(0.85)
    behind = np.where(p.x > -75, behind, behind - (-(p.x + 75)) * np.float32(0.9))
    d = smooth_cut(smooth_cut(under, roof, 14), smooth_cut(below, left, 22), 16)
    d = smooth_cut(d, behind, 18)
    return smooth_cut(d, -frame.spine(p, 12), 10)


_LIVER_BOX = (-150, -125, 150), (120, 110, 410)
_SPLEEN_BOX = (20, -75, 205), (150, 115, 400)


def organ_sizes(frame: Frame) -> dict[str, float]:
    """The liver's lower tip and the spleen's size that give the volumes drawn for this person."""
    person, rng = frame.person, frame.person.rng("organ sizes")
    liver, spleen = lattice(*_LIVER_BOX), lattice(*_SPLEEN_BOX)
    return {
        "liver": solve(
            lambda tip: volume_ml(liver_surface(liver, frame, tip), person), 1.03 * liver_ml(person, rng), 160, 262
        ),
        "spleen": solve(
            lambda size: volume_ml(spleen_surface(spleen, frame, size), person), 1.1 * spleen_ml(rng), 0.7, 1.6
        ),
    }


def _liver(canvas: Canvas, frame: Frame, tip: float) -> None:
    p = canvas.box(*_LIVER_BOX)
    if p is None:
        return
    d = liver_surface(p, frame, tip)
    canvas.paint(p, d, "liver", "liver")
    _fissure(canvas, p, d)
    g = frame.person.rng("gallbladder")
    size, shift = float(np.clip(g.normal(1, 0.18), 0.6, 1.4)), 0.5 * descent(frame)
    neck, fundus = np.array([-40, -22, 268 + shift]), np.array([-62, -58, 236 + shift])
    bladder = capsule(p, neck, fundus, 5 * size, 13 * size)
    canvas.paint(p, bladder, "gallbladder_wall", "gallbladder")
    canvas.paint(p, bladder + 1.8, "bile")


def _fissure(canvas: Canvas, p: Points, liver: np.ndarray) -> None:
    """Fissure of the round ligament: a short, bent wedge of fat in the front of the left lobe, open below."""
    bend = 3.5 * canvas.texture("patch", p.where).astype(np.float32)
    depth = np.clip((p.y + 62) / np.float32(40), 0, 1)
    sheet = np.abs(p.x - 10 - 0.15 * (p.y + 40) - bend) - 2.6 * (1 - depth)
    wedge = np.maximum(np.maximum(sheet, p.z - (296 - 0.2 * p.y)), p.y + 30)
    canvas.paint(p, wedge, "fat_visceral", None, within=liver < 3)


def spleen_surface(p: Points, frame: Frame, size: float) -> np.ndarray:
    """A cushion bent along the left ribs, hollowed where stomach and kidney lie on it."""
    rng = frame.person.rng("spleen")
    rho, wall, angle = frame.cavity.polar(p)
    level = 304 + descent(frame) + rng.normal(0, 5)
    arc = np.deg2rad(angle - (115 + rng.normal(0, 6))) * (0.5 * rho + np.float32(50))
    high = p.z - np.float32(level)
    tilt = np.deg2rad(38 + rng.normal(0, 8))
    along, across = arc * np.cos(tilt) + high * np.sin(tilt), high * np.cos(tilt) - arc * np.sin(tilt)
    q = Points(along, wall - rho - np.float32(2 + 22.0 * size), across)
    d = ellipsoid(q, (0, 0, 0), (55 * size, 20 * size, 34 * size))
    d = smooth_cut(d, -ellipsoid(q, (4, 27 * size, -4), (26 * size, 12 * size, 17 * size)), 8)
    d = smooth_cut(d, (p.z - frame.diaphragm(p) + 4) * np.float32(0.8), 8)
    return np.maximum(d, 5 - p.x)


def _spleen(canvas: Canvas, frame: Frame, size: float) -> None:
    p = canvas.box(*_SPLEEN_BOX)
    if p is not None:
        canvas.paint(p, spleen_surface(p, frame, size), "spleen", "spleen")


def stomach_line(frame: Frame) -> np.ndarray:
    rng = frame.person.rng("stomach")
    full, low = float(np.clip(rng.normal(0.95, 0.14), 0.68, 1.25)), descent(frame)
    j = rng.normal(0, 4, (6, 3))
    rows = np.array(
        [
            (42, 16, 340, 24),
            (50, 6, 324, 30),
            (62, -18, 296, 28),
            (62, -40, 260, 25),
            (34, -52, 236, 21),
            (2, -52, 230, 16),
            (-22, -42, 237, 10),
        ],
        float,
    )
    rows[:6, :3] += j
    rows[:, 1] -= np.array([0, 0, 0.4, 0.8, 1, 0.9, 0.6]) * 0.6 * frame.belly - 8
    rows[:, 2] += low * np.array([1, 1, 0.9, 0.7, 0.5, 0.5, 0.5])
    rows[:, 3] *= full
    return curve(rows, 3.0)


def _stomach(canvas: Canvas, frame: Frame) -> None:
    line = stomach_line(frame)
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d = smooth_cut(cloud.distance(p), (p.z - frame.diaphragm(p) + 4.5) * np.float32(0.8), 8)
    d = smooth_cut(d, frame.cavity.distance(p) + 3, 6)
    folds = 1.2 * np.sin(p.x / 3.1 + p.y / 4.3) * np.cos(p.z / 3.7)
    canvas.paint(p, d, "stomach_wall", "stomach")
    inner = d + np.float32(5.0) + folds
    canvas.paint(p, inner, "stomach_content", "stomach")
    level = float(frame.person.rng("stomach gas").uniform(-62, -38)) - 0.4 * frame.belly
    canvas.paint(p, np.maximum(inner, p.y - np.float32(level)), "gas", "stomach")
    cardia = curve([(line[0, 0] - 22, line[0, 1] + 4, line[0, 2] + 4, 8), (*line[4, :3], 8)], 3)
    _tube(canvas, cardia, "stomach_wall", "stomach")


def _tube(canvas: Canvas, line: np.ndarray, material: str, label: str | None, lumps: float = 0.0) -> None:
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d = cloud.distance(p)
    if lumps:
        d = d + np.float32(lumps) * canvas.texture("fine", p.where)
    canvas.paint(p, d, material, label)


def pancreas_line(frame: Frame) -> np.ndarray:
    rng = frame.person.rng("pancreas")
    size = float(np.clip(rng.normal(1.12 - 0.004 * (frame.person.age - 40), 0.1), 0.75, 1.3))
    rows = np.array(
        [
            (-22, -22, 214, 9),
            (-36, -22, 224, 14),
            (-34, -28, 240, 13),
            (-12, -40, 248, 9),
            (14, -38, 254, 9.5),
            (44, -12, 262, 9.5),
            (74, 18, 276, 9),
            (90, 32, 286, 7),
        ],
        float,
    )
    rows[:, :3] += rng.normal(0, 2.5, (8, 3))
    rows[:, 2] += 0.4 * descent(frame)
    rows[:, 3] *= size
    return curve(rows, 2.5)


def duodenum_line(frame: Frame) -> np.ndarray:
    y = frame.ahead
    end = stomach_line(frame)[-1]
    rows = [
        (*end[:3], 10),
        (-42, -36, 246, 13),
        (-60, -16, 238, 12.5),
        (-62, -8, 206, 12),
        (-54, -6, 180, 12),
        (-26, y(168, 36), 166, 11.5),
        (4, y(172, 47), 172, 11),
        (26, y(185, 40), 188, 11.5),
        (32, y(210, 44), 212, 12),
    ]
    return curve(rows, 3.0)


def _duodenum(canvas: Canvas, frame: Frame) -> None:
    cloud = Cloud([duodenum_line(frame)])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d = cloud.distance(p)
    canvas.paint(p, d, "bowel_wall", "duodenum")
    canvas.paint(p, d + 3.2, "bowel_content", "duodenum")


def _adrenal(canvas: Canvas, frame: Frame, side: int, name: str) -> None:
    rng = frame.person.rng(name)
    x, y, z = (30, 18, 290) if side > 0 else (34, 30, 292)
    size = float(np.clip(rng.normal(1, 0.1), 0.8, 1.25))
    rows = []
    for level in np.arange(-15, 16, 2.5) * size:
        reach = (16 - 0.4 * abs(level)) * size
        for turn in (28, -24):
            t = np.arange(0, reach, 2.0)
            a = np.deg2rad(turn)
            rows.append(
                np.stack(
                    [
                        x + t * np.sin(a) + 0.25 * level * (side < 0),
                        y + t * np.cos(a) - 5,
                        z - 0.15 * abs(level) + level + 0 * t,
                        np.full_like(t, 2.5 * size),
                    ],
                    1,
                )
            )
    cloud = Cloud([np.concatenate(rows) * np.array([side, 1, 1, 1]) + np.array([0, 0, 0.5 * descent(frame), 0])])
    p = canvas.box(*cloud.bounds())
    if p is not None:
        canvas.paint(p, cloud.distance(p), "adrenal", name)


def kidney_frame(frame: Frame, side: int, word: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Centre (as if on the left), axes and size of a kidney."""
    rng = frame.person.rng(f"kidney {word}")
    size = float(np.clip(rng.normal(1.04, 0.05), 0.93, 1.16)) * float(np.prod(frame.person.scale)) ** -0.17
    centre = np.array([60 if side > 0 else 62, 36, 246 if side > 0 else 231]) + rng.normal(0, 3, 3)
    axes = rotation(rx=8 + rng.normal(0, 4), ry=-(14 + rng.normal(0, 3)), rz=-(28 + rng.normal(0, 5)))
    return centre + (0, 0, 0.6 * descent(frame)), axes, size


def _bean(canvas: Canvas, frame: Frame, side: int, word: str) -> tuple[Points, Points, np.ndarray] | None:
    """Voxels about a kidney, the same in its own axes, and the distance to its surface."""
    centre, axes, size = kidney_frame(frame, side, word)
    place = centre * (side, 1, 1)
    p = canvas.box(place - (48, 48, 70), place + (48, 48, 70))
    if p is None:
        return None
    q = p.mirrored(side).at(centre, axes)
    bend = Points(q.x + np.float32(0.0035) * q.z**2 - 3, q.y, q.z, q.where)
    d = ellipsoid(bend, (0, 0, 0), (29 * size, 24 * size, 55 * size))
    d = smooth_cut(d, -ellipsoid(q, (-31 * size, -2, 0), (15 * size, 13 * size, 17 * size)), 6)
    return p, q, d + np.float32(0.7) * np.sin(q.z / 7.0) * np.cos(q.y / 9.0)


def _renal_fat(canvas: Canvas, frame: Frame, side: int, word: str) -> None:
    found = _bean(canvas, frame, side, word)
    if found:
        p, q, d = found
        canvas.paint(
            p, d - np.float32(2.0 + 2.5 * min(frame.person.visceral, 2)), "fat_visceral", None, within=q.y > -18
        )


def _kidney(canvas: Canvas, frame: Frame, side: int, word: str) -> None:
    found = _bean(canvas, frame, side, word)
    if not found:
        return
    p, q, d = found
    centre, _, size = kidney_frame(frame, side, word)
    rng = frame.person.rng(f"kidney parts {word}")
    name = f"kidney_{word}"
    sinus = ellipsoid(q, (-17 * size, -1, 0), (17 * size, 11 * size, 23 * size))
    canvas.paint(p, d, "kidney_cortex", name)
    columns = np.cos(q.z / np.float32(4.3)) * np.float32(2.0)
    canvas.paint(p, np.maximum(d + 8.5 + columns, -sinus), "kidney_medulla", name)
    canvas.paint(p, sinus, "fat_visceral", None, within=d < 4)
    _collecting(canvas, p, q, size, rng)
    _ureter(canvas, frame, centre, side, rng)
    _cyst(canvas, p, q, size, rng, frame, word)


def _collecting(canvas: Canvas, p: Points, q: Points, size: float, rng: np.random.Generator) -> None:
    wide = float(np.clip(np.exp(rng.normal(-0.05, 0.25)), 0.6, 1.6))
    d = ellipsoid(q, (-24 * size, -2, -3), (9 * wide, 5 * wide, 9 * wide))
    for level, reach in ((20, -9), (4, -4), (-18, -9)):
        d = smooth_union(d, capsule(q, (-23 * size, -2, level * 0.25), (reach, 0, level), 2.6 * wide, 3.6 * wide), 3)
    canvas.paint(p, d, "urine")


def _ureter(canvas: Canvas, frame: Frame, centre: np.ndarray, side: int, rng: np.random.Generator) -> None:
    """Thin, and hot only where a wave of urine happens to pass."""
    y = frame.ahead
    j = rng.normal(0, 2.5, 5)
    line = curve(
        [
            (centre[0] - 27, centre[1] - 4, centre[2] - 8, 2.2),
            (40 + j[0], 22, 190, 1.8),
            (37 + j[1], y(150) - 2, 150, 1.8),
            (34 + j[2], y(110) - 14, 108, 1.8),
            (46 + j[3], 28, 60, 1.8),
            (48, 26, 25, 1.8),
            (22, 8, -4, 1.8),
        ],
        2.0,
    )
    line[:, 0] *= side
    cloud = Cloud([line])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p, 3.0 + canvas.grid.voxel_mm)
    phase = rng.uniform(0, 1)
    wave = (np.sin(2 * np.pi * (cloud.along[index] / 95 + phase)) > rng.uniform(0.2, 0.95)).astype(np.float32)
    canvas.paint(p, d, "urine", None, cover=thin_cover(cloud.radii[index], canvas.grid.voxel_mm) * (0.05 + 0.95 * wave))


def _cyst(canvas: Canvas, p: Points, q: Points, size: float, rng: np.random.Generator, frame: Frame, word: str) -> None:
    if rng.random() > 0.12 + 0.006 * max(frame.person.age - 40, 0):
        return
    radius = float(np.clip(rng.gamma(3, 4), 5, 24))
    turn, high = rng.uniform(-0.9, 0.9), rng.uniform(-30, 30)
    centre = (27 * size * np.cos(turn) * np.sqrt(1 - (high / 60) ** 2), 22 * size * np.sin(turn), high)
    canvas.paint(p, ellipsoid(q, centre, (radius,) * 3), "cyst", f"kidney_cyst_{word}")
