"""Every file of the module is in CMake's lists, and nothing lies in the repository that should not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from repository import list_files

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1 << 20
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"}
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".ui", ".cmake", ".yml", ".cff", ".s4ext", ".csv", ".svg", ".html"}


def files() -> list[Path]:
    """What is, or would be, in the repository."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        return [p for p in ROOT.rglob("*") if p.is_file() and not {".git", ".venv", "__pycache__"} & set(p.parts)]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_the_cmake_lists_are_the_folder() -> None:
    assert list_files.differences() == [], "run: python Testing/repository/list_files.py --write"


def test_a_file_missing_in_cmake_would_be_noticed(tmp_path, monkeypatch) -> None:
    (tmp_path / "new.py").write_text("")
    cmake = tmp_path / "CMakeLists.txt"
    cmake.write_text("set(MODULE_PYTHON_SCRIPTS\n  old.py\n  )\nset(MODULE_PYTHON_RESOURCES\n  )\n")
    monkeypatch.setattr(list_files, "MODULE", tmp_path)
    monkeypatch.setattr(list_files, "CMAKE", cmake)
    assert list_files.differences() == [
        "MODULE_PYTHON_SCRIPTS lacks new.py",
        "MODULE_PYTHON_SCRIPTS names old.py, which is not there",
    ]


def test_no_file_is_large_but_models_and_all_together_fit_slicers_index() -> None:
    sizes = {path: path.stat().st_size for path in files()}
    large = {p.name: n // MEGABYTE for p, n in sizes.items() if n > 5 * MEGABYTE and p.suffix != ".safetensors"}
    assert large == {} and sum(sizes.values()) < 100 * MEGABYTE


def test_there_are_no_pickles() -> None:
    assert [path.name for path in files() if path.suffix in PICKLES] == []


@pytest.mark.parametrize("pattern", [r"\bpickle\.loads?\(", r"\btorch\.load\(", r"allow_pickle\s*=\s*True"])
def test_the_program_reads_no_pickles(pattern) -> None:
    package = ROOT / "PETDiffusionDenoise"
    found = [path.name for path in package.rglob("*.py") if re.search(pattern, path.read_text(encoding="utf-8"))]
    assert found == []


def test_no_file_names_the_machine_it_was_written_on() -> None:
    pattern = re.compile(r"(?<![\w.])/(work|root)/\w")
    found = [
        str(path.relative_to(ROOT))
        for path in files()
        if path.suffix in TEXT and path != Path(__file__) and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone of the repository")
def test_texts_have_the_same_bytes_in_a_clone_on_windows() -> None:
    """A shell runs no script with carriage returns, and the digests of sources would be others."""
    names = ["Makefile", "Testing/system-packages", "PETDiffusionDenoise/petdiffusion/run.py"]
    words = ["git", "check-attr", "eol", "--", *names]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True, encoding="utf-8").stdout
    assert [line.rsplit(": ", 1)[1] for line in told.splitlines()] == ["lf"] * len(names)
