"""The 'Review' section: drives the views, and lists what to look at."""

from __future__ import annotations

from typing import Any

import qt
import vtk

from . import colors, places, results, review, review_content, review_lists, units
from .parameters import Parameters
from .widgets import choose_key, fill, fill_table, icon, key_of, paragraph, quiet, show_row

FLICKER_MS = 500
NOTHING = ""
SLIDER_SUV = 30.0
IN_SUV, IN_OWN_UNIT = "window", "window_own"
"""The parameter that keeps the window of a scan in SUV, and that of one whose SUV is not known."""
NO_PROMPT = "none"
FEW = 100.0
"""So small a window is set in tenths."""
_MAPS = ("difference", "uncertainty")


class ReviewPart:
    """Buttons and sliders of the review; the work is done by `Review`."""

    def __init__(self, ui: Any) -> None:
        self.ui, self.review = ui, review.Review()
        self.parameters: Parameters | None = None
        self._lists: dict[str, review_lists.Listing] = {}
        self._underlays: dict[str, Any] = {}
        self._overlays: dict[str, Any] = {}
        self._shown = ""
        self._window = IN_SUV
        self.review.on_window = self._on_mouse_window
        self._slice_observer: tuple[Any, int] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self._flick)
        ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", results.ROLE, "denoised")
        fill(ui.colorsCombo, {NOTHING: "Grey; heat over CT or MR", **colors.CHOICES})
        self._connect()
        for name in ("compare", "flicker", *_MAPS):
            getattr(ui, f"{name}Button").setIcon(icon(name.capitalize()))
        self._fill(None)

    def _connect(self) -> None:
        ui = self.ui
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._on_result())
        ui.compareButton.toggled.connect(lambda on: self.compare() if on else self.leave())
        for name in _MAPS:
            getattr(ui, f"{name}Button").toggled.connect(lambda on: self.compare())
        ui.numbersCombo.connect("currentIndexChanged(int)", lambda index: self._rearrange())
        for name in review.ORIENTATIONS:
            getattr(ui, f"{name.lower()}Button").clicked.connect(
                lambda checked=False, name=name: self._on_orientation(name))
        ui.windowSlider.connect("valueChanged(double)", lambda value: self._on_window(float(value)))
        ui.colorsCombo.connect("currentIndexChanged(int)", lambda index: self._on_colors())
        ui.fusionCombo.connect("currentIndexChanged(int)", lambda index: self._on_fusion())
        for name in ("Lesions", "Organs"):
            getattr(ui, f"show{name}Check").toggled.connect(lambda on: self._on_outlines())
        ui.fadeSlider.connect("valueChanged(int)", lambda value: self.review.set_fade(value / 100.0))
        ui.flickerButton.toggled.connect(self._on_flicker)
        ui.listCombo.connect("currentIndexChanged(int)", lambda index: self._fill_list())
        ui.listTable.connect("cellClicked(int,int)", lambda row, column: self._go_to(row))

    def _on_result(self) -> None:
        node = self.ui.resultSelector.currentNode()
        if self.parameters is not None:
            self.parameters.result = node if results.is_result(node) else None

    def refresh(self) -> None:
        """Show what belongs to the chosen result."""
        node = self.parameters.result
        with quiet(self.ui.resultSelector):
            self.ui.resultSelector.setCurrentNode(node)
        choose_key(self.ui.colorsCombo, self.parameters.colors)
        getattr(self.ui, f"{self._orientation().lower()}Button").setChecked(True)
        key = node.GetID() if node is not None else ""
        if key != self._shown:
            self._fill(results.of_denoised(node) if results.is_result(node) else None)
            self._shown = key  # not before: what could not be listed is tried again
            if self.review.nodes is not None:
                self.compare()  # lists of one scan beside views of another would lead to the wrong place

    def _orientation(self) -> str:
        asked = self.parameters.orientation if self.parameters is not None else ""
        return asked if asked in review.ORIENTATIONS else "Coronal"

    def _fill(self, nodes: results.ResultNodes | None) -> None:
        ui = self.ui
        has = nodes is not None
        if not has:
            self.leave()
        names = [f"{name.lower()}Button" for name in review.ORIENTATIONS]
        for name in (*names, "compareButton", "windowSlider", "fadeSlider", "flickerButton", "colorsCombo"):
            getattr(ui, name).setEnabled(has)
        there = review_content.maps(nodes) if has else {}
        for name in _MAPS:
            getattr(ui, f"{name}Button").setVisible(name in there)
        ui.resultSelector.toolTip = nodes.denoised.GetName() if has else "A denoised PET made here."
        self._fill_choices(nodes)
        self._lists = review_lists.lists(nodes) if has else {}
        fill(ui.listCombo, {key: listing.title for key, listing in self._lists.items()}, key_of(ui.listCombo))
        show_row(ui, ("listLabel", "listCombo", "listTable"), bool(self._lists))
        self._fill_list()
        self._fill_window(nodes)
        ui.promptView.hide()

    def _fill_choices(self, nodes: results.ResultNodes | None) -> None:
        """What this result can be laid over, outlined with, and read from."""
        ui, has = self.ui, nodes is not None
        numbers = review_content.numbers(nodes) if has else {}
        titles = {key: title for key, (title, _) in numbers.items()}
        fill(ui.numbersCombo, {NOTHING: "Nothing", **titles}, key_of(ui.numbersCombo))
        show_row(ui, ("numbersLabel", "numbersCombo"), bool(numbers))
        self._underlays = review_content.underlays(nodes) if has else {}
        self._overlays = review_content.overlays(nodes) if has else {}
        names = [*self._underlays, *self._overlays]
        fill(ui.fusionCombo, {NOTHING: "Nothing", **{name: name for name in names}})
        show_row(ui, ("fusionLabel", "fusionCombo"), bool(names))
        kinds = {kind for _, kind in review_content.segmentations(nodes)} if has else set()
        show_row(ui, ("outlineLabel",), bool(kinds))
        ui.showLesionsCheck.setVisible("lesions" in kinds)
        ui.showOrgansCheck.setVisible("organs" in kinds)

    def _fill_list(self) -> None:
        listing = self._lists.get(key_of(self.ui.listCombo))
        if listing is not None:
            fill_table(self.ui.listTable, listing.columns, listing.lines, listing.tips, wide=0,
                       numbers=range(1, len(listing.columns)))

    def _fill_window(self, nodes: results.ResultNodes | None) -> None:
        """The slider is in SUV, or in the scan's own unit where no SUV is known."""
        in_suv = nodes is None or review_content.suv_of(nodes.denoised) is not None
        word = "SUV" if in_suv else units.word(nodes.denoised)
        self.ui.windowLabel.setText("SUV window:" if in_suv else f"Window ({word}):" if word else "Window:")
        self._window = IN_SUV if in_suv else IN_OWN_UNIT
        top = SLIDER_SUV if in_suv else review_content.brightest(nodes.denoised)
        chosen = getattr(self.parameters, self._window) if self.parameters is not None else 0.0
        first = _first_window(nodes) if nodes is not None else top / 4
        with quiet(self.ui.windowSlider):
            self.ui.windowSlider.maximum = top
            self.ui.windowSlider.minimum = top / 60.0
            self.ui.windowSlider.singleStep = 0.5 if in_suv else top / 100.0
            self.ui.windowSlider.decimals = 1 if in_suv or top < FEW else 0
            self.ui.windowSlider.setValue(chosen if chosen > 0 else first)

    def compare(self) -> None:
        """The one click: linked views side by side."""
        node = self.parameters.result if self.parameters is not None else None
        if not results.is_result(node):
            return
        nodes, ui = results.of_denoised(node), self.ui
        with quiet(ui.compareButton):
            ui.compareButton.setChecked(True)
        self.review.high, self.review.orientation = float(ui.windowSlider.value), self._orientation()
        self.review.colors = key_of(ui.colorsCombo)
        self.review.show_lesions = bool(ui.showLesionsCheck.checked)
        self.review.show_organs = bool(ui.showOrgansCheck.checked)
        self.review.underlay, self.review.overlay = self._fused()
        self.review.show(nodes, [name for name in _MAPS if getattr(ui, f"{name}Button").checked],
                         key_of(ui.numbersCombo))
        self._watch_prompts(nodes)

    def leave(self) -> None:
        """Back to the views from before; what was added to them is not kept for another time."""
        ui = self.ui
        self._unwatch()
        ui.flickerButton.setChecked(False)
        buttons = [ui.compareButton, *(getattr(ui, f"{name}Button") for name in _MAPS)]
        with quiet(*buttons, ui.numbersCombo):
            for button in buttons:
                button.setChecked(False)
            ui.numbersCombo.setCurrentIndex(0)
        ui.promptView.hide()
        self.review.leave()

    def _rearrange(self) -> None:
        if self.review.active or key_of(self.ui.numbersCombo):
            self.compare()

    def _on_orientation(self, name: str) -> None:
        """A view that is asked for is shown, also when nothing was compared yet."""
        self.parameters.orientation = name
        if self.review.active:
            self.review.set_orientation(name)
        else:
            self.compare()

    def _on_window(self, value: float) -> None:
        self.review.set_window(value)
        if self.parameters is not None:
            self.parameters.keep(self._window, value)

    def _on_mouse_window(self, high: float) -> None:
        """The slider follows, or the next click on a button would undo it."""
        slider = self.ui.windowSlider
        if high <= slider.minimum:
            return
        with quiet(slider):
            slider.maximum = max(slider.maximum, high)
            slider.setValue(high)
        if self.parameters is not None:
            self.parameters.keep(self._window, high)

    def _on_colors(self) -> None:
        if self.parameters is not None:
            self.parameters.colors = key_of(self.ui.colorsCombo)
        self.review.set_colors(key_of(self.ui.colorsCombo))

    def _fused(self) -> tuple[Any, Any]:
        chosen = key_of(self.ui.fusionCombo)
        return self._underlays.get(chosen), self._overlays.get(chosen)

    def _on_fusion(self) -> None:
        if self.review.active:
            self.review.set_fusion(*self._fused())
        else:
            self.compare()

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
        listing = self._lists.get(key_of(self.ui.listCombo))
        place = listing.places[row] if listing is not None and 0 <= row < len(listing.places) else None
        if place is None:
            return
        if self._orientation() == review.MIP:
            self.parameters.orientation = "Axial"
            self.review.set_orientation("Axial")
        if not self.review.active:
            self.compare()
        self.review.jump(*places.now(self.review.nodes, place))

    def _watch_prompts(self, nodes: results.ResultNodes) -> None:
        """Show the prompt of the slice in view, for methods that were guided by text."""
        self._unwatch()
        if "prompts" not in nodes.tables:
            return
        node, words = self.review.slice_node("denoised"), review_content.scan_words(nodes)
        scan = f"<br><b>Of the whole scan:</b> {paragraph(words)}" if words else ""

        def show(caller: Any = None, event: str = "") -> None:
            middle = tuple(node.GetSliceToRAS().GetElement(i, 3) for i in range(3))
            text = review_content.prompt_at(nodes, places.then(nodes, middle)[2])
            where = "this slice" if self.review.orientation == "Axial" else "the axial slice at the middle"
            self.ui.promptView.setText(f"<b>Prompt of {where}:</b> {paragraph(text or NO_PROMPT)}{scan}")
            self.ui.promptView.setVisible(True)

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


def _first_window(nodes: results.ResultNodes) -> float:
    shown = results.input_of(nodes.denoised) or nodes.denoised
    return review_content.window_of(shown, review_content.suv_in(nodes, shown))
