"""The settings of a method as widgets, made from its card: a new option appears by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import qt
from petdiffusion.methods.contract import MethodCard, Option

from .signals import Signal

AUTOMATIC = "automatic"
WIDEST = 1e6
PART, HUGE_PARTS = 0.1, 1e4
"""A dose may be a two hundredth of the normal one; events are counted by the hundred thousand."""
LABEL_WIDTH = 100
"""The labels of the .ui less the margin of the section inside, so that all fields of the panel stand in one line."""
_SPELLED = {"fwhm": "FWHM", "sd": "SD", "tv": "TV", "nlm": "NLM", "mr": "MR", "ct": "CT", "lr": "Learning rate"}


def title_of(name: str, unit: str = "") -> str:
    """`search_fwhm_mm` in mm is `Search FWHM`: the unit stands behind the number."""
    name = name.removesuffix(f"_{unit}") if unit else name
    words = [_SPELLED.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


class OptionsForm:
    """Widgets for the options of one card inside a frame; `changed` tells of every change by the user."""

    def __init__(self, frame: Any) -> None:
        self.changed = Signal()
        self.frame = frame
        self.fields: dict[str, _Field] = {}
        self._card: MethodCard | None = None
        self._inner: Any = None
        self._more: Any = None
        layout = qt.QVBoxLayout(frame)
        layout.setContentsMargins(0, 0, 0, 0)

    def show(self, card: MethodCard) -> None:
        """Build the rows of a card; the advanced ones are hidden until they are asked for."""
        if card is self._card:
            return
        self._card, self.fields = card, {}
        if self._inner is not None:
            self.frame.layout().removeWidget(self._inner)
            self._inner.hide()
            self._inner.deleteLater()
        self._inner = qt.QWidget(self.frame)
        form = qt.QFormLayout(self._inner)
        form.setContentsMargins(0, 0, 0, 0)
        form.setLabelAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        form.setFieldGrowthPolicy(qt.QFormLayout.AllNonFixedFieldsGrow)
        for option in sorted(card.options, key=lambda o: o.advanced):
            self._add_row(form, option)
        self._add_more(form)
        self.frame.layout().addWidget(self._inner)
        self._inner.show()

    def _add_row(self, form: Any, option: Option) -> None:
        field = _FIELDS["choice" if option.choices else option.kind](option, self._inner, self.changed.emit)
        label = qt.QLabel(f"{title_of(option.name, option.unit)}:", self._inner)
        label.setMinimumWidth(LABEL_WIDTH)
        label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        for widget in (label, field.widget):
            widget.toolTip = tip_of(option)
        form.addRow(label, field.widget)
        field.row = (label, field.widget)
        self.fields[option.name] = field

    def _add_more(self, form: Any) -> None:
        advanced = [f for f in self.fields.values() if f.option.advanced]
        if not advanced:
            return
        more = qt.QCheckBox("Show advanced settings", self._inner)
        more.toggled.connect(lambda on: self._show_advanced(on))
        form.addRow(qt.QLabel("", self._inner), more)
        self._show_advanced(False)

    def _show_advanced(self, on: bool) -> None:
        for field in self.fields.values():
            if field.option.advanced:
                for widget in field.row:
                    widget.setVisible(bool(on))

    def values(self) -> dict[str, Any]:
        """What differs from the card's defaults."""
        now = {name: field.get() for name, field in self.fields.items()}
        return {name: value for name, value in now.items() if value != self.fields[name].option.default}

    def set_values(self, values: Mapping[str, Any]) -> None:
        for name, field in self.fields.items():
            field.put(values.get(name, field.option.default))


def tip_of(option: Option) -> str:
    default = option.default
    if default is None or default == "":
        said = AUTOMATIC if default is None else "none"
    else:
        said = ("yes" if default else "no") if option.kind == "bool" else _in_unit(f"{default}", option)
    ends = {"From": option.minimum, "to": option.maximum}
    reach = " ".join(f"{word} {end:.10g}" for word, end in ends.items() if end is not None)
    return f"{option.help}\nDefault: {said}{f'. {_in_unit(reach[:1].upper() + reach[1:], option)}' if reach else ''}"


def _in_unit(text: str, option: Option) -> str:
    return f"{text} {option.unit}".rstrip()


