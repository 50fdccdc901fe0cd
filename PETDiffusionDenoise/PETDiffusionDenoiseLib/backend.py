"""Which Python runs the backend, with which environment, and how its commands are put together."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer
import slicer.util

MODULE_FOLDER = Path(__file__).resolve().parent.parent
CHILD = Path(__file__).resolve().with_name("child.py")
SETTING = "PETDiffusion/Python"
_SLICER_ONLY = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")


@dataclass(frozen=True)
class Backend:
    """A Python and the folder that holds `petdiffusion`. `python` is empty for Slicer's own."""

    python: str = ""
    package_folder: Path = MODULE_FOLDER

    @property
    def external(self) -> bool:
        return bool(self.python)

    @property
    def title(self) -> str:
        return self.python if self.external else "Slicer's Python"

    def executable(self) -> str:
        if self.external:
            return os.path.expanduser(self.python)
        return shutil.which("PythonSlicer") or sys.executable

    def command(self, arguments: Sequence[str], scratch: str = "-") -> list[str]:
        """The words that run `petdiffusion ARGUMENTS` under the watch of this process."""
        return [self.executable(), "-u", str(CHILD), scratch, str(self.package_folder), *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """Slicer's environment for its own Python, the user's for another one, with the package in reach of both."""
        base = dict(os.environ)
        if self.external:
            base = dict(slicer.util.startupEnvironment())
            for name in _SLICER_ONLY:
                base.pop(name, None)
        before = base.get("PYTHONPATH", "")
        base["PYTHONPATH"] = os.pathsep.join([str(self.package_folder), *([before] if before else [])])
        base |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "MPLBACKEND": "Agg"}
        return base


def chosen() -> Backend:
    """The Python that the user set up; Slicer's own until then."""
    return Backend(str(slicer.app.userSettings().value(SETTING, "") or ""))


def choose(python: str) -> None:
    slicer.app.userSettings().setValue(SETTING, python)


def denoise_arguments(pet: str, out: str, method: str, files: Mapping[str, str], *, unit: str | None = None,
                      options: Mapping[str, object] | None = None, model: str = "", seed: int = 0,
                      device: str = "auto", text: str = "", dose_fraction: float | None = None,
                      register: bool = False) -> list[str]:
    """`petdiffusion denoise …` as words; `files` has ct, mr, labels, lesions and reference where given."""
    words = ["denoise", pet, "--method", method, "--out", out, "--json-lines", "--no-report", "--format", "mha",
             "--seed", str(seed), "--device", device]
    for name, path in files.items():
        words += [f"--{name}", path]
    for name, value in {"unit": unit, "model": model, "text": text, "dose-fraction": dose_fraction}.items():
        if value not in (None, ""):
            words += [f"--{name}={value}"]
    words += ["--register"] if register else []
    return words + option_words(options or {})


def option_words(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in ("--option", f"{name}={_written(value)}")]


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
