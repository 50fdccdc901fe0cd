"""Skull, face, airways of the head, brain with folded cortex, eyes, glands; larynx and thyroid in the neck."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .shapes import Cloud, Points, capsule, curve, ellipsoid, smooth_cut, smooth_union

HEAD_LOW, HEAD_HIGH = (-95, -125, 570), (95, 110, 835)


def half(p: Points) -> Points:
    """Both sides at once: x counted from the midline."""
    return Points(np.abs(p.x), p.y, p.z, p.where)


def brain_case(p: Points) -> np.ndarray:
    """Inside of the skull: vault, with floor rising from the back to the front."""
    vault = ellipsoid(p, (0, 4, 737), (64.5, 84, 69))
    floor = np.interp(p.y, [-90, -40, -25, 0, 20, 60, 90], [712, 703, 688, 682, 676, 672, 680]).astype(np.float32)
    floor = floor - 6 * np.exp(-(((np.abs(p.x) - 36) / 16) ** 2)) * np.exp(-(((p.y + 8) / 24) ** 2))
    floor = floor + 9 * np.exp(-((p.x / 13) ** 2)) * np.exp(-(((p.y + 12) / 18) ** 2))
    return smooth_cut(vault, (floor - p.z) * np.float32(0.9), 14)


def paint_head(canvas: Canvas, frame: Frame, skin: np.ndarray) -> None:
    p = canvas.box(*(frame.from_head(corner) for corner in (HEAD_LOW, HEAD_HIGH)))
    if p is None:
        return
    p = frame.head(p)
    h, case = half(p), brain_case(p)
    canvas.paint(p, skin[p.where] + 7, "muscle", within=p.z > 585)
    _cheek_fat(canvas, p, h)
    _soft_face(canvas, p, h)
    _skull(canvas, p, h, case)
    _airspaces(canvas, p, h)
    _eyes(canvas, p, h)
    _brain(canvas, p, h, case)
    _petrous_bones(canvas, p, h)
    _glands(canvas, frame, p, h)


def _cheek_fat(canvas: Canvas, p: Points, h: Points) -> None:
    for centre, radii in (
        ((48, -45, 650), (12, 22, 20)),
        ((58, -30, 692), (10, 18, 12)),
        ((26, -68, 700), (18, 18, 16)),
        ((47, 12, 580), (8, 14, 30)),
    ):
        canvas.paint(p, ellipsoid(h, centre, radii), "fat", None)


def _skull(canvas: Canvas, p: Points, h: Points, case: np.ndarray) -> None:
    d = case - np.float32(6.5) - 2.0 * np.clip((p.z - 720) / 60, 0, 1)
    tubes = [
        ((60, -14, 684), (66, -46, 676), 4.5),
        ((66, -46, 676), (44, -72, 674), 5.5),
        ((44, -72, 674), (32, -80, 668), 7),
        ((18, -84, 716), (48, -78, 713), 5.5),
        ((48, -78, 713), (54, -66, 695), 5),
        ((54, -66, 695), (46, -72, 676), 5),
        ((10, -88, 700), (16, -84, 716), 4.5),
        ((5, -94, 690), (7, -90, 708), 3.2),
        ((22, -84, 664), (28, -72, 645), 6.5),
        ((50, 24, 680), (48, 26, 662), 9),
        ((20, -22, 672), (20, -20, 648), 3.5),
        ((10, -40, 690), (44, -40, 696), 4.5),
    ]
    for a, b, r in tubes:
        d = smooth_union(d, capsule(h, a, b, r), 4)
    palate = np.maximum(np.abs(p.z - 650) - 2.6, np.maximum(h.x - 26, np.maximum(p.y + 36, -88 - p.y)))
    arch = _arch_rows(648, -86, 30, 44, 5.2)
    mandible = _mandible()
    cloud = Cloud([arch, mandible])
    d = smooth_union(smooth_union(d, palate, 3), cloud.distance(p), 3)
    canvas.paint(p, np.maximum(d, -case), "skull_bone", "skull")
    canvas.paint(p, np.maximum(np.abs(case - 3.6) - 1.3, 700 - p.z), "skull_diploe")
    jaw = Cloud([mandible]).distance(p)
    canvas.paint(p, jaw + 2.6, "marrow")
    teeth = Cloud([_arch_rows(640, -85, 28, 40, 3.2), _arch_rows(631, -83, 27, 40, 3.2)]).distance(p)
    canvas.paint(p, teeth, "tooth", "skull")


def _arch_rows(z: float, front: float, half_width: float, depth: float, radius: float) -> np.ndarray:
    t = np.linspace(-1, 1, 41)
    return np.stack(
        [half_width * np.sign(t) * np.abs(t) ** 0.7, front + depth * t**2, np.full_like(t, z), np.full_like(t, radius)],
        1,
    )


def _mandible() -> np.ndarray:
    rows = []
    for dz, r in ((0, 5.5), (9, 5.5), (17, 5.2)):
        for side in (1, -1):
            line = curve(
                [
                    (0, -86, 598 + dz, r),
                    (side * 24, -76, 600 + dz, r),
                    (side * 43, -44, 606 + dz, r),
                    (side * 50, -18, 616 + dz * 1.2, r - 1),
                ],
                2.5,
            )
            rows.append(line)
    for side in (1, -1):
        rows.append(curve([(side * 50, -20, 616, 5), (side * 52, -14, 650, 4.5), (side * 53, -8, 680, 5.5)], 2.5))
        rows.append(curve([(side * 49, -32, 622, 5), (side * 50, -30, 650, 3.5), (side * 50, -34, 672, 3)], 2.5))
    return np.concatenate(rows)


def _soft_face(canvas: Canvas, p: Points, h: Points) -> None:
    canvas.paint(p, ellipsoid(p, (0, -50, 630), (25, 33, 21)), "tongue", None)
    canvas.paint(p, capsule(h, (46, -30, 625), (54, -40, 668), 8, 7, (1.4, 1, 1)), "muscle", None)
    canvas.paint(p, capsule(h, (58, -22, 720), (58, -28, 682), 5, 8, (1.2, 0.6, 1)), "muscle", None)


def _airspaces(canvas: Canvas, p: Points, h: Points) -> None:
    nose = smooth_union(ellipsoid(h, (7, -62, 668), (5.5, 33, 17)), ellipsoid(h, (8, -54, 696), (6, 20, 11)), 3)
    canvas.paint(p, nose - 1.6, "mucosa", None)
    conchae = np.sin(p.z / np.float32(2.3)) * 1.8 + 1.0
    canvas.paint(p, nose + conchae, "airway", None)
    for centre, radii in (((27, -54, 668), (13, 18, 16)), ((8, -24, 692), (9, 12, 9)), ((12, -86, 722), (9, 5, 10))):
        d = ellipsoid(h, centre, radii)
        canvas.paint(p, d - 1.2, "bone_cortex_thin", "skull")
        canvas.paint(p, d, "airway", None)
    pores = canvas.texture("fine", p.where)
    mastoid = ellipsoid(h, (52, 26, 680), (8, 12, 13))
    canvas.paint(p, mastoid, "gas", "skull", cover=np.clip(0.35 + 0.3 * pores, 0, 0.8).astype(np.float32))
    canal = capsule(h, (50, 8, 688), (74, 6, 690), 3.0, 4.0)
    canvas.paint(p, canal, "airway", None)
    throat = Cloud(
        [
            curve(
                [
                    (0, -22, 672, 8),
                    (0, -16, 650, 8),
                    (0, -17, 628, 7),
                    (0, -20, 610, 8),
                    (0, -24, 595, 7),
                    (0, -21, 582, 8),
                ],
                2.5,
            )
        ]
    )
    d = throat.distance(p)
    canvas.paint(p, d - 2.5, "mucosa", None)
    canvas.paint(p, d, "airway", None)


def _eyes(canvas: Canvas, p: Points, h: Points) -> None:
    socket = smooth_union(
        ellipsoid(h, (31, -76, 697), (18, 15, 16)), capsule(h, (28, -66, 697), (14, -38, 694), 14, 4), 5
    )
    canvas.paint(p, socket, "fat", None)
    for dx, dz in ((11, 0), (-11, 0), (0, 11), (0, -11)):
        muscle = capsule(h, (31 + dx, -78, 697 + dz), (15, -40, 694), 2.6, 1.6)
        canvas.paint(p, muscle, "eye_muscle", None)
    canvas.paint(p, capsule(h, (30, -68, 697), (13, -36, 694), 2.2), "brainstem", None)
    canvas.paint(p, ellipsoid(h, (31, -82, 697), (12.2, 12.2, 12.2)), "eye", None)


def _brain(canvas: Canvas, p: Points, h: Points, case: np.ndarray) -> None:
    canvas.paint(p, case, "csf", "brain")
    sulcus = np.abs(canvas.texture("gyri", p.where)) * np.float32(5.3)
    cleft = np.maximum(h.x - 1.0, 706 - p.z)
    tent = 700 + 14 * np.exp(-((p.x / 26) ** 2)) - 0.12 * (p.y - 40)
    lower_back = (p.y > 14) & (p.z < tent)
    pial = np.maximum(case + 2.6, -cleft)
    sylvian = np.maximum(
        np.abs(p.z - 706 - 0.30 * (p.y + 10) - 4 * np.sin(p.y / np.float32(9.0))) - 1.0,
        np.maximum(40 - h.x, np.abs(p.y) - 34),
    )
    pial = np.maximum(pial, -sylvian)
    surface = np.maximum(pial, -np.where(pial > -17, sulcus - 0.5, 9.0))
    cerebrum = np.where(lower_back, 5.0, surface)
    canvas.paint(p, cerebrum, "grey_matter", "brain")
    depth = np.minimum(-pial, np.where(pial > -18, sulcus - 0.5, 18.0))
    white = np.where(lower_back, 5.0, 3.5 - depth)
    canvas.paint(p, white, "white_matter", "brain")
    _deep_grey(canvas, p, h)
    _hindbrain(canvas, p, h, case)


def _petrous_bones(canvas: Canvas, p: Points, h: Points) -> None:
    """Ridges of the skull's base that stand up between the lobes of the brain."""
    ridge = smooth_union(
        capsule(h, (14, 0, 686), (56, 24, 690), 6.5, 9), capsule(p, (0, -8, 690), (0, 6, 668), 7, 8), 5
    )
    ridge = smooth_union(ridge, capsule(h, (8, -24, 698), (44, -36, 704), 3.0, 4.0), 4)
    canvas.paint(p, ridge, "skull_bone", "skull")
    canvas.paint(p, ridge + 3.5, "skull_diploe")


