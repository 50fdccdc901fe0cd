"""One run at a time in a folder whose files all of its runs share.

Each run leaves a file whose name says process, start and machine, and refuses where it finds another run's. Nobody
takes a file over, so a file that is left by a killed run can be removed by whoever comes next.
"""

from __future__ import annotations

import os
import platform
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError
from .staging import output_error, visible, writing

PREFIX = ".in-use-"
_NAME = re.compile(rf"{re.escape(PREFIX)}(?P<pid>\d+)-(?P<start>\d+)-(?P<host>.+)")
_TRIES = 4
_SAME_START_S = 60
"""A system's clock may be set while a process runs; one that got the number of a dead one started later than that."""


@contextmanager
def alone_in(folder: Path, work: str = "run") -> Iterator[None]:
    """For as long as this lasts no other process does `work` ('batch', 'training') in the folder; where one does, it
    is an error."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    mine = _taken(folder, work)
    try:
        yield
    finally:
        with suppress(OSError):  # what cannot be removed now is a dead run's file soon
            mine.unlink()


def _taken(folder: Path, work: str) -> Path:
    """My file, once no other is there. Two that come at the same moment see each other, step back and try again."""
    mine, others = folder / _own_name(), []
    for attempt in range(_TRIES):
        time.sleep(random.uniform(0.0, 0.2) if attempt else 0.0)
        try:
            mine.touch(exist_ok=False)
        except FileExistsError:  # another thread of this very process
            raise _refusal(folder, mine, work) from None
        except OSError as error:
            raise output_error(folder, error) from error
        others = [one for one in folder.glob(f"{PREFIX}*") if one != mine and not _is_left_over(one)]
        if not others:
            return mine
        mine.unlink(missing_ok=True)
    raise _refusal(folder, others[0], work)


def _own_name() -> str:
    import psutil

    return f"{PREFIX}{os.getpid()}-{int(psutil.Process().create_time())}-{_host()}"


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", platform.node())[:80] or "unnamed"


def _is_left_over(file: Path) -> bool:
    """Whether its run was of this machine and is no more; the file is removed then."""
    import psutil

    found = _NAME.fullmatch(file.name)
    if not found or found["host"] != _host():
        return False
    try:
        process = psutil.Process(int(found["pid"]))
        same = abs(process.create_time() - int(found["start"])) < _SAME_START_S
        gone = not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error as error:
        gone = isinstance(error, psutil.NoSuchProcess)
    if gone:
        with suppress(OSError):
            file.unlink()
    return gone


def _refusal(folder: Path, file: Path, work: str) -> OutputError:
    found = _NAME.fullmatch(file.name)
    who = f"process {found['pid']} on {found['host']}" if found else file.name
    away = "" if found and found["host"] == _host() else f" If that one runs no more, remove {file.name} in the folder."
    return OutputError(f"Folder {visible(folder).name}", f"another {work} is at work in it ({who})",
                       f"Wait until it has ended, or choose another folder.{away}")  # fmt: skip
