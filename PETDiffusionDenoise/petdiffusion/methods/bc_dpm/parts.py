"""What training and sampling share: the schedule, the Denoiser of the network, and what the network is told."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...diffusion.conditions import Conditions
from ...diffusion.parameterisation import DiscreteTime, Epsilon, Preconditioned
from ...diffusion.schedules import linear_alpha_bar
from .config import BcDpmConfig

REFERENCE_MM = 4.0


def alpha_bar(config: BcDpmConfig) -> Tensor:
    return linear_alpha_bar(config.T, config.beta_1, config.beta_T)


def denoiser(network: Callable[..., Tensor], config: BcDpmConfig) -> Preconditioned:
    """D(x, sigma) of the score network, which predicts the noise (Eq. 7)."""
    return Preconditioned(network, Epsilon(DiscreteTime(alpha_bar(config))))


def told(pixel_mm: Tensor) -> Conditions:
    """The pixel size, the one thing the network is told: nothing of the low-count scan."""
    return Conditions(vector=(pixel_mm.reshape(-1, 1) / REFERENCE_MM).log())
