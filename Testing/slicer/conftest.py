"""Slicer's real libraries (slicer-core) completed by a stand-in for the application; see README.md here."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")
NEEDED = ("slicer", "PySide6")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if MISSING:
    collect_ignore_glob = ["test_slicer_*.py"]
else:
    for folder in (HERE / "standin", HERE.parents[1] / "PETDiffusionDenoise"):
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def _application(tmp_path_factory: pytest.TempPathFactory) -> None:
    import slicer_app

    slicer_app.start(tmp_path_factory.mktemp("slicer"))


@pytest.fixture
def scene(_application: None):
    """A fresh, empty MRML scene."""
    import slicer
    import slicer_app

    slicer_app.new_scene()
    slicer.app.userSettings().clear()
    return slicer.mrmlScene


@pytest.fixture
def fake_backend(scene, monkeypatch):
    """Methods of the tests' own, and a backend that answers at once."""
    import cards
    from PETDiffusionDenoiseLib import backend

    cards.use(monkeypatch)
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend("", HERE / "fake_backend"))
    monkeypatch.setenv("FAKE_BACKEND", "success")


@pytest.fixture
def open_panel(fake_backend, monkeypatch):
    """Opens the module's widget; the backend's behaviour is chosen by name."""
    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    opened = []

    def open_(mode: str = "success"):
        monkeypatch.setenv("FAKE_BACKEND", mode)
        widget = PETDiffusionDenoiseWidget()
        opened.append(widget)
        widget.enter()
        widget.panel.setup.wait()
        return widget

    yield open_
    for widget in opened:
        widget.cleanup()


@pytest.fixture
def panel(scene, monkeypatch):
    """The opened panel with its set-up unfolded; the backend is the fake one, in whichever Python is chosen."""
    import cards
    from PETDiffusionDenoiseLib import backend

    from PETDiffusionDenoise import PETDiffusionDenoiseWidget

    cards.use(monkeypatch)
    monkeypatch.setenv("FAKE_BACKEND", "success")
    chosen = backend.chosen
    monkeypatch.setattr(backend, "chosen", lambda: backend.Backend(chosen().python, HERE / "fake_backend"))
    widget = PETDiffusionDenoiseWidget()
    widget.ui.setupSection.collapsed = False
    yield widget.panel
    widget.cleanup()


@pytest.fixture
def logic(fake_backend):
    """The logic as scripts in Slicer reach it: the C++ object that carries our functions."""
    import slicer

    import PETDiffusionDenoise

    cpp = slicer.vtkSlicerScriptedLoadableModuleLogic()
    PETDiffusionDenoise.offer_to_scripts(cpp)
    return cpp


def _card(id_: str, region: str, tracer: str, voxels: tuple[float, float]):
    from petdiffusion.zoo.card import ModelCard

    return ModelCard(
        id=id_,
        method="diffuse",
        version="1.0",
        sha256="a" * 64,
        bytes=10_000_000,
        summary=f"A small model for the {region}.",
        training_data="Digital patients.",
        data_licence="CC0",
        licence="Apache-2.0",
        tracers=(tracer,),
        voxel_mm=voxels,
        dose_fractions=(0.05, 0.5),
        intended_use="Research.",
        limits=f"Nothing but a {region}.",
        regions=(region,),
        results={"digital patients": {"liver_bias_percent": -0.4}},
    )


def _install(monkeypatch, *cards) -> None:
    from petdiffusion.zoo import store

    known = {card.id: store.Model(card, Path("x"), True) for card in cards}
    monkeypatch.setattr(store, "models", lambda method=None: known if method in (None, "diffuse") else {})


@pytest.fixture
def models(monkeypatch):
    """Pretends that a model for 'diffuse' is installed."""
    _install(monkeypatch, _card("tiny-1", "body", "FDG", (1.5, 5.0)))


@pytest.fixture
def two_models(monkeypatch):
    """Pretends that a model for the body and one for the brain are installed."""
    _install(
        monkeypatch, _card("tiny-body", "body", "FDG", (2.5, 5.0)), _card("tiny-brain", "brain", "FDG", (1.0, 3.0))
    )
