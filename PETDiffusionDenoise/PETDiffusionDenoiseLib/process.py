"""A backend job in a child process: JSON lines in, events out, and a cancel that ends the whole tree.

Nothing here knows Qt. Threads only read the pipes; everything the user sees happens in `poll`, which the panel calls
from a timer and a script from `wait`.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from .control import Control

GRACE_S = 5.0
POLL_BUDGET_S = 0.03
LINES_WAITING = 4000
LONGEST_LINE = 8 << 20
RESULT = b'{"event": "result"'
"""How the one line begins that may be longer: the tables of a dynamic scan are in it."""
LONGEST_LOGGED = 2000
PIPES_CLOSE_S = 1.5
KEPT_LINES = 5000
EXIT_CANCELLED = 130
EVENTS = ("stage", "progress", "warning", "result", "error")
_OUT_OF_MEMORY = {-9: "SIGKILL", 137: "SIGKILL", 0xC0000017: "no memory", 0xC000012D: "commitment limit"}
_LAUNCHER_SAYS = "exit abnormally"
"""PythonSlicer's words when the real Python ended by a signal; the exit code does not get through."""
_NO_MODULE = "No module named"
_CRASHED = {-11, -6, -7, -4, 139, 134, 0xC0000005, 0xC0000409, 0xC00000FD}


@dataclass(frozen=True)
class Failure:
    """Why a job gave no result, in the form of the program's errors."""

    type: str
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        return f"{text.rstrip('.')}. {self.remedy}".strip()

    @classmethod
    def from_event(cls, error: Any) -> Failure:
        known = error if isinstance(error, Mapping) else {"what": error}
        if _NO_MODULE in str(known.get("why")):
            return cls.missing_package(str(known["why"]))
        return cls(*(str(known.get(key) or "") for key in ("type", "what", "why", "remedy")))

    @classmethod
    def missing_package(cls, said: str) -> Failure:
        """From Python's own words, `No module named 'x'`."""
        module = said.rsplit(_NO_MODULE, 1)[1].split("(")[0].strip(" '\"")
        return cls("DependencyError", f"Python package '{module}'", "is not installed",
                   "Open 'Set-up' and install what is missing.")


@dataclass(frozen=True)
class Ending:
    """How a job ended: exactly one of a result, a failure, or a cancel."""

    result: Mapping[str, Any] | None = None
    failure: Failure | None = None
    cancelled: bool = False
    exit_code: int | None = None


