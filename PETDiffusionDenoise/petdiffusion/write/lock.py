"""One run at a time in a folder whose files all of its runs share.

A file in the folder is locked by the operating system for as long as the run lives. A killed run's lock is gone with
it, whatever its number, its clock or its container; what the file says is for people alone.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from . import staging
from .staging import output_error, visible

FILE = ".in-use"
_TRIES = 5
_FAR = 1 << 30
"""Windows locks bytes, which nobody else can read then: one beyond all that is written."""


@contextmanager
def alone_in(folder: Path, work: str = "run") -> Iterator[None]:
    """For as long as this lasts no other process does `work` ('batch', 'training') in the folder; where one does, it
    is an error. On a file system without locks nobody is refused. A folder made for it that got no file goes again."""
    hold = _Hold(folder, work)
    staging.discarded_at_stop(hold)
    try:
        yield
    finally:
        hold.discard()


class _Hold:
    """The lock of a folder, until it is discarded."""

    def __init__(self, folder: Path, work: str) -> None:
        self._file = folder / FILE
        self._made: list[Path] = []
        try:
            with staging.writing(folder):
                staging.make_folders(folder, self._made)
            self._stream = _taken(self._file, work)
        except BaseException:
            staging.remove_empty(self._made)
            raise

    def discard(self) -> None:
        staging.forget(self)
        _remove(self._file, sys.platform != "win32")
        _release(self._stream)
        _remove(self._file, sys.platform == "win32")
        staging.remove_empty(self._made)


def _taken(file: Path, work: str) -> BinaryIO:
    for _ in range(_TRIES):
        try:
            stream = file.open("a+b")
        except OSError as error:
            raise output_error(file.parent, error) from error
        if not _locked(stream):
            with stream:
                raise _refusal(file.parent, stream, work)
        if _is_still(file, stream):
            _sign(stream)
            return stream
        _release(stream)  # the run before took the file away in this very moment
    raise OutputError(f"Folder {visible(file.parent).name}", "is taken and left by other runs all the time",
                      "Try again, or choose another folder.")  # fmt: skip


def _remove(file: Path, now: bool) -> None:
    """While it is locked, where an open file can be removed, and on Windows after. One that stays stops nobody."""
    if now:
        with suppress(OSError):
            file.unlink()


def _locked(stream: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(_FAR)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # no locks here, such as on some network drives: results matter more
    return True


def _is_still(file: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _sign(stream: BinaryIO) -> None:
    with suppress(OSError):
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node() or 'this machine'}".encode())
        stream.flush()


def _release(stream: BinaryIO) -> None:
    with suppress(OSError, ValueError):  # closed already, where the program is stopped as the run ends
        if sys.platform == "win32":
            import msvcrt

            stream.seek(_FAR)
            msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_UN)
    stream.close()


def _refusal(folder: Path, stream: BinaryIO, work: str) -> OutputError:
    who = b""
    with suppress(OSError):
        stream.seek(0)
        who = stream.read(200)
    reason = f"another {work} is at work in it" + (f" ({who.decode('utf-8', 'replace')})" if who else "")
    return OutputError(f"Folder {visible(folder).name}", reason, "Wait until it has ended, or choose another folder.")
