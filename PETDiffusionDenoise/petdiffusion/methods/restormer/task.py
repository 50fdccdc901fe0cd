"""Training of Restormer: all but the network is the 3D U-net's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...training.residual import RegressionTask
from .config import CONFIGS
from .network import Restormer, built


class RestormerTask(RegressionTask):
    """Built by `petdiffusion train restormer`."""

    method = "restormer"

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(replace(CONFIGS[config], **(changes or {})))

    def network(self) -> Restormer:
        return built(self.config)
