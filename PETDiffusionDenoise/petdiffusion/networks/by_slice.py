"""A network in two dimensions on volumes."""

from __future__ import annotations

from torch import Tensor, nn

from .unet import UNet


class BySlice(nn.Module):
    """A 2D network on a volume: no slice knows of another."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network, self.config = network, network.config

    @property
    def last(self) -> nn.Module:
        return self.network.last

    def forward(self, x: Tensor) -> Tensor:
        slices = self.network(x.transpose(1, 2).flatten(0, 1))
        return slices.unflatten(0, (len(x), -1)).transpose(1, 2)
