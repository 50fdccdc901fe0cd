"""What systems put into folders that people look at, or copy: no part of what lies there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_BY_WINDOWS = ("thumbs.db", "desktop.ini")


def is_of_system(file: Path) -> bool:
    """Finder's `.DS_Store`, the `._` files of copies from a Mac, and Explorer's."""
    return file.name == ".DS_Store" or file.name.startswith("._") or file.name.lower() in _BY_WINDOWS


def held(folder: Path) -> Iterator[Path]:
    """What lies in it otherwise."""
    return (file for file in folder.iterdir() if not is_of_system(file))
