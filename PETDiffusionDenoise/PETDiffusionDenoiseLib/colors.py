"""Colours: the PET's own are kept, uncertainty and difference maps get scales that travel with the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

PET_COLORS = "vtkMRMLColorTableNodeInvertedGrey"
FUSION_COLORS = "vtkMRMLPETProceduralColorNodePET-Heat"
GREY = "vtkMRMLColorTableNodeGrey"
SOFT_TISSUE_HU = (-160.0, 240.0)
CHOICES = {"vtkMRMLPETProceduralColorNodePET-Heat": "Heat",
           "vtkMRMLPETProceduralColorNodePET-HotMetalBlue": "Hot metal blue",
           "vtkMRMLPETProceduralColorNodePET-Rainbow": "Rainbow", "vtkMRMLPETProceduralColorNodePET-DICOM": "DICOM PET"}
"""What a reader may choose instead of grey, by Slicer's own colour nodes."""
ATTRIBUTE = "PETDiffusion.Color"
VIEW_COLORS = {"low": "#868e96", "denoised": "#2a9d8f", "reference": "#e9a23b", "uncertainty": "#a33b5c",
               "difference": "#5b7db1"}
"""Of the bars above the views."""

OVERLAY_FROM = 0.3
"""Part of a map's window below which an overlay is transparent."""
LEGEND_LABELS, LEGEND_FONT = 3, 12
LEGEND_SIZE, LEGEND_POSITION = (0.12, 0.4), (0.97, 0.05)
LEGEND_INK, LEGEND_GROUND = (1.0, 1.0, 1.0), (0.13, 0.15, 0.16)

# Dark to bright with even steps in lightness, so that a reader sees size and not hue.
UNCERTAINTY = ((0.0, 0.02, 0.02, 0.08), (0.25, 0.30, 0.07, 0.40), (0.5, 0.66, 0.19, 0.36), (0.75, 0.93, 0.43, 0.18),
               (1.0, 0.99, 0.93, 0.60))
# White where nothing changed, blue where activity was taken away, red where it was added.
DIFFERENCE = ((0.0, 0.06, 0.20, 0.48), (0.25, 0.36, 0.60, 0.80), (0.5, 0.97, 0.97, 0.97), (0.75, 0.90, 0.47, 0.36),
              (1.0, 0.50, 0.05, 0.12))


def like_input(node: Any, input_node: Any) -> None:
    """The window, colours and interpolation of the input."""
    node.CreateDefaultDisplayNodes()
    source, target = input_node.GetDisplayNode(), node.GetDisplayNode()
    if source is None:
        return
    target.SetAutoWindowLevel(False)
    target.SetWindowLevel(source.GetWindow(), source.GetLevel())
    target.SetInterpolate(source.GetInterpolate())
    target.SetAndObserveColorNodeID(source.GetColorNodeID() or GREY)


def as_uncertainty(node: Any, array: np.ndarray) -> None:
    _show(node, _scale("uncertainty", UNCERTAINTY), 0.0, _high(array))


def as_difference(node: Any, array: np.ndarray) -> None:
    high = _high(np.abs(array))
    _show(node, _scale("difference", DIFFERENCE), -high, high)


def _high(array: np.ndarray) -> float:
    """A bright end that a few extreme voxels do not set."""
    inside = array[array > 0]
    return float(np.percentile(inside, 99.5)) if inside.size else 1.0


def _show(node: Any, color_id: str, low: float, high: float) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)
    display.SetAndObserveColorNodeID(color_id)


def hide_low_values(node: Any, hidden: bool) -> None:
    """As an overlay a map leaves the image below it free wherever it has little to say."""
    display = node.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    if hidden:
        display.SetThreshold(low + OVERLAY_FROM * (high - low), max(high, node.GetImageData().GetScalarRange()[1]))
    display.SetApplyThreshold(hidden)


def show_legend(node: Any, title: str) -> None:
    """A bar with numbers in the views that show this map: without it its colours say nothing.

    Views draw a legend only if it is added after them, so it is made anew whenever they are arranged.
    """
    hide_legend(node)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText(title)
    legend.SetNumberOfLabels(LEGEND_LABELS)
    legend.SetLabelFormat("%.2g")
    legend.SetSize(*LEGEND_SIZE)
    legend.SetPosition(*LEGEND_POSITION)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetColor(*LEGEND_INK)
        text.SetBackgroundColor(*LEGEND_GROUND)
        text.SetBackgroundOpacity(1.0)
        text.SetFontSize(LEGEND_FONT)
        text.SetFontFamilyToArial()
        text.SetShadow(False)


def hide_legend(node: Any) -> None:
    for i in reversed(range(node.GetNumberOfDisplayNodes())):
        display = node.GetNthDisplayNode(i)
        if display is not None and display.IsA("vtkMRMLColorLegendDisplayNode"):
            slicer.mrmlScene.RemoveNode(display)


def _scale(name: str, points: tuple[tuple[float, ...], ...]) -> str:
    """The scene's colour node of that name, made when it is first needed."""
    for node in slicer.mrmlScene.GetNodesByClass("vtkMRMLProceduralColorNode"):
        if node.GetAttribute(ATTRIBUTE) == name:
            return node.GetID()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLProceduralColorNode", f"PETDiffusion {name}")
    node.SetAttribute(ATTRIBUTE, name)
    node.SetHideFromEditors(False)
    function = node.GetColorTransferFunction()
    function.RemoveAllPoints()
    for position, red, green, blue in points:
        function.AddRGBPoint(255.0 * position, red, green, blue)
    return node.GetID()
