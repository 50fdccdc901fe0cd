"""Training of LeqMod-GAN: squared error, a critic (LSGAN), consistency of regions (QuMod) and lesions (LeMod)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.critic import SMALLEST_SEEN
from ...networks.unet import UNetConfig
from ...progress import Run
from ...training.bank import Bank, load_bank
from ...training.choices import config_of
from ...training.residual import RegressionTask
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import Batch
from .config import CONFIGS
from .losses import consistency, of_lesions
from .network import LeqmodNetwork


class LeqmodTask(RegressionTask):
    """Built by `petdiffusion train leqmod-gan`."""

    method = "leqmod-gan"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    @property
    def sides(self) -> Sides:
        """The critic needs room, even where the U-net would do with less."""
        c = self.settings
        return Sides.judged(UNetConfig.from_json(c.network).multiple, SMALLEST_SEEN if c.adversarial else 1)

    def network(self) -> LeqmodNetwork:
        return LeqmodNetwork(self.settings.network, self.settings.critic_channels)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> Bank:
        """LeMod's first half: places with lesions are seen more often."""
        return replace(load_bank(manifests, self.derive, settings, run), lesion_share=self.settings.lesion_share)

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Of both sides at once: neither's loss moves the other."""
        c, batch = self.settings, self.without_some_anatomy(batch, generator)
        residual, target = self.predict(network, batch), self.target(batch)
        squared = self.weight(batch) * (c.unit * (residual - target)).square()
        total = c.squared * squared.mean()
        if c.lesion:
            total = total + c.lesion * of_lesions(squared, batch["lesions"])
        if c.consistency:
            made, inside = self.restored(residual.float(), batch), self.inside(batch)
            differ = consistency(made, batch["normal"], self.scale(batch), inside, c.windows, c.shares)
            total = total + c.consistency * c.unit * differ
        if c.adversarial:
            fooled, critic = network(self.shown(target, batch), self.shown(residual, batch), judge=True)
            total = total + c.adversarial * fooled + critic
        return total

    def shown(self, residual: Tensor, batch: Batch) -> Tensor:
        """What the critic sees: the image in SDs of its noise, and where in the body it is. Air tells it nothing."""
        body = batch["root"] / batch["root_mean"].reshape(-1, 1, 1, 1, 1) - 1
        return torch.cat((residual * self.inside(batch), body), 1)
