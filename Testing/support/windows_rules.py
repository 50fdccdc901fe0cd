"""A pytest plugin that makes Linux refuse what Windows refuses of files. Loaded by `make test-windows-rules` alone.

A file that is open or mapped, here or in a child process, is neither removed nor replaced; some names cannot be made;
a folder is not opened; the package's text files say their encoding. It shows nothing of what is not files.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import functools
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9]) *(\..*)?", re.IGNORECASE)
OF_OTHER_SYSTEMS = ("test_who_comes_as_another_leaves", "test_unusual_names_work[.nii.gz-\\u0451",
                    "test_unusual_names_work[.nrrd-\\u0451", "test_unusual_names_work[.mha-\\u0451")
"""Tests that remove what they have open, or make a name with quotation marks."""
WRITES = re.compile(r"[wxa+]")
_real = {name: getattr(os, name) for name in ("replace", "rename", "unlink", "remove", "mkdir", "open")}
_real_open = io.open
_temporary = os.path.realpath(tempfile.gettempdir())


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("filterwarnings", r"error::EncodingWarning:petdiffusion(\..*)?")
    sys.modules["support.windows_rules"] = sys.modules[__name__]  # as its own test calls it
    begin()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if any(part in item.nodeid for part in OF_OTHER_SYSTEMS):
            item.add_marker(pytest.mark.skip(reason="does what no Windows can"))


def pytest_unconfigure() -> None:
    end()


class _Locks:
    """What the program asks of the module `msvcrt`."""

    LK_NBLCK, LK_UNLCK = 2, 0

    @staticmethod
    def locking(number: int, mode: int, _: int) -> None:
        try:
            fcntl.flock(number, fcntl.LOCK_UN if mode == _Locks.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "is locked (Windows)") from error


def in_force() -> bool:
    return io.open is not _real_open


def begin() -> None:
    from petdiffusion.write import lock

    sys.modules["msvcrt"], lock.sys = _Locks, SimpleNamespace(platform="win32")
    for name in ("replace", "rename"):
        setattr(os, name, _moving(_real[name]))
    for name in ("unlink", "remove"):
        setattr(os, name, _removing(_real[name]))
    os.mkdir, os.open = _making(_real["mkdir"]), _opening(_real["open"])
    io.open = builtins.open = _writing(_real_open)
    shutil._use_fd_functions = False  # Windows has none of them, and they open folders


def end() -> None:
    from petdiffusion.write import lock

    del sys.modules["msvcrt"]
    lock.sys = sys
    for name, function in _real.items():
        setattr(os, name, function)
    io.open = builtins.open = _real_open
    shutil._use_fd_functions = True


def _moving(function: Any) -> Any:
    @functools.wraps(function)
    def move(source: Any, target: Any, **more: Any) -> None:
        _refuse_in_use(source)
        _refuse_in_use(target)
        _refuse_name(target)
        if os.path.isdir(target):
            raise PermissionError(errno.EACCES, "there is a folder in the way (Windows)", str(target))
        function(source, target, **more)

    return move


def _removing(function: Any) -> Any:
    @functools.wraps(function)
    def remove(path: Any, **more: Any) -> None:
        _refuse_in_use(path)
        function(path, **more)

    return remove


def _making(function: Any) -> Any:
    @functools.wraps(function)
    def mkdir(path: Any, *more: Any, **named: Any) -> None:
        _refuse_name(path)
        function(path, *more, **named)

    return mkdir


def _opening(function: Any) -> Any:
    @functools.wraps(function)
    def open_(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            _refuse_name(path)
        if _is_ours(path) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "a folder cannot be opened (Windows)", str(path))
        return function(path, flags, *more, **named)

    return open_


def _writing(function: Any) -> Any:
    @functools.wraps(function)
    def open_(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if WRITES.search(mode) and isinstance(file, (str, os.PathLike)):
            _refuse_name(file)
        return function(file, mode, *more, **named)

    return open_


def _refuse_name(path: Any) -> None:
    name = os.path.basename(os.path.normpath(os.fsdecode(path)))
    if re.search(r'[<>:"|?*\\\x00-\x1f]', name) or RESERVED.fullmatch(name) or name.endswith((".", " ")):
        raise OSError(errno.EINVAL, "no such name can be made (Windows)", str(path))


def _is_ours(path: Any) -> bool:
    return not isinstance(path, int) and os.path.realpath(os.fsdecode(path)).startswith(_temporary)


def _refuse_in_use(path: Any) -> None:
    place = os.path.realpath(os.fsdecode(path))
    if _is_ours(path) and any(one == place or one.startswith(place + os.sep) for one in _open_files()):
        raise PermissionError(errno.EACCES, "is in use (Windows)", str(path))


def _open_files() -> set[str]:
    """Of this process and its children: what they hold open and what they have mapped, below the temporary folder."""
    found = set()
    for process in ["self", *(str(child.pid) for child in psutil.Process().children(recursive=True))]:
        for link in _listed(Path("/proc", process, "fd")):
            found.add(_where(link))
        for line in _lines(Path("/proc", process, "maps")):
            found.add(line.split(maxsplit=5)[-1])
    return {place for place in found if place.startswith(_temporary)}


def _listed(folder: Path) -> list[str]:
    try:
        return [str(folder / name) for name in os.listdir(folder)]
    except OSError:
        return []


def _where(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _lines(file: Path) -> list[str]:
    try:
        with _real_open(file, encoding="utf-8") as stream:
            return stream.read().splitlines()
    except OSError:
        return []
