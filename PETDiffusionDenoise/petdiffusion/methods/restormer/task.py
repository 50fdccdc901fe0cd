"""Training of Restormer: all but the network is the 3D U-net's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...training.choices import config_of
from ...training.residual import RegressionTask
from ...training.sides import Sides
from .config import CONFIGS
from .network import Restormer, RestormerSize, built


class RestormerTask(RegressionTask):
    """Built by `petdiffusion train restormer`."""

    method = "restormer"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    @property
    def sides(self) -> Sides:
        return Sides.judged(RestormerSize.from_json(self.settings.network).multiple)

    def network(self) -> Restormer:
        return built(self.config)
