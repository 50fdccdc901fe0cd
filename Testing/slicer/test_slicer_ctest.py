"""Which tests a build of the extension runs: on Slicer's build machines no package of the program is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[1]
PROJECT = f"""cmake_minimum_required(VERSION 3.16)
project(Any NONE)
enable_testing()
add_subdirectory("{TESTING.as_posix()}" Testing)
"""

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="CMake is not installed here")


def ctest_of_a_build(tmp_path: Path, programs: Path) -> str:
    """What ctest would run where these programs come first."""
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    build = tmp_path / "build"
    for words in (["cmake", "-S", str(tmp_path), "-B", str(build)], ["ctest", "--test-dir", str(build), "-N"]):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_python_without_the_packages_adds_no_test(tmp_path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"pytest": "exit 0", "python3": "exit 1", "python": "exit 1"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    assert "Total Tests: 0" in ctest_of_a_build(tmp_path, programs)


def test_a_python_with_the_packages_adds_one(tmp_path) -> None:
    found = ctest_of_a_build(tmp_path, Path(sys.executable).parent)
    assert "PETDiffusion_pytest" in found and "Total Tests: 1" in found
