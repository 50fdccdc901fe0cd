"""Deep image prior (Ulyanov et al. 2018; Cui et al. 2019): a network paints the scan from another image.

What is alike in many places is learnt before noise is. It stops where the scan is explained as well as its noise
allows (the mean squared difference is the noise's variance), or after `steps`. It paints from fixed noise, and from MR
or CT as in Cui et al. where that is wanted; and it paints what the scan has beyond its mean over centimetres.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...infer.device import Policy
from ...prepare.frame import RESTORE_FWHM_MM, Frame, anatomy_of, filtered, smooth
from ...progress import Run
from ..contract import Case, Output
from . import lesson

CHANNELS = 8
"""Of the noise that is painted from. CT or MR alone do not tell what only the PET shows: painted without noise beside
it, a body's lesions kept less than half of their uptake."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    guide = _guide(case, options["guide"], run)

    def core(frame: Frame) -> np.ndarray:
        random = lesson.randomness(run)
        source = torch.randn(CHANNELS, *frame.array.shape, generator=random)
        if guide is not None:
            source = torch.cat((torch.from_numpy(guide[frame.box])[None], source))
        return fitted(frame, lesson.unet(frame, run, len(source)), source, options["steps"], run, random)

    return filtered(case, run, core, stabilise=True)


def _guide(case: Case, choice: str, run: Run) -> np.ndarray | None:
    """Left to itself it takes an MR alone. A CT tells less of where the tracer is than it distracts."""
    if choice == "auto" and case.mr is None and case.ct is not None:
        run.warn("The CT is not used: painted from noise alone, lesions keep more of their uptake. guide=ct takes it.")
    if choice == "noise" or (choice == "auto" and case.mr is None):
        return None
    return anatomy_of(case, choice, needed=True)


def fitted(frame: Frame, network: nn.Module, source: Tensor, steps: int, run: Run, random: torch.Generator,
           multiple: int | None = None) -> np.ndarray:  # fmt: skip
    """The network after it has painted this frame from the source, as well as the noise allows."""
    multiple = multiple or network.config.multiple
    patches = lesson.Patches.of(frame, multiple, random)
    level = smooth(frame.array, RESTORE_FWHM_MM, frame.spacing) / np.float32(frame.noise * lesson.UNIT)
    detail, inside = lesson.scaled(frame) - torch.from_numpy(level), torch.from_numpy(frame.body)[None]

    def loss(policy: Policy) -> Tensor:
        boxes = patches.draw()
        given, seen, body = (lesson.cut_all(image, boxes) for image in (source, detail, inside))
        with policy.autocast():
            image = network(given.to(policy.device))
        return ((image.float().cpu() - seen).square() * body).sum() / body.sum().clamp_min(1)

    lesson.learn(network, loss, steps, run.part(0.0, lesson.LEARNT), enough=explained,
                 rate=lesson.PAINTING_RATE)  # fmt: skip
    image = lesson.painted(network, source, multiple, run.part(lesson.LEARNT, 1.0))
    return lesson.restored(frame, level + image)


def explained(level: float) -> bool:
    """The difference from the scan is as large as the noise: a closer image would follow the noise."""
    return level * lesson.UNIT**2 <= 1.0
