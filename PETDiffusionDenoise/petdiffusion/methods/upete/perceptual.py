"""The 3D perceptual loss: features of the bundled U-net for whole bodies, in place of the paper's pre-trained ResNet.

Nothing is downloaded. That network was trained to denoise digital bodies, not on the scans at hand, and stays as it is;
the features of its first two levels are compared after their length is taken out, as LPIPS does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...infer.residual import load_network
from ...networks.blocks import space_to_depth
from ...physics.blur import gaussian_filter
from ...zoo import store

MODEL, LEVELS = "unet3d-body", 2
MULTIPLE = 4
"""By which the images' sides must be divisible: its stem of two, halved for the second level."""
_FWHM, _LEVEL, _FLOOR = 1.5, 0.3, 0.05
"""Voxels, and units: what the features' network was given was whitened in about this way."""


class Perceptual:
    """Callable on two images (B, 1, z, y, x) in units."""

    def __init__(self) -> None:
        self.network = load_network(store.find(MODEL)).requires_grad_(False)

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(other)
        return sum((a - b).square().sum(1).mean() for a, b in zip(self.features(one), wanted)) / LEVELS

    def features(self, u: Tensor) -> list[Tensor]:
        net = self.network.to(u.device)
        smooth = gaussian_filter(u, [_FWHM] * 3, [1.0] * 3)
        root = (smooth.clamp_min(0) + _FLOOR).sqrt()
        nothing = torch.zeros_like(u).expand(-1, net.config.condition_channels - 2, -1, -1, -1)
        seen = torch.cat((torch.zeros_like(u), (u - smooth) / (_LEVEL * root), root - 1, nothing), 1)
        emb = net.embedding(u.new_zeros(len(u)), u.new_zeros(len(u), net.config.vector))
        h, found = net.first(space_to_depth(seen, net.config.stem)), []
        for level in range(LEVELS):
            h = net.sink[level - 1](h, emb) if level else h
            for block in net.down[level]:
                h = block(h, emb)
            found.append(normalize(h, dim=1))
        return found
