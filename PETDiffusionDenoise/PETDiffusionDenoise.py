"""Registration with 3D Slicer: module, widget, logic and self-test. The work is done in PETDiffusionDenoiseLib."""

from __future__ import annotations

import sys
from typing import Any

import slicer
import slicer.util
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HELP = """Denoises low-count PET with diffusion models and classical filters, shows how certain the result is, and
reports SUVs of organs and lesions before and after beside a normal-dose scan. For research use only.
<br>Short tutorial: the button at the bottom of the panel."""
PAPERS = """Implements the methods of the papers named in the panel, each with the methods it was compared with."""


class PETDiffusionDenoise(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "PET Denoising"
        parent.categories = ["Nuclear Medicine"]
        parent.dependencies = []
        parent.contributors = ["The PETDiffusion developers"]
        parent.helpText = HELP
        parent.acknowledgementText = PAPERS
        slicer.app.connect("startupCompleted()", on_startup)


def on_startup() -> None:
    """When all modules are there: scripts find `denoise` on the module's logic, users find the practice data, and
    scenes find the layouts of a review."""
    from PETDiffusionDenoiseLib import review_layout, samples

    samples.register()
    if (manager := slicer.app.layoutManager()) is not None:  # none without a main window
        review_layout.register(manager.layoutLogic().GetLayoutNode())
    offer_to_scripts(slicer.modules.petdiffusiondenoise.logic())


def offer_to_scripts(logic: Any) -> None:
    """Makes `slicer.modules.petdiffusiondenoise.logic().denoise(…)` work.

    A scripted module's `logic()` is a C++ object of Slicer's; VTK lets it carry Python attributes for as long as it
    lives.
    """
    ours = PETDiffusionDenoiseLogic()
    logic.denoise, logic.denoiseBatch, logic.parameters = ours.denoise, ours.denoiseBatch, ours.parameters
    logic.denoiseFrames = ours.denoiseFrames


class PETDiffusionDenoiseWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Loads the panel and tells it of the scene's life."""

    def __init__(self, parent: Any = None) -> None:
        VTKObservationMixin.__init__(self)  # first: without a parent the base class calls setup() at once
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        from PETDiffusionDenoiseLib.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = PETDiffusionDenoiseLogic()
        widget = slicer.util.loadUI(self.resourcePath("UI/PETDiffusionDenoise.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = Panel(self.ui, self.resourcePath)
        self._checked = False
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._on_scene_closing)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._on_scene_changed)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self._on_scene_changed)
        self._use_parameters()

    def _use_parameters(self) -> None:
        self.panel.set_parameters(self.logic.parameters())

    def _on_scene_closing(self, caller: Any = None, event: str = "") -> None:
        self.panel.scene_closing()

    def _on_scene_changed(self, caller: Any = None, event: str = "") -> None:
        self._use_parameters()

    def enter(self) -> None:
        """Called when the user opens the module; the backend is asked once what it can do."""
        self._use_parameters()
        self.panel.enter()
        if not self._checked:
            self._checked = True
            self.panel.setup.check()

    def onReload(self) -> None:
        """The developer's button: Slicer reloads this file alone, so what it imports is dropped first."""
        for name in list(sys.modules):
            if name.split(".")[0] in ("PETDiffusionDenoiseLib", "petdiffusion"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def exit(self) -> None:
        """Called when the user opens another module; a job goes on."""

    def cleanup(self) -> None:
        """Called before the module is unloaded or Slicer ends."""
        self.removeObservers()
        self.panel.close()


class PETDiffusionDenoiseLogic(ScriptedLoadableModuleLogic):
    """For scripts: `slicer.modules.petdiffusiondenoise.logic()`, or an instance of this class."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self, parent)

    def parameters(self) -> Any:
        """The panel's settings in the present scene."""
        from PETDiffusionDenoiseLib.parameters import Parameters

        return Parameters(self.getParameterNode())

    def denoise(self, petNode: Any, method: str | None = None, waitForCompletion: bool = True, **given: Any) -> Any:
        """Denoise a PET node; returns the nodes of the result, or raises an error that says why.

        `given` may hold ct, mr, labels, lesions, reference, region (nodes), model, seed, device, text, dose_fraction,
        register, unit_choice, suv_factor, outputs, and any option of the method. With `waitForCompletion=False` the
        job is returned; it runs on while the application does, and its `ended` signal hands over the result.
        """
        from PETDiffusionDenoiseLib import scripted

        return scripted.denoise(petNode, method, waitForCompletion, **given)

    def denoiseBatch(
        self, manifest: Any, out: str, method: str | None = None, waitForCompletion: bool = True, **given: Any
    ) -> Any:
        """Denoise every case of a manifest (CSV file or list of rows) into a folder.

        Returns the summary's rows, a failed case with its reason; a table of them is put into the scene. A batch that
        was stopped goes on where it was when it is called again. With `waitForCompletion=False` the job is returned:
        `cancel()` stops it, and its `ended` signal hands over the rows.
        """
        from PETDiffusionDenoiseLib import scripted

        return scripted.denoise_batch(manifest, out, method, waitForCompletion, **given)

    def denoiseFrames(self, pet: Any, out: str, method: str | None = None, waitForCompletion: bool = True,
                      **given: Any) -> Any:
        """Denoise every frame of a dynamic PET: a sequence node or a volume that shows a frame of it, a 4D file, or the
        DICOM folder of all frames.

        Returns the denoised sequence with its browser, that of its SD maps, and the curves of organs and lesions as a
        table; 4D image, tables and report lie in `out`. `given` may hold ct, mr, labels, lesions (nodes or paths),
        frames such as '10-24', each, patlak (a region of blood, or a CSV of its curve) with patlak_from in minutes,
        uncertainty=False, model, seed, device, workers, overwrite, unit_choice, suv_factor, and any option of the
        method.
        A run that was stopped goes on where it was when it is called again.
        """
        from PETDiffusionDenoiseLib import scripted

        return scripted.denoise_frames(pet, out, method, waitForCompletion, **given)


class PETDiffusionDenoiseTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer: Reload and Test, or ctest."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        from PETDiffusionDenoiseLib import selftest

        for check in selftest.CHECKS:
            self.setUp()
            self.delayDisplay(f"{check.__doc__}")
            check(self)
        self.delayDisplay("All checks passed.")
