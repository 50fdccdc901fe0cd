"""What scripts call: `denoise` and `denoiseBatch` on the module's logic, registration and the self-test."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from petdiffusion.errors import Cancelled, InputError, ModelError, OptionError


def test_denoise_waits_and_returns_the_nodes(logic) -> None:
    import builders
    import slicer.util

    nodes = logic.denoise(builders.pet(), method="smooth", fwhm=6.0)
    assert np.allclose(slicer.util.arrayFromVolume(nodes.denoised), builders.pet_array() * 0.5)
    assert "fwhm=6.0" in nodes.record["argv"]


def test_denoise_can_run_beside_the_application(logic) -> None:
    import builders
    import slicer

    job = logic.denoise(builders.pet(), waitForCompletion=False)
    ended = []
    job.ended.connect(ended.append)
    deadline = time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        slicer.app.processEvents()
        time.sleep(0.01)
    assert ended[0].denoised is not None


@pytest.mark.parametrize("mode, error", [("named_error", ModelError), ("polite", Cancelled)])
def test_a_failure_is_raised_as_the_named_error(logic, monkeypatch, mode, error) -> None:
    import builders
    from PETDiffusionDenoiseLib import jobs

    monkeypatch.setenv("FAKE_BACKEND", mode)
    start = jobs.DenoiseJob.start
    monkeypatch.setattr(
        jobs.DenoiseJob,
        "start",
        lambda self: (self.stage.connect(lambda text: mode == "polite" and self.cancel()), start(self)),
    )
    with pytest.raises(error):
        logic.denoise(builders.pet())


@pytest.mark.parametrize("wrong", [None, "text"])
def test_something_that_is_no_pet_is_refused(logic, wrong) -> None:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode") if wrong == "text" else None
    with pytest.raises(InputError, match="scalar volume node"):
        logic.denoise(node)


def test_a_misspelt_option_is_refused_with_the_right_one(logic, tmp_path) -> None:
    import builders

    with pytest.raises(OptionError, match="Did you mean 'fwhm'"):
        logic.denoise(builders.pet(), fwmh=3)
    with pytest.raises(OptionError, match="Did you mean 'fwhm'"):
        logic.denoiseBatch([{"id": "1", "pet": "x"}], tmp_path / "unused", fwmh=3)
    assert not (tmp_path / "unused").exists()


def test_the_module_registers_as_slicer_expects(scene) -> None:
    import scripted_module
    import slicer_app

    import PETDiffusionDenoise

    parent = scripted_module.ModuleParent(slicer_app.MODULE_FILE)
    module = PETDiffusionDenoise.PETDiffusionDenoise(parent)
    assert (parent.title, parent.categories) == ("PET Denoising", ["Nuclear Medicine"])
    assert "research use" in parent.helpText and not parent.icon.isNull()
    assert module.moduleName == "PETDiffusionDenoise"


def test_reload_gives_a_working_panel(logic) -> None:
    import builders

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    builders.pet()
    for _ in range(3):
        widget = PETDiffusionDenoiseWidget()
        widget.enter()
        assert widget.ui.applyButton.enabled
        widget.cleanup()


def test_the_reload_button_takes_the_libraries_anew(logic, monkeypatch) -> None:
    """Slicer reloads the module's own file alone, and a developer would go on with the old library."""
    import sys

    import scripted_module

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    def ours() -> set[str]:
        return {name.split(".")[0] for name in sys.modules} & {"PETDiffusionDenoiseLib", "petdiffusion"}

    left = []
    reload = scripted_module.ScriptedLoadableModuleWidget
    monkeypatch.setattr(reload, "onReload", lambda self: left.append(ours()), raising=False)
    widget = PETDiffusionDenoiseWidget()
    assert len(ours()) == 2
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # the other tests keep theirs
    widget.onReload()
    assert left == [set()]
    widget.cleanup()


def test_every_example_is_valid_python_and_uses_what_is_there() -> None:
    import ast

    import PETDiffusionDenoise

    examples = sorted((Path(__file__).resolve().parents[2] / "Resources" / "examples").glob("*.py"))
    assert examples
    for path in examples:
        calls = {
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        used = calls & {"denoise", "denoiseBatch", "parameters"}
        assert used and all(hasattr(PETDiffusionDenoise.PETDiffusionDenoiseLogic, name) for name in used), path.name
