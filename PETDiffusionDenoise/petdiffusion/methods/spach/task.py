"""Training of the Spach Transformer: all but the network is the 3D U-net's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...training.choices import config_of
from ...training.residual import RegressionTask
from ...training.sides import Sides
from .config import CONFIGS
from .network import Spach, SpachSize, built


class SpachTask(RegressionTask):
    """Built by `petdiffusion train spach-transformer`."""

    method = "spach-transformer"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    @property
    def sides(self) -> Sides:
        return Sides.judged(SpachSize.from_json(self.settings.network).multiple)

    def network(self) -> Spach:
        return built(self.config)
