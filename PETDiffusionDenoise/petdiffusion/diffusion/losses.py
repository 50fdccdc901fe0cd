"""Training losses. Each parameterisation's loss is a weight on the error of D, so one function serves all.

With x = x0 + sigma n and error D - x0: the error of epsilon is error / sigma, of v error sqrt(1 + sigma^2) / sigma, of
EDM's F error sqrt(sigma^2 + sigma_data^2) / (sigma sigma_data).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .parameterisation import Denoiser, broadcast
from .schedules import sigma_of

Weight = Callable[[Tensor], Tensor]


def edm_weight(sigma_data: float) -> Weight:
    """lambda(sigma) of EDM: every level counts the same at the start of training."""
    return lambda sigma: (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def epsilon_weight(sigma: Tensor) -> Tensor:
    """DDPM's simple loss, |predicted noise - noise|^2."""
    return 1 / sigma.square()


def velocity_weight(sigma: Tensor) -> Tensor:
    return 1 + 1 / sigma.square()


def sample_weight(sigma: Tensor) -> Tensor:
    return torch.ones_like(sigma)


def lognormal_sigmas(count: int, P_mean: float, P_std: float, generator: torch.Generator) -> Tensor:
    """EDM's training levels: ln sigma ~ N(P_mean, P_std^2)."""
    return (P_mean + P_std * torch.randn(count, generator=generator, device=generator.device)).exp()


def discrete_sigmas(count: int, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
    """DDPM's training levels: t uniform in 1..T."""
    t = torch.randint(len(alpha_bar), (count,), generator=generator, device=generator.device)
    return sigma_of(alpha_bar).to(t.device)[t].float()


def denoising_loss(D: Denoiser, x0: Tensor, sigma: Tensor, generator: torch.Generator, weight: Weight, *,
                   cond: Any = None, power: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """Mean over voxels of (sqrt(weight) |D(x0 + sigma n) - x0|)^power; with `mask`, over its voxels only.

    power 1 with `epsilon_weight` is the L1 loss on the noise.
    """
    sigma = sigma.to(x0.device)
    noise = torch.randn(x0.shape, generator=generator, device=generator.device).to(x0)
    error = D(x0 + broadcast(sigma, x0) * noise, sigma, cond) - x0
    scaled = (broadcast(weight(sigma).sqrt(), x0) * error).abs() ** power
    if mask is None:
        return scaled.mean()
    inside = mask.to(scaled.dtype).expand_as(scaled)
    return (scaled * inside).sum() / inside.sum().clamp(min=1)