@dataclass
class BackendProcess:
    """One run of the backend. `on_event` gets the JSON objects, `on_log` every other line, `on_end` the Ending."""

    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None
    on_log: Callable[[str], None] = lambda line: None
    on_end: Callable[[Ending], None] = lambda ending: None
    ending: Ending | None = None
    log: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=KEPT_LINES))
    _process: subprocess.Popen[bytes] | None = None
    _control: Control | None = None
    _lines: queue.Queue[tuple[str, str]] = field(default_factory=lambda: queue.Queue(LINES_WAITING))
    _readers: list[threading.Thread] = field(default_factory=list)
    _result: Mapping[str, Any] | None = None
    _failure: Failure | None = None
    _cancelled_at: float | None = None
    _exited_at: float | None = None
    _last_sign: float = 0.0

    @property
    def running(self) -> bool:
        return self._process is not None and self.ending is None

    @property
    def silent_seconds(self) -> float:
        """How long nothing has been heard from the child."""
        return time.monotonic() - self._last_sign if self.running else 0.0

    def start(self) -> None:
        """Start the child. If that fails, the job ends at once with the reason."""
        self._last_sign = time.monotonic()
        try:
            self._control = Control()
            environment = {**(self.environment or os.environ), **self._control.environment()}
            self._process = subprocess.Popen(list(self.command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, env=environment, **_own_group())
        except (OSError, ValueError) as error:
            self._finish(Ending(failure=Failure(
                "DependencyError", f"Python '{self.command[0]}'", f"cannot be started ({error})",
                "Choose another Python in 'Set-up'.")))
            return
        for stream, name in ((self._process.stdout, "out"), (self._process.stderr, "err")):
            reader = threading.Thread(target=self._read, args=(stream, name), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, stream: BinaryIO, name: str) -> None:
        while line := stream.readline(LONGEST_LINE):
            is_result = name == "out" and line.startswith(RESULT)
            if is_result and not line.endswith(b"\n"):
                line += stream.readline()
            whole = is_result or line.endswith(b"\n") or len(line) < LONGEST_LINE
            text = (line if whole else line[:LONGEST_LOGGED]).decode("utf-8", "replace").rstrip("\r\n")
            while self.ending is None:
                with contextlib.suppress(queue.Full):
                    self._lines.put((name, text), timeout=0.5)
                    break

    def poll(self) -> bool:
        """Hand on what the child has said; True while the job runs. Never blocks."""
        if not self.running:
            return False
        self._control.poll()
        until = time.monotonic() + POLL_BUDGET_S
        while time.monotonic() < until:
            try:
                name, line = self._lines.get_nowait()
            except queue.Empty:
                break
            self._take(name, line)
        self._force_if_it_stays()
        # The pipes first: a last line may come between the two questions, none once the pipes are closed.
        if self._process.poll() is not None and self._pipes_closed() and self._lines.empty():
            self._finish(self._judge(self._process.returncode))
        return self.running

    def _pipes_closed(self) -> bool:
        """All has been read; or a grandchild keeps a pipe open although the child is gone, which is not waited for."""
        if not any(reader.is_alive() for reader in self._readers):
            return True
        self._exited_at = self._exited_at or time.monotonic()
        return time.monotonic() - self._exited_at > PIPES_CLOSE_S

    def _take(self, name: str, line: str) -> None:
        self._last_sign = time.monotonic()
        event = _parsed(line) if name == "out" else None
        if event is None:
            self.log.append(line[:LONGEST_LOGGED])
            self.on_log(line[:LONGEST_LOGGED])
            return
        if event["event"] == "result":
            self._result = event
        elif event["event"] == "error":
            self._failure = Failure.from_event(event.get("error"))
        self.on_event(event)

    def _judge(self, code: int) -> Ending:
        """What the exit code and the last words add up to.

        A result is said when all of it has been written, so a crash after it (drivers do that when they are unloaded)
        takes nothing away.
        """
        if self._cancelled_at is not None or code == EXIT_CANCELLED:
            return Ending(cancelled=True, exit_code=code)
        if self._failure is not None:
            return Ending(failure=self._failure, exit_code=code)
        if self._result is not None:
            return Ending(result=self._result, exit_code=code)
        return Ending(failure=self._unexplained(code), exit_code=code)

    def _unexplained(self, code: int) -> Failure:
        last = next((line.strip() for line in reversed(self.log) if line.strip()), "")
        said = f"; its last words were: {last[:300]}" if last else ""
        if _LAUNCHER_SAYS in last:
            return Failure("Crash", "The job was ended by the system, or crashed", "most often because memory ran out",
                           "Close other programs, choose a region, fewer samples or a lighter method, and try again.")
        if code in _OUT_OF_MEMORY:
            return Failure("ResourceError", "The job was ended by the system",
                           f"most likely because memory ran out ({_OUT_OF_MEMORY[code]})",
                           "Close other programs, choose a region, fewer samples or a lighter method, and try again.")
        if code in _CRASHED:
            return Failure("Crash", "The job crashed", f"a library failed (exit code {code}){said}",
                           "Try 'CPU' as the device. If it happens again, copy the log and report it.")
        if _NO_MODULE in last:
            return Failure.missing_package(last)
        if code == 0:
            return Failure("NoResult", "The job ended without a result", f"it reported no error{said}",
                           "Copy the log and report it.")
        return Failure("NoResult", "The job failed", f"exit code {code}{said}", "See the log for details.")

    def cancel(self) -> None:
        """Ask the child to stop; after a moment it is ended, with all it started."""
        if not self.running or self._cancelled_at is not None:
            return
        self._cancelled_at = time.monotonic()
        self._control.cancel()

    def _force_if_it_stays(self) -> None:
        if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > GRACE_S:
            end_tree(self._process)

    def kill(self) -> None:
        """End the tree now; for closing the application."""
        if not self.running:
            return
        self._cancelled_at = self._cancelled_at or time.monotonic()
        end_tree(self._process)
        self._finish(Ending(cancelled=True, exit_code=self._process.poll()))

    def wait(self, pump: Callable[[], None] = lambda: None, pause_s: float = 0.02) -> Ending:
        """Until the job has ended; `pump` keeps an application alive meanwhile."""
        while self.poll():
            pump()
            time.sleep(pause_s)
        return self.ending

    def _finish(self, ending: Ending) -> None:
        if self.ending is not None:
            return
        if self._process is not None:
            end_tree(self._process)
        if self._control is not None:
            self._control.close()
        self.ending = ending
        self.on_end(ending)


def _parsed(line: str) -> dict[str, Any] | None:
    """The event in a line, or None if it is only text."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and event.get("event") in EVENTS else None


def _own_group() -> dict[str, Any]:
    """The child leads a group of its own, so that it can be ended with all its children; no console window."""
    if os.name == "posix":
        return {"start_new_session": True}
    return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything it started, even what outlived it or left its group."""
    if os.name == "posix":
        for pid in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL) if pid == process.pid else os.kill(pid, signal.SIGKILL)
    elif process.poll() is None:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False,
                       creationflags=subprocess.CREATE_NO_WINDOW)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`, nearest first (POSIX)."""
    try:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    children: dict[int, list[int]] = collections.defaultdict(list)
    for line in listing.splitlines():
        child, parent = map(int, line.split())
        children[parent].append(child)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found
