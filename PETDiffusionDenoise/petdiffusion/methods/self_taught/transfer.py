"""N2V-PT at work: Noise2Void on this scan's slices, from the bundled parameters on."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...infer.networks import loaded
from ...infer.residual import model_facts
from ...networks.by_slice import BySlice
from ...networks.config import Config
from ...networks.unet import UNet, UNetConfig
from ...prepare.frame import Frame, filtered
from ...progress import Run
from ...zoo.choose import choose
from ..contract import Case, Output
from . import noise2void
from .lesson import SIZE


@dataclass(frozen=True)
class TransferConfig(Config):
    """Everything that defines an N2V-PT model; saved whole in its card."""

    NAME = "N2V-PT configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    """In two dimensions: slices are worked on one by one."""


CONFIGS = {"compact": TransferConfig(network={**SIZE, "dims": 2, "channels": 12})}
FAR_MM = 1e3


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    model = choose("n2v-pt", case, run)
    begun = loaded(model, built)

    def core(frame: Frame) -> np.ndarray:
        return noise2void.guessed(slice_by_slice(frame), deepcopy(begun), options["steps"], run)

    result = filtered(case, run, core, stabilise=True)
    return replace(result, details={**result.details, **model_facts(model)})


def slice_by_slice(frame: Frame) -> Frame:
    """As if slices lay too far apart to tell of each other, which is how the parameters were learnt."""
    return replace(frame, spacing=(FAR_MM, *frame.spacing[1:]))


def built(config: Mapping[str, Any]) -> BySlice:
    """From the configuration of the method."""
    return BySlice(UNet(UNetConfig.from_json(config["network"])))
