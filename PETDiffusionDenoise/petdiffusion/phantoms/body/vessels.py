"""Arteries and veins of the trunk as tubes along smooth lines."""

from __future__ import annotations

import numpy as np

from ..labels import ID
from .canvas import Canvas
from .frame import Frame
from .heart import Heart
from .limbs import Limbs
from .shapes import Cloud, curve

SIDES = ((1, "left"), (-1, "right"))


def arteries(frame: Frame, heart: Heart, limbs: Limbs) -> dict[str, np.ndarray]:
    """Rows of x, y, z, radius per artery; names of TotalSegmentator where it has one. They widen with age."""
    wide = 1 + 0.10 * float(np.clip((frame.person.age - 40) / 40, -0.3, 1))
    aorta = _aorta(frame, heart, wide)
    fork = np.array(aorta[-1][:3])
    lines = {
        "aorta": aorta,
        "brachiocephalic_trunk": [
            (-7, frame.ahead(492, 46), 492, 7.2),
            (-8, frame.ahead(497, 34), 502, 7),
            (-19, frame.ahead(520, 30), 520, 6.6),
        ],
    }
    for side, word in SIDES:
        lines |= _leg_arteries(frame, side, word, fork, wide) | _neck_arteries(frame, side, word)
        lines |= _arm_arteries(frame, limbs, side, word)
    lines |= _belly_arteries(frame)
    return {name: curve(rows) for name, rows in lines.items()}


def _aorta(frame: Frame, heart: Heart, wide: float) -> list[tuple]:
    rng = frame.person.rng("arteries")
    wind = rng.normal(0, 4 + 3 * max((frame.person.age - 40) / 40, 0), 4)
    root, y = heart.centre + np.array([-34, 8, 30]) * heart.size, frame.ahead
    rows = [
        (*root, 15),
        (root[0] - 14, root[1] - 14, root[2] + 30, 16),
        (-8, y(490, 50), 484, 15.5),
        (7, y(490, 30), 497, 14),
        (21, y(480, 8), 482, 13),
        (22, y(450, 4), 450, 12.5),
        (21 + wind[0] * 0.4, y(400, 6), 400, 12),
        (14 + wind[1] * 0.6, y(340, 18), 340, 11.5),
        (7 + wind[2] * 0.4, y(291, 27), 291, 11),
        (5 + wind[3], y(220, 29), 220, 9.8),
        (3, y(165, 28), 163, 9),
    ]
    return [(*row[:3], row[3] * wide) for row in rows]


def _leg_arteries(frame: Frame, side: int, word: str, fork: np.ndarray, wide: float) -> dict[str, list]:
    iliac = [
        (*(fork + (0, 0, 3)), 6.8 * wide),
        (side * 20, frame.ahead(125, 24), 128, 6 * wide),
        (side * 42, 24, 92, 5.4 * wide),
        (side * 60, -6, 52, 5 * wide),
        (side * 71, -44, 12, 4.8 * wide),
    ]
    femoral = [
        (side * 71, -44, 12, 4.8),
        (side * 80, -50, -30, 4.5),
        (side * 84, -38, -120, 4),
        (side * 82, -18, -230, 3.5),
        (side * 84, 0, -330, 3.2),
    ]
    internal = [(side * 40, 26, 95, 4), (side * 50, 44, 60, 3.4), (side * 52, 48, 20, 2.6)]
    return {f"iliac_artery_{word}": iliac, f"femoral_artery_{word}": femoral, f"internal_iliac_{word}": internal}


def _neck_arteries(frame: Frame, side: int, word: str) -> dict[str, list]:
    y = frame.ahead
    start = (-19, y(520, 30), 520) if side < 0 else (6, y(500, 28), 504)
    return {
        f"common_carotid_artery_{word}": [
            (*start, 4.2),
            (side * 19, y(548, 26), 545, 3.8),
            (side * 23, y(580, 20), 580, 3.6),
            (side * 25, y(615, 16), 618, 3.4),
            (side * 24, y(640, 10), 655, 2.6),
            (side * 24, y(650, 4), 682, 2.4),
        ]
    }


