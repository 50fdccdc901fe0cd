"""The 'Scans' section: which images, and what the numbers of the PET mean."""

from __future__ import annotations

from typing import Any

import ctk
import slicer
import slicer.util
from petdiffusion.methods.contract import MethodCard
from petdiffusion.volume import BQML, SUVBW

from . import exchange, playing, results, scene, sequences, units
from .parameters import Parameters
from .signals import Signal
from .theme import colored
from .widgets import choose_key, fill, key_of, paragraph, quiet, show_row

UNIT_CHOICES = {units.AUTOMATIC: "Automatic", SUVBW: "SUV (body weight)", BQML: "Bq/ml"}
OPTIONAL = ("labels", "lesions", "region")
ALWAYS = ("pet", "reference", *OPTIONAL)
BY_METHOD = ("ct", "mr")
NEEDABLE = {"ct": "CT", "mr": "MR", "labels": "Organs"}


class InputsPart:
    """Keeps the selectors and the unit line in step with the parameters."""

    def __init__(self, ui: Any, changed: Signal) -> None:
        self.ui, self.changed = ui, changed
        self.parameters: Parameters | None = None
        self.unit: units.Unit | None = None
        self._found: dict[str, tuple[tuple[Any, ...], units.Unit]] = {}
        fill(ui.unitCombo, UNIT_CHOICES)
        for name in (*ALWAYS, *BY_METHOD):
            selector = getattr(ui, f"{name}Selector")
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node, name=name: self._on_node(name))
        ui.unitCombo.connect("currentIndexChanged(int)", lambda index: self._on_unit())
        ui.factorEdit.editingFinished.connect(self._on_unit)
        ui.unitButton.toggled.connect(lambda on: self._show_unit_row())
        ui.framesFolder.filters = ctk.ctkPathLineEdit.Dirs
        ui.framesCheck.toggled.connect(lambda on: self._set("all_frames", bool(on)))
        ui.framesFolder.connect("currentPathChanged(QString)", lambda path: self._set("frames_folder", str(path)))
        # a field that was emptied says so by this alone
        ui.framesFolder.connect("validInputChanged(bool)", lambda valid: valid or self._set("frames_folder", ""))

    def _on_node(self, name: str) -> None:
        if self.parameters is None:
            return
        node = getattr(self.ui, f"{name}Selector").currentNode()
        if name == "pet":
            self.parameters.choose_pet(node)
        else:
            setattr(self.parameters, name, node)

    def _set(self, name: str, value: Any) -> None:
        if self.parameters is not None:
            setattr(self.parameters, name, value)

    def _on_unit(self) -> None:
        if self.parameters is None:
            return
        with self.parameters.together():
            self.parameters.unit = key_of(self.ui.unitCombo)
            self.parameters.suv_factor = _positive(str(self.ui.factorEdit.text))

    def refresh(self, card: MethodCard | None) -> None:
        """Show what the parameters say, and the selectors that the method uses."""
        given = self.parameters
        for name in (*ALWAYS, *BY_METHOD):
            selector = getattr(self.ui, f"{name}Selector")
            with quiet(selector):
                selector.setCurrentNode(getattr(given, name))
        for name in BY_METHOD:
            # A CT or MR that was chosen stays visible: the review can show it under the PET.
            used = card is not None and card.uses(name)
            show_row(self.ui, (f"{name}Label", f"{name}Selector"), used or getattr(given, name) is not None)
        for name, label in NEEDABLE.items():
            lacking = card is not None and card.requires(name) and getattr(given, name) is None
            getattr(self.ui, f"{name}Label").setText(f"{label} (needed):" if lacking else f"{label}:")
            if lacking and name in OPTIONAL:
                self.ui.optionalSection.collapsed = False
        self._refresh_unit(card)

    def _refresh_unit(self, card: MethodCard | None) -> None:
        given = self.parameters
        choose_key(self.ui.unitCombo, given.unit)
        if not self.ui.factorEdit.hasFocus():
            with quiet(self.ui.factorEdit):
                self.ui.factorEdit.setText(f"{given.suv_factor:.6g}" if given.suv_factor > 0 else "")
        self.unit = self._find_unit("pet", given.unit, given.suv_factor)
        pet = given.pet
        self.ui.unitLabel.setText("" if pet is None else _line(self.unit) + self._reference_line() + _no_scan(pet)
                                  + self._refresh_frames(card))
        show_row(self.ui, ("unitLabel", "unitButton"), given.pet is not None)
        self._show_unit_row()

    def _refresh_frames(self, card: MethodCard | None) -> str:
        """Offer all frames where the PET is one of many; returns what the line under the PET says of it."""
        given = self.parameters
        sequence = playing.sequence_of(given.pet)
        wanted = sequence is not None and given.all_frames
        show_row(self.ui, ("framesCheck",), sequence is not None)
        show_row(self.ui, ("framesFolderLabel", "framesFolder"), wanted)
        with quiet(self.ui.framesCheck, self.ui.framesFolder):
            self.ui.framesCheck.setChecked(wanted)
            if self.ui.framesFolder.currentPath != given.frames_folder:
                self.ui.framesFolder.currentPath = given.frames_folder
        if sequence is None:
            return ""
        self.ui.framesCheck.setText(f"All {sequence.GetNumberOfDataNodes()} frames")
        return _left_out(given, card) if wanted else _one_of_many(sequence)

    def _reference_line(self) -> str:
        """What the run will take for granted, while it can still be mended."""
        found = self._find_unit("reference")
        if found is None or found.unit is not None or self.unit is None or sequences.asked_for_all(self.parameters):
            return ""
        told = exchange.taken_in_unit_of(self.unit)
        return f"<br>{colored('caution', f'▲ {paragraph(told)}')}" if told else ""

    def _find_unit(self, name: str, *said: Any) -> units.Unit | None:
        """A PET's unit; DICOM headers are read again only when something that matters has changed."""
        node = getattr(self.parameters, name)
        if node is None:
            self._found.pop(name, None)
            return None
        entry = playing.units_entry_of(node)
        seen = (node.GetID(), entry.GetCodeValue() if entry is not None else "", *said,
                *map(node.GetAttribute, (units.FACTOR_ATTRIBUTE, units.UNIT_ATTRIBUTE, "DICOM.instanceUIDs")))
        if name not in self._found or self._found[name][0] != seen:
            self._found[name] = seen, units.find(node, *said)
        return self._found[name][1]

    def forget_unit(self) -> None:
        """Look at the headers again, for example after packages were installed."""
        self._found, self.unit = {}, None

    def _show_unit_row(self) -> None:
        given = self.parameters
        if given is None:
            return
        unclear = self.unit is not None and not self.unit.suv_known
        visible = given.pet is not None and (unclear or bool(self.ui.unitButton.checked)
                                             or given.unit != units.AUTOMATIC or given.suv_factor > 0)
        show_row(self.ui, ("unitChoiceLabel", "unitCombo"), visible)
        is_activity = self.unit is not None and self.unit.unit != SUVBW
        self.ui.factorEdit.setVisible(visible and is_activity)


