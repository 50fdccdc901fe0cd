"""Noise levels: linear and cosine beta schedules, Karras levels, respaced levels, and conversions between them.

Levels are float64 tensors that fall and usually end in 0. alpha_bar[t - 1] belongs to the papers' step t = 1..T.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_alpha_bar(steps: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Tensor:
    """alpha_bar_t of Ho et al. (2020): beta grows linearly from beta_1 to beta_T."""
    return torch.cumprod(1 - torch.linspace(beta_1, beta_T, steps, dtype=torch.float64), 0)


def cosine_alpha_bar(steps: int, s: float = 0.008, beta_max: float = 0.999) -> Tensor:
    """alpha_bar_t of Nichol and Dhariwal (2021), each beta at most beta_max."""
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((time + s) / (1 + s) * math.pi / 2) ** 2
    return torch.cumprod(1 - (1 - f[1:] / f[:-1]).clamp(max=beta_max), 0)


def sigma_of(alpha_bar: Tensor) -> Tensor:
    """sigma = sqrt((1 - alpha_bar) / alpha_bar): noise over signal of a variance-preserving model."""
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def alpha_bar_of(sigma: Tensor) -> Tensor:
    """alpha_bar = 1 / (1 + sigma^2), the inverse of `sigma_of`."""
    return 1 / (1 + sigma.square())


def evenly_spaced_times(total: int, steps: int) -> Tensor:
    """`steps` of the times 1..total, falling, the first `total` and the last 1, evenly spaced and rounded."""
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} steps cannot be chosen from {total}")
    return torch.linspace(total, 1, steps, dtype=torch.float64).round().long()


def respaced_sigmas(alpha_bar: Tensor, steps: int) -> Tensor:
    """Levels of `steps` evenly spaced times of a discrete schedule, then 0.

    A sampler steps from each level to the next *listed* one, so fewer steps need nothing else: the posterior between
    two levels depends on these two alone.
    """
    return _ending_in_zero(sigma_of(alpha_bar)[evenly_spaced_times(len(alpha_bar), steps) - 1])


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """`steps` levels from sigma_max to sigma_min (Karras et al. 2022, Eq. 5), then 0."""
    if not 0 < sigma_min <= sigma_max or steps < 1:
        raise ValueError(f"no {steps} levels can be made from {sigma_max} down to {sigma_min}")
    i = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return _ending_in_zero((high + i * (low - high)) ** rho)


def start_at(sigmas: Tensor, sigma: float) -> Tensor:
    """The levels below `sigma`, with `sigma` itself in front: for chains that start from a noisy image."""
    return torch.cat((sigmas.new_tensor([sigma]), sigmas[sigmas < sigma * (1 - 1e-6)]))


def time_of(sigma: Tensor, alpha_bar: Tensor, nearest: bool = False) -> Tensor:
    """The step t in [1, T] whose noise level is sigma, interpolated in ln sigma; levels outside take the end."""
    table = sigma_of(alpha_bar).log().to(sigma)
    level = sigma.clamp(min=1e-12).log()
    above = torch.searchsorted(table, level.contiguous()).clamp(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    time = above + ((level - low) / (high - low)).clamp(0, 1)
    return time.round() if nearest else time


def _ending_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat((sigmas, sigmas.new_zeros(1)))
