"""How a training runs; saved whole beside its result, so that it can be repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from ..errors import OptionError
from .choices import check_known

PRECISIONS = ("auto", "32-true", "bf16-mixed")
"""Not 16-mixed: its gradients overflow now and then by design, which the loop would take for a fault."""
MAY_BE_ZERO = ("seed", "warmup_steps", "weight_decay", "ema_decay", "checkpoint_minutes")
LARGEST = 2**32
"""Of seeds above all, from which the generator of every batch is numbered."""
LENGTH = ("steps", "minutes")
"""Which are options of their own on the command line."""


def _said(default: Any, text: str) -> Any:
    """A field with a word on what it is, for whoever lists the settings."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainSettings:
    """Length is `steps` or `minutes`, whichever is given; the learning rate follows a cosine over it."""

    steps: int | None = _said(None, "optimizer steps")
    minutes: float | None = _said(None, "minutes of computing, all resumed parts together")
    batch: int = _said(4, "patches a step, on each device")
    patch: int = _said(48, "voxels along each side of a patch; in a slice where the method works on slices")
    accumulate: int = _said(1, "batches that are put together in one step, where memory is short")
    learning_rate: float = _said(1e-3, "highest one; falls as a cosine to a hundredth at the end")
    warmup_steps: int = _said(100, "steps until the learning rate is reached")
    weight_decay: float = _said(0.01, "of AdamW, on matrices and kernels alone")
    clip: float = _said(1.0, "length that gradients are cut to")
    ema_decay: float = _said(0.999, "memory of the averaged weights, which are those that become the model")
    precision: str = _said("auto", f"one of {', '.join(PRECISIONS)}; auto is bf16-mixed where that is faster and right")
    seed: int = _said(0, "of first weights, patches and noise")
    validate_every: int = _said(500, "steps between two lines of log.csv")
    checkpoint_minutes: float = _said(3.0, "minutes between two checkpoints")
    devices: int = _said(1, "GPUs on this machine")
    nodes: int = _said(1, "machines")

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
        for name in data:
            if name not in LENGTH:
                check_known(f"Training setting '{name}'", name, [known.name for known in cls.listed()])
        return cls(**data)

    @classmethod
    def listed(cls) -> tuple[Field, ...]:
        """What `--set` can change."""
        return tuple(known for known in fields(cls) if known.name not in LENGTH)

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
        raise OptionError(f"{name} = {value}", least, "'petdiffusion methods METHOD' has the defaults.")
