"""Stand-ins for the ctk widgets that the panel uses: same properties and signals, much the same looks."""

from __future__ import annotations

import qt
from qt import custom_widget

HEADER = 26


@custom_widget
class ctkCollapsibleButton(qt.QWidget):
    """A section with a header that folds.

    As in ctk, a child that is shown or hidden while the section is folded is so when it is unfolded.
    """

    contentsCollapsed = qt.Signal(bool)
    clicked = qt.Signal()

    def __init__(self, *args):
        super().__init__(*args)
        self._collapsed, self._text, self._forcing = False, "", False
        self.setContentsMargins(0, HEADER, 0, 0)

    def _set_collapsed(self, value):
        self._collapsed = bool(value)
        self._apply()
        self.contentsCollapsed.emit(self._collapsed)

    def _apply(self):
        for child in self.children():
            if child.isWidgetType():
                self._place(child)
        self.setMaximumHeight(HEADER + 2 if self._collapsed else 16777215)
        self.updateGeometry()

    def _place(self, child):
        wanted = child.property("visibilityToParent")
        self._forcing = True
        child.setVisible(not self._collapsed and wanted is not False)
        if wanted is not False:
            child.setAttribute(qt.Qt.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def childEvent(self, event):
        if event.type() == qt.QEvent.ChildAdded and event.child().isWidgetType():
            event.child().installEventFilter(self)
            self._place(event.child())

    def setVisible(self, visible):
        self._forcing = True
        qt.QWidget.setVisible(self, visible)
        self._forcing = False

    def eventFilter(self, child, event):
        kind = event.type()
        if kind in (qt.QEvent.ShowToParent, qt.QEvent.HideToParent) and not self._forcing:
            child.setProperty("visibilityToParent", kind == qt.QEvent.ShowToParent)
            if kind == qt.QEvent.ShowToParent:
                self._place(child)
        return False

    def _set_text(self, value):
        self._text = value
        self.update()

    collapsed = qt.Property(bool, lambda self: self._collapsed, _set_collapsed)
    text = qt.Property(str, lambda self: self._text, _set_text)

    def mousePressEvent(self, event):
        if event.position().y() < HEADER:
            self.collapsed = not self._collapsed
            self.clicked.emit()

    def paintEvent(self, event):
        painter = qt.QPainter(self)
        painter.setRenderHint(qt.QPainter.Antialiasing)
        area = qt.QRectF(0.5, 0.5, self.width - 1, HEADER - 4)
        painter.setPen(qt.QColor("#c4c8cc"))
        painter.setBrush(qt.QColor("#e9ecef"))
        painter.drawRoundedRect(area, 3, 3)
        painter.setPen(qt.Qt.NoPen)
        painter.setBrush(qt.QColor("#495057"))
        y, x = HEADER / 2 - 2, 13
        down = [qt.QPointF(x - 4, y - 2), qt.QPointF(x + 4, y - 2), qt.QPointF(x, y + 3)]
        right = [qt.QPointF(x - 2, y - 4), qt.QPointF(x - 2, y + 4), qt.QPointF(x + 3, y)]
        painter.drawPolygon(right if self._collapsed else down)
        font = qt.QFont(self.font)
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(qt.QColor("#212529"))
        painter.drawText(area.adjusted(26, 0, 0, 0), qt.Qt.AlignVCenter | qt.Qt.AlignLeft, self._text)
        painter.end()


@custom_widget
class ctkPathLineEdit(qt.QWidget):
    """A path with a browse button. As in ctk, a path that is not valid, such as none at all, is told by
    `validInputChanged` alone."""

    currentPathChanged = qt.Signal(str)
    validInputChanged = qt.Signal(bool)

    def __init__(self, *args):
        super().__init__(*args)
        self._filters, self._name, self._valid = 0, [], False
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self._edit, self._browse = qt.QLineEdit(self), qt.QToolButton(self)
        self._browse.setText("…")
        layout.addWidget(self._edit)
        layout.addWidget(self._browse)
        self._edit.textChanged.connect(self._tell)

    def _tell(self, text):
        was, self._valid = self._valid, bool(text)
        if self._valid:
            self.currentPathChanged.emit(text)
        if self._valid != was:
            self.validInputChanged.emit(self._valid)

    currentPath = qt.Property(str, lambda self: self._edit.text, lambda self, value: self._edit.setText(value))
    filters = qt.Property(int, lambda self: self._filters, lambda self, value: setattr(self, "_filters", int(value)))
    showHistoryButton = qt.Property(bool, lambda self: False, lambda self, value: None)
    nameFilters = qt.Property(
        "QStringList", lambda self: self._name, lambda self, value: setattr(self, "_name", list(value))
    )

    def setCurrentPath(self, value):
        self._edit.setText(value)


class ctkPathLineEditFilters:
    Files, Dirs, Readable, Executable = 2, 1, 16, 64


ctkPathLineEdit.Files, ctkPathLineEdit.Dirs = ctkPathLineEditFilters.Files, ctkPathLineEditFilters.Dirs


@custom_widget
class ctkSliderWidget(qt.QWidget):
    """A slider with its number."""

    valueChanged = qt.Signal(float)

    def __init__(self, *args):
        super().__init__(*args)
        self._value, self._low, self._high, self._step, self._decimals, self._suffix = 0.0, 0.0, 99.0, 1.0, 2, ""
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider, self._spin = qt.QSlider(qt.Qt.Horizontal, self), qt.QDoubleSpinBox(self)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._slider.valueChanged.connect(lambda n: self._set_value(self._low + n * self._step))
        self._spin.valueChanged.connect(self._set_value)
        self._show()

    def _show(self):
        for widget in (self._slider, self._spin):
            widget.blockSignals(True)
        self._slider.setRange(0, max(round((self._high - self._low) / self._step), 1))
        self._slider.setValue(round((self._value - self._low) / self._step))
        self._spin.setDecimals(self._decimals)
        self._spin.setRange(self._low, self._high)
        self._spin.setSingleStep(self._step)
        self._spin.setSuffix(self._suffix)
        self._spin.setValue(self._value)
        for widget in (self._slider, self._spin):
            widget.blockSignals(False)

    def _set_value(self, value):
        value = min(max(float(value), self._low), self._high)
        changed = value != self._value
        self._value = value
        self._show()
        if changed:
            self.valueChanged.emit(value)

    def _setter(name, convert):
        def put(self, value):
            setattr(self, name, convert(value))
            self._set_value(self._value)

        return put

    value = qt.Property(float, lambda self: self._value, _set_value)
    minimum = qt.Property(float, lambda self: self._low, _setter("_low", float))
    maximum = qt.Property(float, lambda self: self._high, _setter("_high", float))
    singleStep = qt.Property(float, lambda self: self._step, _setter("_step", float))
    decimals = qt.Property(int, lambda self: self._decimals, _setter("_decimals", int))
    suffix = qt.Property(str, lambda self: self._suffix, _setter("_suffix", str))

    def setValue(self, value):
        self._set_value(value)
