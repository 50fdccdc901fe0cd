"""The 3D U-net at work: one evaluation of each of two views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...infer import residual
from ...infer.engine import Model, Sampling, Scene, sample_volume
from ...infer.patches import PatchRules
from ...infer.views import VIEWS, two_views
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import Unet3dConfig


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("unet-3d", case, run)
    config = Unet3dConfig.from_json(model.card.config)
    network = residual.load_network(model)
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)

    def regress(x: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        """The engine's patches and memory plan serve a regression too: no level, nothing but the conditions."""
        level = torch.zeros(len(x), device=x.device)
        return two_views(lambda view: network(torch.zeros_like(x), level, **view.inputs(len(x))), cond)

    plan = Model(regress, network, PatchRules(multiple=network.config.multiple))
    scene = Scene(case.pet.array.shape, seen.conditions, case.body)
    estimate = sample_volume(plan, scene, Sampling((1.0, 0.0)), run)
    details = {**residual.model_facts(model), **estimate.details()}
    return Output(case.pet.with_array(seen.restored(estimate.image)), evaluations=VIEWS, details=details)
