"""Training of text-ddpm and of its two twins without text, on pairs of slices with the project's one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...diffusion.conditions import Conditions
from ...diffusion.losses import epsilon_weight, velocity_weight
from ...diffusion.parameterisation import broadcast
from ...diffusion.schedules import sigma_of
from ...networks.unet import UNetConfig
from ...prepare.whiten import whiten
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import Batch
from ...wording import counted
from . import parts
from .config import CONFIGS, PairConfig
from .data import Pairs, load_patients, texts_of

AIR = 1.5
"""Below this many floors of the whitening there is only air."""


class PairTask:
    """Base of the three. `fixed` are the fields that make the method."""

    method = ""
    configs = CONFIGS
    fixed: Mapping[str, Any] = {}

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings: PairConfig = config_of(self.configs, config, {**(changes or {}), **self.fixed})
        self.table: Tensor | None = None
        """Texts as the encoder reads them (n + 1, 77, width); the first is none."""

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        return Sides(UNetConfig.from_json(self.settings.network).multiple)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> Pairs:
        patients = load_patients(manifests, self.derive, run)
        texts = self._encoded(texts_of(patients), run) if self.settings.text else {}
        return Pairs(patients, settings, texts)

    def _encoded(self, texts: dict[str, int], run: Run) -> dict[str, int]:
        from .encoder import encoder, facts

        reader = encoder(self.settings.encoder)
        with run.stage("texts", f"Reading {counted(len(texts), 'text')} with {reader.id}"):
            found = reader.encode(list(texts))
        self.table = torch.cat((torch.zeros_like(found[:1]), found)).half()
        self.settings = parts.with_context(replace(self.settings, encoder=facts(reader)), reader.width)
        return texts

    def derive(self, low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray) -> tuple[dict, dict]:
        white = whiten(low, spacing_mm, body, self.settings.base_fwhm_mm)
        voxel = float(np.prod(spacing_mm) ** (1 / 3))
        numbers = {"level": white.level, "voxel_mm": voxel, "root_mean": white.root_mean, "floor": white.floor}
        return {"base": white.base, "root": white.root}, numbers

    def network(self) -> nn.Module:
        return parts.network_of(self.settings).to(memory_format=torch.channels_last)

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open."""

    def target(self, batch: Batch) -> Tensor:
        if self.settings.space == "suv":
            return batch["normal"] / self.settings.suv_unit - 1
        return (batch["normal"] - batch["base"]) / self._scale(batch)

    def restored(self, found: Tensor, batch: Batch) -> Tensor:
        if self.settings.space == "suv":
            return (found + 1) * self.settings.suv_unit
        return batch["base"] + found * self._scale(batch)

    @staticmethod
    def _scale(batch: Batch) -> Tensor:
        return batch["root"] * batch["level"].reshape(-1, 1, 1, 1)

    def weight(self, batch: Batch) -> Tensor:
        """Mean 1 in each pair; zero in air, which teaches nothing; larger where activity is, as in linear units."""
        if self.settings.space == "suv":
            return torch.ones_like(batch["low"])
        inside = batch["root"].square() > AIR * batch["floor"].reshape(-1, 1, 1, 1)
        weight = inside * batch["root"] ** (2 * self.settings.weight_power)
        return weight / weight.flatten(1).mean(1).clamp_min(1e-6).reshape(-1, 1, 1, 1)

    def conditions(self, batch: Batch, generator: torch.Generator | None = None) -> Conditions:
        given = {k: batch[k] for k in ("base", "root", "level", "root_mean")}
        images = parts.images(self.settings, batch["low"], given)
        numbers = parts.numbers(batch["level"], batch["voxel_mm"])
        return Conditions(images=images, context=self._context(batch, generator), vector=numbers)

    def _context(self, batch: Batch, generator: torch.Generator | None) -> Tensor | None:
        """Slice's and scan's text, one after the other; each withheld at random in training."""
        if not self.settings.text:
            return None
        chosen = batch["texts"].cpu()
        if generator is not None:
            chosen = torch.where(torch.rand(chosen.shape, generator=generator) < self.settings.drop_text, 0, chosen)
        return self.table[chosen].flatten(1, 2).to(batch["low"])

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        target, weight, cond = self.target(batch), self.weight(batch), self.conditions(batch, generator)
        if self.settings.kind == "regression":
            return (weight * (parts.regressed(network, cond, target) - target).square()).mean()
        sigma, noisy = self._noised(target, generator)
        error = parts.denoiser(network, self.settings)(noisy, sigma, cond) - target
        share = velocity_weight if self.settings.predicts == "velocity" else epsilon_weight
        return (broadcast(share(sigma), error) * weight * error.square()).mean()

    def _noised(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times uniform in 1..T; for `mean_share` of the pairs the last time, and no image at all."""
        c, count = self.settings, len(target)
        sigma = sigma_of(parts.alpha_bar(c))[torch.randint(c.T, (count,), generator=generator)].to(target)
        noise = torch.randn(target.shape, generator=generator).to(target)
        alone = (torch.rand(count, generator=generator) < c.mean_share).to(target.device)
        sigma = torch.where(alone, parts.top(c), sigma)
        return sigma, torch.where(alone.reshape(-1, 1, 1, 1), 0.0, target + broadcast(sigma, target) * noise)

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        cond, like = self.conditions(batch), batch["low"]
        if self.settings.kind == "regression":
            found = parts.regressed(network, cond, like)
        else:
            found = parts.denoiser(network, self.settings)(*self._question(batch), cond)
        return {"denoised": self.restored(found, batch)}

    def _question(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean from nothing; where none was trained, the image from itself with the noise of a middle time."""
        target = self.target(batch)
        if self.settings.mean_share > 0:
            return torch.zeros_like(target), target.new_tensor(parts.top(self.settings))
        sigma = sigma_of(parts.alpha_bar(self.settings))[self.settings.T // 4].to(target)
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(20)).to(target)
        return target + sigma * noise, sigma


class TextDdpmTask(PairTask):
    """Built by `petdiffusion train text-ddpm`."""

    method = "text-ddpm"


class Ddpm25dTask(PairTask):
    """Built by `petdiffusion train ddpm-2.5d`."""

    method = "ddpm-2.5d"
    fixed: Mapping[str, Any] = {"text": False, "encoder": None}


class Unet25dTask(PairTask):
    """Built by `petdiffusion train unet-2.5d`."""

    method = "unet-2.5d"
    fixed: Mapping[str, Any] = {"text": False, "encoder": None, "kind": "regression"}
