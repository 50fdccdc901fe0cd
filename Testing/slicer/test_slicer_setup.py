"""Set-up: which Python, what is missing, packages in and out, models, practice data."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from petdiffusion.errors import DependencyError, InputError

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).resolve().with_name("fake_backend")


@pytest.fixture
def panel(scene, monkeypatch):
    import cards
    from PETDiffusionDenoiseLib import backend

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    cards.use(monkeypatch)
    monkeypatch.setenv("FAKE_BACKEND", "success")
    chosen = backend.chosen
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(chosen().python, FAKE))
    widget = PETDiffusionDenoiseWidget()
    widget.ui.setupSection.collapsed = False
    yield widget.panel
    widget.cleanup()


def table(widget):
    return [[widget.item(r, c).text() for c in range(widget.columnCount)] for r in range(widget.rowCount)]


# --- which Python ----------------------------------------------------------------------------------------------


def test_what_is_missing_comes_first_with_its_remedy(panel) -> None:
    panel.setup.check()
    panel.setup.wait()
    assert table(panel.ui.checksTable) == [["✗", "torch", "not installed"], ["✓", "Python", "3.12"]]
    assert panel.ui.checksTable.item(0, 0).toolTip() == "pip install torch"
    assert "Ready." in panel.ui.setupLabel.text and panel.setup.not_ready == ""


def test_a_fresh_slicer_is_told_what_to_install(panel, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    monkeypatch.setattr(install, "satisfied", lambda requirement: not requirement.startswith(("scipy", "psutil")))
    answer = "ModuleNotFoundError: No module named 'psutil'"
    panel.setup._on_doctor(None, answer, 1)
    assert "Not installed yet: scipy, psutil" in panel.ui.setupLabel.text
    assert "Set-up" in panel.setup.not_ready and answer in panel.ui.logText.plainText


def test_another_python_is_remembered_and_gets_a_clean_environment(panel, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import backend

    monkeypatch.setenv("PYTHONHOME", "/slicer/python")
    ui = panel.ui
    ui.pythonCombo.setCurrentIndex(ui.pythonCombo.findData("other"))
    assert not ui.pythonPath.isHidden() and ui.uninstallButton.isHidden()
    ui.pythonPath.currentPath = sys.executable
    ours = backend.chosen()
    assert ours.external and ours.executable() == sys.executable
    environment = ours.environment()
    assert "PYTHONHOME" not in environment and environment["PYTHONPATH"].startswith(str(FAKE))
    ui.pythonCombo.setCurrentIndex(ui.pythonCombo.findData("slicer"))
    panel.setup.wait()
    assert not backend.chosen().external and backend.chosen().environment()["PYTHONHOME"] == "/slicer/python"


def test_another_python_starts_in_the_users_environment_not_in_slicers(scene, monkeypatch) -> None:
    """Slicer puts its own libraries first, and another Python would load them."""
    import slicer.util
    from PETDiffusionDenoiseLib import backend

    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"LD_LIBRARY_PATH": "/the/users", "HOME": "/home/x"})
    monkeypatch.setenv("LD_LIBRARY_PATH", "/slicers/libraries")
    assert backend.Backend(sys.executable, FAKE).environment()["LD_LIBRARY_PATH"] == "/the/users"
    assert backend.Backend("", FAKE).environment()["LD_LIBRARY_PATH"] == "/slicers/libraries"


def test_for_another_python_the_install_command_is_copied(panel) -> None:
    import qt

    ui = panel.ui
    ui.pythonCombo.setCurrentIndex(ui.pythonCombo.findData("other"))
    ui.pythonPath.currentPath = "/opt/my env/bin/python"
    ui.installButton.click()
    text = qt.QApplication.clipboard().text()
    assert text.startswith('"/opt/my env/bin/python" -m pip install') and '"torch>=2.6"' in text


@pytest.mark.parametrize(
    "system, python, begins",
    [
        ("nt", "C:/My Python/python.exe", '& "C:/My Python/python.exe" -m pip install "'),
        ("nt", "C:/Python/python.exe", 'C:/Python/python.exe -m pip install "'),
        ("posix", "/opt/my env/python", '"/opt/my env/python" -m pip install "'),
        ("posix", "", 'python -m pip install "'),
    ],
)
def test_the_command_starts_in_the_systems_terminal(monkeypatch, system, python, begins) -> None:
    """PowerShell prints a quoted path instead of starting it."""
    from PETDiffusionDenoiseLib import install

    monkeypatch.setattr(install, "os", types.SimpleNamespace(name=system), raising=False)
    assert install.command_for(python).startswith(begins)


def test_the_requirements_are_the_packages_own() -> None:
    import tomllib

    from PETDiffusionDenoiseLib import install

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brain = project["optional-dependencies"]["brain"]  # both digital patients of 'Practice data' must work
    assert sorted([*project["dependencies"], *brain]) == sorted([*install.REQUIREMENTS, install.TORCH])


# --- packages in and out ---------------------------------------------------------------------------------------


@pytest.fixture
def site(scene, monkeypatch):
    """Pretends to be Slicer's site-packages: name to version."""
    from PETDiffusionDenoiseLib import install

    packages = {"numpy": "2.4.6", "simpleitk": "2.5.0", "vtk": "9.6.0"}
    monkeypatch.setattr(install, "installed", lambda: dict(packages))
    monkeypatch.setattr(install, "satisfied", lambda r: r.split(">=")[0].lower() in packages)
    return packages


