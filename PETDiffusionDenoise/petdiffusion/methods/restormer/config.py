"""Everything that defines a Restormer model; saved whole in its card."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.config import RegressionConfig


@dataclass(frozen=True)
class RestormerConfig(RegressionConfig):
    """`network` are the fields of `RestormerSize`."""

    NAME = "Restormer configuration"


COMPACT = {"channels": (24, 40, 56), "blocks": (1, 2, 2), "heads": (1, 2, 4), "refinement": 0, "expansion": 1.5,
           "stem": 2, "condition_channels": 7, "vector": 4}  # fmt: skip
CONFIGS = {"compact": RestormerConfig(network=COMPACT)}
