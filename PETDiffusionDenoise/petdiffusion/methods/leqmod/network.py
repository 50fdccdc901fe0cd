"""The U-net that is kept, and the critic that it learns against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...networks.critic import judged, patch_critic
from ...networks.unet import UNet, UNetConfig

GENERATOR, CRITIC = "generator.", "critic."


class LeqmodNetwork(nn.Module):
    """Called as the U-net is, or with `judge=True` as the critic of a real and a made image."""

    def __init__(self, network: Mapping[str, Any], critic_channels: int) -> None:
        super().__init__()
        self.generator = UNet(UNetConfig.from_json(network))
        self.critic = patch_critic(critic_channels, images=2)

    @property
    def last(self) -> nn.Module:
        return self.generator.last

    def forward(self, x: Tensor, *args: Any, judge: bool = False, **kwargs: Any) -> Any:
        return judged(self.critic, x, *args) if judge else self.generator(x, *args, **kwargs)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Where a training begins: such a network, or a U-net by regression, whose critic begins anew."""
        if not any(name.startswith(GENERATOR) for name in weights):
            weights = {GENERATOR + name: value for name, value in weights.items()}
        critic = {name: value for name, value in self.state_dict().items() if name.startswith(CRITIC)}
        self.load_state_dict({**critic, **weights})


class Generator(nn.Module):
    """What of it is needed at work."""

    def __init__(self, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.generator = UNet(UNetConfig.from_json(network))
        self.register_load_state_dict_pre_hook(_without_critic)

    @property
    def config(self) -> UNetConfig:
        return self.generator.config

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.generator(*args, **kwargs)


def _without_critic(module: nn.Module, weights: dict[str, Tensor], *_: Any) -> None:
    for name in [name for name in weights if name.startswith(CRITIC)]:
        del weights[name]


def at_work(config: Mapping[str, Any]) -> Generator:
    """From the configuration of the method."""
    return Generator(config["network"])
