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
