"""Everything that defines a Spach Transformer; saved whole in its card."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.config import RegressionConfig


@dataclass(frozen=True)
class SpachConfig(RegressionConfig):
    """`network` are the fields of `SpachSize`."""

    NAME = "Spach Transformer configuration"

    drop_anatomy: float = 1.0
    """The paper's network is shown the PET alone."""


COMPACT = {"channels": (24, 40, 56), "blocks": (1, 1, 2), "heads": (1, 2, 4), "refinement": 0, "expansion": 1.5,
           "stem": 2, "condition_channels": 7, "vector": 4, "near": 6}  # fmt: skip
CONFIGS = {"compact": SpachConfig(network=COMPACT)}
