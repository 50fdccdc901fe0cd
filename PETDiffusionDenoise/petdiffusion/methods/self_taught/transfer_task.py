"""Training of N2V-PT: Noise2Void's loss on the slices of many low-count scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...infer.on_frame import UNIT
from ...networks.unet import UNetConfig
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import Batch
from . import noise2void
from .transfer import CONFIGS, built
from .transfer_data import LowSlices, load


class TransferTask:
    """Built by `petdiffusion train n2v-pt`."""

    method = "n2v-pt"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        return Sides(UNetConfig.from_json(self.settings.network).multiple)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> LowSlices:
        return load(manifests, settings, run)

    def network(self) -> nn.Module:
        return built(self.config)

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open."""

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return noise2void.error(lambda hidden: network(hidden).float(), *_images(batch), generator)

    @torch.no_grad()
    def score(self, network: nn.Module, batches: list[Batch]) -> dict[str, float]:
        """RMS of what is not guessed at hidden voxels, in SDs of the noise, by the network and by the surroundings
        alone. Noise cannot be guessed, so it cannot come below 1 but for what neighbours share."""
        found = {}
        for name, guess in (("unguessed", network), ("by_surroundings", torch.zeros_like)):
            random = torch.Generator().manual_seed(20)
            errors = [noise2void.error(lambda x, guess=guess: guess(x).float(), *_images(b), random) for b in batches]
            found[name] = UNIT * float(torch.stack(errors).mean().sqrt())
        return found


def _images(batch: Batch) -> tuple[Tensor, ...]:
    return batch["low"], batch["around"], batch["body"]
