"""LeqMod-GAN at work: one evaluation of each of two views; what it was taught by is left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...infer.networks import loaded
from ...infer.regression import denoised
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .config import LeqmodConfig
from .network import at_work


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("leqmod-gan", case, run)
    config = LeqmodConfig.from_json(model.card.config)
    alone = replace(case, ct=None, mr=None)
    return denoised(alone, model, config, loaded(model, at_work), run)
