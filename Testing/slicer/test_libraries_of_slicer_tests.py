"""Says aloud where the tests of the Slicer side cannot run, so that their absence is never silent."""

from __future__ import annotations

import importlib.util
import sys

import pytest


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="slicer-core has no wheel for this Python; use 3.11 or 3.12")
@pytest.mark.parametrize("module", ["slicer", "PySide6"])
def test_the_libraries_of_the_slicer_tests_are_installed(module: str) -> None:
    assert importlib.util.find_spec(module) is not None, f"{module} is missing: pip install '.[test]'"