@pytest.fixture
def slicer_packaging(site, monkeypatch):
    """Slicer 5.12's installer."""
    calls = []

    def pip_ensure(requirements, constraints=None, requester=None, prompt_install=True):
        calls.append((requirements, Path(constraints).read_text(), requester, prompt_install))
        for name in requirements:
            site[name.split(">=")[0].lower()] = "1.0"

    monkeypatch.setitem(sys.modules, "slicer.packaging", types.SimpleNamespace(pip_ensure=pip_ensure))
    return calls


def test_install_takes_what_is_missing_and_pins_what_slicer_brings(slicer_packaging, site) -> None:
    from PETDiffusionDenoiseLib import install

    site["torch"] = "2.9"
    wanted = install.plan()
    assert "numpy>=1.26" not in wanted.packages and "scipy>=1.11" in wanted.packages and not wanted.torch
    added = install.install(wanted)
    ((requirements, constraints, requester, prompt),) = slicer_packaging
    assert requirements == list(wanted.packages) and requester == "PETDiffusion" and prompt is False
    assert {"numpy==2.4.6", "simpleitk==2.5.0", "vtk==9.6.0"} <= set(constraints.split())
    assert "scipy" in added and set(install.added_by_us()) == set(added) and "numpy" not in added


def test_torch_comes_from_the_pytorch_extension_alone(slicer_packaging, site, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    wanted = install.Plan((), True)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(DependencyError, match="Extensions Manager"):
        install.install(wanted)
    asked = {}

    class Logic:
        def installTorch(self, **given):
            asked.update(given)
            site["torch"] = "2.9"
            return types.ModuleType("torch")

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    assert install.install(wanted) == ["torch"] and asked["torchVersionRequirement"] == ">=2.6"
    assert slicer_packaging == []


def test_without_the_pytorch_extension_filters_are_still_set_up(slicer_packaging, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(DependencyError, match=r"Extensions Manager.*Filters work without it"):
        install.install(install.Plan(("scipy>=1.11", "pysuv>=0.1"), True))
    assert slicer_packaging[0][0] == ["scipy>=1.11", "pysuv>=0.1"]
    assert set(install.added_by_us()) == {"scipy", "pysuv"}


def test_what_was_added_before_a_failure_is_remembered(site, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    def fails(requirements, **given):
        site["scipy"] = "1.0"
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setitem(sys.modules, "slicer.packaging", types.SimpleNamespace(pip_ensure=fails))
    with pytest.raises(DependencyError, match="could not be installed"):
        install.install(install.Plan(("scipy>=1.11",), False))
    assert install.added_by_us() == {"scipy": "1.0"}


@pytest.fixture
def fake_pip(site, tmp_path, monkeypatch):
    """A Python whose pip writes down what it was asked for."""
    from PETDiffusionDenoiseLib import backend

    record = tmp_path / "asked.json"
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(record)!r}, 'w').write(json.dumps(sys.argv))\n"
        "print('Collecting')\nsys.exit(int(os.environ.get('PIP_FAILS', 0)))\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(backend.Backend, "executable", lambda self: str(program))
    return lambda: json.loads(record.read_text())


def test_remove_takes_away_exactly_what_was_added(fake_pip, site) -> None:
    from PETDiffusionDenoiseLib import install

    site |= {"scipy": "1.0", "nibabel": "1.0", "mahotas": "2.0"}
    install._remember({"scipy": "1.0", "nibabel": "1.0", "mahotas": "1.0", "gone": "1.0"})
    assert install.remove() == ["nibabel", "scipy"], "mahotas was changed by someone else since"
    assert fake_pip()[1:] == ["-u", "-m", "pip", "uninstall", "--yes", "nibabel", "scipy"]
    assert install.added_by_us() == {}


def test_packages_that_cannot_be_removed_are_not_said_to_be_missing(fake_pip, site, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    site["scipy"] = "1.0"
    install._remember({"scipy": "1.0"})
    monkeypatch.setenv("PIP_FAILS", "1")
    with pytest.raises(DependencyError, match=r"could not be removed.*Restart Slicer") as failed:
        install.remove()
    assert "network" not in str(failed.value) and install.added_by_us() == {"scipy": "1.0"}


def test_slicer_510_installs_by_pip_in_a_child_process(fake_pip, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import install

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    lines = []
    install.install(install.Plan(("scipy>=1.11",), False), lines.append)
    asked = fake_pip()
    assert asked[-1] == "scipy>=1.11" and "-c" in asked and lines == ["Collecting"]
    monkeypatch.setenv("PIP_FAILS", "1")
    with pytest.raises(DependencyError, match="Check the network"):
        install.install(install.Plan(("scipy>=1.11",), False))


def test_nothing_is_installed_without_the_users_click(panel, site, monkeypatch) -> None:
    import slicer.util
    from PETDiffusionDenoiseLib import install

    done, shown = [], []

    def pretend(wanted, log):
        done.append(wanted)
        log("Collecting scipy")
        shown.append((panel.ui.setupLabel.text, panel.ui.installButton.enabled))
        return ["scipy"]

    monkeypatch.setattr(install, "install", pretend)
    panel.enter()
    panel.setup.check()
    panel.setup.wait()
    assert done == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: False)
    panel.ui.installButton.click()
    assert done == [], "declined"
    said = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title: said.append(text) or True)
    panel.ui.installButton.click()
    assert len(done) == 1 and "scipy>=1.11" in said[0] and "Installed: scipy" in panel.ui.messageLabel.text
    assert shown == [("Working: Collecting scipy", False)], "how far it is, and no second click"


# --- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, words, button",
    [("/x/model ü.zip", "Did add /x/model ü.zip", "addZip"), ("/x/folder", "0 cards", "addFolder")],
)
def test_a_model_is_added_from_a_folder_or_a_zip(panel, monkeypatch, path, words, button) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *args: path))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *args: path))
    getattr(panel.ui, f"{button}Button").click()
    panel.setup.wait()
    assert words in panel.ui.messageLabel.text


