"""Samplers: functions (D, x, sigmas, generators, on_step, cond) -> x that walk x down the levels.

`sigmas` falls; the last level is usually 0. All noise comes from one generator a sample, so sample i is the same in any
batch. `on_step(step)` is called after every step with the new x; what it returns, if anything, takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .parameterisation import Denoiser

Generators = Sequence[torch.Generator]


@dataclass(frozen=True)
class Step:
    """One step of a sampler, as a hook sees it. Levels are in the picture x = x0 + sigma n."""

    index: int
    count: int
    sigma: float
    """Level before the step."""
    sigma_next: float
    """Level of `x`."""
    x: Tensor
    x0: Tensor
    """The estimate of the clean image that the step was made with."""

    @property
    def remaining(self) -> int:
        """Steps still to come: 0 at the last. The last l transitions are those with remaining < l."""
        return self.count - self.index - 1

    @property
    def vp_scale(self) -> float:
        """sqrt(alpha_bar) at sigma_next: x * vp_scale is the x_{t-1} of a variance-preserving paper."""
        return 1 / math.sqrt(1 + self.sigma_next**2)


Hook = Callable[[Step], Tensor | None]


def normal_like(x: Tensor, generators: Generators) -> Tensor:
    """Standard normal noise of x's shape, image i from generator i alone, drawn where it lives (the CPU)."""
    if len(generators) != len(x):
        raise ValueError(f"{len(x)} images need {len(x)} generators, not {len(generators)}")
    return torch.stack([_normal(x.shape[1:], g) for g in generators]).to(x)


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A generator may bring a `normal(shape)` of its own, such as noise that neighbouring slices share."""
    own = getattr(generator, "normal", None)
    return own(shape) if own else torch.randn(shape, generator=generator, device=generator.device)


def pure_noise(like: Tensor, sigma: float, generators: Generators) -> Tensor:
    """The start x = sigma n."""
    return sigma * normal_like(like, generators)


def noisy_image(image: Tensor, sigma: float, generators: Generators) -> Tensor:
    """The start from an image at a level, x = image + sigma n; with `start_at` for the levels that follow."""
    return image + sigma * normal_like(image, generators)


def ddpm_ancestral(D: Denoiser, x: Tensor, sigmas: Tensor, *, generators: Generators, on_step: Hook | None = None,
                   cond: Any = None, variance: str = "small") -> Tensor:
    """Ho et al. (2020), Algorithm 2, exact for any subset of levels.

    Each step draws from q(x_s | x_t, x0 = D): between levels t and s the chain's own steps do not matter, only both
    sigmas. `variance`: `small` is the posterior's, `large` is beta's (the paper's two choices of sigma_t^2).
    """
    if variance not in ("small", "large"):
        raise ValueError(f"variance must be 'small' or 'large', not '{variance}'")

    def step(x: Tensor, x0: Tensor, sigma: float, low: float) -> Tensor:
        mean = x0 + (low / sigma) ** 2 * (x - x0)
        spread = _posterior_sd(sigma, low) if variance == "small" else _beta_sd(sigma, low)
        return mean + spread * normal_like(x, generators) if low > 0 else mean

    return _walk(D, x, sigmas, step, on_step, cond)


def ddim(D: Denoiser, x: Tensor, sigmas: Tensor, *, generators: Generators = (), on_step: Hook | None = None,
         cond: Any = None, eta: float = 0.0) -> Tensor:
    """Song et al. (2021), Eq. 12: eta 0 is deterministic (and is Euler's method in sigma), eta 1 is DDPM."""

    def step(x: Tensor, x0: Tensor, sigma: float, low: float) -> Tensor:
        spread = eta * _posterior_sd(sigma, low)
        mean = x0 + math.sqrt(max(low**2 - spread**2, 0.0)) / sigma * (x - x0)
        return mean + spread * normal_like(x, generators) if spread > 0 else mean

    return _walk(D, x, sigmas, step, on_step, cond)


def euler(D: Denoiser, x: Tensor, sigmas: Tensor, *, generators: Generators = (), on_step: Hook | None = None,
          cond: Any = None, s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf,
          s_noise: float = 1.0) -> Tensor:
    """Euler's method on the probability flow ODE dx/dsigma = (x - D) / sigma; churn as in `heun`."""
    for i, n, sigma, low in _steps(sigmas):
        x, sigma_hat = _churned(x, sigma, n, s_churn, s_tmin, s_tmax, s_noise, generators)
        x0 = D(x, x.new_tensor(sigma_hat), cond)
        x = x0 + low / sigma_hat * (x - x0)
        x = _hooked(on_step, Step(i, n, sigma, low, x, x0))
    return x


def heun(D: Denoiser, x: Tensor, sigmas: Tensor, *, generators: Generators = (), on_step: Hook | None = None,
         cond: Any = None, s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf,
         s_noise: float = 1.0, widest: float = math.inf) -> Tensor:
    """Karras et al. (2022), Algorithm 2. Two evaluations a step, one for the step to level 0.

    A step between levels further apart than the factor `widest` is Euler's. The correction gives the change of D over a
    step the weight (sigma / low - 1) / 2, where no more than 1 can be right: over a gap, as from pure noise to where
    an image begins to show, it would leave a spread too wide, which no number of further steps mends.
    """
    for i, n, sigma, low in _steps(sigmas):
        x, sigma_hat = _churned(x, sigma, n, s_churn, s_tmin, s_tmax, s_noise, generators)
        x0 = D(x, x.new_tensor(sigma_hat), cond)
        slope = (x - x0) / sigma_hat
        ahead = x + (low - sigma_hat) * slope
        if _is_corrected(sigma, low, widest):
            slope = (slope + (ahead - D(ahead, x.new_tensor(low), cond)) / low) / 2
            ahead = x + (low - sigma_hat) * slope
        x = _hooked(on_step, Step(i, n, sigma, low, ahead, x0))
    return x


def _is_corrected(sigma: float, low: float, widest: float) -> bool:
    return 0 < low and sigma <= widest * low


def dpmpp_2m(D: Denoiser, x: Tensor, sigmas: Tensor, *, generators: Generators = (), on_step: Hook | None = None,
             cond: Any = None) -> Tensor:
    """DPM-Solver++(2M) of Lu et al. (2022): second order with one evaluation a step, by reusing the last estimate.

    In lambda = -ln sigma. The first step and the step to level 0 are of first order.
    """
    before, h_before = None, 0.0
    for i, n, sigma, low in _steps(sigmas):
        x0 = D(x, x.new_tensor(sigma), cond)
        h = math.log(sigma / low) if low > 0 else math.inf
        ahead = x0 if before is None or low == 0 else x0 + (x0 - before) * (h / (2 * h_before))
        x = _hooked(on_step, Step(i, n, sigma, low, ahead + low / sigma * (x - ahead), x0))
        before, h_before = x0, h
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm_ancestral, "ddim": ddim, "euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m}


def evaluations_of(sampler: str, sigmas: Tensor, widest: float = math.inf) -> int:
    """Network evaluations that a sampler spends on these levels; `widest` is that of `heun`."""
    pairs = list(pairwise(float(s) for s in sigmas))
    return len(pairs) + (sum(_is_corrected(*pair, widest) for pair in pairs) if sampler == "heun" else 0)


def _walk(D: Denoiser, x: Tensor, sigmas: Tensor, step: Callable[[Tensor, Tensor, float, float], Tensor],
          on_step: Hook | None, cond: Any) -> Tensor:
    for i, n, sigma, low in _steps(sigmas):
        x0 = D(x, x.new_tensor(sigma), cond)
        x = _hooked(on_step, Step(i, n, sigma, low, step(x, x0, sigma, low), x0))
    return x


def _steps(sigmas: Tensor) -> Iterator[tuple[int, int, float, float]]:
    """Index, number of steps, level before and level after; numbers in double precision, checked to fall."""
    pairs = list(pairwise(float(s) for s in sigmas))
    if not pairs or any(low >= high for high, low in pairs) or pairs[-1][1] < 0:
        raise ValueError("levels must fall, end at 0 or above, and number at least two")
    for i, (sigma, low) in enumerate(pairs):
        yield i, len(pairs), sigma, low


def _hooked(on_step: Hook | None, step: Step) -> Tensor:
    changed = on_step(step) if on_step is not None else None
    return step.x if changed is None else changed


def _posterior_sd(sigma: float, low: float) -> float:
    """Standard deviation of q(x_s | x_t, x0)."""
    return low / sigma * math.sqrt(sigma**2 - low**2)


def _beta_sd(sigma: float, low: float) -> float:
    """sqrt(beta) of the step t -> s of the variance-preserving chain, 1 - alpha_bar_t / alpha_bar_s, brought to x."""
    return math.sqrt((sigma**2 - low**2) / (1 + sigma**2) * (1 + low**2))


def _churned(x: Tensor, sigma: float, steps: int, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float,
             generators: Generators) -> tuple[Tensor, float]:
    """Algorithm 2, lines 4 to 6: new noise raises the level from t to t-hat."""
    gamma = min(s_churn / steps, math.sqrt(2) - 1) if s_tmin <= sigma <= s_tmax else 0.0
    if gamma == 0:
        return x, sigma
    sigma_hat = sigma * (1 + gamma)
    return x + math.sqrt(sigma_hat**2 - sigma**2) * s_noise * normal_like(x, generators), sigma_hat
