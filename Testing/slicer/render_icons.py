"""Draws the PNG icons from their SVG sources: python Testing/slicer/render_icons.py"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

ROOT = Path(__file__).resolve().parents[2]
ICONS = ROOT / "PETDiffusionDenoise" / "Resources" / "Icons"
MODULE = "PETDiffusionDenoise"
SIZES = {ICONS / f"{MODULE}.png": 128, ROOT / "Resources" / "PETDiffusion.png": 128}


def draw(source: Path, target: Path, pixels: int) -> None:
    image = QImage(QSize(pixels, pixels), QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(source.read_bytes())).render(painter, QRectF(0, 0, pixels, pixels))
    painter.end()
    image.save(str(target))


def main() -> None:
    application = QGuiApplication.instance() or QGuiApplication([])
    for target, pixels in SIZES.items():
        draw(ICONS / f"{MODULE}.svg", target, pixels)
    for source in sorted(ICONS.glob("*.svg")):
        if source.stem != MODULE:
            draw(source, source.with_suffix(".png"), 48)
    del application


if __name__ == "__main__":
    main()