def _deep_grey(canvas: Canvas, p: Points, h: Points) -> None:
    canvas.paint(
        p,
        smooth_union(capsule(h, (11, -22, 728), (13, 4, 742), 6, 5), capsule(h, (13, 4, 742), (22, 26, 728), 5, 2), 4),
        "basal_ganglia",
        "brain",
    )
    canvas.paint(p, ellipsoid(h, (25, -6, 723), (6.5, 16, 11)), "basal_ganglia", "brain")
    canvas.paint(p, ellipsoid(h, (10, 12, 726), (9, 15, 9)), "basal_ganglia", "brain")
    ventricle = smooth_union(
        capsule(h, (7, -26, 734), (9, 14, 748), 3.2, 4.0), capsule(h, (9, 14, 748), (24, 38, 728), 4.0, 4.5), 4
    )
    canvas.paint(p, ventricle, "csf", "brain")
    canvas.paint(p, np.maximum(h.x - 1.6, np.maximum(np.abs(p.y - 6) - 12, np.abs(p.z - 722) - 8)), "csf", "brain")


def _hindbrain(canvas: Canvas, p: Points, h: Points, case: np.ndarray) -> None:
    hemisphere = smooth_union(ellipsoid(h, (25, 48, 688), (28, 29, 20)), ellipsoid(p, (0, 46, 690), (14, 24, 21)), 8)
    hemisphere = np.maximum(hemisphere, case + 3)
    canvas.paint(p, hemisphere, "cerebellum", "brain")
    leaves = np.abs(np.sin((p.z - 0.35 * p.y) / np.float32(2.4))) * 2.0
    canvas.paint(p, hemisphere + 8 + leaves, "white_matter", "brain", within=h.x > 4)
    stem = smooth_union(capsule(p, (0, 8, 716), (0, 6, 698), 13, 15), capsule(p, (0, 8, 692), (0, 14, 668), 10, 6.5), 6)
    canvas.paint(p, stem, "brainstem", "brain")


