"""Outputs are written aside and moved into place: whole results or none.

A hidden folder inside the destination holds everything until the work is done, so the moves stay on one file system.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import OutputError
from . import moving, reasons

_PREFIX = ".petdiffusion-"
_REPLACED = ".replaced"
_TRIES, _PAUSE_S = 5, 0.05
FILE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm", ".csv", ".json", ".html")
_HOST = f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"
_STALE = re.compile(rf"^{re.escape(_PREFIX)}{_HOST}-(\d+)-")
_live: list[Any] = []
"""What is to be discarded when the program is being stopped, the latest first."""
_lock = threading.Lock()
_Done = tuple[Path, Path | None, Path | None]
"""A place, the old file that was there and the new one, where they lie meanwhile."""


def output_error(path: Path | str, error: Exception) -> OutputError:
    """What the system said of a failed write, as a named error."""
    reason, remedy = reasons.why(error, path)
    shown = str(visible(path))
    shown = shown if len(shown) <= 200 else f"{shown[:80]}…{shown[-100:]}"
    return OutputError(f"{shown} cannot be written", reason, remedy)


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turns what file systems and image libraries raise while writing `path` into an OutputError."""
    try:
        yield
    except (OSError, RuntimeError, UnicodeError) as error:
        raise output_error(path, error) from error