def test_a_cancelled_file_dialog_does_nothing(panel, monkeypatch) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *args: ""))
    panel.ui.addFolderButton.click()
    assert panel.ui.messageFrame.isHidden()


def test_only_models_of_the_user_can_be_removed(panel, monkeypatch) -> None:
    from petdiffusion.zoo import store
    from petdiffusion.zoo.card import ModelCard

    card = ModelCard(
        "tiny-1", "diffuse", "1.0", "a" * 64, 10, "x", "x", "CC0", "CC0", ("FDG",), (1.0, 5.0), (0.1, 1.0), "x", "x"
    )
    for bundled in (True, False):
        monkeypatch.setattr(store, "models", lambda method=None, b=bundled: {"tiny-1": store.Model(card, Path("x"), b)})
        panel.setup._fill_models()
        panel.ui.modelsTable.selectRow(0)
        assert panel.ui.removeModelButton.enabled is not bundled
    assert table(panel.ui.modelsTable) == [["tiny-1", "diffuse", "FDG", "CC0"]]


# --- practice data ---------------------------------------------------------------------------------------------


def make(name="body"):
    from PETDiffusionDenoiseLib import backend, samples

    making = samples.Making(name, backend.Backend("", FAKE))
    making.start()
    return making.wait()


def test_practice_data_are_made_once_checked_and_loaded(scene, monkeypatch) -> None:
    import slicer
    from PETDiffusionDenoiseLib import samples, units

    nodes = list(make().values())
    names = [node.GetName() for node in nodes]
    assert names == [
        "Digital body PET 10 %",
        "Digital body PET 100 %",
        "Digital body CT",
        "Digital body organs",
        "Digital body lesions",
    ]
    assert units.find(nodes[0]).unit == "SUVbw" and nodes[2].GetAttribute("DICOM.Modality") == "CT"
    assert nodes[3].GetSegmentation().GetNthSegment(0).GetName() == "Liver"
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) for node in nodes}
    assert parents == {"Digital patient (body)"}
    monkeypatch.setenv("FAKE_BACKEND", "crash")
    assert len(make()) == 5, "kept data are used again without the backend"
    damaged = samples.folder_of("body") / "normal.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert not samples.is_sound(samples.folder_of("body"))
    with pytest.raises(Exception, match="crashed"):
        make()
    monkeypatch.setenv("FAKE_BACKEND", "success")
    assert len(make()) == 5 and samples.is_sound(samples.folder_of("body")), "damaged data are made anew"


