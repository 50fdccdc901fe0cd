"""Training of the four: mean absolute error of their parts, a critic (LSGAN), and what one of them has besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...infer.regression import residual_of
from ...networks.adversary import Adversaries
from ...training.adversarial import AdversarialTask
from ...training.choices import config_of
from ...training.residual import conditions
from ...training.task import Batch
from .config import FREQUENCY, LOCALITY, RECTIFIED, TRANSFORMER
from .generators import learning
from .parts import low_frequencies, spectral_distance


class GanTask(AdversarialTask):
    """Base of the four: `wanted` says what the parts should be."""

    def __init__(self, config: str = "compact", changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(config_of(self.configs, config, changes))

    def network(self) -> Adversaries:
        return learning(self.settings)

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        c, batch = self.settings, self.without_some_anatomy(batch, generator)
        parts, target = residual_of(_Parts(network), batch["low"], conditions(batch)), self.target(batch)
        error = c.unit * (parts - self.wanted(target)).abs() * self.weight(batch).sqrt()
        total = c.voxelwise * error.mean((0, 2, 3, 4)).sum() + self.more(parts, target, batch)
        if c.adversarial:
            total = total + self.against(network, self.image(parts), target, batch)
        return total

    def wanted(self, target: Tensor) -> Tensor:
        return target

    def image(self, parts: Tensor) -> Tensor:
        return parts[:, -1:]

    def more(self, parts: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return parts.new_zeros(())


class _Parts:
    """The network as a function that gives its parts."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.network(*args, **kwargs, parts=True)


class LocalityTask(GanTask):
    """Built by `petdiffusion train la-gan`. Both U-nets are held to the image."""

    method, configs = "la-gan", LOCALITY


class TransformerTask(GanTask):
    """Built by `petdiffusion train trans-gan`."""

    method, configs = "trans-gan", TRANSFORMER


class FrequencyTask(GanTask):
    """Built by `petdiffusion train df-gan`: each part is held to its own frequencies."""

    method, configs = "df-gan", FREQUENCY

    def wanted(self, target: Tensor) -> Tensor:
        low = low_frequencies(target, self.settings.cut)
        return torch.cat((low, target - low), 1)

    def image(self, parts: Tensor) -> Tensor:
        return parts.sum(1, keepdim=True)


class RectifiedTask(GanTask):
    """Built by `petdiffusion train ar-gan`: the coarse and the mended image are held to the image, the mended one to
    its spectrum too."""

    method, configs = "ar-gan", RECTIFIED

    def more(self, parts: Tensor, target: Tensor, batch: Batch) -> Tensor:
        c, inside = self.settings, self.inside(batch)
        return c.spectrum * c.unit * spectral_distance(self.image(parts) * inside, target * inside)
