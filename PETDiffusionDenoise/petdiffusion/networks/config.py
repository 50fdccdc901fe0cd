"""What all configurations share that a model's card keeps whole: they are strict about their entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ..errors import ModelError


class Config:
    """Base of frozen dataclasses. `NAME` is what errors call them."""

    NAME = "Configuration"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise ModelError(cls.NAME, f"has unknown entries: {', '.join(unknown)}",
                             "The model needs a newer version of this program.")  # fmt: skip
        return cls(**data)

    def refuse(self, faults: Mapping[str, bool]) -> None:
        """An error for the first fault that it has."""
        for text, is_so in faults.items():
            if is_so:
                raise ModelError(self.NAME, text, "Use a configuration of this program.")


@dataclass(frozen=True)
class RegressionConfig(Config):
    """Of a regression on the whitened residual, whatever its network."""

    NAME = "Regression configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    base: str = "filtered"
    base_fwhm_mm: float = 6.0
    drop_anatomy: float = 0.3
    weight_power: float = 0.5
