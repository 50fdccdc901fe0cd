"""The mean at the top of the schedule: from two views of each patch, found once for all chains of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...diffusion.parameterisation import Denoiser
from ...infer.engine import VolumeEstimate
from ...infer.views import VIEWS, OnceAtTop, at_top, two_views
from . import parts
from .config import AmdiffConfig
from .network import AmdiffNetwork


@dataclass(frozen=True, eq=False)
class MeanAtTop:
    """There the network was trained to be given no noise; what it says then is the mean."""

    denoiser: Denoiser
    sigma_top: float

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        if not at_top(sigma, self.sigma_top):
            return self.denoiser(x, sigma, cond)
        return two_views(lambda seen: self.denoiser(torch.zeros_like(x), sigma, seen), cond)


@dataclass(eq=False)
class Once:
    """Put around the Denoiser of a volume: keeps its mean."""

    sigma_top: float
    made: OnceAtTop | None = None

    def __call__(self, denoiser: Denoiser) -> Denoiser:
        self.made = OnceAtTop(denoiser, self.sigma_top)
        return self.made

    @property
    def mean(self) -> Tensor:
        """(1, z, y, x), once the first evaluation is made."""
        return self.made._mean[0].float().cpu()


def denoisers(network: AmdiffNetwork, config: AmdiffConfig) -> tuple[Denoiser, Once | None]:
    """D of patches, and what is put around that of the whole volume; a model without a trained mean has neither."""
    D = parts.denoiser(network.denoiser, config)
    if config.mean_share == 0:
        return D, None
    return MeanAtTop(D, parts.top(config)), Once(parts.top(config))


def evaluations_of(estimate: VolumeEstimate, config: AmdiffConfig) -> int:
    """Network evaluations made: the top's is made once, in two views, whatever the number of samples."""
    if config.mean_share == 0:
        return estimate.evaluations
    return estimate.evaluations - max(estimate.samples - 1, 0) + VIEWS - 1
