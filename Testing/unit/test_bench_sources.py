"""What the digests of benchmarks cover: the parts that are named, all that they import, and whom they call by name."""

import ast
import subprocess
import sys

import pytest
from petdiffusion import registry
from petdiffusion.bench import cases, patients, real, slices, sources, stacks, tuning
from petdiffusion.bench.papers import papers

PACKAGE = {
    "__init__.py": "VERSION = 1",
    "errors.py": "from . import one",
    "one.py": "from .deep import two\nfrom .errors import Wrong",
    "other.py": "from . import never",
    "never.py": "",
    "deep/__init__.py": "",
    "deeper.py": "",
    "deep/two.py": "from .. import errors\ndef late():\n    from ..side.three import x",
    "side/three.py": "from ..side import four",
    "side/four.py": "import one",
    "bench/score.py": "from ..one import y\nfrom .table import z",
    "bench/table.py": "from .. import never",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package above; `write(name, text)` changes a file as if the process had begun after it."""
    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        monkeypatch.setattr(sources, "SOURCES", sources.snapshot(tmp_path))

    for name, text in PACKAGE.items():
        write(name, text)
    return write


def test_imports_are_followed_wherever_they_stand(package):
    assert sources.files_of("one.py") == {"one.py", "deep/__init__.py", "deep/two.py", "side/three.py", "side/four.py"}
    assert sources.files_of("deep") == {"deep/__init__.py", "deep/two.py", "side/three.py", "side/four.py"}


def test_what_carries_numbers_counts_where_it_is_named_alone(package):
    assert sources.files_of("bench/score.py") == {"bench/score.py", *sources.files_of("one.py")}
    assert "errors.py" in sources.files_of("errors.py") and "one.py" in sources.files_of("errors.py")


def test_methods_that_are_called_by_name_belong_to_the_caller(package, monkeypatch):
    monkeypatch.setattr(sources, "CALLED", {"side/four.py": "other.py"})
    assert {"other.py", "never.py"} < sources.files_of("one.py")


def test_a_digest_changes_with_the_code_behind_it_and_with_no_other(package):
    first, other = sources.code("one.py"), sources.code("other.py")
    assert first != other and first == sources.code("one.py")
    package("side/four.py", "import one  # otherwise")
    assert sources.code("one.py") != first and sources.code("other.py") == other
    package("errors.py", "from . import never")
    package("never.py", "x = 2")
    assert sources.code("other.py") != other and sources.code("one.py") == sources.code("one.py", "deep")


def test_a_file_edited_while_the_program_runs_changes_nothing(package, tmp_path):
    first = sources.code("one.py")
    (tmp_path / "side/four.py").write_text("edited")
    assert sources.code("one.py") == first


FILTERS = {"filters.py", "threads.py", "volume.py", "methods/contract.py"}


@pytest.mark.parametrize(("parts", "needed"), [
    (cases.MEASURED_BY, FILTERS),
    (("methods/csrd", *cases.NETWORKS), {*FILTERS, "prepare/mask.py", "training/residual.py", "training/choices.py",
                                         "methods/baselines/nlm.py", "methods/baselines/anatomy.py"}),
    (("methods/text_ddpm", *cases.NETWORKS), {*FILTERS, "methods/amdiff/method.py"}),
    (("methods/baselines", *tuning.SOURCES), {*FILTERS, "methods/baselines/nlm.py", "tune.py"}),
    (patients.SOURCES, {"filters.py", "phantoms/body/make.py", "physics/scan.py"}),
    (stacks.SOURCES, {"filters.py", "phantoms/scan.py"}),
    (real.SOURCES, {"filters.py", "physics/dose.py"}),
    (slices.SCORED_BY, {"measure/image.py", "filters.py"}),
])  # fmt: skip
def test_results_know_the_code_that_they_come_from(parts, needed):
    assert needed <= sources.files_of(*parts)


def test_no_part_that_is_named_is_missing():
    named = {*cases.MEASURED_BY, *cases.NETWORKS, *tuning.SOURCES, *patients.SOURCES, *stacks.SOURCES, *real.SOURCES,
             *slices.SCORED_BY, *sources.CALLED, *sources.CALLED.values(), *sources.ASIDE}  # fmt: skip
    for part in named:
        assert any(name == part or name.startswith(f"{part}/") for name in sources.SOURCES), part


BY_ITSELF = {"infer/asked.py", "bench/tuning.py"}
"""Reads a default; tunes the method of a row, whose folder is named with it."""


def rows():
    tables = [t for bench in papers().values() for t in (*bench.tables, bench.real) if t is not None]
    return sorted({row.method for table in tables for row in table.rows if row.method})


def test_whoever_asks_the_registry_is_known_for_whom_it_calls():
    """A method that runs another by its name imports nothing of it: CALLED says so instead."""
    methods = {part for name in rows() for part in cases.parts_of(registry.card(name))}
    asking = {n for n in sources.files_of(*methods, *tuning.SOURCES) if _asks(sources.SOURCES[n])}
    assert asking - BY_ITSELF == set(sources.CALLED)


def _asks(text):
    return any(isinstance(node, ast.ImportFrom) and any(alias.name == "registry" for alias in node.names)
               for node in ast.walk(ast.parse(text)))  # fmt: skip


def test_nothing_is_imported_by_the_packages_own_name():
    """Such an import would not be followed."""
    for name, text in sources.SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(found.split(".")[0] == "petdiffusion" for found in names), name


def test_what_a_filter_loads_is_what_is_followed():
    """Python's own word: modules that importing the filters and the measures brings in."""
    said = "import sys, petdiffusion.methods.baselines.nlm, petdiffusion.measure.case; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.split()
    loaded = {name.removeprefix("petdiffusion.").replace(".", "/") for name in out if name.startswith("petdiffusion.")}
    files = {f"{name}.py" for name in loaded} & set(sources.SOURCES)
    aside = {name for name in files if sources.aside(name)}
    assert len(files - aside) > 8
    assert files - aside <= sources.files_of("methods/baselines", "measure/case.py")
