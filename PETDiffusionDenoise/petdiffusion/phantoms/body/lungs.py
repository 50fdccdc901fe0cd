"""Lungs between chest wall, diaphragm and mediastinum, their lobes, the airways and the branching vessels."""

from __future__ import annotations

import numpy as np

from ..labels import ID
from .canvas import Canvas
from .frame import Frame
from .heart import Heart, surface
from .shapes import Cloud, Points, curve, smooth_cut, smooth_union, thin_cover

CARINA_Z = 461.0
FORKS = (8, 6, 4)
"""Side branches of a stem, of its branches, and of theirs."""


def mediastinum(p: Points, frame: Frame, heart: Heart) -> np.ndarray:
    """What lies between the lungs: spine with aorta and gullet, great vessels, the thin partition in front, heart."""
    width = np.interp(p.z, [330, 400, 440, 470, 500, 535, 560], [26, 27, 31, 34, 33, 36, 42]).astype(np.float32)
    depth = np.interp(p.z, [330, 430, 470, 520, 560], [34, 38, 44, 44, 34]).astype(np.float32)
    y = frame.spine_y(p.z).astype(np.float32) - np.interp(p.z, [330, 430, 500, 560], [22, 40, 46, 30]).astype(
        np.float32
    )
    ratio = np.sqrt((p.x / width) ** 2 + ((p.y - y) / depth) ** 2)
    core = (ratio - 1) * np.minimum(width, depth)
    front = np.maximum(np.abs(p.x) - np.float32(7.0), p.y - np.float32(0))
    aorta = np.sqrt((p.x - 21) ** 2 + (p.y - frame.spine_y(p.z).astype(np.float32) + 4) ** 2) - np.float32(17)
    aorta = np.maximum(aorta, p.z - 475)
    d = smooth_union(smooth_union(core, front, 14), smooth_union(frame.spine(p, 5.0), aorta, 8), 10)
    return smooth_union(d, surface(p, heart) - 4, 12)


def lung_space(p: Points, frame: Frame, heart: Heart) -> np.ndarray:
    """Both lungs as one signed distance."""
    wall = frame.cavity.distance(p) + np.float32(2.5)
    floor = (frame.diaphragm(p) + np.float32(3.0) - p.z) * np.float32(0.75)
    top = p.z - np.float32(563)
    d = smooth_cut(smooth_cut(wall, floor, 9), -mediastinum(p, frame, heart), 9)
    return np.maximum(d, top)


def lobes(p: Points, frame: Frame) -> np.ndarray:
    """Label value of the lobe that a point would belong to: fissures are tilted, slightly bent planes."""
    rng = frame.person.rng("fissures")
    left, right, flat = rng.normal(0, 5, 3)
    bend = 7 * np.sin(p.x / np.float32(38))
    oblique_left = 415 + left + (p.y - 8) * np.float32(0.78) + bend
    oblique_right = 405 + right + (p.y - 8) * np.float32(0.72) - bend
    horizontal = 436 + flat + (p.y + 40) * np.float32(0.06) + np.float32(0.05) * p.x
    on_left = np.where(p.z > oblique_left, ID["lung_upper_lobe_left"], ID["lung_lower_lobe_left"])
    above = np.where(p.z > horizontal, ID["lung_upper_lobe_right"], ID["lung_middle_lobe_right"])
    on_right = np.where(p.z > oblique_right, above, ID["lung_lower_lobe_right"])
    return np.where(p.x > 0, on_left, on_right).astype(np.int16)


def paint_lungs(canvas: Canvas, frame: Frame, heart: Heart) -> None:
    box = canvas.box((-150, -110, 235), (150, 120, 575))
    trees = [Cloud([rows]) for rows in both_trees(frame)] if canvas.fine else []
    for p in box.slabs() if box else ():
        d = lung_space(p, frame, heart)
        canvas.paint(p, d, "lung", "lung_upper_lobe_left")
        inside = d < 0
        canvas.label[p.where][inside] = lobes(p, frame)[inside]
        _gravity(canvas, p, d)
        if trees:
            _paint_tree(canvas, p, trees, d)


