"""A network that makes images, the critic that it learns against, and what of both is kept for work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .critic import judged, patch_critic

GENERATOR, CRITIC = "generator.", "critic."


class Adversaries(nn.Module):
    """Called as the generator is, or with `judge=True` as the critic of a real and a made image."""

    def __init__(self, generator: nn.Module, critic_channels: int) -> None:
        super().__init__()
        self.generator = generator
        self.critic = patch_critic(critic_channels, images=2)

    @property
    def last(self) -> nn.Module:
        return self.generator.last

    def forward(self, x: Tensor, *args: Any, judge: bool = False, **kwargs: Any) -> Any:
        return judged(self.critic, x, *args) if judge else self.generator(x, *args, **kwargs)

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Where a training begins: such a network, or its generator alone, whose critic begins anew."""
        if not any(name.startswith(GENERATOR) for name in weights):
            weights = {GENERATOR + name: value for name, value in weights.items()}
        critic = {name: value for name, value in self.state_dict().items() if name.startswith(CRITIC)}
        self.load_state_dict({**critic, **weights})


class Generator(nn.Module):
    """What of it is needed at work."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.register_load_state_dict_pre_hook(_generator_alone)

    @property
    def config(self) -> Any:
        return self.generator.config

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.generator(*args, **kwargs)


def _generator_alone(module: nn.Module, weights: dict[str, Tensor], *_: Any) -> None:
    """Critics, and whatever else was there to learn against, are left behind."""
    for name in [name for name in weights if not name.startswith(GENERATOR)]:
        del weights[name]
