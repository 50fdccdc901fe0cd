"""The card of a model: what it is, what it was trained on, what it may be used for; strict about its fields."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelError

SCHEMA = 1
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Shape(NamedTuple):
    """What a field of a card may hold that is read by choosing a model, running it or listing models: one that they
    stumbled over would end all runs of a method. What only people read may hold anything."""

    said: str
    fits: Callable[[Any], bool]


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    return numbers and len(value) == 2 and all(map(math.isfinite, value)) and value[0] <= value[1]


_TEXT = _Shape("text", lambda v: isinstance(v, str))
_WORDS = _Shape("a list of words", lambda v: isinstance(v, list) and all(isinstance(word, str) for word in v))
_FACTS = _Shape("a JSON object", lambda v: isinstance(v, dict))
_RANGE = _Shape("two numbers, the smaller first", _is_range)
_NUMBER = _Shape("a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool))
_SHAPES = {
    **dict.fromkeys(("id", "method", "sha256", "refines"), _TEXT),
    **dict.fromkeys(("tracers", "regions", "serves", "needs"), _WORDS),
    **dict.fromkeys(("voxel_mm", "dose_fractions"), _RANGE),
    "results": _FACTS,
    "bytes": _NUMBER,
    "config": _Shape("a JSON object, and so its 'network'",
                     lambda v: isinstance(v, dict) and isinstance(v.get("network", {}), dict)),
    "seen": _Shape("two numbers for each name, the smaller first",
                   lambda v: isinstance(v, dict) and all(map(_is_range, v.values()))),
}  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """Everything that is said of a model in the panel, the report and `petdiffusion models show`."""

    id: str
    method: str
    version: str
    sha256: str
    bytes: int
    summary: str
    training_data: str
    data_licence: str
    licence: str
    tracers: tuple[str, ...]
    voxel_mm: tuple[float, float]
    """Smallest and largest voxel size it was trained for."""
    dose_fractions: tuple[float, float]
    """Smallest and largest dose fraction it was trained for."""
    intended_use: str
    limits: str
    regions: tuple[str, ...] = ()
    """`brain`, `body`; none means any."""
    config: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    """Command, seeds, steps and a summary of the log, so that the training can be repeated."""
    seen: Mapping[str, Any] = field(default_factory=dict)
    """Ranges of noise, activity and contrast over the scans of the training (`zoo.domain`)."""
    serves: tuple[str, ...] = ()
    """Further methods that take a part of it, such as a denoiser that was trained beside a segmenter."""
    needs: tuple[str, ...] = ()
    """Of ct, mr, labels: what it cannot do without. Where that is given, it goes before models that do without."""
    refines: str = ""
    """Id of the model whose work it does better, other things alike: it goes before that one."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ModelError(
                f"Model id '{self.id}'", "may hold small letters, digits, '.', '_' and '-' alone", "Rename the model."
            )
        if not _SHA256.fullmatch(self.sha256):
            raise ModelError(
                f"Card of {self.id}", f"its sha256 '{self.sha256[:70]}' is not one", "Export the model again."
            )
        if self.schema != SCHEMA:
            raise ModelError(
                f"Card of {self.id} with schema {self.schema}",
                f"this program reads schema {SCHEMA}",
                "Use the program version that the model came with.",
            )

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method, *self.serves)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any, name: str) -> ModelCard:
        """A card from parsed JSON; missing and unknown fields are errors, null is as good as a missing one."""
        if not isinstance(data, Mapping):
            raise ModelError(f"Model card {name}", "is not a JSON object", "Give the card that came with the model.")
        known = {f.name for f in fields(cls)}
        needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        if wrong := sorted((needed - set(data)) | (set(data) - known)):
            raise ModelError(
                f"Model card {name}",
                f"has missing or unknown fields: {', '.join(wrong)}",
                "Give the card that came with the model.",
            )
        data = {name: value for name, value in data.items() if value is not None or name in needed}
        if wrong := [f"{k} ({s.said})" for k, s in sorted(_SHAPES.items()) if k in data and not s.fits(data[k])]:
            raise ModelError(
                f"Model card {name}", f"has fields of the wrong kind: {', '.join(wrong)}", "Give the card as it came."
            )
        pairs = {k: tuple(v) for k, v in data.items() if isinstance(v, list)}
        return cls(**{**data, **pairs})

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")), path.name)
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"Model card {path.name}", f"cannot be read ({error})", "Give the card that came with the model."
            ) from None


def methods_said(path: Path) -> tuple[str, ...]:
    """The methods that a card names, be the rest of it as it may; none where that can't be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    said = data if isinstance(data, Mapping) else {}
    serves = said.get("serves")
    named = [said.get("method"), *(serves if isinstance(serves, list) else [])]
    return tuple(name for name in named if isinstance(name, str))
