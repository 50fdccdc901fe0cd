"""The four generators. Each is called as a U-net is, finds parts as channels, and makes the image of them (`whole`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.adversary import Adversaries, Generator
from ...networks.unet import UNet, UNetConfig
from .config import FrequencyConfig, GanConfig, LocalityConfig, RectifiedConfig, TransformerConfig
from .parts import Fusion, Layer

PET, BODY, ANATOMY, PLACE = slice(0, 1), slice(1, 2), slice(2, 4), slice(4, 7)
"""Of the images that a network is shown: see `prepare/channels.py`; the last three are coordinates."""


@dataclass(frozen=True)
class Size:
    """What the engine asks of a network."""

    multiple: int
    window: int | None


class ByParts(nn.Module):
    """`forward(..., parts=True)` gives what the losses look at: (B, parts, z, y, x)."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.size = UNetConfig.from_json(config.network)
        self.config = Size(self.size.multiple, config.window)

    def forward(self, x: Tensor, noise: Tensor | None = None, images: Tensor | None = None,
                vector: Tensor | None = None, parts: bool = False) -> Tensor:  # fmt: skip
        found = self.found(x, noise, images, vector)
        return found if parts else self.whole(found)

    def found(self, x: Tensor, noise: Tensor | None, images: Tensor, vector: Tensor | None) -> Tensor:
        raise NotImplementedError

    def whole(self, parts: Tensor) -> Tensor:
        """The last part is the image, what comes before it was on the way."""
        return parts[:, -1:]


class LocalityAdaptive(ByParts):
    """LA-GAN: U-nets on one image, fused of PET, CT and MR by weights of each place. The second one's image has the
    first one's estimate in it (auto-context), and does not move it."""

    def __init__(self, config: LocalityConfig) -> None:
        super().__init__(config)
        self.fusions = nn.ModuleList(Fusion(images, config.regions) for images in (3, 4))
        one_image = replace(self.size, condition_channels=2)
        self.unets = nn.ModuleList(UNet(one_image) for _ in range(2))

    @property
    def last(self) -> nn.Module:
        return self.unets[-1].last

    def found(self, x: Tensor, noise: Tensor | None, images: Tensor, vector: Tensor | None) -> Tensor:
        seen, estimates = torch.cat((images[:, PET], images[:, ANATOMY]), 1), []
        for fusion, unet in zip(self.fusions, self.unets):
            fused = fusion(torch.cat((seen, *[e.detach() for e in estimates]), 1), images[:, PLACE])
            estimates.append(unet(x, noise, torch.cat((fused, images[:, BODY]), 1), vector=vector))
        return torch.cat(estimates, 1)


class _UNetWithTransformer(UNet):
    def __init__(self, config: UNetConfig, layers: int) -> None:
        super().__init__(config)
        lowest = config.channels * config.multipliers[-1]
        self.layers = nn.Sequential(*[Layer(lowest, config.head_channels) for _ in range(layers)])

    def _bottleneck(self, h: Tensor, emb: Tensor | None, context: Tensor | None) -> Tensor:
        return self.middle[1](self.layers(self.middle[0](h, emb)), emb)


class OneUNet(ByParts):
    """One U-net; here with a transformer at its bottom."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__(config)
        self.unet = self.built(config)

    def built(self, config: TransformerConfig) -> UNet:
        return _UNetWithTransformer(self.size, config.layers)

    @property
    def last(self) -> nn.Module:
        return self.unet.last

    def found(self, x: Tensor, noise: Tensor | None, images: Tensor, vector: Tensor | None) -> Tensor:
        return self.unet(x, noise, images, vector=vector)


class TwoFrequencies(OneUNet):
    """DF-GAN: low and high frequencies are channels of their own."""

    def built(self, config: FrequencyConfig) -> UNet:
        return UNet(replace(self.size, out_channels=2))

    def whole(self, parts: Tensor) -> Tensor:
        return parts.sum(1, keepdim=True)


class Rectified(ByParts):
    """AR-GAN: a second U-net sees the first one's estimate too, and finds what it lacks."""

    def __init__(self, config: RectifiedConfig) -> None:
        super().__init__(config)
        self.coarse = UNet(self.size)
        self.mending = UNet(replace(self.size, condition_channels=self.size.condition_channels + 1))

    @property
    def last(self) -> nn.Module:
        return self.mending.last

    def found(self, x: Tensor, noise: Tensor | None, images: Tensor, vector: Tensor | None) -> Tensor:
        coarse = self.coarse(x, noise, images, vector=vector)
        lacking = self.mending(x, noise, torch.cat((coarse, images), 1), vector=vector)
        return torch.cat((coarse, coarse + lacking), 1)


KINDS: Mapping[type[GanConfig], type[ByParts]] = {
    LocalityConfig: LocalityAdaptive, TransformerConfig: OneUNet, FrequencyConfig: TwoFrequencies,
    RectifiedConfig: Rectified,
}  # fmt: skip


def generator(config: GanConfig) -> ByParts:
    return KINDS[type(config)](config)


def learning(config: GanConfig) -> Adversaries:
    return Adversaries(generator(config), config.critic_channels)


def _at_work(kind: type[GanConfig], config: Mapping[str, Any]) -> Generator:
    return Generator(generator(kind.from_json(config)))


def locality(config: Mapping[str, Any]) -> Generator:
    return _at_work(LocalityConfig, config)


def transformer(config: Mapping[str, Any]) -> Generator:
    return _at_work(TransformerConfig, config)


def frequency(config: Mapping[str, Any]) -> Generator:
    return _at_work(FrequencyConfig, config)


def rectified(config: Mapping[str, Any]) -> Generator:
    return _at_work(RectifiedConfig, config)