def both_trees(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Vessels and airways of both lungs."""
    left, right = vessel_tree(frame, 1), vessel_tree(frame, -1)
    return np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]])


def _gravity(canvas: Canvas, p: Points, d: np.ndarray) -> None:
    """The lung's back is denser than its front in a patient lying on the back: about 80 HU over the chest."""
    share = np.clip(0.5 - d / canvas.grid.voxel_mm, 0, 1)
    slope = ((p.y - 10) / np.float32(90)).clip(-1, 1)
    canvas.ct[p.where] += share * (38 * slope + 25 * np.clip(slope - 0.6, 0, 1))
    canvas.pet[p.where] *= 1 + share * (0.22 * slope)


def _paint_tree(canvas: Canvas, p: Points, trees: list[Cloud], lung: np.ndarray) -> None:
    """Vessels and airways, each with its true cross-section, inside the lung only."""
    vessels, airways = trees
    voxel = canvas.grid.voxel_mm
    d, index = vessels.nearest(p, 3.0 + voxel)
    canvas.paint(p, d, "lung_vessel", cover=thin_cover(vessels.radii[index], voxel), within=lung < -1.0)
    d, index = airways.nearest(p, 3.0 + voxel)
    cover = thin_cover(airways.radii[index], voxel)
    canvas.paint(p, d, "bronchus_wall", cover=cover, within=lung < 2)
    canvas.paint(p, d + 1.2, "airway", cover=cover, within=lung < 2)


def vessel_tree(frame: Frame, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Vessels and airways of one lung, forking from the root to the edge: rows of x, y, z, radius."""
    rng = frame.person.rng(f"lung tree {side}")
    hilum = np.array([side * 33.0, 22.0, 438.0])
    cavity = frame.cavity
    vessels, airways = [], []
    stems = 13
    for i in range(stems):
        level = np.linspace(300, 535, stems)[i] + rng.normal(0, 8)
        angle = rng.uniform(25, 150)
        end = cavity.surface(angle, level, -14.0, side)
        bottom = 290 + 55 * abs(np.cos(np.deg2rad(angle)))
        end[2] = max(end[2], bottom)
        _branch(rng, hilum, end, 4.6, 0, vessels)
        if i % 2 == 0:
            airway_end = hilum * 0.45 + end * 0.55 + rng.normal(0, 5, 3)
            airways.append(_stroke(rng, hilum + np.array([0, -5, 4]), airway_end, 4.2, 1.9))
    return np.concatenate(vessels), np.concatenate(airways)


def _branch(rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, depth: int, out: list) -> None:
    """A stem to `end` with side branches that fork again."""
    tip = radius * 0.42
    line = _stroke(rng, start, end, radius, tip)
    out.append(line)
    if depth == len(FORKS) or len(line) < 5:
        return
    length = np.linalg.norm(end - start)
    for share in np.linspace(0.28, 0.95, FORKS[depth]) + rng.normal(0, 0.03, FORKS[depth]):
        i = int(np.clip(share, 0.1, 0.97) * (len(line) - 1))
        along = (end - start) / max(length, 1e-3)
        away = rng.normal(0, 1, 3)
        away = away - along * (away @ along)
        direction = 0.62 * along + 0.8 * away / np.linalg.norm(away)
        reach = length * rng.uniform(0.34, 0.52)
        _branch(rng, line[i, :3], line[i, :3] + direction * reach, line[i, 3] * 0.78, depth + 1, out)


def _stroke(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> np.ndarray:
    """A slightly bent, tapering stroke."""
    length = np.linalg.norm(b - a)
    middle = (a + b) / 2 + rng.normal(0, 0.09, 3) * length
    t = np.linspace(0, 1, max(int(length / 2.0) + 1, 2))[:, None]
    line = (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b
    return np.c_[line, ra + (rb - ra) * t]


def airway_lines(frame: Frame) -> dict[str, np.ndarray]:
    """Windpipe and main bronchi: rows of x, y, z, radius."""
    y = frame.ahead
    r = 9.0 if frame.person.male else 7.8
    carina = (0, y(CARINA_Z, 32), CARINA_Z)
    trachea = [
        (0, y(583, 27), 583, r),
        (0, y(560, 31), 560, r),
        (0, y(520, 33), 520, r),
        (1, y(490, 33), 490, r),
        (*carina, r * 1.05),
    ]
    return {
        "trachea": curve(trachea),
        "right": curve(
            [(*carina, r * 0.9), (-18, carina[1] + 2, CARINA_Z - 13, 7.2), (-36, carina[1] + 6, CARINA_Z - 24, 5.8)]
        ),
        "left": curve(
            [(*carina, r * 0.85), (20, carina[1] + 3, CARINA_Z - 14, 6.4), (40, carina[1] + 8, CARINA_Z - 25, 5.2)]
        ),
    }


def paint_airways(canvas: Canvas, frame: Frame) -> None:
    lines = airway_lines(frame)
    cloud = Cloud(list(lines.values()))
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d = cloud.distance(p)
    canvas.paint(p, d - 1.8, "trachea_wall", None)
    canvas.paint(p, d, "airway")
    trachea = Cloud([lines["trachea"]]).distance(p)
    canvas.label[p.where][(np.minimum(d, trachea) < 0)] = ID["trachea"]
