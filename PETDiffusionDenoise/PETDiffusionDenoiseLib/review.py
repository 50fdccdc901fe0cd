"""Reading a result beside the low-count and the normal-dose scan: linked views, one window, fade, fusion, lesions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from . import colors, results, tables, units

LAYOUT = 7390
GROUP = 7390
DEFAULT_SUV = 7.0
FUSED_OPACITY = 0.55
MIP = "MIP"
ORIENTATIONS = ("Axial", "Coronal", "Sagittal", MIP)
TAGS = {"low": "PETDiffusionLow", "denoised": "PETDiffusionDenoised", "reference": "PETDiffusionReference",
        "difference": "PETDiffusionDifference"}
LABELS = {"low": "Low-count", "denoised": "Denoised", "reference": "Normal dose", "difference": "Difference"}
VIEW_COLORS = {"low": "#868e96", "denoised": "#2a9d8f", "reference": "#e9a23b", "difference": "#5b7db1"}
PLOT_TAG = "PETDiffusionPlot"
_SLAB_MAX = 1


def layout_xml(views: Sequence[str], chart: bool) -> str:
    """Views side by side, the chart below them."""
    row = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{TAGS[v]}">'
        f'<property name="orientation" action="default">Coronal</property>'
        f'<property name="viewlabel" action="default">{LABELS[v]}</property>'
        f'<property name="viewcolor" action="default">{VIEW_COLORS[v]}</property></view></item>' for v in views)
    row = f'<layout type="horizontal" split="true">{row}</layout>'
    if not chart:
        return row
    plot = f'<view class="vtkMRMLPlotViewNode" singletontag="{PLOT_TAG}"></view>'
    return (f'<layout type="vertical" split="true"><item splitSize="650">{row}</item>'
            f'<item splitSize="350">{plot}</item></layout>')


class Review:
    """The review of one result; everything it changes in the display of the images is put back by `leave`."""

    def __init__(self) -> None:
        self.nodes: results.ResultNodes | None = None
        self.views: tuple[str, ...] = ()
        self.orientation, self.high, self.fade = "Coronal", DEFAULT_SUV, 1.0
        self.underlay: Any = None
        self.show_lesions, self.show_organs = True, False
        self._kept: dict[str, tuple[Any, ...]] = {}
        self._kept_masks: dict[str, tuple[Any, ...]] = {}
        self._observed: list[tuple[Any, int]] = []
        self._layout_before: int | None = None
        self._copying = False

    @property
    def active(self) -> bool:
        return self.nodes is not None

    def volumes(self) -> dict[str, Any]:
        """The PETs that are compared, by view."""
        found = {"low": results.input_of(self.nodes.denoised), "denoised": self.nodes.denoised,
                 "reference": results.reference_of(self.nodes.denoised)}
        return {name: node for name, node in found.items() if node is not None}

    def show(self, nodes: results.ResultNodes, difference: bool = False, chart: bool = False) -> None:
        """Arrange the views for a result."""
        if self.nodes is not None and self.nodes.denoised is not nodes.denoised:
            self._put_back()
        self.nodes = nodes
        self.views = (*self.volumes(), *(("difference",) if difference and nodes.difference is not None else ()))
        self._set_layout(chart and bool(nodes.charts))
        for node in self.volumes().values():
            self._keep(node)
        self._fill_views()
        self.set_orientation(self.orientation)
        self.set_window(self.high)

    def _set_layout(self, chart: bool) -> None:
        manager = slicer.app.layoutManager()
        layout = manager.layoutLogic().GetLayoutNode()
        number = LAYOUT + sum(1 << i for i, view in enumerate(TAGS) if view in self.views) + (16 if chart else 0)
        if not layout.IsLayoutDescription(number):
            layout.AddLayoutDescription(number, layout_xml(self.views, chart))
        if not LAYOUT <= layout.GetViewArrangement() < LAYOUT + 32:
            self._layout_before = layout.GetViewArrangement()
        manager.setLayout(number)
        if chart:
            self._fill_chart()

    def _fill_chart(self) -> None:
        chart = self.nodes.charts.get("lesions") or next(iter(self.nodes.charts.values()))
        view = slicer.mrmlScene.GetSingletonNode(PLOT_TAG, "vtkMRMLPlotViewNode")
        if view is not None:
            view.SetPlotChartNodeID(chart.GetID())

    def slice_node(self, view: str) -> Any:
        return slicer.mrmlScene.GetSingletonNode(TAGS[view], "vtkMRMLSliceNode")

    def composite(self, view: str) -> Any:
        logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(TAGS[view])
        return logic.GetSliceCompositeNode() if logic is not None else None

    def _fill_views(self) -> None:
        """Which image lies in which layer of which view."""
        volumes = self.volumes()
        for view in self.views:
            composite = self.composite(view)
            self.slice_node(view).SetViewGroup(GROUP)
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
            composite.SetLabelVolumeID(None)
            if view == "difference":
                _layers(composite, self.nodes.difference, None, 0.0)
            elif self.underlay is not None:
                _layers(composite, self.underlay, self._faded(view, volumes), FUSED_OPACITY)
            elif view == "denoised":
                _layers(composite, volumes["low"] if "low" in volumes else None, volumes["denoised"], self.fade)
            else:
                _layers(composite, volumes[view], None, 0.0)
        self._show_masks()
        self._color()

    def _faded(self, view: str, volumes: dict[str, Any]) -> Any:
        """Over CT or MR the middle view switches between before and after instead of fading."""
        return volumes.get("low", volumes[view]) if view == "denoised" and self.fade < 0.5 else volumes[view]

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
        for node, kind in segmentations(self.nodes):
            display = node.GetDisplayNode()
            if display is None:
                continue
            if node.GetID() not in self._kept_masks:
                self._kept_masks[node.GetID()] = (display.GetVisibility(), display.GetOpacity2DFill())
            display.SetVisibility(wanted[kind])
            display.SetOpacity2DFill(0.0)

    def _color(self) -> None:
        chosen = colors.PET_COLORS if self.underlay is None else colors.FUSION_COLORS
        for node in self.volumes().values():
            node.GetDisplayNode().SetAndObserveColorNodeID(chosen)

    def set_underlay(self, node: Any) -> None:
        """Show the PETs in colour over CT or MR; None for the PETs alone in grey."""
        self.underlay = node
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
            node = self.slice_node(view)
            node.SetOrientation("Coronal" if orientation == MIP else orientation)
            node.SetSlabReconstructionEnabled(orientation == MIP)
            node.SetSlabReconstructionType(_SLAB_MAX)
            node.SetSlabReconstructionThickness(depth if orientation == MIP else 1.0)
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

    def jump(self, r: float, a: float, s: float) -> None:
        """Centre all views on a point in RAS."""
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
            factor = suv_of(node) or 1.0
            display = node.GetDisplayNode()
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(0.0, high / factor)
        self._copying = False

    def set_fade(self, fade: float) -> None:
        """0 shows the low-count PET in the middle view, 1 the denoised one."""
        self.fade = min(max(float(fade), 0.0), 1.0)
        if not self.active:
            return
        composite = self.composite("denoised")
        if self.underlay is None:
            composite.SetForegroundOpacity(self.fade)
        else:
            composite.SetForegroundVolumeID(self._faded("denoised", self.volumes()).GetID())

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
        display, factor = node.GetDisplayNode(), suv_of(node) or 1.0
        low, high = display.GetWindowLevelMin() * factor, display.GetWindowLevelMax() * factor
        for other in self.volumes().values():
            if other is not node:
                own = suv_of(other) or 1.0
                other.GetDisplayNode().SetAutoWindowLevel(False)
                other.GetDisplayNode().SetWindowLevelMinMax(low / own, high / own)
        self.high = high
        self._copying = False

    def leave(self) -> None:
        """Back to the layout and the display from before."""
        if not self.active:
            return
        self._put_back()
        self.nodes = None
        if self._layout_before is not None:
            slicer.app.layoutManager().setLayout(self._layout_before)
            self._layout_before = None

    def _put_back(self) -> None:
        for display, tag in self._observed:
            display.RemoveObserver(tag)
        self._observed = []
        for id_, (automatic, window, level, color) in self._kept.items():
            node = slicer.mrmlScene.GetNodeByID(id_)
            if node is not None and node.GetDisplayNode() is not None:
                display = node.GetDisplayNode()
                display.SetAndObserveColorNodeID(color)
                display.SetWindowLevel(window, level)
                display.SetAutoWindowLevel(automatic)
        self._kept = {}
        for id_, (visible, fill) in self._kept_masks.items():
            node = slicer.mrmlScene.GetNodeByID(id_)
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(visible)
                node.GetDisplayNode().SetOpacity2DFill(fill)
        self._kept_masks = {}

    def forget(self) -> None:
        """The scene was closed: there is nothing to put back."""
        self._observed, self._kept, self._kept_masks = [], {}, {}
        self.nodes, self.underlay, self._layout_before = None, None, None


def _layers(composite: Any, background: Any, foreground: Any, opacity: float) -> None:
    composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
    composite.SetForegroundOpacity(opacity)


def suv_of(node: Any) -> float | None:
    """SUV of the value 1 in this node, None where it is not known."""
    return units.find(node).to_suv


def underlays(nodes: results.ResultNodes) -> dict[str, Any]:
    """What the PETs can be laid over, by the name shown."""
    found = {"CT": nodes.denoised.GetNodeReference(results.CT), "MR": nodes.denoised.GetNodeReference(results.MR)}
    return {name: node for name, node in found.items() if node is not None} | dict(nodes.extras)


def segmentations(nodes: results.ResultNodes) -> list[tuple[Any, str]]:
    """The masks of a result, found by the method or given to it, with what they are of."""
    given = ((nodes.denoised.GetNodeReference(results.LESIONS), "lesions"),
             (nodes.denoised.GetNodeReference(results.LABELS), "organs"))
    found = ((nodes.lesions, "lesions"), (nodes.organs, "organs"))
    return [(node, kind) for node, kind in (*found, *given) if node is not None and node.IsA("vtkMRMLSegmentationNode")]


def lesion_rows(nodes: results.ResultNodes) -> list[dict[str, Any]]:
    node = nodes.tables.get("lesions")
    return tables.rows_of(node) if node is not None else []


def place_of(row: dict[str, Any]) -> tuple[float, float, float] | None:
    """A lesion's centre in RAS; tables keep it in LPS."""
    values = [row.get(key) for key in ("x_mm", "y_mm", "z_mm")]
    if any(value is None for value in values):
        return None
    x, y, z = values
    return -x, -y, z


def prompt_at(nodes: results.ResultNodes, s_mm: float) -> str:
    """The text that a text-guided method used for the axial slice at this height, where it tells."""
    table = nodes.tables.get("prompts")
    rows = tables.rows_of(table) if table is not None else []
    known = [row for row in rows if isinstance(row.get("z_mm"), (int, float)) and row.get("prompt")]
    if not known:
        return ""
    return str(min(known, key=lambda row: abs(row["z_mm"] - s_mm))["prompt"])