def _line(unit: units.Unit | None) -> str:
    """The unit with a coloured dot: green for SUV, amber for Bq/ml without a factor, red for unknown."""
    if unit is None:
        return ""
    meaning = "good" if unit.suv_known else ("bad" if unit.unit is None else "caution")
    doubts = "".join(f"<br>{colored('caution', f'▲ {paragraph(text)}')}" for text in unit.doubts)
    return f"{colored(meaning, '●')} {paragraph(unit.text)}{doubts}"


def _no_scan(pet: Any) -> str:
    """What a reader should know of a chosen PET that is itself a result made here."""
    role, method = pet.GetAttribute(results.ROLE), pet.GetAttribute("PETDiffusion.Method")
    if not role:
        return ""
    said = f"was denoised already ({method})" if role == "denoised" else f"is the {role.split(' ')[-1]} of a result"
    return f"<br>{colored('caution', f'▲ This image {paragraph(said)}, no scan.')}"


def _one_of_many(sequence: Any) -> str:
    """Of a dynamic scan the panel takes the frame that is shown, unless all are asked for."""
    of = f"{sequence.GetNumberOfDataNodes()} frames of '{sequence.GetName()}'"
    said = f"▲ One of {paragraph(of)}: Denoise takes the one that is shown, or all if you tick it."
    return f"<br>{colored('caution', said)}"


def _left_out(given: Parameters, card: MethodCard | None) -> str:
    """What was chosen, and does not go along with all frames."""
    registers = given.register and card is not None and any(card.uses(kind) and getattr(given, kind) is not None
                                                            for kind in BY_METHOD)  # fmt: skip
    told = card is not None and card.uses("text") and given.text.strip()
    chosen = {"the normal-dose PET": given.reference is not None, "the dose fraction": given.dose_fraction > 0,
              "the registration of CT or MR": registers, "the prompt": told}
    names = ", ".join(name for name, is_chosen in chosen.items() if is_chosen)
    return f"<br>{colored('caution', f'▲ Not used for all frames: {names}.')}" if names else ""


def _positive(text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return 0.0
    return value if 0 < value < 1e6 else 0.0


def suggest(parameters: Parameters) -> None:
    """Choose what is obvious in a fresh scene: the only PET, and the only CT or MR."""
    volumes = [n for n in slicer.util.getNodesByClass(scene.SCALAR) if n.GetClassName() == scene.SCALAR]
    by_modality: dict[str, list[Any]] = {}
    for node in volumes:
        by_modality.setdefault(modality_of(node), []).append(node)
    for name, modality in (("pet", "PT"), ("ct", "CT"), ("mr", "MR")):
        found = by_modality.get(modality, [])
        if getattr(parameters, name) is not None or len(found) != 1:
            continue
        if name == "pet":
            parameters.choose_pet(found[0])
        else:
            setattr(parameters, name, found[0])


def modality_of(node: Any) -> str:
    """PT, CT, MR or empty, by DICOM's word or by the unit."""
    if node.GetAttribute(results.ROLE):
        return ""
    stated = node.GetAttribute("DICOM.Modality") or _modality_in_hierarchy(node)
    if stated:
        return stated
    return "PT" if units.find(node).unit is not None else ""


def _modality_in_hierarchy(node: Any) -> str:
    """Slicer's DICOM readers write it to the item of the volume alone."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = tree.GetItemByDataNode(node) if tree is not None else 0
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return tree.GetItemAttribute(item, attribute) if item else ""
