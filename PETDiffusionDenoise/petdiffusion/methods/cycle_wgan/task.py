"""Training of CycleWGAN: images must look like the other kind (Wasserstein), come back, and stay where right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.critic import SMALLEST_SEEN
from ...networks.unet import UNetConfig
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import Batch
from .config import CONFIGS
from .data import Unpaired, load
from .network import LOW, NORMAL, CycleNetwork


class CycleTask:
    """Built by `petdiffusion train cycle-wgan`."""

    method = "cycle-wgan"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        return Sides(UNetConfig.from_json(self.settings.network).multiple, SMALLEST_SEEN)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> Unpaired:
        return load(manifests, settings, run)

    def network(self) -> CycleNetwork:
        return CycleNetwork(self.config)

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open."""

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Of all four networks at once: neither side's loss moves the other."""
        c, low, normal = self.settings, batch["low"], batch["normal"]
        denoised, noised = network(low), network(normal, back=True)
        total = c.cycle * (_apart(network(denoised, back=True), low) + _apart(network(noised), normal))
        if c.identity:
            total = total + c.identity * (_apart(network(normal), normal) + _apart(network(low, back=True), low))
        if c.adversarial:
            for kind, real, made in ((NORMAL, normal, denoised), (LOW, low, noised)):
                mix = torch.rand((len(low), 1, 1, 1), generator=generator).to(real)
                fooled, own, slope = network(real, made, mix, judged_as=kind)
                total = total + c.adversarial * fooled + own + c.penalty * slope
        return total

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Against the same patient's normal dose, which it does not learn from as a pair: in the network's unit."""
        return {"denoised": network(batch["low"])}


def _apart(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()
