"""Brown fat that works: above the collar bones, along the neck and the spine, about the kidneys."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .frame import Frame
from .shapes import Cloud, curve


def depots(frame: Frame) -> np.ndarray:
    """Balls of the places where brown fat lies: x, y, z, radius."""
    y = frame.ahead
    rows = []
    for side in (-1, 1):
        rows.append(
            curve(
                [(side * 30, 2, 548, 7), (side * 62, 14, 548, 10), (side * 96, 18, 532, 8), (side * 118, 14, 505, 6)],
                3.0,
            )
        )
        rows.append(curve([(side * 36, 18, 560, 6), (side * 43, 16, 590, 7), (side * 40, 14, 618, 5)], 3.0))
        rows.append(np.array([(side * 25, y(z) + 10, z, 4.5) for z in range(320, 540, 22)]))
        rows.append(curve([(side * 42, 40, 285, 6), (side * 62, 48, 292, 7), (side * 82, 44, 278, 6)], 3.0))
    rows.append(curve([(12, -20, 500, 5), (18, -30, 470, 5)], 3.0))
    return np.concatenate(rows)


def paint_brown_fat(canvas: Canvas, frame: Frame) -> None:
    """Patchy: about two thirds of each depot take tracer up. Never over another organ."""
    if not canvas.uptake.states["brown_fat"]:
        return
    cloud = Cloud([depots(frame)])
    p = canvas.box(*cloud.bounds())
    if p is not None:
        d = cloud.distance(p)
        patch = canvas.texture("patch", p.where).astype(np.float32)
        free = (canvas.label[p.where] == 0) & (canvas.ct[p.where] < 90)
        canvas.paint(
            p, np.maximum(d + 2 * patch, 3 * (-0.4 - patch)), "brown_fat", within=free & (canvas.ct[p.where] > -200)
        )
