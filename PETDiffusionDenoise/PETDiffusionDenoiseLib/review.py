"""The review of a result: linked views with one SUV window, MIP, maps, fade, fusion, outlines, lesions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from . import colors, results, review_content, review_layout, units
from .review_layout import GROUP, TAGS

UNDERLAY_OPACITY, OVERLAY_OPACITY = 0.55, 0.5
MIP = "MIP"
ORIENTATIONS = ("Axial", "Coronal", "Sagittal", MIP)
_SLAB_MAX = 1


class Review:
    """The review of one result; everything it changes in the display of the images is put back by `leave`."""

    def __init__(self) -> None:
        self.nodes: results.ResultNodes | None = None
        self.views: tuple[str, ...] = ()
        self.orientation, self.high, self.fade = "Coronal", review_content.BODY_SUV, 1.0
        self.colors = ""
        """A colour node for the PETs; empty for grey, and heat over CT or MR."""
        self.underlay: Any = None
        """CT or MR below the PETs."""
        self.overlay: Any = None
        """A map above the denoised PET."""
        self.show_lesions, self.show_organs = True, False
        self.on_window: Callable[[float], None] = lambda high: None
        """Told of a window that was set with the mouse."""
        self._suv: dict[str, float] = {}
        """SUV of the value 1 of each PET: to read it from DICOM at every move of the mouse would take too long."""
        self._kept: dict[str, tuple[Any, ...]] = {}
        self._kept_masks: dict[str, tuple[Any, ...]] = {}
        self._observed: list[tuple[Any, int]] = []
        self._layout_before: int | None = None
        self._copying = False

    @property
    def active(self) -> bool:
        return self.nodes is not None and bool(slicer.mrmlScene.IsNodePresent(self.nodes.denoised))

    def volumes(self) -> dict[str, Any]:
        return review_content.pets(self.nodes)

    def show(self, nodes: results.ResultNodes, maps: Sequence[str] = (), below: str = "") -> None:
        """Arrange the views for a result. `below` is one of `review_content.numbers`."""
        if self.nodes is not None and self.nodes.denoised is not nodes.denoised:
            self._put_back()
        self.nodes = nodes
        there = review_content.maps(nodes)
        self.views = (*self.volumes(), *(name for name in review_layout.MAPS if name in maps and name in there))
        self._set_layout(below)
        self._suv = {node.GetID(): review_content.suv_in(nodes, node) or 1.0 for node in self.volumes().values()}
        for node in self.volumes().values():
            self._keep(node)
        self._fill_views()
        self.set_orientation(self.orientation)
        self.set_window(self.high)

    def _set_layout(self, below: str) -> None:
        _, shown = review_content.numbers(self.nodes).get(below, ("", None))
        kind = "" if shown is None else below.split(" ")[0]
        manager = slicer.app.layoutManager()
        layout = manager.layoutLogic().GetLayoutNode()
        review_layout.register(layout)
        if not review_layout.is_ours(layout.GetViewArrangement()):
            self._layout_before = layout.GetViewArrangement()
        elif self._layout_before is None:  # the scene was saved in a review, and what was before it is not known
            self._layout_before = layout.SlicerLayoutFourUpView
        manager.setLayout(review_layout.number(self.views, kind))
        if kind == review_layout.CHART:
            _singleton(review_layout.PLOT_TAG, "vtkMRMLPlotViewNode").SetPlotChartNodeID(shown.GetID())
        elif kind == review_layout.TABLE:
            _singleton(review_layout.TABLE_TAG, "vtkMRMLTableViewNode").SetTableNodeID(shown.GetID())

    def slice_node(self, view: str) -> Any:
        return _singleton(TAGS[view], "vtkMRMLSliceNode")

    def composite(self, view: str) -> Any:
        logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(TAGS[view])
        return logic.GetSliceCompositeNode() if logic is not None else None

    def _fill_views(self) -> None:
        """Which image lies in which layer of which view."""
        for view in self.views:
            composite = self.composite(view)
            self.slice_node(view).SetViewGroup(GROUP)
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
            composite.SetLabelVolumeID(None)
            _layers(composite, *self._layers_of(view))
        self._show_masks()
        self._color()
        self._show_legends()

    def _layers_of(self, view: str) -> tuple[Any, Any, float]:
        """Background, foreground and the foreground's opacity."""
        volumes = self.volumes()
        if view in review_layout.MAPS:
            return review_content.maps(self.nodes).get(view), None, 0.0
        if self.underlay is not None:
            return self.underlay, self._faded(view), UNDERLAY_OPACITY
        if view != "denoised":
            return volumes.get(view), None, 0.0
        if self.overlay is not None:
            return self._faded(view), self.overlay, OVERLAY_OPACITY
        return volumes.get("low"), volumes["denoised"], self.fade

    def _faded(self, view: str) -> Any:
        """Where a third image is in the view, the middle one switches between before and after instead of fading."""
        volumes = self.volumes()
        return volumes.get("low" if view == "denoised" and self.fade < 0.5 else view)

    def _show_legends(self) -> None:
        """Every map that is looked at says what its colours mean."""
        self._hide_legends()
        unit = units.word(self.nodes.denoised) or "PET's unit"
        for view, title in (("uncertainty", f"{unit}, 1 SD"), ("difference", f"{unit} change")):
            if view in self.views:
                colors.show_legend(review_content.maps(self.nodes)[view], title)
        if self.overlay is not None and self.underlay is None:
            colors.hide_low_values(self.overlay, True)
            is_sd = self.overlay is self.nodes.uncertainty
            colors.show_legend(self.overlay, f"{unit}, 1 SD" if is_sd else "")

    def _hide_legends(self) -> None:
        for node in (*review_content.maps(self.nodes).values(), *self.nodes.extras.values()):
            if slicer.mrmlScene.IsNodePresent(node):
                colors.hide_legend(node)
                colors.hide_low_values(node, False)

    def set_outlines(self, lesions: bool, organs: bool) -> None:
        """Show or hide the outlines of lesions and organs, found ones and given ones alike."""
        self.show_lesions, self.show_organs = lesions, organs
        if self.active:
            self._show_masks()

    def _show_masks(self) -> None:
        """Outlines alone: a filled mask would hide the activity that is to be judged.

        None on a projection: what lies in one plane says nothing of what is seen there.
        """
        plane = self.orientation != MIP
        wanted = {"lesions": plane and self.show_lesions, "organs": plane and self.show_organs}
        for node, kind in review_content.segmentations(self.nodes):
            display = node.GetDisplayNode()
            if display is None:
                continue
            if node.GetID() not in self._kept_masks:
                self._kept_masks[node.GetID()] = (display.GetVisibility(), display.GetOpacity2DFill())
            display.SetVisibility(wanted[kind])
            display.SetOpacity2DFill(0.0)

    def set_colors(self, color_id: str) -> None:
        """The PETs in one of Slicer's PET colours; empty for grey alone and heat over CT or MR."""
        self.colors = color_id
        if self.active:
            self._color()

    def _color(self) -> None:
        chosen = self.colors or (colors.PET_COLORS if self.underlay is None else colors.FUSION_COLORS)
        for node in self.volumes().values():
            node.GetDisplayNode().SetAndObserveColorNodeID(chosen)

    def set_fusion(self, underlay: Any = None, overlay: Any = None) -> None:
        """Show the PETs in colour over CT or MR, or a map over the denoised PET; nothing for the PETs alone."""
        self.underlay, self.overlay = underlay, overlay
        if self.active:
            self._fill_views()
            self.set_window(self.high)

    def set_orientation(self, orientation: str) -> None:
        """Axial, Coronal, Sagittal, or a coronal maximum intensity projection, in all views."""
        self.orientation = orientation
        if not self.active:
            return
        depth = self._depth()
        for view in self.views:
            # The maximum of a difference would show what was added and hide what was taken away.
            projected = orientation == MIP and view != "difference"
            node = self.slice_node(view)
            node.SetOrientation("Coronal" if orientation == MIP else orientation)
            node.SetSlabReconstructionEnabled(projected)
            node.SetSlabReconstructionType(_SLAB_MAX)
            node.SetSlabReconstructionThickness(depth if projected else 1.0)
        self._show_masks()
        self.fit()

    def _depth(self) -> float:
        """Twice the diagonal of the scan, so that a projection takes in all of it from wherever it is centred."""
        bounds = [0.0] * 6
        self.nodes.denoised.GetRASBounds(bounds)
        return 2.0 * float(np.linalg.norm(np.diff(np.reshape(bounds, (3, 2)), axis=1)))

    def fit(self) -> None:
        bounds = [0.0] * 6
        self.nodes.denoised.GetRASBounds(bounds)
        for view in self.views:
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(TAGS[view])
            if logic is not None:
                logic.FitSliceToAll()
        self.jump(*np.reshape(bounds, (3, 2)).mean(axis=1))

    def jump(self, r: float | None, a: float | None, s: float) -> None:
        """Centre all views on a point in RAS; without r and a, on the middle of the scan at that height."""
        if r is None or a is None:
            bounds = [0.0] * 6
            self.nodes.denoised.GetRASBounds(bounds)
            r, a = (bounds[0] + bounds[1]) / 2, (bounds[2] + bounds[3]) / 2
        for view in self.views:
            node = self.slice_node(view)
            if self.orientation == MIP:
                node.JumpSliceByOffsetting(r, a, s)
            else:
                node.JumpSliceByCentering(r, a, s)

    def set_window(self, high: float) -> None:
        """One window from 0 to `high` in SUV (in the scan's own unit where no SUV is known) for all PETs."""
        self.high = high
        if not self.active:
            return
        self._copying = True
        for node in self.volumes().values():
            factor = self._suv.get(node.GetID(), 1.0)
            display = node.GetDisplayNode()
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(0.0, high / factor)
        self._copying = False

    def set_fade(self, fade: float) -> None:
        """0 shows the low-count PET in the middle view, 1 the denoised one."""
        self.fade = min(max(float(fade), 0.0), 1.0)
        if self.active:
            _layers(self.composite("denoised"), *self._layers_of("denoised"))

    def _keep(self, node: Any) -> None:
        """Remember how an image was shown, and pass on a window that is set with the mouse."""
        if node.GetID() in self._kept:
            return
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        self._kept[node.GetID()] = (display.GetAutoWindowLevel(), display.GetWindow(), display.GetLevel(),
                                    display.GetColorNodeID())
        tag = display.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event, node=node: self._on_window(node))
        self._observed.append((display, tag))

    def _on_window(self, node: Any) -> None:
        if self._copying or not self.active:
            return
        self._copying = True
        display, factor = node.GetDisplayNode(), self._suv.get(node.GetID(), 1.0)
        low, high = display.GetWindowLevelMin() * factor, display.GetWindowLevelMax() * factor
        for other in self.volumes().values():
            if other is not node:
                own = self._suv.get(other.GetID(), 1.0)
                other.GetDisplayNode().SetAutoWindowLevel(False)
                other.GetDisplayNode().SetWindowLevelMinMax(low / own, high / own)
        self.high = high
        self._copying = False
        self.on_window(high)

    def leave(self) -> None:
        """Back to the layout and the display from before."""
        if self.nodes is None:
            return
        self._put_back()
        self.nodes = None
        self._leave_layout()

    def _leave_layout(self) -> None:
        if self._layout_before is not None:
            slicer.app.layoutManager().setLayout(self._layout_before)
            self._layout_before = None

    def _put_back(self) -> None:
        self._hide_legends()
        self._unobserve()
        for id_, (automatic, window, level, color) in self._kept.items():
            display = _display(id_)
            if display is not None:
                display.SetAndObserveColorNodeID(color)
                display.SetWindowLevel(window, level)
                display.SetAutoWindowLevel(automatic)
        for id_, (visible, fill) in self._kept_masks.items():
            display = _display(id_)
            if display is not None:
                display.SetVisibility(visible)
                display.SetOpacity2DFill(fill)
        self._kept, self._kept_masks = {}, {}

    def _unobserve(self) -> None:
        for display, tag in self._observed:
            display.RemoveObserver(tag)
        self._observed = []

    def forget(self) -> None:
        """The scene is closed: there is nothing to put back but the layout, which stays with the application."""
        self._unobserve()
        self._kept, self._kept_masks = {}, {}
        self.nodes, self.underlay, self.overlay = None, None, None
        self._leave_layout()


def _singleton(tag: str, kind: str) -> Any:
    return slicer.mrmlScene.GetSingletonNode(tag, kind)


def _display(id_: str) -> Any:
    node = slicer.mrmlScene.GetNodeByID(id_)
    return node.GetDisplayNode() if node is not None else None


def _layers(composite: Any, background: Any, foreground: Any, opacity: float) -> None:
    composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
    composite.SetForegroundOpacity(opacity)
