"""A regression network on the whitened residual at work: one evaluation of each of two views, in the engine's patches.

It is the 3D U-net's inference, and the first part of a diffusion on what such a regression leaves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..diffusion.conditions import Conditions
from ..errors import ModelError
from ..networks.unet import UNet
from ..progress import Run
from ..zoo import store
from ..zoo.store import Model as ZooModel
from .engine import Model, Sampling, Scene, VolumeEstimate, sample_volume
from .patches import PatchRules
from .views import two_views


def regress(network: UNet, cond: Conditions, body: np.ndarray, run: Run) -> VolumeEstimate:
    """The engine's patches and memory plan serve a regression too: no level, nothing but the conditions."""

    def mean(x: Tensor, sigma: Tensor, seen: Conditions | None = None) -> Tensor:
        level = torch.zeros(len(x), device=x.device)
        return two_views(lambda view: network(torch.zeros_like(x), level, **view.inputs(len(x))), seen)

    plan = Model(mean, network, PatchRules(multiple=network.config.multiple))
    return sample_volume(plan, Scene(body.shape, cond, body), Sampling((1.0, 0.0)), run)


def named(model_id: str, sha256: str | None = None, base_fwhm_mm: float | None = None) -> ZooModel:
    """The regression that another model builds on: the very same weights, on the same filtered base."""
    model = store.find(model_id)
    if sha256 not in (None, model.card.sha256):
        raise ModelError(
            f"Model {model_id}",
            f"has SHA-256 {model.card.sha256[:12]}…, but the model that builds on it was trained with {sha256[:12]}…",
            "Install the version it was trained with, or choose another model.",
        )
    if base_fwhm_mm not in (None, model.card.config.get("base_fwhm_mm")):
        raise ModelError(
            f"Model {model_id}",
            f"filters its base by {model.card.config.get('base_fwhm_mm')} mm, not by {base_fwhm_mm} mm",
            "Give both models the same base_fwhm_mm.",
        )
    return model
