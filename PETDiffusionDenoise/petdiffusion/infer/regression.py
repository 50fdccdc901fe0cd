"""A regression network on the whitened residual at work: one evaluation of each of two views, in the engine's patches.

It is the inference of the 3D U-net and of Restormer, and the first part of a diffusion on what a regression leaves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..errors import ModelError
from ..methods.contract import Case, Output
from ..networks.config import RegressionConfig
from ..progress import Run
from ..zoo import store
from ..zoo.store import Model as ZooModel
from . import residual
from .engine import Model, Sampling, Scene, VolumeEstimate, sample_volume
from .patches import PatchRules
from .views import VIEWS, two_views


def denoised(case: Case, model: ZooModel, config: RegressionConfig, network: nn.Module, run: Run) -> Output:
    """All of a method that is a regression, once its model is chosen and its network built."""
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)
    estimate = regress(network, seen.conditions, case.body, run)
    details = {**residual.model_facts(model), **estimate.details()}
    return Output(case.pet.with_array(seen.restored(estimate.image)), evaluations=VIEWS, details=details)


def regress(network: nn.Module, cond: Conditions, body: np.ndarray, run: Run) -> VolumeEstimate:
    """The engine's patches and memory plan serve a regression too: no level, nothing but the conditions."""

    def mean(x: Tensor, sigma: Tensor, seen: Conditions | None = None) -> Tensor:
        return two_views(lambda view: residual_of(network, x, view), seen)

    plan = Model(mean, network, rules_of(network))
    return sample_volume(plan, Scene(body.shape, cond, body), Sampling((1.0, 0.0)), run)


def residual_of(network: nn.Module, like: Tensor, cond: Conditions) -> Tensor:
    """One evaluation, in training and at work: the noise level is constant and the noisy residual is nothing."""
    level = torch.zeros(len(like), device=like.device)
    return network(torch.zeros_like(like), level, **cond.inputs(len(level)))


def rules_of(network: nn.Module) -> PatchRules:
    """A network that takes sums over its patch is given patches as in its training, others as large as fit."""
    return PatchRules(multiple=network.config.multiple, largest=getattr(network.config, "window", None))


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
