"""Training of the 3D U-net: the whitened residual in one regression, squared error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...training.choices import config_of
from ...training.residual import RegressionTask
from .config import CONFIGS


class Unet3dTask(RegressionTask):
    """Built by `petdiffusion train unet-3d`."""

    method = "unet-3d"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))
