"""What trainings against a critic share: its room, and what it is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..networks.critic import SMALLEST_SEEN
from ..networks.unet import UNetConfig
from .residual import RegressionTask
from .sides import Sides
from .task import Batch


class AdversarialTask(RegressionTask):
    """`settings` has `adversarial` beside a regression's fields: what it weighs that the critic is fooled."""

    @property
    def sides(self) -> Sides:
        """The critic needs room, even where the U-net would do with less."""
        c = self.settings
        return Sides.judged(UNetConfig.from_json(c.network).multiple, SMALLEST_SEEN if c.adversarial else 1)

    def against(self, network: nn.Module, residual: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """The losses of both sides at once: neither moves the other."""
        fooled, critic = network(self.shown(target, batch), self.shown(residual, batch), judge=True)
        return self.settings.adversarial * fooled + critic

    def shown(self, residual: Tensor, batch: Batch) -> Tensor:
        """What the critic sees: the image in SDs of its noise, and where in the body it is. Air tells it nothing."""
        body = batch["root"] / batch["root_mean"].reshape(-1, 1, 1, 1, 1) - 1
        return torch.cat((residual * self.inside(batch), body), 1)
