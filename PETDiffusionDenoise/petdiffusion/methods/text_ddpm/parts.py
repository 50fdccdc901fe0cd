"""What training and sampling share: the schedule, the network, its Denoiser, and what the network is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...diffusion.conditions import Conditions
from ...diffusion.parameterisation import DiscreteTime, Epsilon, Preconditioned, Velocity
from ...diffusion.schedules import linear_alpha_bar, sigma_of
from ...networks.unet import UNet, UNetConfig
from .config import PairConfig

REFERENCE_MM = 3.0


def alpha_bar(config: PairConfig) -> Tensor:
    return linear_alpha_bar(config.T, config.beta_1, config.beta_T)


def top(config: PairConfig) -> float:
    """The highest level: of pure noise."""
    return float(sigma_of(alpha_bar(config))[-1])


def network_of(config: PairConfig) -> UNet:
    return UNet(UNetConfig.from_json(config.network))


def denoiser(network: nn.Module, config: PairConfig) -> Preconditioned:
    time = DiscreteTime(alpha_bar(config))
    return Preconditioned(network, Velocity(time) if config.predicts == "velocity" else Epsilon(time))


def regressed(network: nn.Module, cond: Conditions, like: Tensor) -> Tensor:
    """The same network as a regression: no noise in, one constant level."""
    level = torch.zeros(len(like), device=like.device)
    return network(torch.zeros_like(like), level, **cond.inputs(len(like)))


def images(config: PairConfig, low: Tensor, given: dict[str, Any]) -> Tensor:
    """(B, C, ...) of scans (B, 1, ...): voxel by voxel, so a patch of them is them of the patch."""
    if config.space == "suv":
        return low / config.suv_unit - 1
    level, mean = (given[k].reshape(-1, *[1] * (low.ndim - 1)) for k in ("level", "root_mean"))
    return torch.cat(((low - given["base"]) / (given["root"] * level), given["root"] / mean - 1), 1)


def numbers(level: Tensor, voxel_mm: Tensor) -> Tensor:
    """(B, 2): the logarithms of noise and voxel size."""
    return torch.stack((level.log(), (voxel_mm / REFERENCE_MM).log()), 1)


def with_context(config: PairConfig, width: int) -> PairConfig:
    """The network's cross-attention takes tokens of this width; 0: it has none."""
    return replace(config, network={**config.network, "context": width})
