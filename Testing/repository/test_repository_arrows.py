"""Arrows point inward: who may import whom, and what a plain import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "PETDiffusionDenoise"
PACKAGE = MODULE / "petdiffusion"
SLICER_SIDE = {"slicer", "qt", "ctk", "vtk", "PETDiffusionDenoise", "PETDiffusionDenoiseLib"}
HEAVY = ("torch", "SimpleITK", "scipy", "monai", "nibabel", "pydicom", "skimage", "matplotlib")
PURE = ("diffusion", "physics", "measure", "networks")
METHODS = sorted(p.name for p in (PACKAGE / "methods").iterdir() if (p / "__init__.py").is_file())


def imports(path: Path) -> set[str]:
    """Every module a file imports, relative ones resolved to full names."""
    parts = path.relative_to(MODULE).with_suffix("").parts
    package = parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]


def test_the_backend_knows_nothing_of_slicer() -> None:
    found = {
        str(path.relative_to(MODULE)): sorted(bad)
        for path in files(PACKAGE)
        if (bad := {name.split(".")[0] for name in imports(path)} & SLICER_SIDE)
    }
    assert found == {}


@pytest.mark.parametrize("method", METHODS)
def test_no_method_imports_another(method) -> None:
    others = tuple(f"petdiffusion.methods.{name}" for name in METHODS if name != method)
    found = [
        name
        for path in files(PACKAGE / "methods" / method)
        for name in imports(path)
        if any(name == other or name.startswith(f"{other}.") for other in others)
    ]
    assert found == []


@pytest.mark.parametrize("folder", PURE)
def test_shared_parts_import_no_method(folder) -> None:
    found = [
        (path.name, name)
        for path in files(PACKAGE / folder)
        for name in imports(path)
        if name.startswith("petdiffusion.methods.") and not name.startswith("petdiffusion.methods.contract")
    ]
    assert found == []


def test_a_relative_import_is_seen_for_what_it_is(tmp_path, monkeypatch) -> None:
    """The test of the tests above: `from ..other import x` inside a method is found."""
    monkeypatch.setattr(sys.modules[__name__], "MODULE", tmp_path)
    file = tmp_path / "petdiffusion" / "methods" / "one" / "method.py"
    file.parent.mkdir(parents=True)
    file.write_text("from ..other.network import Net\nfrom ...volume import Volume\nfrom . import config\n")
    assert imports(file) == {
        "petdiffusion.methods.other.network.Net",
        "petdiffusion.volume.Volume",
        "petdiffusion.methods.one.config",
    }


@pytest.mark.parametrize(
    "what",
    [
        "import petdiffusion",
        "from petdiffusion import registry; registry.cards()",
        "import petdiffusion.volume, petdiffusion.errors, petdiffusion.progress",
    ],
)
def test_a_plain_import_loads_nothing_heavy(what) -> None:
    code = f"import sys; {what}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=MODULE, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_slicer_module_imports_nothing_third_party_at_file_scope() -> None:
    """Slicer loads every module at its start: a package that is missing there would break it."""
    allowed = set(sys.stdlib_module_names) | {
        "slicer",
        "vtk",
        "qt",
        "ctk",
        "numpy",
        "petdiffusion",
        "PETDiffusionDenoiseLib",
    }
    sides = [MODULE / "PETDiffusionDenoise.py", *files(MODULE / "PETDiffusionDenoiseLib")]
    found = {}
    for path in sides:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {alias.name.split(".")[0] for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module.split(".")[0] for node in top if isinstance(node, ast.ImportFrom) and not node.level}
        if names - allowed:
            found[path.name] = sorted(names - allowed)
    assert found == {}
