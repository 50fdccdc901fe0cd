"""CycleWGAN at work: one evaluation, slice by slice, on evened noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...infer import on_frame
from ...infer.networks import loaded
from ...infer.residual import model_facts
from ...prepare.frame import Frame, filtered
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from .network import at_work


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("cycle-wgan", case, run)
    network = loaded(model, at_work)

    def core(frame: Frame) -> np.ndarray:
        made = on_frame.painted(network, on_frame.scaled(frame), network.config.multiple, run)
        return on_frame.restored(frame, made)

    result = filtered(case, run, core, stabilise=True)
    return replace(result, details={**result.details, **model_facts(model)}, evaluations=1)
