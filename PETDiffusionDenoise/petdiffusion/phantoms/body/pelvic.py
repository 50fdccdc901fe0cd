"""Bladder, the genital organs of both sexes."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .shapes import Points, capsule, ellipsoid, smooth_cut, smooth_union


def paint_pelvic_organs(canvas: Canvas, frame: Frame) -> None:
    p = canvas.box((-80, -75, -70), (80, 75, 130))
    if p is not None:
        if frame.person.male:
            _prostate(canvas, frame, p)
        else:
            _uterus(canvas, frame, p)
        _bladder(canvas, frame, p)
    if frame.person.male:
        _testes(canvas, frame)


def bladder_surface(p: Points, frame: Frame) -> np.ndarray:
    """A filling bladder grows upwards and back from behind the pubic bones."""
    volume = frame.person.bladder_ml * 1000 / float(np.prod(frame.person.scale))
    r = (volume * 3 / (4 * np.pi)) ** (1 / 3)
    flat = float(np.clip(frame.person.rng("bladder").normal(1, 0.06), 0.88, 1.12))
    radii = np.array([1.14 * r, 0.93 * r, 0.94 * r]) * (flat, 1.0, 1 / flat)
    floor = -16 if frame.person.male else -24
    centre = np.array([0, -40 + radii[1], floor + radii[2]])
    d = ellipsoid(p, centre, radii)
    dip = ellipsoid(p, centre + (0, 0.75 * radii[1], 1.05 * radii[2]), (0.8 * r, 0.5 * r, 0.45 * r))
    return smooth_cut(d, -dip, 10) if not frame.person.male else d


def _bladder(canvas: Canvas, frame: Frame, p: Points) -> None:
    d = bladder_surface(p, frame)
    canvas.paint(p, d - 2.6, "stomach_wall_thin", "urinary_bladder")
    canvas.paint(p, d, "urine_bladder", "urinary_bladder")


def _prostate(canvas: Canvas, frame: Frame, p: Points) -> None:
    rng = frame.person.rng("prostate")
    size = float(np.clip(1 + 0.006 * (frame.person.age - 55) + rng.normal(0, 0.09), 0.8, 1.35))
    canvas.paint(p, ellipsoid(p, (0, -8, -32), (23 * size, 15 * size, 18 * size)), "prostate", "prostate")
    canvas.paint(p, capsule(p, (0, -12, -20), (0, -10, -48), 2.2), "urine", None, cover=np.float32(0.35))
    half = Points(np.abs(p.x), p.y, p.z, p.where)
    canvas.paint(p, capsule(half, (5, 10, -14), (28, 18, -4), 5, 6.5), "seminal_vesicle", None)


def _uterus(canvas: Canvas, frame: Frame, p: Points) -> None:
    rng = frame.person.rng("uterus")
    size = float(np.clip(rng.normal(1.0 - 0.006 * max(frame.person.age - 52, 0), 0.12), 0.6, 1.35))
    top = 0.12 * max(frame.person.bladder_ml - 120, 0)
    side = rng.normal(0, 6)
    cervix, fundus = np.array([0, 16, 2]), np.array([side, -2 + 0.05 * top, 44 + 0.5 * top])
    d = smooth_union(
        capsule(p, cervix, fundus, 12 * size, 18 * size), ellipsoid(p, fundus, (27 * size, 21 * size, 20 * size)), 8
    )
    canvas.paint(p, d, "uterus", None)
    canvas.paint(p, capsule(p, cervix * 0.4 + fundus * 0.6, fundus + (0, 0, 6), 2.5, 3.5), "endometrium", None)
    canvas.paint(p, capsule(p, (0, 14, -4), (0, 0, -58), 8, 7, (0.55, 1.4, 1.0)), "uterus", None)
    for s in (-1, 1):
        centre = (s * (40 + rng.normal(0, 3)) + side, 14 + rng.normal(0, 4), 38 + rng.normal(0, 6))
        canvas.paint(p, ellipsoid(p, centre, (9 * size, 8 * size, 13 * size)), "ovary", None)


def _testes(canvas: Canvas, frame: Frame) -> None:
    p = canvas.box((-50, -130, -160), (50, -20, -40))
    if p is None:
        return
    front = genital_front(frame)
    canvas.paint(p, capsule(p, (0, front + 26, -58), (2, front - 8, -100), 12, 11), "penis", None)
    size = float(np.clip(frame.person.rng("testes").normal(1, 0.07), 0.8, 1.2))
    for side in (-1, 1):
        canvas.paint(
            p, ellipsoid(p, (side * 17, front + 22, -108 - 3 * side), (13 * size, 14 * size, 20 * size)), "testis", None
        )


def genital_front(frame: Frame) -> float:
    """y of the skin over the pubic bones."""
    return -80 - 0.35 * frame.person.subcutaneous_mm
