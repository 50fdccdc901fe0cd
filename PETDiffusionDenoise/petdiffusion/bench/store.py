"""Where benchmarks keep what they have made: named by everything it depends on, written aside, checked when used.

    PETDIFFUSION_CACHE or the user's cache folder / petdiffusion / bench /
        patients/brain-900000-<digest>/     scans of a digital patient, seal.json with the files' SHA-256
        real/<digest>/                      a real scan at a simulated reduced dose
        tuned/<digest>.json                 settings of a filter and all trials
        results/<digest>.json               numbers of one row on one scan

A digest covers the program's own code that the result comes from (`sources.py`), so a result of older code is never
taken for one of today's. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..write import moving
from ..write.staging import output_error, writing

LENGTH = 20


def folder() -> Path:
    """`$PETDIFFUSION_CACHE`, or the system's place for caches."""
    given = os.environ.get("PETDIFFUSION_CACHE")
    return (Path(given).expanduser() if given else _system_cache() / "petdiffusion") / "bench"


def _system_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def caching(kinds: tuple[type[Exception], ...] = (OSError, OutputError)) -> Iterator[None]:
    """A cache that cannot be written is named by its folder: nobody chose the files in it."""
    try:
        yield
    except kinds as error:
        why = error.why if isinstance(error, OutputError) else output_error(folder(), error).why
        raise OutputError(f"The cache {folder()} cannot be written", why,
                          "Set PETDIFFUSION_CACHE to a folder with room that can be written.") from error  # fmt: skip


def check_writable() -> None:
    """Before patients are drawn, which may take minutes."""
    probe = folder() / f".{os.getpid()}.part"
    with caching():
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def digest(value: Any) -> str:
    """Of anything that JSON can say."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(value: Any) -> Any:
    return vars(value) if hasattr(value, "__dict__") else value.item() if hasattr(value, "item") else dict(value)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(text: str, file: Path) -> None:
    """Aside, then into place: a killed run leaves the whole file or none."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            aside.write_text(text, encoding="utf-8")
            moving.replace(aside, file)
        finally:
            aside.unlink(missing_ok=True)


def write_json(data: Any, file: Path) -> None:
    write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", file)


def keep_json(data: Any, file: Path) -> None:
    """In the cache."""
    with caching():
        write_json(data, file)


def read_json(file: Path) -> Any:
    """None where there is nothing that can be read: it is then made again."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
