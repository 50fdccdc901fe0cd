"""Words can be read on Slicer's light theme and on its dark one, by WCAG's contrast of at least 4.5 to 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "PETDiffusionDenoise"
GROUNDS = {"light": ("#ffffff", "#efefef"), "dark": ("#2b2b2b", "#353535")}
ENOUGH = 4.5
_COLOR = re.compile(r"(?<![-\w])color: ?(#[0-9a-f]{6})")


def brightness(color: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    dark, bright = sorted((brightness(one), brightness(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    """By hand: black on white is 21; #767676 on white is the known limit."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.fixture(params=GROUNDS)
def ground(scene, request):
    """The application in one of the themes; gives the darkest and the brightest ground of its panels."""
    import qt

    before = qt.QApplication.palette()
    changed = qt.QPalette(before)
    ink = {"light": "#000000", "dark": "#ffffff"}[request.param]
    for role, color in ((qt.QPalette.Window, GROUNDS[request.param][1]), (qt.QPalette.WindowText, ink)):
        changed.setColor(role, qt.QColor(color))
    qt.QApplication.setPalette(changed)
    yield GROUNDS[request.param]
    qt.QApplication.setPalette(before)


def written(widget) -> str:
    """All texts and style sheets of the panel but those of the message, which has a ground of its own."""
    import qt

    found = []
    for part in widget.parent.findChildren(qt.QWidget):
        if part.objectName not in ("messageFrame", "messageLabel"):
            found += [part.styleSheet, part.text if hasattr(part, "text") and isinstance(part.text, str) else ""]
    return "\n".join(found)


def test_everything_in_the_panel_can_be_read_in_both_themes(ground, open_panel, two_models) -> None:
    import builders

    pet = builders.pet(None)
    widget = open_panel()
    given = widget.panel.parameters
    given.pet, given.method, given.model = pet, "diffuse", "somebody-elses"
    texts = written(widget)
    given.unit = "Bq/ml"
    texts += written(widget)
    given.unit, given.dose_fraction, given.model = "SUVbw", 0.001, "tiny-brain"
    texts += written(widget)
    widget.panel.setup._set_ready("Ready.", usable=True)
    texts += written(widget)
    widget.panel.setup._set_ready("Not ready.", usable=False)
    texts += written(widget)
    enabled = re.sub(r"[\w#]*:disabled \{[^}]*\}", "", texts)
    colors = set(_COLOR.findall(enabled))
    assert len(colors) >= 5, "green, amber, red, grey and links"
    assert {c: g for c in colors for g in ground if contrast(c, g) < ENOUGH} == {}


@pytest.mark.parametrize("kind", ["error", "warning", "done", "note"])
def test_messages_can_be_read_in_both_themes(ground, open_panel, kind) -> None:
    ui = open_panel().ui
    from PETDiffusionDenoiseLib.theme import color_frame

    color_frame(ui.messageFrame, kind)
    sheet = ui.messageFrame.styleSheet
    own_ground, (ink,) = re.search(r"background: (#[0-9a-f]{6})", sheet)[1], _COLOR.findall(sheet)
    assert contrast(ink, own_ground) >= ENOUGH
    assert contrast(own_ground, ground[1]) < 2, "a pale box on a dark panel would dazzle"


def test_a_theme_that_is_changed_is_followed_when_the_panel_is_entered(open_panel) -> None:
    import qt
    from PETDiffusionDenoiseLib import theme

    widget, before = open_panel(), qt.QApplication.palette()
    light = widget.ui.tutorialButton.styleSheet
    dark = qt.QPalette(before)
    dark.setColor(qt.QPalette.Window, qt.QColor("#353535"))
    try:
        qt.QApplication.setPalette(dark)
        widget.enter()
        assert theme.shade("link") in widget.ui.tutorialButton.styleSheet != light
    finally:
        qt.QApplication.setPalette(before)


def test_colours_of_words_stand_in_one_place() -> None:
    """Elsewhere one would be forgotten in the other theme. `colors.py` is of images and views."""
    lib, ui = ROOT / "PETDiffusionDenoiseLib", ROOT / "Resources" / "UI"
    files = [p for p in (*lib.glob("*.py"), *ui.glob("*.ui")) if p.name not in ("theme.py", "colors.py")]
    assert [p.name for p in files if re.search(r"#[0-9a-fA-F]{6}\b", p.read_text(encoding="utf-8"))] == []
