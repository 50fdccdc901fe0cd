"""Two U-nets on slices, from low counts to a normal dose and back, and a critic of each kind of image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...networks.adversary import Generator
from ...networks.by_slice import BySlice
from ...networks.critic import patch_critic
from ...networks.unet import UNet, UNetConfig

NORMAL, LOW = "normal", "low"


class Change(BySlice):
    """What the U-net finds is added to the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class CycleNetwork(nn.Module):
    """Called with an image (B, 1, z, y, x) it gives the normal dose of it, or with `back=True` the low counts; with
    `judged_as` it is that critic's losses of real images and made ones."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.generator, self.back = _change(config), _change(config)
        self.critics = nn.ModuleDict({kind: patch_critic(config["critic_channels"], dims=2) for kind in (NORMAL, LOW)})

    @property
    def last(self) -> nn.Module:
        return self.generator.last

    def forward(self, x: Tensor, *args: Any, back: bool = False, judged_as: str = "") -> Any:
        if judged_as:
            return wasserstein(self.critics[judged_as], x, *args)
        return self.back(x) if back else self.generator(x)


def wasserstein(critic: nn.Module, real: Tensor, made: Tensor, mix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the maker has to gain, which does not move the critic; the critic's own loss, which does not move the maker;
    and how far from 1 the critic's slope is, squared, at mixtures of both. Slices are judged; `mix` is (B, 1, 1, 1)."""
    real, made = real[:, :, 0], made[:, :, 0]
    held = {name: value.detach() for name, value in critic.named_parameters()}
    fooled = -functional_call(critic, held, (made,))[-1].mean()
    own = critic(made.detach())[-1].mean() - critic(real)[-1].mean()
    between = (mix * real + (1 - mix) * made.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between)[-1].flatten(1).mean(1).sum(), between, create_graph=True)
    return fooled, own, (slope.flatten(1).norm(dim=1) - 1).square().mean()


def at_work(config: Mapping[str, Any]) -> Generator:
    """From the configuration of the method."""
    return Generator(_change(config))


def _change(config: Mapping[str, Any]) -> Change:
    return Change(UNet(UNetConfig.from_json(config["network"])))
