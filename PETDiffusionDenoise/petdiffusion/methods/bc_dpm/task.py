"""Training of BC-DPM (Algorithm 1): L_simple (Eq. 4) on normal-dose slices alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...diffusion.losses import denoising_loss, epsilon_weight
from ...diffusion.schedules import sigma_of
from ...networks.unet import UNet, UNetConfig
from ...prepare.noise import measure
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.slices import Slices, load_slices
from ...training.task import Batch
from ...volume import Volume
from . import counts
from .config import CONFIGS
from .parts import alpha_bar, denoiser, told
from .units import units_of

JUDGED_AT = 200
"""The time whose noise the network is judged by removing in one evaluation: about where chains begin at 1M counts."""
MEASURED = 8
"""Scans whose noise is measured."""


class BcDpmTask:
    """Built by `petdiffusion train bc-dpm`."""

    method = "bc-dpm"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)
        self._noise: list[float] = []

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        return Sides(UNetConfig.from_json(self.settings.network).multiple)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> Slices:
        """Normal-dose slices in network units; low-count images are not opened."""
        data = load_slices(manifests, self.prepared, settings, run)
        pixels = [p.pixel_mm for p in data.train]
        level = counts.counts_of_noise(float(np.median(self._noise)) * self.settings.unit / 2)
        self.settings = replace(self.settings, pixel_mm=(round(min(pixels), 3), round(max(pixels), 3)),
                                normal_counts=float(f"{level:.3g}"))  # fmt: skip
        return data

    def prepared(self, normal: Volume, body: np.ndarray) -> np.ndarray:
        """In network units; the noise of the first scans tells the count level of a normal dose."""
        units = units_of(normal.array, normal.geometry.spacing, body, self.settings)
        image = units.forward(normal.array)
        if len(self._noise) < MEASURED:
            seen = measure(normal.with_array(image), body)
            self._noise.append(counts.effective(seen, max(normal.geometry.spacing[:2])))
        return image

    def network(self) -> nn.Module:
        return UNet(UNetConfig.from_json(self.settings.network)).to(memory_format=torch.channels_last)

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open."""

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x0 = batch["normal"] * self._brightness(len(batch["normal"]), generator).to(batch["normal"])
        sigma = self._sigmas(len(x0), generator)
        D = denoiser(network, self.settings)
        return denoising_loss(D, x0, sigma, generator, epsilon_weight, cond=told(batch["pixel_mm"]))

    def _brightness(self, count: int, generator: torch.Generator) -> Tensor:
        spread = self.settings.jitter * (2 * torch.rand(count, generator=generator) - 1)
        return spread.exp().reshape(-1, 1, 1, 1)

    def _sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        """t uniform in 1..T; for `late_share` of them in 1..late."""
        c = self.settings
        last = torch.where(torch.rand(count, generator=generator) < c.late_share, c.late, c.T)
        t = (torch.rand(count, generator=generator) * last).long()
        return sigma_of(alpha_bar(c))[t].float()

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """One evaluation on slices with the noise of one time added: in network units."""
        x0 = batch["normal"]
        sigma = sigma_of(alpha_bar(self.settings))[JUDGED_AT - 1].to(x0)
        noisy = noised(x0, float(sigma))
        denoised = denoiser(network, self.settings)(noisy, sigma, told(batch["pixel_mm"]))
        return {"denoised": denoised, "low": noisy}


def noised(x0: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(20))
    return x0 + sigma * noise.to(x0)
