"""What all jobs share: one child process, a folder of their own that is gone with it, and an outcome at the end."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer
from petdiffusion.errors import PETDiffusionError

from . import backend, child
from .child import SCRATCH_PREFIX
from .process import BackendProcess, Ending, Failure
from .signals import Signal

_OWNER = re.compile(rf"{SCRATCH_PREFIX}(\d+)-.+")


class ChildJob:
    """`start` hands over and begins; `ended` gets the outcome: what came of it, a Failure, or None if cancelled. What
    the child says meanwhile goes out as signals."""

    kept_by_cancel = ""
    """What a reader should know who stopped it."""

    def __init__(self, python: backend.Backend | None) -> None:
        self.backend = python or backend.chosen()
        self.ended, self.outcome = Signal(), None
        self.stage, self.progress, self.warning, self.log = Signal(), Signal(), Signal(), Signal()
        self._scratch: Path | None = None
        self._process: BackendProcess | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def silent_seconds(self) -> float:
        return self._process.silent_seconds if self._process is not None else 0.0

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

    def _begin(self, words: Callable[[], Sequence[str]]) -> None:
        """`words` hands over what the child is to read, and says what it is to do."""
        self._scratch = new_scratch()
        try:
            told = words()
        except Exception:
            self._clean()
            raise
        self._process = BackendProcess(self.backend.command(told, str(self._scratch)), self.backend.environment(),
                                       self._on_event, self.log.emit, self._on_end)
        self._process.start()

    def _on_event(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "stage":
            self.stage.emit(str(event.get("text", "")))
        elif kind == "progress":
            self.progress.emit(_number(event.get("fraction")) or 0.0, _number(event.get("seconds_left")))
        elif kind == "warning":
            self.warning.emit(str(event.get("text", "")))

    def _on_end(self, ending: Ending) -> None:
        try:
            stopped = ending.failure is not None or ending.cancelled
            self.outcome = ending.failure if stopped else self._bring_in(ending.result)
        except PETDiffusionError as error:
            self.outcome = Failure(**error.to_json())
        except Exception as error:
            logging.exception("PETDiffusion: the results could not be brought into the scene")
            self.outcome = Failure("Defect", "The results could not be brought into the scene",
                                   f"{type(error).__name__}: {error}", "Copy the log and report it.")
        finally:
            self._clean()
        self.ended.emit(self.outcome)

    def _bring_in(self, result: Mapping[str, Any]) -> Any:
        """What the child's answer is in the scene."""
        raise NotImplementedError

    def _clean(self) -> None:
        if self._scratch is not None:
            child.remove(self._scratch)


def new_scratch() -> Path:
    """A folder for one job; with this prefix the child removes it should Slicer be gone before."""
    folder = getattr(slicer.app, "temporaryPath", None) or tempfile.gettempdir()
    _remove_left(Path(folder))
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-", dir=folder))


def _remove_left(folder: Path) -> None:
    """Scans that nobody could remove when a Slicer and its job went: on Windows what the job still had open."""
    try:
        import psutil
    except ImportError:  # nothing was installed yet, so no job was run
        return
    for one in folder.glob(f"{SCRATCH_PREFIX}*"):
        owner = _OWNER.fullmatch(one.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(one, ignore_errors=True)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
