"""The mean at the top of the schedule: from two views of each patch, found once for all chains of a scan."""

from __future__ import annotations

from ...diffusion.parameterisation import Denoiser
from ...infer.engine import VolumeEstimate
from ...infer.views import VIEWS, MeanAtTop, Once
from . import parts
from .config import AmdiffConfig
from .network import AmdiffNetwork


def denoisers(network: AmdiffNetwork, config: AmdiffConfig) -> tuple[Denoiser, Once | None]:
    """D of patches, and what is put around that of the whole volume; a model without a trained mean has neither."""
    D = parts.denoiser(network.denoiser, config)
    if config.mean_share == 0:
        return D, None
    return MeanAtTop(D, parts.top(config), coordinates=config.sees_places), Once(parts.top(config))


def evaluations_of(estimate: VolumeEstimate, config: AmdiffConfig) -> int:
    """Network evaluations made: the top's is made once, in two views, whatever the number of samples."""
    if config.mean_share == 0:
        return estimate.evaluations
    return estimate.evaluations - max(estimate.samples - 1, 0) + VIEWS - 1
