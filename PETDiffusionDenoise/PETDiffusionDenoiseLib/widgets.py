"""Small helpers over Qt widgets that the parts of the panel share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import qt

ICONS = Path(__file__).resolve().parent.parent / "Resources" / "Icons"
ROW_HEIGHT = 24


def icon(name: str) -> Any:
    return qt.QIcon(str(ICONS / f"{name}.png"))


def show_row(ui: Any, names: Sequence[str], visible: bool) -> None:
    """Show or hide the widgets of a form's row."""
    for name in names:
        getattr(ui, name).setVisible(visible)


@contextmanager
def quiet(*widgets: Any) -> Iterator[None]:
    """Changes that the user did not make are not reported as the user's."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, before):
            widget.blockSignals(was)


def fill(combo: Any, entries: Mapping[str, str], current: str = "") -> None:
    """Entries by key into a combo box; keeps the current key if it is still there."""
    with quiet(combo):
        combo.clear()
        for key, text in entries.items():
            combo.addItem(text, key)
        combo.setCurrentIndex(max(combo.findData(current), 0))


def key_of(combo: Any) -> str:
    data = combo.itemData(combo.currentIndex)
    return str(data) if data is not None else ""


def choose_key(combo: Any, key: str) -> None:
    with quiet(combo):
        index = combo.findData(key)
        if index >= 0:
            combo.setCurrentIndex(index)


def fill_table(table: Any, titles: Sequence[str], rows: Sequence[Sequence[str]], tips: Sequence[str] = (),
               wide: int = -1, numbers: Sequence[int] = ()) -> None:
    """Texts into a table, the wide column taking the room that is left; columns of numbers end at the right."""
    with quiet(table):
        table.clear()
        table.setColumnCount(len(titles))
        table.setRowCount(len(rows))
        table.setHorizontalHeaderLabels(list(titles))
        for r, row in enumerate(rows):
            for c, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(tips[r] if r < len(tips) else text)
                if c in numbers:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(r, c, item)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    for column in range(len(titles)):
        mode = qt.QHeaderView.Stretch if column == wide % len(titles) else qt.QHeaderView.ResizeToContents
        table.horizontalHeader().setSectionResizeMode(column, mode)
    table.resizeRowsToContents()


def beginning(text: str, letters: int) -> str:
    """A text that may be long, broken off between words; where it is used the whole can be had."""
    return text if len(text) <= letters else f"{text[:letters].rsplit(' ', 1)[0].rstrip(',;:')} …"


def paragraph(text: str) -> str:
    """Plain text for a label that shows rich text."""
    return escape(text).replace("\n", "<br>")


def bring_into_view(widget: Any) -> None:
    """Scrolls the module panel so far that a widget is seen, once its place is known."""
    def scroll() -> None:
        parent = widget.parentWidget()
        while parent is not None and not parent.inherits("QScrollArea"):
            parent = parent.parentWidget()
        if parent is not None and widget.isVisible():
            parent.ensureWidgetVisible(widget)

    later(0, scroll)


def to_clipboard(text: str) -> None:
    qt.QApplication.clipboard().setText(text)


def later(milliseconds: int, function: Callable[[], None]) -> None:
    qt.QTimer.singleShot(milliseconds, function)


def clock(seconds: float) -> str:
    """`about 2 min` as people say it."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
