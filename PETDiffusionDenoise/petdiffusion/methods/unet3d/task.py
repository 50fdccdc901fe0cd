"""Training of the 3D U-net: the whitened residual in one regression, squared error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...training.residual import ResidualTask, conditions
from ...training.task import Batch
from .config import CONFIGS


class Unet3dTask(ResidualTask):
    """Built by `petdiffusion train unet-3d`."""

    method = "unet-3d"

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(replace(CONFIGS[config], **(changes or {})))

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        error = self.predict(network, self.without_some_anatomy(batch, generator)) - self.target(batch)
        return (self.weight(batch) * error.square()).mean()

    @staticmethod
    def predict(network: nn.Module, batch: Batch) -> Tensor:
        """The noise level enters with the highest level's embedding, constant; the network is CSRD's own."""
        cond = conditions(batch)
        level = torch.zeros(len(batch["low"]), device=batch["low"].device)
        return network(torch.zeros_like(batch["low"]), level, **cond.inputs(len(level)))

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"denoised": self.restored(self.predict(network, batch), batch)}