class _Field:
    """One option's widget, its value in and out."""

    row: tuple[Any, Any]

    def __init__(self, option: Option, parent: Any, changed: Any) -> None:
        self.option = option
        self.widget = self.make(parent)
        self.put(option.default)
        self.listen(changed)

    def put(self, value: Any) -> None:
        was = self.widget.blockSignals(True)
        self.set(value)
        self.widget.blockSignals(was)


class _Number(_Field):
    """A spin box; where the default is None its lowest step reads `automatic`."""

    def limits(self) -> tuple[float, float]:
        low = -WIDEST if self.option.minimum is None else self.option.minimum
        high = WIDEST if self.option.maximum is None else self.option.maximum
        return low, high

    def prepare(self, spin: Any, step: float) -> Any:
        low, high = self.limits()
        self.automatic = low - step
        spin.setRange(self.automatic if self.option.default is None else low, high)
        spin.setSingleStep(step)
        spin.setSuffix(f" {self.option.unit}" if self.option.unit else "")
        if self.option.default is None:
            spin.setSpecialValueText(AUTOMATIC)
        return spin

    def set(self, value: Any) -> None:
        self.widget.setValue(self.automatic if value is None else value)

    def get(self) -> Any:
        value = self.widget.value
        return None if self.option.default is None and value <= self.automatic else value


class _Float(_Number):
    """What the spin box rounds for showing is kept as it was given until the user changes it."""

    def make(self, parent: Any) -> Any:
        size = self.magnitude()
        self.decimals = min(max(2 - math.floor(math.log10(size)), 1), 8)
        spin = qt.QDoubleSpinBox(parent)
        spin.setDecimals(self.decimals)
        return self.prepare(spin, 10.0 ** math.floor(math.log10(size)) / 10)

    def magnitude(self) -> float:
        """About how large its values are: the default's, or what the range lets expect of one that is not set."""
        high = self.option.maximum
        if self.option.default:
            return abs(self.option.default)
        if not high:
            return 1.0
        if high > WIDEST:
            return high / HUGE_PARTS
        return PART if high <= 1 and self.option.default == 0 else min(abs(high), 10.0)

    def listen(self, changed: Any) -> None:
        self.widget.connect("valueChanged(double)", lambda value: changed())

    def set(self, value: Any) -> None:
        super().set(value)
        self.given, self.shown = value, self.widget.value

    def get(self) -> Any:
        return self.given if self.widget.value == self.shown else super().get()


class _Int(_Number):
    def make(self, parent: Any) -> Any:
        return self.prepare(qt.QSpinBox(parent), 1)

    def set(self, value: Any) -> None:
        self.widget.setValue(int(self.automatic if value is None else value))

    def limits(self) -> tuple[int, int]:
        return tuple(int(v) for v in super().limits())

    def listen(self, changed: Any) -> None:
        self.widget.connect("valueChanged(int)", lambda value: changed())


class _Bool(_Field):
    def make(self, parent: Any) -> Any:
        return qt.QCheckBox(parent)

    def listen(self, changed: Any) -> None:
        self.widget.toggled.connect(lambda on: changed())

    def set(self, value: Any) -> None:
        self.widget.setChecked(bool(value))

    def get(self) -> bool:
        return bool(self.widget.checked)


class _Choice(_Field):
    def make(self, parent: Any) -> Any:
        combo = qt.QComboBox(parent)
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        for choice in self.option.choices:
            combo.addItem(choice, choice)
        return combo

    def listen(self, changed: Any) -> None:
        self.widget.connect("currentIndexChanged(int)", lambda index: changed())

    def set(self, value: Any) -> None:
        self.widget.setCurrentIndex(max(self.widget.findData(value), 0))

    def get(self) -> str:
        return str(self.widget.itemData(self.widget.currentIndex))


class _Text(_Field):
    def make(self, parent: Any) -> Any:
        return qt.QLineEdit(parent)

    def listen(self, changed: Any) -> None:
        self.widget.editingFinished.connect(changed)

    def set(self, value: Any) -> None:
        self.widget.setText("" if value is None else str(value))

    def get(self) -> str | None:
        text = str(self.widget.text)
        return None if not text and self.option.default is None else text


_FIELDS = {"float": _Float, "int": _Int, "bool": _Bool, "str": _Text, "choice": _Choice}
