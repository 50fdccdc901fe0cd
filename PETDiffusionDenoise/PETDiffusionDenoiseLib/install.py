"""Packages into Slicer's Python on the user's click, without touching what Slicer brings, and out again.

Everything that is installed already is pinned, so nothing of Slicer's own is replaced. What was added is remembered,
and 'Remove' takes away exactly that.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from petdiffusion.errors import DependencyError

from . import backend
from .process import BackendProcess

REQUIREMENTS = ("numpy>=1.26", "scipy>=1.11", "SimpleITK>=2.3", "nibabel>=5.2", "pydicom>=3.0", "pysuv>=0.1",
                "scikit-image>=0.22", "mahotas>=1.4.15", "matplotlib>=3.8", "pillow>=10", "psutil>=5.9",
                "safetensors>=0.4", "nilearn>=0.10")
"""The package's own, and nilearn, whose MNI maps the digital brain of the practice data is made of."""
TORCH = "torch>=2.6"
SETTING = "PETDiffusion/Installed"
NAME = "PETDiffusion"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is missing in Slicer's Python."""

    packages: tuple[str, ...]
    torch: bool

    @property
    def empty(self) -> bool:
        return not self.packages and not self.torch

    @property
    def text(self) -> str:
        return "\n".join(f"- {name}" for name in (*self.packages, *((TORCH,) if self.torch else ())))


def plan() -> Plan:
    importlib.invalidate_caches()
    return Plan(tuple(r for r in REQUIREMENTS if not satisfied(r)), not satisfied(TORCH))


def satisfied(requirement: str) -> bool:
    """Is a package there in a version that will do?"""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def installed() -> dict[str, str]:
    """Every distribution with its version."""
    importlib.invalidate_caches()
    found = ((d.metadata["Name"], d.version) for d in metadata.distributions())
    return {name.lower().replace("_", "-"): version for name, version in found if name and version}


def install(wanted: Plan, log: Log = print) -> list[str]:
    """Install what is planned; returns what was added. What was added before a failure is remembered too."""
    before = installed()
    try:
        if wanted.packages:
            _install_packages(wanted.packages, before, log)
        if wanted.torch:  # last: where its extension is missing, filters work all the same
            _install_torch(log)
    finally:
        added = {name: version for name, version in installed().items() if name not in before}
        _remember({**added_by_us(), **added})
    return sorted(added)


def _install_torch(log: Log) -> None:
    """By the PyTorch extension, which picks the build for this computer's graphics card."""
    try:
        import PyTorchUtils
    except ImportError:
        raise DependencyError("PyTorch", "is installed by Slicer's extension of the same name, which is missing",
                              "Install 'PyTorch' in the Extensions Manager, restart Slicer and click again. "
                              "Filters work without it.") from None
    log("Installing PyTorch with the PyTorch extension …")
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=">=2.6") is None:
        raise DependencyError("PyTorch", "was not installed", "See the PyTorch extension, and try again.")


def _install_packages(packages: Sequence[str], pinned: dict[str, str], log: Log) -> None:
    with tempfile.TemporaryDirectory(prefix="PETDiffusion-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{n}=={v}\n" for n, v in pinned.items() if _is_plain(v)), encoding="utf-8")
        packaging = _slicer_packaging()
        if packaging is not None:
            _ensure(packaging, packages, constraints)
        else:
            _pip(["install", "--no-input", "-c", str(constraints), *packages], log, _not_installed)


def _slicer_packaging() -> Any:
    """Slicer's own installer; Slicer 5.10 has none yet."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _ensure(packaging: Any, packages: Sequence[str], constraints: Path) -> None:
    import subprocess

    try:
        packaging.pip_ensure(list(packages), constraints=str(constraints), requester=NAME, prompt_install=False)
    except subprocess.CalledProcessError as error:
        raise _not_installed(f"pip ended with code {error.returncode}") from None


def _is_plain(version: str) -> bool:
    """Local versions (`2.13.0+cpu`) are pinned as well; only what pip cannot read is left out."""
    return bool(version) and " " not in version


def _pip(arguments: Sequence[str], log: Log, failed: Callable[[str], DependencyError]) -> None:
    """pip in Slicer's Python as a child process, its lines to the log, the application alive meanwhile."""
    ours = backend.Backend()
    process = BackendProcess([ours.executable(), "-u", "-m", "pip", *arguments], ours.environment(), on_log=log)
    process.start()
    ending = process.wait(slicer.app.processEvents)
    if ending.exit_code != 0:
        last = next((line for line in reversed(process.log) if "ERROR" in line), f"code {ending.exit_code}")
        raise failed(last)


def _not_installed(why: str) -> DependencyError:
    return DependencyError("The packages", f"could not be installed ({why})",
                           "Check the network and the log. Or set up another Python with the packages and choose it "
                           "under 'Compute in'.")


def _not_removed(why: str) -> DependencyError:
    return DependencyError("The packages", f"could not be removed ({why})",
                           "Restart Slicer and click 'Remove packages' before anything else: files in use stay locked.")


def added_by_us() -> dict[str, str]:
    """What this module added to Slicer's Python, by the settings."""
    try:
        found = json.loads(str(slicer.app.userSettings().value(SETTING, "") or "{}"))
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _remember(packages: dict[str, str]) -> None:
    slicer.app.userSettings().setValue(SETTING, json.dumps(packages))


def remove(log: Log = print) -> list[str]:
    """Take away what was added; packages that have another version by now belong to someone else and stay."""
    now = installed()
    ours = sorted(name for name, version in added_by_us().items() if now.get(name) == version)
    if ours:
        _pip(["uninstall", "--yes", *ours], log, _not_removed)
    _remember({})
    return ours


def command_for(python: str) -> str:
    """The line that sets up another Python, to paste into a terminal."""
    words = " ".join(f'"{name}"' for name in (*REQUIREMENTS, TORCH))
    return f"{_program(python or 'python')} -m pip install {words}"


def _program(path: str) -> str:
    """A program as the system's terminal starts it: PowerShell would print a path in quotes."""
    if " " not in path:
        return path
    return f'& "{path}"' if os.name == "nt" else f'"{path}"'
