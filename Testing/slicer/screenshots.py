"""Makes the pictures of the README and the tutorial: the panel as a real window, and the review's views, with the
real backend.

    xvfb-run -a -s "-screen 0 1600x1200x24" env QT_QPA_PLATFORM=xcb python Testing/slicer/screenshots.py [--method NAME]

Without a name it takes CSRD where a model of it is installed, else the default filter.

The panel is drawn by Qt over the stand-ins of this folder, the views by Slicer's own MRML library; a full Slicer would
show the same around its own window frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE / "standin"), str(ROOT / "PETDiffusionDenoise"), str(HERE)]

import numpy as np  # noqa: E402
import qt  # noqa: E402
import render  # noqa: E402
import slicer  # noqa: E402
import slicer_app  # noqa: E402
from PETDiffusionDenoiseLib import review_layout  # noqa: E402

OUT = ROOT / "Resources" / "screenshots"
HELP = ROOT / "PETDiffusionDenoise" / "Resources" / "Help"
SIZE = (1280, 800)
PANEL_WIDTH, TITLE_HEIGHT = 480, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="")
    parser.add_argument("--sample", default="body")
    parser.add_argument("--cache", default="", help="folder that keeps the practice data between calls")
    asked = parser.parse_args()
    slicer_app.start(asked.cache or tempfile.mkdtemp())
    widget = open_panel()
    make_sample(widget, asked.sample)
    widget.panel.parameters.method = asked.method or best_method()
    settle()
    save(panel_picture(widget, PANEL_WIDTH, SIZE[1]), "panel", help_too=True)
    denoise(widget)
    picture_review(widget)
    fold(widget, "setupSection")
    widget.panel.setup.check()
    widget.panel.setup.wait()
    save(panel_picture(widget, PANEL_WIDTH, SIZE[1], scroll_to=widget.ui.setupSection), "setup")
    widget.cleanup()


def best_method() -> str:
    from petdiffusion import registry
    from petdiffusion.zoo import store

    return "csrd" if store.models("csrd") else registry.DEFAULT_METHOD


def save(picture, name: str, help_too: bool = False) -> None:
    picture.save(str(OUT / f"{name}.png"))
    if help_too:
        picture.save(str(HELP / f"{name}.png"))


def picture_review(widget) -> None:
    """Side by side, with all maps, and as projections."""
    ui = widget.ui
    ui.actionButton.click()
    shown = panel_picture(widget, PANEL_WIDTH, SIZE[1], scroll_to=ui.applyButton)
    save(whole(shown, views(widget, "Coronal")), "review", help_too=True)
    for button in (ui.differenceButton, ui.uncertaintyButton):
        button.setChecked(not button.isHidden())
    shown = panel_picture(widget, PANEL_WIDTH, SIZE[1], scroll_to=ui.applyButton)
    save(whole(shown, views(widget, "Coronal")), "maps", help_too=True)
    for button in (ui.differenceButton, ui.uncertaintyButton):
        button.setChecked(False)
    ui.mipButton.click()
    save(views(widget, "MIP", 540), "mip")


def settle(seconds: float = 0.2) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        slicer.app.processEvents()
        time.sleep(0.01)


def open_panel():
    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    widget = PETDiffusionDenoiseWidget()
    widget.enter()
    widget.panel.setup.wait()
    return widget


def make_sample(widget, name: str) -> None:
    getattr(widget.ui, f"{name}SampleButton").click()
    while widget.panel.parameters.pet is None:
        settle()
    widget.ui.messageFrame.hide()


def denoise(widget) -> None:
    widget.ui.applyButton.click()
    taken = False
    while widget.panel.run.running:
        settle(0.05)
        if not taken and widget.ui.progressBar.maximum and 300 < widget.ui.progressBar.value < 800:
            save(panel_picture(widget, PANEL_WIDTH, SIZE[1], scroll_to=widget.ui.methodSection), "progress")
            taken = True


def fold(widget, open_section: str) -> None:
    for name in ("scansSection", "methodSection", "resultsSection", "reviewSection", "setupSection", "logSection"):
        getattr(widget.ui, name).collapsed = name != open_section
    widget.ui.messageFrame.hide()


def panel_picture(widget, width: int, height: int, scroll_to=None):
    """The panel in a window of this size, in a scroll area as in Slicer."""
    area = panel_picture.area = getattr(panel_picture, "area", None) or qt.QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(qt.QFrame.NoFrame)
    if area.widget() is None:
        area.setWidget(widget.parent)
    area.resize(width, height)
    area.show()
    settle()
    area.verticalScrollBar().setValue(0)
    if scroll_to is not None:
        area.verticalScrollBar().setValue(scroll_to.mapTo(widget.parent, qt.QPoint(0, 0)).y() - 8)
    settle()
    return area.grab()


def views(widget, orientation: str, height: int = SIZE[1], place=None):
    """The review's views in their rows, with their titles, as Slicer's layout puts them; `place` to be centred on."""
    review = widget.panel.review.review
    rows = review_layout.rows(review.views)
    picture = qt.QPixmap(SIZE[0] - PANEL_WIDTH, height)
    picture.fill(qt.QColor("#000000"))
    painter = qt.QPainter(picture)
    for r, row in enumerate(rows):
        for c, view in enumerate(row):
            width, tall = picture.width() // len(row), height // len(rows)
            draw_view(painter, review, view, (c * width, r * tall, width, tall), orientation, place)
    painter.end()
    return picture


def draw_view(painter, review, view: str, where: tuple[int, int, int, int], orientation: str, place) -> None:
    left, top, width, height = where
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(review.slice_node(view).GetLayoutName())
    size = (width - 2, height - TITLE_HEIGHT - 1)
    logic.ResizeSliceNode(*size)
    logic.FitSliceToAll()
    if place is not None:
        logic.GetSliceNode().JumpSliceByCentering(*place)
    image = np.ascontiguousarray(render.picture(logic, logic.GetSliceNode(), size))
    drawn = qt.QImage(image.data, image.shape[1], image.shape[0], 3 * image.shape[1], qt.QImage.Format_RGB888)
    painter.drawImage(qt.QPoint(left + 1, top + TITLE_HEIGHT + 1), drawn.copy())
    painter.fillRect(qt.QRect(left, top, width, TITLE_HEIGHT), qt.QColor("#343a40"))
    painter.setPen(qt.QColor("#ffffff"))
    plane = "Coronal" if (view, orientation) == ("difference", "MIP") else orientation
    title = f"{review_layout.TITLES[view]}   ({plane})"
    painter.drawText(qt.QRect(left + 10, top, width, TITLE_HEIGHT), qt.Qt.AlignVCenter, title)


def whole(panel, right):
    picture = qt.QPixmap(*SIZE)
    picture.fill(qt.QColor("#000000"))
    painter = qt.QPainter(picture)
    painter.drawPixmap(0, 0, panel)
    painter.drawPixmap(panel.width(), 0, right)
    painter.end()
    return picture


if __name__ == "__main__":
    main()
