"""Everything that defines an N2V-PT model; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...networks.config import Config
from ..self_taught.lesson import SIZE


@dataclass(frozen=True)
class N2vPtConfig(Config):
    NAME = "N2V-PT configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    """In two dimensions: slices are worked on one by one."""


COMPACT = {**SIZE, "dims": 2, "channels": 12}
CONFIGS = {"compact": N2vPtConfig(network=COMPACT)}
