"""Training of Restormer: all but the network is the 3D U-net's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...training.choices import config_of
from ...training.residual import RegressionTask
from .config import CONFIGS
from .network import Restormer, built


class RestormerTask(RegressionTask):
    """Built by `petdiffusion train restormer`."""

    method = "restormer"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    def network(self) -> Restormer:
        return built(self.config)
