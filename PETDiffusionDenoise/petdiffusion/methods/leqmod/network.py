"""The U-net that is kept, and the critic that it learns against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...networks.adversary import Adversaries, Generator
from ...networks.unet import UNet, UNetConfig


def learning(config: Mapping[str, Any]) -> Adversaries:
    """From the configuration of the method."""
    return Adversaries(_unet(config), config["critic_channels"])


def at_work(config: Mapping[str, Any]) -> Generator:
    return Generator(_unet(config))


def _unet(config: Mapping[str, Any]) -> UNet:
    return UNet(UNetConfig.from_json(config["network"]))
