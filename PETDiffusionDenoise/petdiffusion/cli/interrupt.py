"""Ctrl-C: ask the run to stop; if it is deep inside a library and does not, clean up and leave."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..progress import Run

PATIENCE_S = 1.5
EXIT_CANCELLED = 130


@contextmanager
def stops_on_signals(run: Run, patience: float = PATIENCE_S) -> Iterator[None]:
    """SIGINT and SIGTERM cancel the run; whatever has not stopped after a moment is ended, leaving nothing behind."""
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def cancel(number: int, frame: Any) -> None:
        run.cancelled.set()
        threading.Thread(target=_leave_unless, args=(stopped, patience), daemon=True).start()

    for number in before:
        signal.signal(number, cancel)
    try:
        yield
    finally:
        stopped.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_unless(stopped: threading.Event, patience: float) -> None:
    if stopped.wait(patience):
        return
    from ..write import staging

    staging.discard_all()
    sys.stderr.write("\nStopped by the user. No partial file was left.\n")
    sys.stderr.flush()
    os._exit(EXIT_CANCELLED)
