"""The 3D U-net at work: one evaluation of each of two views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...infer import residual
from ...infer.regression import denoised
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import Unet3dConfig


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("unet-3d", case, run)
    config = Unet3dConfig.from_json(model.card.config)
    return denoised(case, model, config, residual.load_network(model), run)
