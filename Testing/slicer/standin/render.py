"""Pictures of slice views by Slicer's real displayable managers, without a screen."""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk
from PETDiffusionDenoiseLib import colors
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


def slice_view(layout_name: str, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """The slice view of that name as RGB, row 0 at the top."""
    app = slicer.app.applicationLogic()
    logic = app.GetSliceLogicByLayoutName(layout_name)
    node = logic.GetSliceNode()
    logic.ResizeSliceNode(*size)
    logic.FitSliceToAll()
    return picture(logic, node, size)


def picture(logic, node, size: tuple[int, int]) -> np.ndarray:
    """The view as it is, without fitting it."""
    window, renderer = _window(size)
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(logic.GetImageDataConnection())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    if logic.GetImageDataConnection() is not None:
        renderer.AddViewProp(actor)
    group = _managers(renderer)
    group.SetMRMLDisplayableNode(node)
    _renew_legends()
    node.Modified()
    window.Render()
    return _grab(window)


def _window(size):
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(0, 0, 0)
    window.AddRenderer(renderer)
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    window._interactor = interactor
    return window, renderer


def _managers(renderer):
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    for name in MANAGERS:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    return factory.InstantiateDisplayableManagers(renderer)


def _renew_legends() -> None:
    """A view draws the legends that are added after it; in Slicer the views are there first."""
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        colors.show_legend(legend.GetDisplayableNode(), legend.GetTitleText())


def _grab(window) -> np.ndarray:
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()


def write(image: np.ndarray, path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(image), isVector=True), str(path))


def read(path) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
