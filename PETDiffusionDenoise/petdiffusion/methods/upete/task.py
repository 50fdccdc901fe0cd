"""Training of uPETe on normal-dose scans alone: the autoencoder first, then the diffusion in its latents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...diffusion.parameterisation import broadcast
from ...networks.blocks import space_to_depth
from ...networks.critic import SMALLEST_SEEN
from ...networks.unet import UNetConfig
from ...progress import Run
from ...training.choices import config_of
from ...training.settings import TrainSettings
from ...training.sides import Sides
from ...training.task import Batch, items_of
from . import data, parts, perceptual, perturb
from .autoencoder import Autoencoder, AutoencoderConfig
from .config import CONFIGS
from .network import UpeteNetwork, latent_multiple
from .perceptual import Perceptual

JUDGED_AT = 3.0
"""Strength at which the diffusion is judged, in SDs of the scan's own noise: a tenth of the dose."""


class UpeteTask:
    """Built by `petdiffusion train upete`."""

    method = "upete"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        self.settings = config_of(self.configs, config, changes)
        self._perceptual: Perceptual | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        """Of the image, which the autoencoder makes a latent f times as small of."""
        c, f = self.settings, AutoencoderConfig.of(self.settings.autoencoder).f
        if c.stage == "diffusion":
            return Sides(f * latent_multiple(c.guided, UNetConfig.from_json(c.network)))
        return Sides(math.lcm(f, perceptual.MULTIPLE if c.perceptual else 1), SMALLEST_SEEN if c.adversarial else 1)

    def load(self, manifests: Sequence[str | Path], settings: TrainSettings, run: Run) -> data.NormalCubes:
        """Low-count images are not opened."""
        return data.load(manifests, self.settings, settings, run)

    def network(self) -> nn.Module:
        return UpeteNetwork(self.settings)

    def calibrate(self, batches: list[Batch]) -> None:
        """The scans' own noise, the spread of latents, and how strong the image's noise is in them: by the shortcut."""
        c, size = self.settings, AutoencoderConfig.of(self.settings.autoencoder)
        if c.normal_level is not None or c.stage != "diffusion":
            return
        linear = Autoencoder(replace(size, shortcut=True)).linear
        with torch.no_grad():
            latents = torch.cat([linear(b["normal"]).flatten() for b in batches])
            noises = torch.cat([linear(b["noise"]).flatten() for b in batches])
        own = torch.cat([b["own"] for b in batches]).median()
        self.settings = replace(c, normal_level=round(float(own), 4), sigma_data=round(float(latents.std()), 3),
                                latent_noise=round(float(noises[noises != 0].std()), 3))  # fmt: skip

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        if self.settings.stage == "autoencoder":
            return self._compression(network, batch, generator)
        return self._diffusion(network, batch, generator)

    def _compression(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """L1, perceptual, adversarial and a little KL."""
        c, u = self.settings, batch["normal"]
        mean, sd = network(u, part="encode")
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        made = network(mean + sd * noise, part="decode")
        loss = (made - u).abs().mean() + c.kl * 0.5 * (mean.square() + sd.square() - 2 * sd.log() - 1).mean()
        if c.perceptual:
            self._perceptual = self._perceptual or Perceptual()
            loss = loss + c.perceptual * self._perceptual(made, u)
        if c.adversarial:
            fooled, critic = network(u, made, part="judge")
            loss = loss + c.adversarial * fooled + critic
        return loss

    def _diffusion(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The blend of `parts.blended` against the encoded normal dose, all steps alike but for `late_share`."""
        c, kind = self.settings, self._kinds(batch["own"], items_of(batch, len(batch["own"])))
        own = parts.own_of(batch["own"], kind, c)
        g = perturb.strength(self._steps(len(own), generator).to(own), c)
        with torch.no_grad():
            z0 = network(batch["normal"], part="encode")[0]
            z = self.noised(network, batch, z0, g, kind, generator)
        sigma = parts.total(g, own) * c.latent_noise
        clean = parts.LatentDenoiser(network, c)(z, sigma, self._told(network, batch, kind, generator))
        error = (parts.blended(clean, z, g, own) - z0) / broadcast(sigma, z)
        return (self._weight(batch["scale"]) * error.square()).mean()

    def _kinds(self, like: Tensor, items: Iterable[int]) -> Tensor:
        """Which noise each of these items gets: in turn over the whole training."""
        every = {"poisson": [parts.POISSON], "gaussian": [parts.GAUSSIAN], "both": [parts.POISSON, parts.GAUSSIAN]}
        kinds = every[self.settings.diffusion]
        return like.new_tensor([kinds[int(item) % len(kinds)] for item in items])

    def noised(self, network: nn.Module, batch: Batch, z0: Tensor, g: Tensor, kind: Tensor,
               generator: torch.Generator) -> Tensor:  # fmt: skip
        """z_t: the perturbed image encoded, or the latent with white noise."""
        z = z0 + broadcast(g * self.settings.latent_noise, z0) * torch.randn(z0.shape, generator=generator).to(z0)
        there = kind == parts.POISSON
        if there.any():
            noise = batch["noise"][there] * broadcast(g[there], z)
            z[there] = network(perturb.perturbed(batch["normal"][there], noise), part="encode")[0]
        return z

    def _steps(self, count: int, generator: torch.Generator) -> Tensor:
        """t in 1..T; for `late_share` of them in 1..late."""
        c = self.settings
        last = torch.where(torch.rand(count, generator=generator) < c.late_share, c.late, c.T)
        return (torch.rand(count, generator=generator) * last).floor() + 1

    def _told(self, network: nn.Module, batch: Batch, kind: Tensor, generator: torch.Generator) -> Any:
        ct = batch["ct"]
        dropped = torch.rand(len(ct), generator=generator) < self.settings.drop_ct
        ct = torch.where(dropped.reshape(-1, 1, 1, 1, 1).to(ct.device), torch.nan, ct)
        return parts.told(ct, batch["voxel_mm"], kind, network.f)

    def _weight(self, scale: Tensor) -> Tensor:
        """On the latent's grid, mean 1; what a unit stands for grows with the root of the activity."""
        f = AutoencoderConfig.of(self.settings.autoencoder).f
        weight = space_to_depth(scale, f).mean(1, keepdim=True) ** (2 * self.settings.weight_power)
        return weight / weight.flatten(1).mean(1).clamp_min(1e-6).reshape(-1, 1, 1, 1, 1)

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """In activity: through the autoencoder alone, or a tenth of the dose in one evaluation."""
        c, scale, own = self.settings, batch["scale"], batch["own"]
        found = {"normal": batch["normal"] * scale}
        if c.stage == "autoencoder":
            made = network(network(batch["normal"], part="encode")[0], part="decode")
            return found | {"denoised": made * scale}
        g = JUDGED_AT * own
        low = perturb.perturbed(batch["normal"], batch["noise"] * broadcast(g, scale))
        z, kind = network(low, part="encode")[0], self._kinds(own, [0]).expand_as(own)
        sigma = parts.total(g, parts.own_of(own, kind, c)) * c.latent_noise
        clean = parts.LatentDenoiser(network, c)(z, sigma, parts.told(batch["ct"], batch["voxel_mm"], kind, network.f))
        return found | {"low": low * scale, "denoised": network(clean, part="decode") * scale}
