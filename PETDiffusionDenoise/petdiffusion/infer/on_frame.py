"""A network on the frame of a filter: its unit, the whole frame in the engine's patches, and the level given back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..prepare.frame import RESTORE_FWHM_MM, Frame, smooth
from ..progress import Run
from .engine import Model, Sampling, Scene, sample_volume
from .plan import PatchRules

UNIT = 5.0
"""SDs of noise in a network's unit: the values of a scan's organs are then of order one."""


def scaled(frame: Frame) -> Tensor:
    """The scan in the networks' unit."""
    return torch.from_numpy(np.ascontiguousarray(frame.array / np.float32(frame.noise * UNIT)))[None]


def restored(frame: Frame, image: np.ndarray) -> np.ndarray:
    """Back to the scan's values. What lacks on the scale of centimetres is added back: no network may shift a level
    that the scan itself shows beyond doubt."""
    result = image * np.float32(frame.noise * UNIT)
    return result + smooth(frame.array - result, RESTORE_FWHM_MM, frame.spacing)


def painted(network: nn.Module, images: Tensor, multiple: int, run: Run) -> np.ndarray:
    """What a network makes of the whole frame, in the engine's patches: any size, in the memory that there is."""

    def mean(x: Tensor, sigma: Tensor, seen: Conditions) -> Tensor:
        return network(seen.images.expand(len(x), -1, -1, -1, -1)).float()

    plan = Model(mean, network, PatchRules(multiple=multiple))
    scene = Scene(tuple(images.shape[1:]), Conditions(images=images[None]))
    return sample_volume(plan, scene, Sampling((1.0, 0.0)), run).image.numpy()[0]
