"""Short questions to the backend (`doctor --json`, `models add …`) in a child process, answered later."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from .backend import Backend
from .process import BackendProcess, Ending
from .widgets import later

POLL_MS = 100


class Query:
    """Runs one command. `answered` gets (what stood on its output as JSON or None, its text, its exit code)."""

    def __init__(self, python: Backend, arguments: Sequence[str],
                 answered: Callable[[Any, str, int | None], None]) -> None:
        self._answered = answered
        self._process = BackendProcess(python.command(arguments), python.environment(), on_end=self._on_end)

    @property
    def running(self) -> bool:
        return self._process.running

    def start(self) -> Query:
        self._process.start()
        if self.running:
            self._poll()
        return self

    def _poll(self) -> None:
        if self._process.poll():
            later(POLL_MS, self._poll)

    def stop(self) -> None:
        self._answered = lambda data, text, code: None
        self._process.kill()

    def wait(self, pump: Callable[[], None] = lambda: None) -> None:
        self._process.wait(pump)

    def _on_end(self, ending: Ending) -> None:
        text = "\n".join(self._process.log)
        if not text and ending.failure is not None:
            text = str(ending.failure)
        self._answered(_json_in(text), text, ending.exit_code)


def _json_in(text: str) -> Any:
    """The JSON document in a text that may have other lines around it."""
    for opening in "{[":
        start = text.find(opening) if text.startswith(opening) else text.find(f"\n{opening}") + 1
        if start or text.startswith(opening):
            try:
                return json.JSONDecoder().raw_decode(text[start:])[0]
            except ValueError:
                continue
    return None