def check_space(folder: Path, needed: int) -> None:
    """Refuse before anything is written when the disk cannot hold it."""
    with writing(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(f"{visible(folder)} cannot be written",
                          f"{needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free",
                          "Free some space, or write elsewhere.")


def visible(path: Path | str) -> Path:
    """Where a staged file is meant to go: the path without the hidden folders it waits in."""
    return Path(*[part for part in Path(path).parts if not part.startswith(_PREFIX)])


class Staging:
    """Collects files for `folder` and moves them there when the `with` block ends well.

    with Staging(folder, protect=[input]) as temporary:
        images.write(volume, temporary / "denoised.nii.gz")

    Existing files are replaced only with `overwrite`; files in `protect` (and in folders given there) never.
    `check` refuses before the work what could not be written after it.
    """

    def __init__(self, folder: str | os.PathLike[str], protect: Iterable[str | os.PathLike[str]] = (),
                 overwrite: bool = False, last: str = "", obsolete: Iterable[Path] = ()) -> None:
        """`last` names the file that vouches for the others: an old one goes first, the new one comes last.
        `obsolete` are files of an earlier result that go when the new one comes."""
        self.folder = Path(folder)
        self.protect = tuple(Path(p) for p in protect)
        self.overwrite = overwrite
        self.last = last
        self.obsolete = tuple(obsolete)
        self.temporary: Path | None = None
        self._made: list[Path] = []
        self._moving = threading.RLock()

    def check(self, *names: str, needed: int = 0) -> None:
        """Raise now if the folder cannot be written to or has less than the needed bytes free, or if one of these
        outputs is in the way."""
        for name in names:
            self._check_target(self.folder / name)
        with self as temporary:
            check_space(temporary, needed)

    def __enter__(self) -> Path:
        with writing(self.folder):
            is_file = self.folder.exists() and not self.folder.is_dir()
        if is_file:
            raise OutputError(f"{self.folder} cannot be written to", "it is a file, not a folder",
                              "Choose another folder.")
        if self.folder.name.lower().endswith(FILE_ENDINGS) and not self.folder.exists():
            raise OutputError(f"Folder {self.folder.name}", "is named like a file, and results are several files",
                              "Give the name of a folder.")
        try:
            with writing(self.folder):
                make_folders(self.folder, self._made)
                _remove_stale(self.folder)
                self.temporary = self._new_folder()
        except BaseException:
            remove_empty(self._made)
            raise
        discarded_at_stop(self)
        return self.temporary

    def _new_folder(self) -> Path:
        """With the rights of the destination, which files keep when they are moved on Windows; `tempfile` makes folders
        that are the user's alone there."""
        made = self.folder / f"{_PREFIX}{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
        made.mkdir()
        return made

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is None:
            try:
                with self._moving:
                    self._commit()
            except BaseException as failed:
                place = self._kept() if self.last and reasons.in_use(failed.__cause__) else None
                self.discard()
                if place is not None:
                    raise moving.told(failed, place) from failed
                raise
            self._forget()
            remove_empty(self._made)
            return
        self.discard()
        if isinstance(error, OSError) and self._is_ours(error):
            raise output_error(self.folder, error) from error

    def _kept(self) -> Path | None:
        """The whole new result, where another program has a file of the old one open."""
        if self.temporary is None:
            return None
        _remove(self.temporary / _REPLACED)
        return moving.kept(self.temporary, self.folder)

    def discard(self) -> None:
        """Remove everything that was staged, and the folders made for it. Waits while files are being moved."""
        with self._moving:
            self._forget()
            remove_empty(self._made)

    def _forget(self) -> None:
        forget(self)
        with _lock:
            temporary, self.temporary = self.temporary, None
        if temporary is not None:
            _remove(temporary)

    def _is_ours(self, error: OSError) -> bool:
        """A full disk while staging, rather than an input that could not be read."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            return True
        return error.filename is not None and str(error.filename).startswith(str(self.folder))

    def _check_target(self, target: Path) -> None:
        if _is_protected(target, self.protect):
            raise OutputError(f"{target}", "is an input of this run", "Choose another output name or folder.")
        if target.is_dir():
            raise OutputError(f"{target}", "is a folder", "Choose another name.")
        if not self.overwrite and os.path.lexists(target):
            raise OutputError(f"{target}", "exists already",
                              "Choose another name or folder, or overwrite it (--overwrite).")

    def _commit(self) -> None:
        """Move every file into place; if one cannot be moved, those that were are taken back."""
        temporary = self.temporary
        if temporary is None or not temporary.is_dir():
            raise OutputError(f"{self.folder}", "the files staged for it are gone", "Start again.")
        backup = temporary / _REPLACED
        moves = [(one, self.folder / one.relative_to(temporary)) for one in sorted(temporary.rglob("*"))
                 if not one.is_dir()]
        for _, target in moves:
            self._check_target(target)
        moves.sort(key=lambda move: move[1] == self.folder / self.last)
        targets = {target for _, target in moves}
        leaving = [self.folder / self.last] if self.last else []
        leaving += [old for old in self.obsolete if old not in targets and not _is_protected(old, self.protect)]
        done: list[_Done] = []
        try:
            for old in leaving:
                if old.is_file():
                    with writing(old):
                        done.append((old, _set_aside(old, backup, len(done)), None))
            for staged, target in moves:
                with writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    done.append((target, _set_aside(target, backup, len(done)), staged))
                    moving.replace(staged, target)
        except BaseException:
            _take_back(done, self.folder)
            raise


def make_folders(folder: Path, made: list[Path]) -> None:
    """A folder and those above it; those that were not there come into `made` as they are made."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        made.append(folder)


def remove_empty(made: list[Path]) -> None:
    """Folders that were made, as far as nothing lies in them."""
    for folder in reversed(made):
        try:
            folder.rmdir()
        except OSError:
            break
    made.clear()


def _set_aside(target: Path, backup: Path, number: int) -> Path | None:
    if not os.path.lexists(target):
        return None
    backup.mkdir(exist_ok=True)
    kept = backup / str(number)
    moving.replace(target, kept)
    return kept


def _take_back(done: list[_Done], folder: Path) -> None:
    for target, kept, staged in reversed(done):
        with suppress(OSError):
            if staged is not None and not staged.exists():
                moving.replace(target, staged)
            if kept is not None:
                moving.replace(kept, target)
            if target.parent != folder:
                target.parent.rmdir()


def _is_protected(target: Path, protect: Iterable[Path]) -> bool:
    resolved = target.resolve()
    for one in protect:
        guarded = one.resolve()
        if resolved == guarded or (guarded.is_dir() and resolved.exists() and guarded in resolved.parents):
            return True
        if resolved.exists() and guarded.exists() and os.path.samefile(resolved, guarded):
            return True
    return False


def _remove(folder: Path) -> None:
    """All of it, even while another thread is still adding files, or a virus scanner looks into one."""
    for number in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE_S * 2**number)


def _remove_stale(folder: Path) -> None:
    """What a killed run of this machine left behind."""
    import psutil

    for one in folder.glob(f"{_PREFIX}*"):
        match = _STALE.match(one.name)
        if match and not psutil.pid_exists(int(match.group(1))):
            shutil.rmtree(one, ignore_errors=True)


def discarded_at_stop(one: Any) -> None:
    """From now on `one.discard()` is called if the program is stopped in the midst of work."""
    with _lock:
        _live.append(one)


def forget(one: Any) -> None:
    with _lock, suppress(ValueError):
        _live.remove(one)


def discard_all() -> None:
    """Remove what every live run holds; for the moment when the program is being stopped."""
    with _lock:
        live = list(reversed(_live))
    for one in live:
        one.discard()
