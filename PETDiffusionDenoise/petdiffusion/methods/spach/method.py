"""Spach Transformer at work: one evaluation of each of two views, in patches of the size that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...infer.networks import loaded
from ...infer.regression import denoised
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import SpachConfig
from .network import built


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("spach-transformer", case, run)
    config = SpachConfig.from_json(model.card.config)
    alone = replace(case, ct=None, mr=None)
    return denoised(alone, model, config, loaded(model, built), run)
