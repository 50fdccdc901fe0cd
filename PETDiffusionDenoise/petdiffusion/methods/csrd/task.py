"""CSRD's side of the training: EDM denoising of the whitened residual (Eq. 5), and its mean from no residual at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...diffusion.conditions import Conditions
from ...diffusion.losses import edm_weight, lognormal_sigmas
from ...diffusion.parameterisation import Edm, Preconditioned, broadcast
from ...infer.regression import named
from ...training.choices import config_of
from ...training.residual import ResidualTask, conditions
from ...training.task import Batch
from .config import CONFIGS, CsrdConfig

PAPER_SIGMA_DATA = 0.5


class CsrdTask(ResidualTask):
    """Built by `petdiffusion train csrd`."""

    method = "csrd"
    configs = CONFIGS

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        chosen = config_of(self.configs, config, changes)
        if chosen.regression:
            chosen = replace(chosen, regression_sha256=named(chosen.regression).card.sha256)
        super().__init__(chosen)

    def calibrate(self, batches: list[Batch]) -> None:
        """sigma_data is measured on the residuals, not taken as 0.5."""
        if self.settings.sigma_data is None:
            residuals = torch.cat([self.target(b)[self.weight(b) > 0] for b in batches])
            self.settings = replace(self.settings, sigma_data=round(float(residuals.std()), 4))

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        batch = self.without_some_anatomy(batch, generator)
        c, target, weight = self.settings, self.target(batch), self.weight(batch)
        sigma, noisy = self._noised(target, generator)
        D = Preconditioned(network, Edm(c.sigma_data))
        error = D(noisy, sigma, conditions(batch)) - target
        return (broadcast(edm_weight(c.sigma_data)(sigma), error) * weight * error.square()).mean()

    def _noised(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Levels and noisy residuals; for `mean_share` of them, the highest level and no residual."""
        c, count = self.settings, len(target)
        sigma = lognormal_sigmas(count, c.P_mean, c.P_std, generator) * (c.sigma_data / PAPER_SIGMA_DATA)
        noise = torch.randn(target.shape, generator=generator).to(target)
        alone = (torch.rand(count, generator=generator) < c.mean_share).to(target.device)
        sigma = torch.where(alone, c.sigma_max, sigma.to(target))
        noisy = target + broadcast(sigma, target) * noise
        return sigma, torch.where(alone.reshape(-1, 1, 1, 1, 1), 0.0, noisy)

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        residual = mean_residual(network, self.settings, conditions(batch), batch["low"])
        return {"denoised": self.restored(residual, batch)}


def mean_residual(network: nn.Module, config: CsrdConfig, cond: Conditions, like: Tensor) -> Tensor:
    """One evaluation without any residual: at sigma_max pure noise says nothing, so zero says as much."""
    D = Preconditioned(network, Edm(config.sigma_data))
    return D(torch.zeros_like(like), like.new_tensor(config.sigma_max), cond)
