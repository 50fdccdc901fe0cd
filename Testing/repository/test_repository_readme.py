"""What the README says is so: its table comes from the cards, its commands exist, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from petdiffusion.cli.app import parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "Resources" / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_table_of_methods_is_the_cards():
    subprocess.run([sys.executable, ROOT / "Resources/docs/make_tables.py", "--check"], check=True)


@pytest.mark.parametrize("line", re.findall(r"^petdiffusion .*$", (README + TRAINING).replace("\\\n", ""), re.M))
def test_every_command_in_the_readme_and_on_training_is_understood(line):
    words = shlex.split(line, comments=True)[1:]
    assert parser().parse_args(words).execute


def test_every_link_leads_to_a_file():
    pages = [ROOT / "README.md", *(ROOT / "Resources" / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test"]
    assert "make test" in README


def test_the_package_says_one_version():
    import petdiffusion

    assert f'version = "{petdiffusion.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"version: {petdiffusion.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {petdiffusion.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, petdiffusion, petdiffusion.registry as r; r.cards();"
        "print([m for m in ('torch', 'monai', 'SimpleITK', 'scipy', 'nibabel', 'pydicom', 'skimage', 'lightning')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_functions_of_the_package_are_functions_whatever_was_imported():
    """A module of the same name would take a function's place as soon as anything imports it."""
    code = (
        "import pkgutil, importlib, petdiffusion as p;"
        "[importlib.import_module(m.name) for m in pkgutil.iter_modules(p.__path__, 'petdiffusion.')"
        " if m.name != 'petdiffusion.__main__'];"
        "print(*(name for name in p.__all__ if name != '__version__' and callable(getattr(p, name))))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"denoise", "segment", "quantify", "compare", "convert", "run_batch"} <= set(out.stdout.split())
