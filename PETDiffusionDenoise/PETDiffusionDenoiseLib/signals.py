"""A signal in plain Python: Qt's own cannot be declared from Slicer's Python."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any


class Signal:
    """Callables that are told when something happens; one that fails is logged and does not stop the others."""

    def __init__(self) -> None:
        self._receivers: list[Callable[..., Any]] = []

    def connect(self, receiver: Callable[..., Any]) -> None:
        self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[..., Any]) -> None:
        self._receivers = [known for known in self._receivers if known != receiver]

    def emit(self, *values: Any) -> None:
        for receiver in list(self._receivers):
            try:
                receiver(*values)
            except Exception:
                logging.exception("PETDiffusion: a receiver of a signal failed")
