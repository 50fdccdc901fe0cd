"""Completes `slicer-core` (the real MRML, logics and slicer.util) with what only the application has.

`start()` is called once a process, `new_scene()` before every test.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import ctk
import mrml_widgets
import qt
import scripted_module
import slicer
import slicer.util
import vtk

MODULE_FILE = Path(__file__).resolve().parents[3] / "PETDiffusionDenoise" / "PETDiffusionDenoise.py"
SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLRulerDisplayableManager",
)


class ModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = qt.Signal(str)
    _cpp = True


class CoreIO:
    """Reads what slicer.app.coreIOManager() is asked for in tests: volumes by their real storage nodes."""

    def loadNodes(self, kind, properties, collection=None):
        raise NotImplementedError(kind)


class LayoutManager(qt.QObject):
    """Makes the slice views of a layout with Slicer's real layout and slice logics."""

    layoutChanged = qt.Signal(int)
    _cpp = True

    def __init__(self, app):
        super().__init__()
        self._app, self._slices = app, {}

    def layoutLogic(self):
        return self._app._layout_logic

    def setLayout(self, number):
        node = self._app._layout_logic.GetLayoutNode()
        if not node.IsLayoutDescription(number):
            raise RuntimeError(f"no layout {number}")
        node.SetViewArrangement(number)
        nodes = self._app._layout_logic.GetViewNodes()
        for i in range(nodes.GetNumberOfItems()):
            view = nodes.GetItemAsObject(i)
            if view.IsA("vtkMRMLSliceNode") and view.GetLayoutName() not in self._slices:
                self._app._add_slice_logic(view)
                self._slices[view.GetLayoutName()] = view
        self.layoutChanged.emit(number)

    def sliceViewNames(self):
        return list(self._slices)

    def resetSliceViews(self):
        pass


class App(qt.QObject):
    startupCompleted, lastWindowClosed = qt.Signal(), qt.Signal()
    aboutToQuit = qt.Signal()
    _cpp = True

    def __init__(self, folder):
        super().__init__()
        self._folder, self._manager = Path(folder), ModuleManager()
        self._settings = qt.QSettings(str(self._folder / "settings.ini"), qt.QSettings.IniFormat)
        self._layout = LayoutManager(self)
        self._logic = self._layout_logic = None

    temporaryPath = property(lambda self: str(self._folder / "temp"))
    majorVersion, minorVersion, revision, applicationVersion = 5, 12, "34567", "5.12.4"

    def moduleManager(self):
        return self._manager

    def settings(self):
        return self._settings

    userSettings = settings

    def processEvents(self, *args):
        qt.QApplication.processEvents()

    def testingEnabled(self):
        return True

    def layoutManager(self):
        return self._layout

    def applicationLogic(self):
        return self._logic

    def coreIOManager(self):
        return CoreIO()

    def startupEnvironment(self):
        environment = qt.QProcessEnvironment.systemEnvironment()
        return environment

    def _add_slice_logic(self, node):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._logic)
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.SetSliceNode(node)
        self._logic.GetSliceLogics().AddItem(logic)
        self._keep.append(logic)


def start(folder):
    """Builds the application once; `folder` takes its settings and temporary files."""
    if qt.QApplication.instance() is None:
        start.application = qt.QApplication(["SlicerStandIn"])
        qt.QApplication.setStyle("Fusion")
    for cls in mrml_widgets.WIDGETS:
        setattr(slicer, cls.__name__, cls)
    sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = scripted_module
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = i18n.translate = lambda *texts: texts[-1]
    sys.modules["slicer.i18n"] = slicer.i18n = i18n
    slicer.app = App(folder)
    os.makedirs(slicer.app.temporaryPath, exist_ok=True)
    slicer.util.modulePath = lambda name: str(MODULE_FILE.with_name(f"{name}.py"))
    slicer.util.startupEnvironment = lambda: dict(os.environ)
    slicer.selfTests = {}
    new_scene()


def new_scene():
    """An empty scene with Slicer's default colours, the logics that the Lib uses, and no observers of older ones."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    app, keep = slicer.vtkSlicerApplicationLogic(), []
    app.SetMRMLScene(scene)
    app.GetColorLogic().SetMRMLScene(scene)
    app.GetColorLogic().AddDefaultColorNodes()
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # as Slicer's Colors module does
    app.SetSliceLogics(vtk.vtkCollection())
    app.SetViewLogics(vtk.vtkCollection())
    for name in (
        "vtkSlicerVolumesLogic",
        "vtkSlicerSegmentationsModuleLogic",
        "vtkSlicerSubjectHierarchyModuleLogic",
        "vtkSlicerTablesLogic",
        "vtkSlicerPlotsLogic",
        "vtkSlicerMarkupsLogic",
        "vtkSlicerSequencesLogic",
    ):
        logic = getattr(slicer, name)()
        logic.SetMRMLApplicationLogic(app)
        logic.SetMRMLScene(scene)
        keep.append(logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for name in ("vtkMRMLInteractionNode", "vtkMRMLSelectionNode"):
        scene.AddNewNodeByClass(name)
    layout = slicer.vtkMRMLLayoutLogic()
    layout.SetMRMLScene(scene)
    segmentations, plots = keep[1], keep[4]
    slicer.modules = types.SimpleNamespace(
        segmentations=types.SimpleNamespace(logic=lambda: segmentations),
        plots=types.SimpleNamespace(logic=lambda: plots),
    )
    slicer.app._logic, slicer.app._layout_logic, slicer.app._keep = app, layout, keep
    slicer.app._layout._slices = {}
    return scene


__all__ = ["ctk", "new_scene", "start"]
