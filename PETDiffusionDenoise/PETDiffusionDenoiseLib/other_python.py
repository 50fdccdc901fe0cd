"""What another Python reads of a PET's DICOM files, where Slicer's own lacks the packages for it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backend import Backend

SCRIPT = Path(__file__).resolve().with_name("dicom_facts.py")
PATIENCE_S = 60.0
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


@dataclass(frozen=True)
class Told:
    """Facts and SUV factor of a scan, or why there is none."""

    factor: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""
    doubts: Sequence[str] = ()


_told: dict[tuple[str, ...], Told] = {}
"""To start a Python takes a second or two, and the panel asks at every change."""


def facts_in(files: Sequence[str], python: Backend) -> Told:
    """A Python that could not answer is asked again next time, because it may have been mended."""
    key = (python.python, *files)
    if key not in _told:
        try:
            _told[key] = Told(**_answer(files, python))
        except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
            return Told(problem=f"{python.title} cannot read the DICOM files ({_reason(error)}).",
                        remedy="Choose a Python that has the packages in 'Set-up': 'Copy install command' there.")
    return _told[key]


def _answer(files: Sequence[str], python: Backend) -> Any:
    with tempfile.TemporaryDirectory(prefix="PETDiffusion-") as folder:
        listing = Path(folder) / "files.json"
        listing.write_text(json.dumps(list(files)), encoding="utf-8")
        done = subprocess.run([python.executable(), str(SCRIPT), str(listing)], env=python.environment(), text=True,
                              capture_output=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
                              timeout=PATIENCE_S, check=True, creationflags=_NO_WINDOW)
    return json.loads(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "")


def _reason(error: Exception) -> str:
    said = (getattr(error, "stderr", "") or "").strip().splitlines()
    return said[-1] if said else str(error)
