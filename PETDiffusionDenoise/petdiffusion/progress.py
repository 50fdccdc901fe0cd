"""How long work reports itself and is stopped: a Run travels with every job and is the only channel to the user."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TextIO

from .errors import Cancelled

RAN_OUT = "Memory ran out"
"""How the note begins that a run went on in smaller patches."""


class Reporter(Protocol):
    """Receives events: dictionaries with `event` = stage, progress, warning, result or error."""

    def __call__(self, event: dict[str, Any]) -> None: ...


def silent(event: dict[str, Any]) -> None:
    """Says nothing: the default inside Python."""


class JsonLines:
    """One JSON object a line, for programs that drive this one."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        line = json.dumps(finite(event), ensure_ascii=True, default=str, allow_nan=False)
        with self._lock:
            self.stream.write(line + "\n")
            self.stream.flush()


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def only_warnings(event: dict[str, Any]) -> None:
    """For --quiet: doubts are said all the same."""
    if event["event"] == "warning":
        sys.stderr.write(f"Note: {event['text']}\n")


class Bar:
    """A progress bar with the time left, on a terminal; plain stage lines elsewhere."""

    def __init__(self, stream: TextIO | None = None, width: int = 28) -> None:
        self.stream, self.width = stream or sys.stderr, width
        self.live = self.stream.isatty()
        self._drawn = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "stage":
            self._line(f"{event['text']} …")
        elif kind == "warning":
            self._line(f"Note: {event['text']}")
        elif kind == "progress" and self.live and (time.monotonic() - self._drawn > 0.1 or event["fraction"] >= 1):
            self._draw(event)

    def _draw(self, event: dict[str, Any]) -> None:
        self._drawn = time.monotonic()
        done = int(self.width * event["fraction"])
        left = event.get("seconds_left")
        text = f"  [{'█' * done}{'·' * (self.width - done)}] {event['fraction']:4.0%}"
        self.stream.write("\r" + text + (f"  {clock(left)} left " if left is not None else " " * 16))
        if event["fraction"] >= 1:
            self.stream.write("\r" + " " * (self.width + 36) + "\r")
        self.stream.flush()

    def _line(self, text: str) -> None:
        self.stream.write((("\r" + " " * (self.width + 36) + "\r") if self.live else "") + text + "\n")
        self.stream.flush()


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass
class Run:
    """Travels with a job: seed, device, progress, warnings, cancel and the timing of each stage."""

    seed: int = 0
    device: str = "auto"
    model: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    """Models of further methods that the method itself asks, by method; the best one where none is named."""
    report: Reporter = silent
    cancelled: threading.Event = field(default_factory=threading.Event)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; a stage within another counts in both."""
    whole: float = 0.0
    """Of all stages together."""
    on_sample: Callable[[Any], None] | None = None
    """Sees every sample that a method draws: an array on the PET's grid, in the unit the method works in."""
    plans: list[dict[str, Any]] = field(default_factory=list)
    """How each network was run, in turn: its patches, precision and device (`infer.again`)."""
    as_before: Sequence[Mapping[str, Any]] = ()
    """The same of a recorded run that this one repeats."""
    case: str = ""
    """What the user calls the scan; reports of one batch are told apart by it."""
    _stage: str = ""
    _began: float = 0.0

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """A named part of the work; its time goes into the run record."""
        self.check()
        began, outer = time.perf_counter(), (self._stage, self._began)
        self._stage, self._began = name, began
        self.report({"event": "stage", "stage": name, "text": text})
        try:
            yield
        finally:
            self._stage, self._began = outer
            spent = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.whole += 0.0 if self._stage else spent

    def progress(self, fraction: float) -> None:
        """How much of the present stage is done (0 to 1). Also the place where a cancel takes effect."""
        self.check()
        spent = time.perf_counter() - self._began
        left = spent * (1 - fraction) / fraction if fraction > 0.02 and spent > 0.5 else None
        self.report(
            {
                "event": "progress",
                "stage": self._stage,
                "fraction": round(min(max(fraction, 0.0), 1.0), 4),
                "seconds_left": None if left is None else round(left, 1),
            }
        )

    def part(self, start: float, end: float) -> Run:
        """The same run for a piece of the present stage: 0 to 1 there is `start` to `end` here."""

        def report(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                self.progress(start + (end - start) * event["fraction"])
            else:
                self.report(event)

        return replace(self, report=report)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self.report({"event": "warning", "text": text})

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled()
