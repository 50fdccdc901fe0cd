"""Restormer at work: one evaluation of each of two views, in patches of the size that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...infer.networks import loaded
from ...infer.regression import denoised
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import RestormerConfig
from .network import built


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("restormer", case, run)
    config = RestormerConfig.from_json(model.card.config)
    return denoised(case, model, config, loaded(model, built), run)
