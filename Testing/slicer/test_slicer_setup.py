"""Set-up: which Python, what is missing, packages in and out, models."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from petdiffusion.errors import DependencyError

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).resolve().with_name("fake_backend")


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


def test_the_python_that_is_shown_is_the_one_that_computes(panel) -> None:
    from PETDiffusionDenoiseLib import backend

    ui = panel.ui
    pick = {key: ui.pythonCombo.findData(key) for key in ("slicer", "other")}
    ui.pythonCombo.setCurrentIndex(pick["other"])
    ui.pythonPath.currentPath = sys.executable
    ui.pythonCombo.setCurrentIndex(pick["slicer"])
    ui.pythonCombo.setCurrentIndex(pick["other"])
    panel.setup.wait()
    assert ui.pythonPath.currentPath == sys.executable == backend.chosen().python, "chosen again, without a new path"
    assert "Slicer's Python" not in ui.setupLabel.text
    ui.pythonPath.currentPath = ""
    panel.setup.wait()
    assert not backend.chosen().external
    assert "No path of another Python is given: Slicer&#x27;s Python computes." in ui.setupLabel.text


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
