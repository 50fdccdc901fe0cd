"""Colours of words: each meaning in two shades, so that it can be read on Slicer's light theme and on its dark one."""

from __future__ import annotations

from typing import Any

import qt

LIGHT = {"good": "#1f7a33", "caution": "#8a5a00", "bad": "#b02a37", "faint": "#5c656d", "link": "#1a6699",
         "off": "#adb5bd"}
DARK = {"good": "#69db7c", "caution": "#ffc94d", "bad": "#ff9c9c", "faint": "#b4bcc4", "link": "#74c0fc",
        "off": "#6c757d"}
LIGHT_FRAMES = {"error": ("#b02a37", "#fdf1f2"), "warning": ("#997404", "#fff9e8"), "done": ("#146c43", "#eef8f2"),
                "note": ("#1d4e6b", "#eef5f9")}
DARK_FRAMES = {"error": ("#e5727d", "#42262a"), "warning": ("#d9a514", "#3b331f"), "done": ("#3fa877", "#22392e"),
               "note": ("#5b9fc4", "#23343e")}
"""Edge and ground of a message."""
LIGHT_INK, DARK_INK = "#212529", "#f1f3f5"
MIDDLE = 128
LINKS = ("unitButton", "modelButton", "deviceButton", "tutorialButton")


def is_dark() -> bool:
    """Asked of a widget, whose palette is a property; the application's is none."""
    return qt.QLabel().palette.color(qt.QPalette.Window).lightness() < MIDDLE


def shade(meaning: str) -> str:
    return (DARK if is_dark() else LIGHT)[meaning]


def colored(meaning: str, html: str) -> str:
    return f'<span style="color:{shade(meaning)}">{html}</span>'


def color_frame(frame: Any, kind: str) -> None:
    edge, ground = (DARK_FRAMES if is_dark() else LIGHT_FRAMES)[kind]
    ink, name = DARK_INK if is_dark() else LIGHT_INK, frame.objectName
    frame.setStyleSheet(f"QFrame#{name} {{ background: {ground}; border: 1px solid {edge}; border-left: 5px solid "
                        f"{edge}; border-radius: 3px; }} QFrame#{name} QLabel {{ color: {ink}; }}")


def dress(ui: Any) -> None:
    """The widgets that keep their words and take their colour from here."""
    for name in LINKS:
        getattr(ui, name).setStyleSheet(
            f"QToolButton {{ color: {shade('link')}; border: none; }} QToolButton:hover {{ text-decoration: underline; "
            f"}} QToolButton:disabled {{ color: {shade('off')}; }}")
    ui.footLabel.setStyleSheet(f"color: {shade('faint')};")
