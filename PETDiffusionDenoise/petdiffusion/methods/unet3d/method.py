"""The 3D U-net at work: one evaluation of each of two views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...infer import residual
from ...infer.regression import regress
from ...infer.views import VIEWS
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import Unet3dConfig


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("unet-3d", case, run)
    config = Unet3dConfig.from_json(model.card.config)
    network = residual.load_network(model)
    seen = residual.residual_case(case, config.base, config.base_fwhm_mm)
    estimate = regress(network, seen.conditions, case.body, run)
    details = {**residual.model_facts(model), **estimate.details()}
    return Output(case.pet.with_array(seen.restored(estimate.image)), evaluations=VIEWS, details=details)
