"""The 'Review' section: drives the views and lists the lesions."""

from __future__ import annotations

import re
from typing import Any

import qt
import vtk

from . import results, review
from .parameters import Parameters
from .widgets import fill, fill_table, icon, key_of, quiet, show_row

FLICKER_MS = 500
NO_UNDERLAY = ""
_LESION_COLUMNS = (("low", "Before"), ("denoised", "Denoised"), ("reference", "Normal"))


class ReviewPart:
    """Buttons and sliders of the review; the work is done by `Review`."""

    def __init__(self, ui: Any) -> None:
        self.ui, self.review = ui, review.Review()
        self.parameters: Parameters | None = None
        self._rows: list[dict[str, Any]] = []
        self._underlays: dict[str, Any] = {}
        self._shown = ""
        self._slice_observer: tuple[Any, int] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self._flick)
        ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", results.ROLE, "denoised")
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._on_result())
        for name in review.ORIENTATIONS:
            button = getattr(ui, f"{name.lower()}Button")
            button.clicked.connect(lambda checked=False, name=name: self.review.set_orientation(name))
        ui.windowSlider.connect("valueChanged(double)", lambda value: self.review.set_window(float(value)))
        for name in ("Lesions", "Organs"):
            getattr(ui, f"show{name}Check").toggled.connect(lambda on: self._on_outlines())
        ui.underlayCombo.connect("currentIndexChanged(int)", lambda index: self._on_underlay())
        ui.fadeSlider.connect("valueChanged(int)", lambda value: self.review.set_fade(value / 100.0))
        ui.flickerButton.toggled.connect(self._on_flicker)
        ui.compareButton.clicked.connect(lambda: self.compare())
        ui.differenceButton.toggled.connect(lambda on: self._rearrange())
        ui.chartButton.toggled.connect(lambda on: self._rearrange())
        ui.lesionTable.connect("cellClicked(int,int)", lambda row, column: self._go_to(row))
        for name in ("compare", "difference", "flicker"):
            getattr(ui, f"{name}Button").setIcon(icon(name.capitalize()))
        self._fill(None)

    def _on_result(self) -> None:
        node = self.ui.resultSelector.currentNode()
        if self.parameters is not None:
            self.parameters.result = node if results.is_result(node) else None

    def refresh(self) -> None:
        """Show what belongs to the chosen result."""
        node = self.parameters.result
        with quiet(self.ui.resultSelector):
            self.ui.resultSelector.setCurrentNode(node)
        key = node.GetID() if node is not None else ""
        if key != self._shown:
            self._shown = key
            self._fill(results.of_denoised(node) if results.is_result(node) else None)

    def _fill(self, nodes: results.ResultNodes | None) -> None:
        ui = self.ui
        has = nodes is not None
        for name in ("axial", "coronal", "sagittal", "mip", "compare"):
            getattr(ui, f"{name}Button").setEnabled(has)
        for name in ("windowSlider", "fadeSlider", "flickerButton"):
            getattr(ui, name).setEnabled(has)
        ui.differenceButton.setEnabled(has and nodes.difference is not None)
        ui.chartButton.setEnabled(has and bool(nodes.charts))
        self._underlays = review.underlays(nodes) if has else {}
        fill(ui.underlayCombo, {NO_UNDERLAY: "Nothing", **{name: name for name in self._underlays}})
        show_row(ui, ("underlayLabel", "underlayCombo"), bool(self._underlays))
        kinds = {kind for _, kind in review.segmentations(nodes)} if has else set()
        show_row(ui, ("outlineLabel",), bool(kinds))
        ui.showLesionsCheck.setVisible("lesions" in kinds)
        ui.showOrgansCheck.setVisible("organs" in kinds)
        self._fill_lesions(nodes)
        self._fill_window(nodes)
        ui.promptView.hide()

    def _fill_lesions(self, nodes: results.ResultNodes | None) -> None:
        self._rows = review.lesion_rows(nodes) if nodes is not None else []
        show_row(self.ui, ("lesionLabel", "lesionTable"), bool(self._rows))
        if not self._rows:
            return
        metric = "SUVmax" if any(key.startswith("SUVmax_") for key in self._rows[0]) else "max"
        images = [(k, title) for k, title in _LESION_COLUMNS if f"{metric}_{k}" in self._rows[0]]
        lines = [[*(_number(row.get(f"{metric}_{k}")) for k, _ in images), _number(row.get("volume_ml")),
                  _short(str(row.get("lesion", "")))] for row in self._rows]
        self.ui.lesionLabel.setText(f"Lesions: {metric} and volume in ml. Click one to go there.")
        fill_table(self.ui.lesionTable, [*(title for _, title in images), "ml", "Lesion"], lines,
                   [str(row.get("lesion", "")) for row in self._rows])

    def _fill_window(self, nodes: results.ResultNodes | None) -> None:
        """The slider is in SUV, or in the scan's own unit where no SUV is known."""
        in_suv = nodes is None or review.suv_of(nodes.denoised) is not None
        self.ui.windowLabel.setText("SUV window:" if in_suv else "Window (Bq/ml):")
        top = 30.0 if in_suv else _brightest(nodes.denoised)
        with quiet(self.ui.windowSlider):
            self.ui.windowSlider.maximum = top
            self.ui.windowSlider.minimum = top / 60.0
            self.ui.windowSlider.singleStep = 0.5 if in_suv else top / 100.0
            self.ui.windowSlider.decimals = 1 if in_suv else 0
            self.ui.windowSlider.setValue(review.DEFAULT_SUV if in_suv else top / 2.0)

    def compare(self) -> None:
        """The one click: linked views side by side."""
        node = self.parameters.result if self.parameters is not None else None
        if not results.is_result(node):
            return
        nodes, ui = results.of_denoised(node), self.ui
        self.review.high = float(ui.windowSlider.value)
        self.review.show(nodes, bool(ui.differenceButton.checked), bool(ui.chartButton.checked))
        self._on_underlay()
        self._watch_prompts(nodes)

    def _rearrange(self) -> None:
        if self.review.active:
            self.compare()

    def _on_underlay(self) -> None:
        self.review.set_underlay(self._underlays.get(key_of(self.ui.underlayCombo)))

    def _on_outlines(self) -> None:
        self.review.set_outlines(bool(self.ui.showLesionsCheck.checked), bool(self.ui.showOrgansCheck.checked))

    def _on_flicker(self, on: bool) -> None:
        if on:
            if not self.review.active:
                self.compare()
            self._timer.start()
        else:
            self._timer.stop()
            self.review.set_fade(self.ui.fadeSlider.value / 100.0)

    def _flick(self) -> None:
        self.review.set_fade(0.0 if self.review.fade > 0.5 else 1.0)

    def _go_to(self, row: int) -> None:
        place = review.place_of(self._rows[row]) if 0 <= row < len(self._rows) else None
        if place is None:
            return
        if not self.review.active:
            self.compare()
        if self.review.orientation == review.MIP:
            self.ui.axialButton.setChecked(True)
            self.review.set_orientation("Axial")
        self.review.jump(*place)

    def _watch_prompts(self, nodes: results.ResultNodes) -> None:
        """Show the prompt of the slice in view, for methods that were guided by text."""
        self._unwatch()
        if "prompts" not in nodes.tables:
            return
        node = self.review.slice_node("denoised")

        def show(caller: Any = None, event: str = "") -> None:
            text = review.prompt_at(nodes, node.GetSliceToRAS().GetElement(2, 3))
            self.ui.promptView.setText(f"Prompt of this slice: {text}" if text else "")
            self.ui.promptView.setVisible(bool(text))

        self._slice_observer = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, show))
        show()

    def _unwatch(self) -> None:
        if self._slice_observer is not None:
            node, tag = self._slice_observer
            node.RemoveObserver(tag)
            self._slice_observer = None

    def scene_closed(self) -> None:
        self._timer.stop()
        self._slice_observer = None
        self._shown = ""
        self.review.forget()
        self._fill(None)

    def close(self) -> None:
        self._timer.stop()
        self._unwatch()
        self.review.leave()


def _short(name: str) -> str:
    """`Lesion 2 (lymph node)` as `2 lymph node`: the column's title says what it is."""
    return re.sub(r"^lesion (\d+) \((.*)\)$", r"\1 \2", name, flags=re.IGNORECASE)


def _number(value: Any, unit: str = "") -> str:
    return "–" if value is None else f"{value:.3g}{unit}"


def _brightest(node: Any) -> float:
    image = node.GetImageData()
    return max(float(image.GetScalarRange()[1]), 1.0) if image is not None else 1.0