def _arm_arteries(frame: Frame, limbs: Limbs, side: int, word: str) -> dict[str, list]:
    y = frame.ahead
    start = (-19, y(520, 30), 519) if side < 0 else (15, y(500, 20), 502)
    shoulder, elbow, inner = (
        Limbs.of(side, limbs.shoulder),
        Limbs.of(side, limbs.elbow),
        np.array([side * -26.0, -8, -8]),
    )
    subclavian = [
        (*start, 5.2),
        (side * 26, y(540, 20), 543, 5),
        (side * 52, 2, 552, 4.6),
        (side * 82, -2, 538, 4.4),
        (side * 112, 4, 512, 4.2),
    ]
    arm = [
        (side * 112, 4, 512, 4.2),
        (*(shoulder + inner), 3.6),
        (*((shoulder + elbow) / 2 + inner * 0.7), 3),
        (*(elbow + (0, -20, 0)), 2.4),
    ]
    return {f"subclavian_artery_{word}": subclavian, f"arm_artery_{word}": arm}


def _belly_arteries(frame: Frame) -> dict[str, list]:
    y = frame.ahead
    lines = {
        "celiac": [
            (5, y(275, 36), 276, 3.6),
            (4, y(275, 48), 274, 3.4),
            (-20, y(270, 52), 272, 2.8),
            (-38, y(270, 46), 280, 2.5),
        ],
        "splenic_artery": [(4, y(275, 48), 274, 3.2), (35, 8, 282, 2.8), (70, 30, 288, 2.5), (92, 42, 295, 2.2)],
        "mesenteric_artery": [
            (4, y(262, 36), 262, 3.8),
            (4, y(240, 50), 240, 3.4),
            (-2, -30, 190, 3),
            (-22, -30, 140, 2.4),
        ],
    }
    for side, word in SIDES:
        lines[f"renal_artery_{word}"] = [
            (side * 8, y(246, 26), 248, 3.4),
            (side * 30, y(246, 10), 244, 3),
            (side * 48, y(240, -8), 240, 2.6),
        ]
    return lines


def veins(frame: Frame, heart: Heart, limbs: Limbs) -> dict[str, np.ndarray]:
    """Rows of x, y, z, radius per vein."""
    y = frame.ahead
    atrium = heart.centre + np.array([-64, 10, 14]) * heart.size
    fork = np.array([-12.0, y(128, 27), 132])
    lines = {
        "inferior_vena_cava": [
            (*fork, 10),
            (-20, y(180, 26), 180, 10.5),
            (-22, y(230, 28), 230, 11),
            (-26, y(285, 36), 285, 12),
            (-29, y(330, 40), 330, 13),
            (*(atrium + (0, 4, -26)), 13),
        ],
        "superior_vena_cava": [(*(atrium + (2, 0, 28)), 10), (-25, y(470, 45), 468, 9.5), (-25, y(495, 48), 496, 9)],
        "brachiocephalic_vein_right": [(-25, y(495, 48), 494, 8.5), (-25, y(512, 44), 512, 7.5)],
        "brachiocephalic_vein_left": [(-24, y(492, 49), 492, 8), (0, y(500, 56), 501, 7.5), (24, y(512, 44), 512, 7)],
    }
    for side, word in SIDES:
        lines |= _leg_veins(frame, side, word, fork) | _upper_veins(frame, limbs, side, word)
    return {name: curve(rows) for name, rows in lines.items()}


def _leg_veins(frame: Frame, side: int, word: str, fork: np.ndarray) -> dict[str, list]:
    y = frame.ahead
    iliac = [
        (*fork, 8.2),
        (side * 22 - 4, y(115, 18), 108, 7.5),
        (side * 44, 32, 78, 7),
        (side * 58, 4, 44, 6.5),
        (side * 61, -38, 8, 6),
    ]
    femoral = [
        (side * 61, -38, 8, 6),
        (side * 70, -43, -34, 5.6),
        (side * 78, -28, -120, 5),
        (side * 80, -8, -230, 4.5),
        (side * 84, 8, -330, 4),
    ]
    internal = [(side * 44, 34, 80, 4.5), (side * 54, 50, 45, 3.6), (side * 54, 50, 15, 3)]
    renal = [
        (-20 + 2 * (side > 0), y(240, 34), 240, 4.6),
        (side * 14, y(240, 36), 240, 4.6),
        (side * 34, y(240, 12), 238, 4.2),
        (side * 50, y(240, -4), 237, 3.6),
    ]
    return {
        f"iliac_vena_{word}": iliac,
        f"femoral_vein_{word}": femoral,
        f"internal_iliac_vein_{word}": internal,
        f"renal_vein_{word}": renal,
    }


