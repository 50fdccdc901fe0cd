"""A mean seen twice: as the scan lies, and mirrored left to right, as it might lie just as well.

A network trained on mirrored patients gives nearly but not exactly the mirrored answer; the average of both has less
error than either and is the same whichever way the scan lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..diffusion.conditions import Conditions
from ..diffusion.parameterisation import Denoiser

VIEWS = 2
Regress = Callable[[Conditions], Tensor]


def two_views(regress: Regress, cond: Conditions, coordinates: bool = True) -> Tensor:
    """The average over both views of a patch. With coordinates the last image of the conditions is that along x."""
    return (regress(cond) + regress(mirrored(cond, coordinates)).flip(-1)) / VIEWS


def two_views_at_once(regress: Regress, cond: Conditions) -> Tensor:
    """The same, of a small patch in one batch: convolutions of a CPU are a fifth faster on two than on one."""
    both = replace(cond, images=torch.cat((cond.images, mirrored(cond).images)))
    plain, other = regress(both).chunk(VIEWS)
    return (plain + other.flip(-1)) / VIEWS


def mirrored(cond: Conditions, coordinates: bool = True) -> Conditions:
    """The patch as it lies in the mirrored patient: x runs from -1 to 1 there too."""
    images = cond.images.flip(-1).clone()
    if coordinates:
        images[:, -1].neg_()
    return replace(cond, images=images)


@dataclass(frozen=True, eq=False)
class MeanAtTop:
    """At the highest level a sample is drowned in noise: a network with a trained mean was given none there.

    What it says then is the mean, taken from two views of the patch.
    """

    denoiser: Denoiser
    top: float
    coordinates: bool = True
    """Whether the network is shown where in the scan a voxel lies."""

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        if not at_top(sigma, self.top):
            return self.denoiser(x, sigma, cond)
        return two_views(lambda seen: self.denoiser(torch.zeros_like(x), sigma, seen), cond, self.coordinates)


@dataclass(eq=False)
class Once:
    """Makes the Denoiser of a volume find its mean once, and knows what that saved."""

    top: float
    made: OnceAtTop | None = None

    def __call__(self, denoiser: Denoiser) -> Denoiser:
        self.made = OnceAtTop(denoiser, self.top)
        return self.made

    @property
    def mean(self) -> Tensor:
        """(1, z, y, x), once the first evaluation is made."""
        return self.made._mean[0].float().cpu()

    def spent(self, asked: int) -> int:
        """Network evaluations that were made of those that the sampler asked for."""
        return asked - self.made.reused + VIEWS - 1


@dataclass(eq=False)
class OnceAtTop:
    """At the highest level the estimate does not depend on the noise: it is found once, for all chains of a volume."""

    denoiser: Denoiser
    sigma_max: float
    reused: int = 0
    """Evaluations that were not needed."""
    _mean: Tensor | None = field(default=None, repr=False)

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        if not at_top(sigma, self.sigma_max):
            return self.denoiser(x, sigma, cond)
        self.reused += len(x) - (self._mean is None)
        if self._mean is None:
            self._mean = self.denoiser(x[:1], sigma[:1] if sigma.ndim else sigma, cond)
        self._mean = self._mean.to(x.device)  # later chains may run elsewhere, once memory has run out
        return self._mean.expand_as(x).clone()


def at_top(sigma: Tensor, sigma_max: float) -> bool:
    return float(sigma.max()) >= sigma_max * (1 - 1e-6)
