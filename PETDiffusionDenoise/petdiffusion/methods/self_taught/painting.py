"""A network paints the scan from another image: what is alike in many places is learnt before noise is.

It stops where the scan is explained as well as its noise allows (the mean squared difference is the noise's variance),
or after `steps`. It paints what the scan has beyond its mean over centimetres.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ...infer import on_frame
from ...infer.device import Policy
from ...prepare.frame import RESTORE_FWHM_MM, Frame, smooth
from ...progress import Run
from . import lesson


def fitted(frame: Frame, network: nn.Module, source: Tensor, steps: int, run: Run, random: torch.Generator,
           multiple: int, rate: float = lesson.PAINTING_RATE, clip: float = math.inf) -> np.ndarray:  # fmt: skip
    """The network after it has painted this frame from the source, as well as the noise allows."""
    patches = lesson.Patches.of(frame, multiple, random)
    level = smooth(frame.array, RESTORE_FWHM_MM, frame.spacing) / np.float32(frame.noise * on_frame.UNIT)
    detail, inside = on_frame.scaled(frame) - torch.from_numpy(level), torch.from_numpy(frame.body)[None]

    def loss(policy: Policy) -> Tensor:
        boxes = patches.draw()
        given, seen, body = (lesson.cut_all(image, boxes) for image in (source, detail, inside))
        with policy.autocast():
            image = network(given.to(policy.device))
        return lesson.mean_square(image.float().cpu() - seen, body)

    lesson.learn(network, loss, steps, run.part(0.0, lesson.LEARNT), enough=explained,
                 rate=rate, clip=clip, exact=patches.thin)  # fmt: skip
    image = on_frame.painted(network, source, multiple, run.part(lesson.LEARNT, 1.0))
    return on_frame.restored(frame, level + image)


def explained(level: float) -> bool:
    """The difference from the scan is as large as the noise: a closer image would follow the noise."""
    return level * on_frame.UNIT**2 <= 1.0
