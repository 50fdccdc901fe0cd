"""The 'Method' section: which method and model, how much effort, on which device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petdiffusion import registry
from petdiffusion.errors import PETDiffusionError
from petdiffusion.methods.contract import MethodCard

from . import models, presets, units
from .options_form import OptionsForm
from .parameters import Parameters
from .signals import Signal
from .theme import colored
from .widgets import beginning, choose_key, fill, key_of, paragraph, quiet, show_row

FAMILIES = {"diffusion": "Diffusion", "supervised": "Trained network", "unsupervised": "Unsupervised",
            "classical": "Filter"}
CONDITION_WORDS = {"ct": "CT", "mr": "MR", "labels": "organs", "text": "a prompt"}
WITHOUT_MODEL = "no model installed"
AUTO_DEVICE = "auto"
PAPER_LETTERS = 46


def method_groups() -> list[dict[str, str]]:
    """Titles of the methods by name, group by group; a method's model may have been added or removed meanwhile."""
    groups: dict[str, dict[str, str]] = {family: {} for family in FAMILIES} | {WITHOUT_MODEL: {}}
    having_one = models.having_one()
    for card in registry.cards().values():
        lacks_model = card.needs_model and card.name not in having_one
        group, ending = (WITHOUT_MODEL, f" ({WITHOUT_MODEL})") if lacks_model else (card.family, "")
        groups[group][card.name] = card.title + ending
    return [group for group in groups.values() if group]


class MethodPart:
    """Keeps the method's widgets in step with the parameters; everything shown comes from the cards."""

    def __init__(self, ui: Any, changed: Signal) -> None:
        self.ui, self.changed = ui, changed
        self.parameters: Parameters | None = None
        self._unit: units.Unit | None = None
        self._groups: list[dict[str, str]] = []
        self.devices: Sequence[Mapping[str, Any]] = ()
        self.fits = models.Fits()
        self.form = OptionsForm(ui.optionsFrame)
        self.form.changed.connect(self._on_option)
        self._fill_methods()
        ui.methodCombo.connect("currentIndexChanged(int)", lambda i: self._set("method", key_of(ui.methodCombo)))
        ui.modelCombo.connect("currentIndexChanged(int)", lambda i: self._set("model", key_of(ui.modelCombo)))
        ui.modelButton.toggled.connect(lambda on: self.refresh(self._unit))
        ui.presetCombo.connect("currentIndexChanged(int)", lambda i: self._on_preset())
        ui.deviceCombo.connect("currentIndexChanged(int)", lambda i: self._set("device", key_of(ui.deviceCombo)))
        ui.promptEdit.editingFinished.connect(lambda: self._set("text", str(ui.promptEdit.text)))
        ui.seedSpin.connect("valueChanged(int)", lambda value: self._set("seed", int(value)))
        ui.doseSpin.connect("valueChanged(double)", lambda value: self._set("dose_fraction", float(value)))
        ui.registerCheck.toggled.connect(lambda on: self._set("register", bool(on)))

    def _fill_methods(self) -> None:
        """Families one after the other, with a line between them; last what has no model to run with."""
        combo, groups = self.ui.methodCombo, method_groups()
        if groups == self._groups:
            return
        self._groups, end = groups, 0
        fill(combo, {name: title for group in groups for name, title in group.items()}, key_of(combo))
        with quiet(combo):
            for group in groups[:-1]:
                end += len(group)
                combo.insertSeparator(end)
                end += 1

    def _set(self, name: str, value: Any) -> None:
        if self.parameters is not None:
            setattr(self.parameters, name, value)

    @property
    def card(self) -> MethodCard | None:
        """The chosen method; the default one where the scene names a method that is not there."""
        known = registry.cards()
        name = self.parameters.method if self.parameters is not None else ""
        return known.get(name) or known.get(registry.DEFAULT_METHOD) or next(iter(known.values()), None)

    def options(self) -> dict[str, Any]:
        """The chosen settings; those that the method does not know (any more) or refuses are left out."""
        card, found = self.card, {}
        for name, value in self.parameters.options(card.name).items():
            try:
                found[name] = card.option(name).check(value)
            except PETDiffusionError:
                continue
        return found

    def _on_option(self) -> None:
        if self.parameters is not None:
            with self.parameters.together():
                self.parameters.set_options(self.card.name, self.form.values())
                self.parameters.preset = presets.preset_of(self.card, self.form.values())

    def _on_preset(self) -> None:
        chosen = key_of(self.ui.presetCombo)
        values = presets.presets(self.card).get(chosen)
        if self.parameters is None or values is None:
            return
        with self.parameters.together():
            self.parameters.preset = chosen
            self.parameters.set_options(self.card.name, values)

    def refresh(self, unit: units.Unit | None) -> None:
        """Show what the parameters say; `unit` is what is known of the PET's numbers."""
        card, ui, self._unit = self.card, self.ui, unit
        if card is None or self.parameters is None:
            return
        self._fill_methods()
        choose_key(ui.methodCombo, card.name)
        ui.methodText.setText(text_of(card))
        ui.methodText.toolTip = card.paper
        self._refresh_model(card)
        self.form.show(card)
        self.form.set_values(self.options())
        self._refresh_preset(card)
        self._refresh_rest(card)

    def _refresh_model(self, card: MethodCard) -> None:
        ui, given, found = self.ui, self.parameters, models.installed(card)
        show_row(ui, ("modelLabel", "modelCombo", "modelText"), card.needs_model or bool(found))
        if not found:
            ui.modelButton.hide()
            fill(ui.modelCombo, {"": "None installed"})
            ui.modelText.setText("Add a model under 'Set-up'.")
            return
        fits = self.fits.of(given.pet, self._unit, given.dose_fraction, found)
        suited = models.suited(found, fits, given)
        fill(ui.modelCombo, models.choices(found, suited), given.model)
        shown = key_of(ui.modelCombo) or suited
        ui.modelButton.setVisible(bool(shown))
        if shown:
            text = models.text_of(found[shown], bool(ui.modelButton.checked))
            text += models.caution((fits or {}).get(shown, []))
        else:
            text = "<br>".join(f"<b>{id_}</b>: {paragraph(found[id_].summary)}" for id_ in found)
        ui.modelText.setText(text + (models.missing(given.model) if given.model and given.model not in found else ""))

    def _refresh_preset(self, card: MethodCard) -> None:
        offered = presets.presets(card)
        now = presets.preset_of(card, self.options())
        names = [*offered, *([presets.CUSTOM] if now == presets.CUSTOM else [])]
        fill(self.ui.presetCombo, {name: f"{name}: {presets.text_of(name, card)}" for name in names}, now)
        show_row(self.ui, ("presetLabel", "presetCombo"), len(offered) > 1)

    def _refresh_rest(self, card: MethodCard) -> None:
        ui, given = self.ui, self.parameters
        show_row(ui, ("promptLabel", "promptEdit"), card.uses("text"))
        show_row(ui, ("seedLabel", "seedSpin"), card.stochastic)
        show_row(ui, ("doseLabel", "doseSpin"), card.family != "classical")
        show_row(ui, ("registerCheck",), card.uses("ct") or card.uses("mr"))
        show_row(ui, ("deviceLabel", "deviceCombo", "deviceButton"), card.family != "classical")
        anything = bool(card.options) or card.stochastic or card.family != "classical"
        ui.settingsSection.setVisible(anything or card.uses("ct") or card.uses("mr"))
        with quiet(ui.promptEdit, ui.seedSpin, ui.doseSpin, ui.registerCheck):
            if not ui.promptEdit.hasFocus():
                ui.promptEdit.setText(given.text)
            ui.seedSpin.setValue(given.seed)
            ui.doseSpin.setValue(given.dose_fraction)
            ui.registerCheck.setChecked(given.register)
        fill(ui.deviceCombo, device_choices(self.devices, given.device), given.device)
        ui.uncertaintyCheck.setVisible("uncertainty" in card.outputs)
        ui.masksCheck.setVisible(bool({"organs", "lesions"} & set(card.outputs)))