def _glands(canvas: Canvas, frame: Frame, p: Points, h: Points) -> None:
    rng = frame.person.rng("glands")
    size = float(np.clip(rng.normal(1, 0.1), 0.75, 1.25))
    canvas.paint(p, ellipsoid(h, (60, -4, 648), (9 * size, 15 * size, 24 * size)), "salivary", None)
    canvas.paint(p, ellipsoid(h, (32, -46, 600), (10 * size, 16 * size, 11 * size)), "salivary", None)
    canvas.paint(p, ellipsoid(h, (14, -62, 606), (7, 14, 6)), "sublingual", None)
    canvas.paint(p, ellipsoid(h, (15, -22, 632), (6 * size, 8 * size, 12 * size)), "tonsil", None)
    canvas.paint(p, ellipsoid(p, (0, -10, 668), (13, 4.5, 9)), "tonsil", None, within=p.y > -15)
    canvas.paint(p, ellipsoid(p, (0, -26, 614), (13, 5, 7)), "tonsil", None, cover=np.float32(0.7))


def paint_neck(canvas: Canvas, frame: Frame) -> None:
    """Larynx with its cartilages, thyroid, gullet."""
    p = canvas.box((-60, -80, 520), (60, 60, 612))
    if p is None:
        return
    h = half(p)
    y = frame.ahead
    shield = smooth_union(
        capsule(h, (1, y(585, 47), 585), (19, y(588, 26), 590), 2.4, 2.4, (1, 1, 0.28)),
        capsule(h, (18, y(588, 24), 600), (16, y(580, 24), 572), 2.6),
        2,
    )
    canvas.paint(p, shield, "cartilage_larynx", None)
    ring = np.maximum(
        np.abs(np.sqrt(p.x**2 + (p.y - y(568, 28)) ** 2) - 12) - 2.0, np.abs(p.z - 568 - 0.2 * (p.y - y(568, 28))) - 5
    )
    canvas.paint(p, ring, "cartilage_larynx", None)
    cords = capsule(h, (3, y(580, 40), 579), (6, y(580, 22), 580), 2.6)
    canvas.paint(p, cords, "vocal_cord", None)
    rng = frame.person.rng("thyroid")
    size = float(np.clip(rng.normal(1, 0.12), 0.75, 1.35))
    lobe = capsule(h, (15, y(545, 30), 537), (19, y(570, 26), 570), 8.2 * size, 5.5 * size, (1.1, 0.85, 1))
    bridge = capsule(p, (-12, y(546, 41), 546), (12, y(546, 41), 546), 3.4 * size)
    canvas.paint(p, smooth_union(lobe, bridge, 5), "thyroid", "thyroid_gland")


def oesophagus_line(frame: Frame, cardia: np.ndarray) -> np.ndarray:
    y = frame.ahead
    return curve(
        [
            (0, y(582, 14), 582, 5.5),
            (2, y(550, 15), 550, 6),
            (3, y(510, 20), 510, 6.5),
            (1, y(470, 22), 470, 7),
            (-1, y(430, 24), 430, 7.5),
            (2, y(395, 30), 395, 7.5),
            (10, y(370, 38), 368, 7.5),
            (22, y(350, 36), 352, 8),
            (*cardia, 9),
        ],
        2.5,
    )


def paint_oesophagus(canvas: Canvas, frame: Frame, cardia: np.ndarray) -> None:
    cloud = Cloud([oesophagus_line(frame, cardia)])
    p = canvas.box(*cloud.bounds())
    if p is None:
        return
    d, index = cloud.nearest(p)
    canvas.paint(p, d, "oesophagus", "esophagus")
    rng = frame.person.rng("oesophagus")
    open_at = (np.sin(cloud.along / 31 + rng.uniform(0, 6)) > 0.75)[index]
    canvas.paint(p, d + 4.6, "gas", "esophagus", within=open_at)