def _upper_veins(frame: Frame, limbs: Limbs, side: int, word: str) -> dict[str, list]:
    y = frame.ahead
    jugular = [
        (side * 24, y(512, 42), 510, 6.5),
        (side * 27, y(545, 28), 545, 6.5),
        (side * 33, y(590, 14), 590, 6),
        (side * 33, y(640, 2), 640, 5),
        (side * 30, 10, 676, 4),
    ]
    armpit = Limbs.of(side, limbs.shoulder) + np.array([side * -28, -12, -12])
    subclavian = [
        (side * 26, y(512, 42), 511, 6),
        (side * 48, -36, 526, 5.8),
        (side * 78, -24, 528, 5.5),
        (side * 108, -8, 508, 5),
        (*armpit, 4.5),
    ]
    return {f"jugular_{word}": jugular, f"subclavian_vein_{word}": subclavian}


def portal(frame: Frame) -> np.ndarray:
    y = frame.ahead
    meet = np.array([-8.0, y(240, 44), 244])
    trunk = curve([(*meet, 6.5), (-22, y(262, 48), 262, 6.6), (-42, y(280, 40), 284, 6.2), (-62, -8, 300, 5)])
    splenic = curve([(*meet, 5.5), (20, y(255, 45), 256, 5), (52, 8, 272, 4.6), (88, 36, 294, 4)])
    mesenteric = curve([(*meet, 5.6), (-12, y(215, 46), 212, 5.2), (-14, -34, 175, 4.4), (-24, -34, 140, 3.2)])
    left = curve([(-42, y(280, 40), 284, 5), (-26, -34, 306, 4.2), (8, -42, 318, 3.2)])
    return np.concatenate([trunk, splenic, mesenteric, left])


def pulmonary_arteries(frame: Frame, heart: Heart) -> np.ndarray:
    y = frame.ahead
    root = heart.centre + np.array([-18, -22, 34]) * heart.size
    fork = np.array([12.0, y(450, 48), 452])
    return np.concatenate(
        [
            curve([(*root, 13), (root[0] + 8, root[1] + 8, root[2] + 14, 13), (*fork, 12.5)]),
            curve([(*fork, 11), (-8, y(445, 44), 446, 10.5), (-28, y(440, 34), 441, 9), (-42, y(436, 26), 434, 6)]),
            curve([(*fork, 11), (26, y(450, 34), 452, 9.5), (40, y(445, 22), 444, 7.5), (46, y(440, 14), 430, 6)]),
        ]
    )


def paint_vessels(canvas: Canvas, frame: Frame, heart: Heart, limbs: Limbs) -> None:
    _paint(canvas, {"pulmonary": pulmonary_arteries(frame, heart)})
    _paint(canvas, veins(frame, heart, limbs))
    _paint(canvas, arteries(frame, heart, limbs), wall=True)
    _calcium(canvas, frame, heart, limbs)


def paint_portal(canvas: Canvas, frame: Frame) -> None:
    _paint(canvas, {"portal_vein_and_splenic_vein": portal(frame)})


def _paint(canvas: Canvas, lines: dict[str, np.ndarray], wall: bool = False) -> None:
    names, cloud = list(lines), Cloud(list(lines.values()))
    ids = np.array([ID.get(name, 0) for name in names], np.int16)
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p, 4.0 + canvas.grid.voxel_mm)
    if wall:
        canvas.paint(p, d - 0.8, "vessel_wall")
    canvas.paint(p, d, "blood")
    inside = d < 0
    canvas.label[p.where][inside] = ids[cloud.tag[index[inside]]]


def _calcium(canvas: Canvas, frame: Frame, heart: Heart, limbs: Limbs) -> None:
    """Plaques in the walls of old arteries."""
    rng = frame.person.rng("calcium")
    amount = rng.poisson(max(frame.person.age - 50, 0) * 0.7)
    lines = arteries(frame, heart, limbs)
    hosts = [lines["aorta"], lines["aorta"], lines["iliac_artery_left"], lines["iliac_artery_right"]]
    rows = []
    for _ in range(amount):
        line = hosts[rng.integers(len(hosts))]
        i = int(rng.beta(3, 1.2) * (len(line) - 1))
        out = rng.normal(0, 1, 3)
        rows.append([*(line[i, :3] + out / np.linalg.norm(out) * line[i, 3]), rng.uniform(1.0, 2.4)])
    if rows:
        cloud = Cloud([np.array(rows)])
        p = canvas.box(*cloud.bounds())
        if p is not None:
            canvas.paint(p, cloud.distance(p, 4.0 + canvas.grid.voxel_mm), "calcium")
