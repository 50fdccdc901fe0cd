"""Restormer (Zamir 2022) for volumes: a U of transformer blocks whose attention is between channels, not voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...networks.transformer import TransformerSize, TransformerU


@dataclass(frozen=True)
class RestormerSize(TransformerSize):
    NAME = "Restormer's size"


class Restormer(TransformerU):
    """`net(x, noise, images, vector)`: x and noise, which a diffusion would bring, are not looked at."""


def built(config: Mapping[str, Any]) -> Restormer:
    """From the configuration of the method."""
    return Restormer(RestormerSize.from_json(config["network"]))