def text_of(card: MethodCard) -> str:
    """What a method does and what it needs, for the line under its name."""
    needed = [CONDITION_WORDS[c.kind] for c in card.conditions if c.required]
    used = [CONDITION_WORDS[c.kind] for c in card.conditions if not c.required]
    facts = [f"Needs {' and '.join(needed)}." if needed else "", f"Can use {' and '.join(used)}." if used else "",
             "" if needed or used else "Needs the PET alone."]
    cited = paragraph(beginning(card.paper, PAPER_LETTERS))
    paper = f"<br>{colored('faint', cited)}" if cited else ""
    said = paragraph(" ".join(filter(None, (card.summary, *facts))))
    return f"<b>{FAMILIES[card.family]}.</b> {said}{paper}"


def device_choices(devices: Sequence[Mapping[str, Any]], chosen: str = AUTO_DEVICE) -> dict[str, str]:
    """Automatic first, then every device with its free memory, and the one that a scene of another computer names:
    it is what would be asked for, so it must be seen."""
    found = {AUTO_DEVICE: "Automatic"}
    for device in devices:
        name, free = str(device.get("name", "")), device.get("free_gb")
        memory = f", {free:g} GB free" if isinstance(free, (int, float)) else ""
        title = "Processor (CPU)" if name == "cpu" else str(device.get("title", name))
        found[name] = f"{title}{memory}"
    if chosen not in found:
        found[chosen] = f"{chosen} (not found here)" if devices else chosen
    return found
