"""The packages that the program uses, from which version on, and what is said where one is missing or too old.

Declared here too, and not asked of the installed metadata: run from its source the program has none. A test holds the
list equal to pyproject.toml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata, util

from .errors import DependencyError

ABSENT = "not installed"
_FIGURES = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class Package:
    """`module`: what is imported. `needed`: nothing at all runs without it. `why`: what else does not."""

    name: str
    least: str
    module: str
    needed: bool = True
    why: str = ""

    def found(self) -> str:
        """The version that is installed."""
        try:
            return metadata.version(self.name) if util.find_spec(self.module) is not None else ABSENT
        except (metadata.PackageNotFoundError, ValueError, ImportError):
            return ABSENT

    def remedy(self) -> str:
        """By the package's own name, as indices have it: this program is in none."""
        return f"{self.why or 'Run'}: {self.command()}"

    def command(self) -> str:
        return f'pip install "{self.name}>={self.least}"'


_NETWORKS, _WEIGHTS = "Simulation and all learned methods need it", "All learned methods need it"
PACKAGES = (
    Package("numpy", "1.26", "numpy"),
    Package("scipy", "1.11", "scipy"),
    Package("SimpleITK", "2.3", "SimpleITK"),
    Package("nibabel", "5.2", "nibabel"),
    Package("pydicom", "3.0", "pydicom"),
    Package("pysuv", "0.1", "pysuv"),
    Package("scikit-image", "0.22", "skimage"),
    Package("matplotlib", "3.8", "matplotlib"),
    Package("mahotas", "1.4.15", "mahotas"),
    Package("pillow", "10", "PIL"),
    Package("psutil", "5.9", "psutil"),
    Package("torch", "2.6", "torch", False, _NETWORKS),
    Package("safetensors", "0.4", "safetensors", False, _WEIGHTS),
    Package("highdicom", "0.28", "highdicom", False, "DICOM SEG and structured reports"),
    Package("lightning-fabric", "2.4", "lightning_fabric", False, "Training"),
    Package("open_clip_torch", "2.30", "open_clip", False, "Text prompts"),
    Package("TotalSegmentator", "2.4", "totalsegmentator", False, "Organs from CT or MR"),
    Package("ray", "2.40", "ray", False, "Batches over a cluster"),
    Package("nilearn", "0.10", "nilearn", False, "Digital brains"),
)
NETWORKS = ("torch", "safetensors")
"""What every method with a network needs."""


def at_least(found: str, least: str) -> bool:
    """Number by number. A version without numbers is nothing to refuse."""
    known = _FIGURES.match(found)
    if known is None:
        return True
    have, want = ([int(figure) for figure in text.split(".")] for text in (known[0], least))
    length = max(len(have), len(want))
    return have + [0] * (length - len(have)) >= want + [0] * (length - len(want))


def to_install(name: str) -> str:
    """The remedy where this package is not there."""
    return f"Run: {next(p for p in PACKAGES if p.name == name).command()}"


def missing(error: Exception) -> DependencyError | None:
    """The error in plain words where one of these is what is not there; None for anything else."""
    module = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    package = next((p for p in PACKAGES if p.module == module), None)
    return None if package is None else DependencyError(f"Package {package.name}", "is not installed", package.remedy())