def test_a_digital_patient_without_lesions_has_no_lesion_node(scene, tmp_path) -> None:
    """A segmentation without segments would only be in the way of the next run."""
    import json
    import shutil

    import numpy as np
    import SimpleITK as sitk
    from PETDiffusionDenoiseLib import samples

    make()
    shutil.copytree(samples.folder_of("body"), tmp_path / "healthy")
    names = json.loads((tmp_path / "healthy" / "manifest.json").read_text())["files"]
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), str(tmp_path / "healthy" / names["lesions"])
    )
    assert list(samples.load(tmp_path / "healthy", samples.SAMPLES["body"])) == ["low", "normal", "anatomy", "organs"]


def test_practice_data_that_cannot_be_made_leave_nothing(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import samples

    monkeypatch.setenv("FAKE_BACKEND", "named_error")
    with pytest.raises(Exception, match="damaged"):
        make("brain")
    assert not samples.folder_of("brain").exists()
    assert list(samples.folder_of("brain").parent.glob("*.part")) == []


def test_a_manifest_that_is_no_manifest_is_not_sound(tmp_path) -> None:
    from PETDiffusionDenoiseLib import samples

    for text in ("", "[]", '{"sha256": {}}', '{"sha256": {"gone": "0"}}', '{"sha256": 3}'):
        (tmp_path / "manifest.json").write_text(text)
        assert not samples.is_sound(tmp_path)


def test_sample_data_entries_are_registered_and_make_the_patient(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import backend, samples

    entries = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **entry: entries.append(entry))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("", FAKE))
    samples.register()
    assert [e["sampleName"] for e in entries] == [
        "PETDiffusion: digital whole-body PET/CT",
        "PETDiffusion: digital brain PET/MR",
    ]
    assert all(Path(e["thumbnailFileName"]).is_file() for e in entries)
    source = types.SimpleNamespace(sampleName=entries[1]["sampleName"])
    assert entries[1]["customDownloader"](source)[2].GetAttribute("DICOM.Modality") == "MR"


def test_without_the_sample_data_module_nothing_happens(scene, monkeypatch) -> None:
    from PETDiffusionDenoiseLib import samples

    monkeypatch.setitem(sys.modules, "SampleData", None)
    samples.register()


def test_the_button_makes_practice_data_and_chooses_them(panel) -> None:
    import time

    import slicer

    panel.ui.bodySampleButton.click()
    assert "digital patient" in panel.ui.messageLabel.text
    deadline = time.monotonic() + 20
    while panel.parameters.pet is None and time.monotonic() < deadline:
        panel.setup._sample._process.poll()
        slicer.app.processEvents()
        time.sleep(0.01)
    assert "5 images" in panel.ui.messageLabel.text
    assert panel.parameters.pet.GetName() == "Digital body PET 10 %"
    assert panel.parameters.reference.GetName() == "Digital body PET 100 %"


def test_an_unreadable_practice_image_is_a_named_error(scene, tmp_path) -> None:
    from PETDiffusionDenoiseLib import samples

    (tmp_path / "low_0.1.nii.gz").write_bytes(b"no image")
    (tmp_path / "manifest.json").write_text('{"files": {"low_0.1": "low_0.1.nii.gz"}}')
    with pytest.raises(InputError, match="cannot be read"):
        samples.load(tmp_path, samples.SAMPLES["body"])
