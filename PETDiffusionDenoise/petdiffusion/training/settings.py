"""How a training runs; saved whole beside its result, so that it can be repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import OptionError

PRECISIONS = ("auto", "32-true", "bf16-mixed")
"""Not 16-mixed: its gradients overflow now and then by design, which the loop would take for a fault."""
MAY_BE_ZERO = ("seed", "warmup_steps", "weight_decay", "ema_decay", "checkpoint_minutes")
LARGEST = 2**32
"""Of seeds above all, from which the generator of every batch is numbered."""


@dataclass(frozen=True)
class TrainSettings:
    """Length is `steps` or `minutes`, whichever is given; the learning rate follows a cosine over it."""

    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    patch: int = 48
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    ema_decay: float = 0.999
    precision: str = "auto"
    """One of PRECISIONS."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_minutes: float = 3.0
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise OptionError(
                "Length of the training", "needs either steps or minutes", "Give --steps 10000 or --minutes 60."
            )
        for known in fields(self):
            if known.name != "precision" and (value := getattr(self, known.name)) is not None:
                _check_number(known.name, value, whole=str(known.type).startswith("int"))
        if not self.ema_decay < 1:
            raise OptionError(f"ema_decay = {self.ema_decay}", "must be below 1", "Give for example 0.999.")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision = {self.precision}", "is not known", f"There are {', '.join(PRECISIONS)}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainSettings:
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise OptionError(f"Training settings {', '.join(sorted(unknown))}", "are not known", "Remove them.")
        return cls(**data)

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the training is done, 0 to 1."""
        done = step / self.steps if self.steps is not None else seconds / (60 * self.minutes)
        return min(done, 1.0)


def _check_number(name: str, value: Any, whole: bool) -> None:
    """As the command line gives it: a word where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise OptionError(f"{name} = {value}", f"is not a {'whole ' if whole else ''}number",
                          f"Give for example {name}={'2' if whole else '0.5'}.")  # fmt: skip
    if not (math.isfinite(value) and value < LARGEST):
        raise OptionError(f"{name} = {value}", "is too large", f"Give a number below {LARGEST}.")
    if value < 0 or (value == 0 and name not in MAY_BE_ZERO):
        least = "must not be below zero" if name in MAY_BE_ZERO else "must be above zero"
        raise OptionError(f"{name} = {value}", least, "See 'petdiffusion train --help'.")
