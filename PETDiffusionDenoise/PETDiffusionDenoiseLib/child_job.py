"""What all jobs share: one child process, a folder of their own that is gone with it, and an outcome at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer

from . import backend
from .child import SCRATCH_PREFIX
from .process import BackendProcess, Ending
from .signals import Signal


class ChildJob:
    """`start` hands over and begins; `ended` gets the outcome: what came of it, a Failure, or None if cancelled."""

    def __init__(self, python: backend.Backend | None) -> None:
        self.backend = python or backend.chosen()
        self.ended, self.outcome = Signal(), None
        self._scratch: Path | None = None
        self._process: BackendProcess | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def poll(self) -> bool:
        return self._process is not None and self._process.poll()

    def cancel(self) -> None:
        if self._process is not None:
            self._process.cancel()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def wait(self, pump: Callable[[], None] = lambda: None) -> Any:
        if self._process is not None:
            self._process.wait(pump)
        return self.outcome

    def _begin(self, words: Callable[[], Sequence[str]], on_event: Callable[..., None], on_log: Callable[..., None]
               ) -> None:  # fmt: skip
        """`words` hands over what the child is to read, and says what it is to do."""
        self._scratch = new_scratch()
        try:
            told = words()
        except Exception:
            self._clean()
            raise
        self._process = BackendProcess(self.backend.command(told, str(self._scratch)), self.backend.environment(),
                                       on_event, on_log, self._on_end)
        self._process.start()

    def _on_end(self, ending: Ending) -> None:
        raise NotImplementedError

    def _clean(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def new_scratch() -> Path:
    """A folder for one job; with this prefix the child removes it should Slicer be gone before."""
    folder = getattr(slicer.app, "temporaryPath", None) or None
    return Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=folder))
