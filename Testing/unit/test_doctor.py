"""What the doctor and the commands say of packages that are missing or too old."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from petdiffusion import doctor, packages, registry
from support.scans import write_patient

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def without(module, *words):
    """The command on a machine that lacks a package."""
    code = f"import sys; sys.modules[{module!r}] = None; from petdiffusion.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


def least(requirements):
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", text).groups() for text in requirements)


def test_what_is_asked_for_is_what_the_package_declares():
    known = {package.name: package.least for package in packages.PACKAGES}
    declared = least(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    optional = least(t for name in ("seg", "train", "text", "organs", "cluster", "brain") for t in extras[name])
    assert {name: known[name] for name in declared} == declared
    others = {name: version for name, version in known.items() if name not in declared}
    assert others.items() <= optional.items()
    assert set(declared) - {p.name for p in packages.PACKAGES if p.needed} == {"torch", "safetensors"}


@pytest.mark.parametrize(("found", "wanted", "enough"), [
    ("2.4.4", "3.0", False), ("3.0.1", "3.0", True), ("3", "3.0", True), ("1.9", "1.26", False), ("10.0", "9.1", True),
    ("2.6.0+cpu", "2.6", True), ("0.4.0rc1", "0.4", True), ("unknown", "1.0", True),
])  # fmt: skip
def test_versions_are_compared_number_by_number(found, wanted, enough):
    assert packages.at_least(found, wanted) is enough


def test_an_old_package_is_told_and_makes_the_program_unusable(monkeypatch):
    plain = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.4.4" if name == "pydicom" else plain(name))
    found = doctor.examine()
    row = next(row for row in found["checks"] if row["name"] == "pydicom")
    assert not found["usable"] and not row["ok"] and "2.4.4" in row["found"] and "3.0" in row["found"]
    assert row["remedy"] == 'Run: pip install "pydicom>=3.0"'


def test_every_remedy_names_a_package_that_an_index_has(monkeypatch):
    """The program itself is in none: `pip install "petdiffusion[text]"` finds nothing."""
    monkeypatch.setattr(packages.Package, "found", lambda self: packages.ABSENT)
    remedies = {row["name"]: row["remedy"] for row in doctor.examine()["checks"]}
    for package in packages.PACKAGES:
        assert remedies[package.name].endswith(f'pip install "{package.name}>={package.least}"')
    home = Path(packages.__file__).parent
    for file in (*home.rglob("*.py"), *home.rglob("*.md"), *Path(__file__).parents[2].glob("Resources/docs/*.md")):
        assert "petdiffusion[" not in file.read_text(encoding="utf-8"), file.name


def test_an_old_torch_leaves_the_filters_ready(monkeypatch):
    plain = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.13.1" if name == "torch" else plain(name))
    found = doctor.examine()
    ready = {row["name"]: row for row in found["methods"]}
    assert found["usable"] and ready["gaussian"]["ready"] and not ready["csrd"]["ready"]
    assert "torch" in ready["csrd"]["why"]


@pytest.mark.parametrize("module", ["torch", "safetensors"])
def test_without_it_no_method_with_a_network_is_ready(module):
    found = json.loads(without(module, "doctor", "--json").stdout)
    row = next(row for row in found["checks"] if row["name"] == module)
    assert found["usable"] and not row["ok"] and "pip install" in row["remedy"]
    networks = {name for name, card in registry.cards().items() if card.runs_networks}
    ready = {row["name"]: row for row in found["methods"]}
    assert {name for name, row in ready.items() if not row["ready"]} == networks
    assert all(module in ready[name]["why"] for name in networks)


@pytest.mark.parametrize("module", ["torch", "safetensors"])
def test_a_command_without_it_names_it_and_the_remedy(tmp_path, module):
    pet = write_patient(tmp_path / "p")["pet"]
    done = without(module, "denoise", pet, "--method", "csrd", "--out", str(tmp_path / "out"))
    assert done.returncode == 1 and "defect" not in done.stderr
    assert f"DependencyError: Package {module}: is not installed." in done.stderr and "pip install" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_package_that_nobody_declared_stays_a_defect(tmp_path):
    """As a module of this program's own that was not installed with it."""
    pet = write_patient(tmp_path / "p")["pet"]
    done = without("petdiffusion.write.outputs", "denoise", pet, "--method", "gaussian", "--out", str(tmp_path / "out"))
    assert done.returncode == 70 and "A defect of this program" in done.stderr
