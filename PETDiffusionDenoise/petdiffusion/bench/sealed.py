"""Folders that appear whole or not at all, know their files' SHA-256, and are made again where they are damaged."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import OutputError
from ..progress import Run
from ..write import moving
from . import store

SEAL = "seal.json"
_PART = re.compile(r"\.part-(\d+)-.*")


def sound(place: Path) -> bool:
    """Whether every file is the one that was sealed."""
    seal = store.read_json(place / SEAL)
    return bool(seal) and all((place / n).is_file() and store.sha256(place / n) == sha for n, sha in seal.items())


def ready(place: Path, fill: Callable[[Path], object], run: Run) -> Path:
    """The folder, filled now by `fill(folder)` if it is missing or damaged. Several processes may ask for one."""
    if sound(place):
        return place
    _remove_stale(place.parent)
    part = place.with_name(f".part-{os.getpid()}-{place.name}")
    try:
        with store.caching():
            part.mkdir(parents=True)
        with store.caching((OutputError,)):  # whatever else fails may be an image that was read
            fill(part)
            store.write_json({file.name: store.sha256(file) for file in sorted(part.iterdir())}, part / SEAL)
        run.check()
        with store.caching():
            _put(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _put(part: Path, place: Path) -> None:
    """Over a damaged folder; what another process has put there meanwhile is as good."""
    try:
        os.replace(part, place)
    except OSError:
        if sound(place):
            return
        shutil.rmtree(place, ignore_errors=True)
        moving.replace(part, place)


def _remove_stale(folder: Path) -> None:
    """What a killed run left behind."""
    import psutil

    for part in folder.glob(".part-*") if folder.is_dir() else ():
        match = _PART.fullmatch(part.name)
        if match and not psutil.pid_exists(int(match.group(1))):
            shutil.rmtree(part, ignore_errors=True)
