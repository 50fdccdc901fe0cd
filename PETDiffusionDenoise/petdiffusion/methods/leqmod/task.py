"""Training of LeqMod-GAN: squared error, a critic (LSGAN), consistency of regions (QuMod) and lesions (LeMod)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.adversary import Adversaries
from ...progress import Run
from ...training.adversarial import AdversarialTask
from ...training.bank import Bank, load_bank
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.task import Batch
from .config import CONFIGS
from .losses import consistency, of_lesions
from .network import learning


class LeqmodTask(AdversarialTask):
    """Built by `petdiffusion train leqmod-gan`."""

    method = "leqmod-gan"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    def network(self) -> Adversaries:
        return learning(self.config)

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
            total = total + self.against(network, residual, target, batch)
        return total
