"""Which of the program's own code a result comes from: the parts that are named, and all that these import."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import store

ASIDE = ("__init__.py", "errors.py", "packages.py", "parent.py", "progress.py", "registry.py", "bench", "read", "write",
         "zoo")  # fmt: skip
"""What carries numbers and makes none, which changes often: it counts where it is named, and is not followed to."""
CALLED = {
    "infer/partners.py": "methods/baselines",
    "infer/tissue.py": "methods/baselines",
    "methods/text_ddpm/pet_organs.py": "methods/amdiff",
}
"""Methods that are run by name, which no import tells."""


def snapshot(package: Path) -> dict[str, bytes]:
    """Every source file by its name."""
    return {file.relative_to(package).as_posix(): file.read_bytes() for file in sorted(package.rglob("*.py"))}


SOURCES = snapshot(Path(__file__).resolve().parents[1])
"""As they were when this process began: a file that is edited while it runs is not what its results come from."""


def code(*parts: str) -> str:
    """The digest of folders (`physics`) and files (`tune.py`) of the package with all that they rest on."""
    return store.digest({name: hashlib.sha256(SOURCES[name]).hexdigest() for name in files_of(*parts)})


def files_of(*parts: str) -> set[str]:
    """The files of parts, and those that they import, at whatever depth and from wherever in their text."""
    found: set[str] = set()
    waiting = [name for part in parts for name in _named(part)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in _imported(name, SOURCES[name]) if other in SOURCES and not aside(other)]
            waiting += _named(CALLED[name]) if name in CALLED else []
    return found


def aside(name: str) -> bool:
    return any(_within(name, part) for part in ASIDE)


def _named(part: str) -> list[str]:
    return [name for name in SOURCES if _within(name, part)]


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}/")


@cache
def _imported(name: str, text: bytes) -> tuple[str, ...]:
    """Files that the relative imports of a file may mean: a module or a package, or one within the package named."""
    return tuple(file for path in _paths(name, text) for file in (f"{path}.py", f"{path}/__init__.py"))


def _paths(name: str, text: bytes) -> Iterator[str]:
    folders = name.split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*folders[: len(folders) + 1 - node.level], *filter(None, (node.module or "").split("."))]
            yield "/".join(base)
            yield from ("/".join([*base, alias.name]) for alias in node.names)
