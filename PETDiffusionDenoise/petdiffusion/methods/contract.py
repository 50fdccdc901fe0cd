"""What a method is: a card that describes it, and a function `denoise(case, options, run) -> Output`.

This module imports neither torch nor the method, so cards can be listed in milliseconds.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError
from ..volume import Geometry, LabelMap, Volume

if TYPE_CHECKING:
    from ..progress import Run

CONDITIONS = ("ct", "mr", "labels", "text")
SAMPLES, IMAGE, MASKS, NOTHING = "samples", "image", "masks", ""
"""What an option moves, each with what comes after it: samples, the image shown, marks."""
KINDS = {"float": float, "int": int, "bool": bool, "str": str}
_WORDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}


@dataclass(frozen=True)
class Option:
    """One setting of a method, with all that a command line or a panel needs to offer it."""

    name: str
    kind: str
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    tune: tuple[Any, ...] = ()
    """Values that `--tune` tries; empty where the option is not tuned."""
    advanced: bool = False
    file: bool = False
    """The text is the path of a file, whose content the result depends on."""
    moves: str = SAMPLES
    """What becomes another one with it, so that a calibration learnt at another value no longer holds for that."""
    acts_at: tuple[Any, ...] = ()
    """Another option, and those of its values at which this one does anything; empty: at all times."""

    def acts(self, options: Mapping[str, Any]) -> bool:
        """Whether the method looks at it, with these options of the whole method."""
        return not self.acts_at or options[self.acts_at[0]] in self.acts_at[1:]

    @property
    def _remedy(self) -> str:
        return f"The default is {'chosen automatically' if self.default is None else self.default}."

    def check(self, value: Any) -> Any:
        """The value in its own type, or an OptionError."""
        if value is None and self.default is None:
            return None
        converted = self._convert(value)
        low, high = self.minimum, self.maximum
        if self.kind in ("float", "int") and (
            not np.isfinite(converted)
            or (low is not None and converted < low)
            or (high is not None and converted > high)
        ):
            raise OptionError(
                f"{self.name} = {value}",
                f"must lie between {low} and {high} {self.unit}".rstrip(),
                self._remedy,
            )
        if self.choices and converted not in self.choices:
            raise OptionError(f"{self.name} = {value}", f"must be one of {', '.join(self.choices)}", self._remedy)
        return str(Path(converted).expanduser().absolute()) if self.file and converted else converted

    def _convert(self, value: Any) -> Any:
        try:
            if self.kind == "bool":
                return _truth(value)
            if self.kind == "int" and float(value) != int(float(value)):
                raise ValueError
            if self.kind == "str" and not isinstance(value, str):
                raise ValueError
            if self.kind == "str" and not self.file:
                return value.strip()
            return KINDS[self.kind](float(value) if self.kind == "int" else value)
        except (TypeError, ValueError, OverflowError):
            raise OptionError(f"{self.name} = {value!r}", f"is not {_WORDS[self.kind]}", self._remedy) from None


def _truth(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    return words[str(value).lower()] if str(value).lower() in words else _refuse_truth(value)


def _refuse_truth(value: Any) -> bool:
    raise ValueError(value)


@dataclass(frozen=True)
class Condition:
    """Something a method can use beside the PET."""

    kind: str
    required: bool = False
    help: str = ""


@dataclass(frozen=True)
class MethodCard:
    """All that is known of a method without loading it. Choices in the CLI and the panel come from here."""

    name: str
    title: str
    summary: str
    entry: str
    """`package.module:function`, loaded only when the method runs."""
    family: str = "classical"
    """classical, supervised, unsupervised or diffusion."""
    paper: str = ""
    conditions: tuple[Condition, ...] = ()
    options: tuple[Option, ...] = ()
    outputs: tuple[str, ...] = ("denoised",)
    """Of denoised, uncertainty, organs, lesions, prompts."""
    needs_suv: bool = False
    """False: works in any unit and scales with it. True: the PET must be in SUV."""
    needs_model: bool = False
    learns: bool = False
    """Trains a network on the scan itself: needs no model, but runs where networks run, and takes minutes."""
    trainer: str = ""
    """`package.module:Task` of methods that `petdiffusion train` can train."""
    weights_licence: str = ""
    activity_tolerance: float = 0.02
    """Largest relative change of the total activity in the body."""
    scale_equivariant: bool = True
    flip_equivariant: bool = True
    stochastic: bool = False
    equivariance_tolerance: float = 1e-3
    minimum_size: int = 1
    """Smallest number of voxels along each axis that it works on."""

    @property
    def runs_networks(self) -> bool:
        return self.needs_model or self.learns

    def option(self, name: str) -> Option:
        for option in self.options:
            if option.name == name:
                return option
        known = [o.name for o in self.options]
        near = difflib.get_close_matches(name, known, 1)
        raise OptionError(
            f"Option '{name}'",
            f"is not one of {self.name}'s ({', '.join(known) or 'it has none'})",
            f"Did you mean '{near[0]}'?" if near else "See 'petdiffusion methods'.",
        )

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every option with its checked value; unknown names are errors."""
        checked = {name: self.option(name).check(value) for name, value in given.items()}
        return {o.name: checked.get(o.name, o.default) for o in self.options}

    def uses(self, kind: str) -> bool:
        return any(c.kind == kind for c in self.conditions)

    def requires(self, kind: str) -> bool:
        return any(c.kind == kind and c.required for c in self.conditions)

    def load(self) -> Callable[[Case, Mapping[str, Any], Run], Output]:
        module, function = self.entry.split(":")
        return getattr(importlib.import_module(module), function)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MethodCard:
        values = dict(data)
        values["options"] = tuple(
            Option(**{**o, **{name: tuple(o[name]) for name in ("choices", "tune", "acts_at")}})
            for o in data["options"]
        )
        values["conditions"] = tuple(Condition(**c) for c in data["conditions"])
        values["outputs"] = tuple(data["outputs"])
        return cls(**values)


@dataclass(frozen=True)
class Case:
    """What a method works on: everything on the PET's grid. `noise` is the SD of the noise in the body."""

    pet: Volume
    body: np.ndarray
    noise: float
    ct: Volume | None = None
    mr: Volume | None = None
    labels: LabelMap | None = None
    text: str = ""
    dose_fraction: float | None = None
    as_given: Geometry | None = None
    """The PET's grid in its file, where the case was turned upright: what a user numbers is numbered there."""


@dataclass(frozen=True)
class Output:
    """What a method gives back, on the PET's grid and in its unit."""

    pet: Volume
    sd: Volume | None = None
    organs: LabelMap | None = None
    lesions: LabelMap | None = None
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Extra tables by name, rows as dictionaries."""
    maps: Mapping[str, Volume] = field(default_factory=dict)
    """Extra images by name, on the PET's grid and in units of their own."""
    evaluations: int = 0
    """Network evaluations spent."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the run record should keep: model id and hash, plan, samples."""
