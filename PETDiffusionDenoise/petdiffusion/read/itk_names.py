"""Names of files as ITK can open them.

On Windows it hands them to functions that read them in the system's code page, while they come in UTF-8: of folders
like C:\\Users\\Jürgen it says that they are not there. Slicer's own process is in UTF-8; plain Pythons are not.
"""

from __future__ import annotations

import locale
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST = 1 << 15


@contextmanager
def itk_name(path: Path) -> Iterator[str]:
    """Its folder by the short name that Windows may keep for it, and the rest in UTF-8 as long as this lasts."""
    if sys.platform != "win32" or str(path).isascii():
        yield str(path)
        return
    before = locale.setlocale(locale.LC_CTYPE)
    with suppress(locale.Error):  # before Windows 10 of 2018
        locale.setlocale(locale.LC_CTYPE, ".UTF-8")
    try:
        yield str(Path(_short(path.absolute().parent), path.name))
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _short(folder: Path) -> str:
    """The folder itself where it has no such name."""
    import ctypes

    found = ctypes.create_unicode_buffer(_LONGEST)
    known = ctypes.windll.kernel32.GetShortPathNameW(str(folder), found, _LONGEST)
    return found.value if known else str(folder)
