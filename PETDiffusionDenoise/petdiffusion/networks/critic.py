"""A critic that tells made images from real ones, patch by patch, and least-squares losses of both sides (LSGAN)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

SMALLEST_SEEN = 12
"""Voxels along a side that leave it, halved and looked at, more than one place to take the norm of."""


def patch_critic(channels: int, images: int = 1, dims: int = 3) -> nn.Module:
    """Each of its answers looks at a part of the volume."""
    from monai.networks.nets import PatchDiscriminator

    return PatchDiscriminator(dims, channels=channels, in_channels=images, num_layers_d=2, norm="INSTANCE")


def judged(critic: nn.Module, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """What the maker of the images has to gain, which does not move the critic, and the critic's own loss."""
    held = {name: value.detach() for name, value in critic.named_parameters()}
    fooled = (functional_call(critic, held, (made,))[-1] - 1).square().mean()
    seen = [critic(image.detach())[-1] for image in (real, made)]
    return fooled, ((seen[0] - 1).square().mean() + seen[1].square().mean()) / 2
