"""A process that another started leaves with it: once that one was killed, nobody wants its results any more."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Protocol

FAREWELL_S = 5.0
"""For what can be stopped cleanly; what cannot, deep inside a library, is ended then."""


class Stop(Protocol):
    """An event of `threading` or of `multiprocessing`."""

    def set(self) -> None: ...


def leave_with_parent(stop: Stop) -> None:
    """In a process that was just started: sets `stop` when the parent has gone, and ends the process soon after."""
    threading.Thread(target=_wait, args=(stop,), daemon=True).start()


def _wait(stop: Stop) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    stop.set()
    time.sleep(FAREWELL_S)
    os._exit(1)
