"""The Denoiser of an AMDiff network, the levels of its schedule, and how far an estimate of x0 is to be trusted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...diffusion.parameterisation import Denoiser, DiscreteTime, Edm, Epsilon, Preconditioned, clamped
from ...diffusion.schedules import alpha_bar_of, cosine_alpha_bar, respaced_sigmas, sigma_of
from .config import AmdiffConfig

RANGE = -1.0, 1.0
"""Of images that are diffused as they are (`units`)."""


def alpha_bar(config: AmdiffConfig) -> Tensor:
    """The cosine schedule down to the step where chains begin."""
    every = cosine_alpha_bar(config.T)
    return every[sigma_of(every) <= config.sigma_top]


def levels(config: AmdiffConfig, steps: int) -> Tensor:
    """`steps` of the schedule's steps, evenly spaced, then 0."""
    every = alpha_bar(config)
    return respaced_sigmas(every, min(steps, len(every)))


def top(config: AmdiffConfig) -> float:
    return float(sigma_of(alpha_bar(config))[-1])


def denoiser(network: Callable[..., Tensor], config: AmdiffConfig) -> Denoiser:
    """D of what is diffused. Estimates from epsilon are held within the range of the data: near t = T an error of the
    network is amplified thousands of times."""
    D = as_learnt(network, config)
    return clamped(D, *RANGE) if _is_held(config) else D


def as_learnt(network: Callable[..., Tensor], config: AmdiffConfig) -> Preconditioned:
    """D as the network says it. L_diff is of this: where an estimate is held, the network's error is not seen, and at
    high noise that is everywhere."""
    if config.predict == "epsilon":
        return Preconditioned(network, Epsilon(DiscreteTime(cosine_alpha_bar(config.T))))
    return Preconditioned(network, Edm(config.sigma_data or 1.0))


def held(estimate: Tensor, config: AmdiffConfig) -> Tensor:
    """What `denoiser` makes of D as the network says it."""
    return estimate.clamp(*RANGE) if _is_held(config) else estimate


def _is_held(config: AmdiffConfig) -> bool:
    return config.predict == "epsilon" and config.base == "none"


def trust(sigma: Tensor, alone: Tensor, config: AmdiffConfig) -> Tensor:
    """How much an estimate of x0 counts in the losses on P_HC (Eqs. 5, 7, 9).

    With a trained mean, only what was estimated at the top and without noise counts: that is what inference gives to
    the revision and the segmenter. Without one (the paper), alpha-bar: nothing is learnt from where nothing is seen.
    """
    return alone.float() if config.mean_share > 0 else alpha_bar_of(sigma)
