"""Noise2Void (Krull et al. 2019; Song et al. 2021): a voxel is guessed from the others, so its noise cannot be.

Of each cell of the patch one voxel's value is replaced by a neighbour's; the network is to give what stood there. It
starts from the mean of the surroundings, in which the voxel itself has no part, and learns what to add to it.

PET's noise is alike in neighbouring voxels, so part of it can be guessed and stays: the longer it learns, the more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...infer import on_frame
from ...infer.device import Policy
from ...prepare.frame import Frame, filtered, smooth
from ...progress import Run
from ..contract import Case, Output
from . import lesson

CELL = 4
"""Voxels along the edge of a cell in which one voxel is hidden."""
REACH = 3
"""A hidden voxel gets the value of one at most so many voxels away along each axis."""
AROUND_FWHM_MM = 6.0


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        return guessed(frame, lesson.unet(frame, run), options["steps"], run)

    return filtered(case, run, core, stabilise=True)


def guessed(frame: Frame, network: nn.Module, steps: int, run: Run) -> np.ndarray:
    """The frame by a network that has learnt on it, from whatever the network began with."""
    random = lesson.randomness(run)
    patches = lesson.Patches.of(frame, network.config.multiple, random)
    scan, around, inside = shown(frame)

    def loss(policy: Policy) -> Tensor:
        def guess(hidden: Tensor) -> Tensor:
            with policy.autocast():
                return network(hidden.to(policy.device)).float().cpu()

        boxes = patches.draw()
        return error(guess, *(lesson.cut_all(image, boxes) for image in (scan, around, inside)), random)

    lesson.learn(network, loss, steps, run.part(0.0, lesson.LEARNT), exact=patches.thin)
    added = on_frame.painted(network, scan, network.config.multiple, run.part(lesson.LEARNT, 1.0))
    return on_frame.restored(frame, added + around[0].numpy())


def shown(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """(1, z, y, x) each: the scan and the surroundings in the network's unit, and the body."""
    around = torch.from_numpy(surroundings(frame))[None] / (frame.noise * on_frame.UNIT)
    return on_frame.scaled(frame), around, torch.from_numpy(frame.body)[None]


def error(guess: Callable[[Tensor], Tensor], seen: Tensor, around: Tensor, body: Tensor,
          random: torch.Generator) -> Tensor:  # fmt: skip
    """Mean square at hidden voxels of the body, of what is guessed beyond the surroundings."""
    places, hidden = hide(seen, random)
    return lesson.mean_square((guess(hidden) + around - seen)[places], body[places])


def hide(images: Tensor, random: torch.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
    """One voxel of each cell of (n, 1, z, y, x), as indices, and the images with those voxels replaced."""
    count, size = len(images), images.shape[2:]
    cells = [torch.arange(0, n, CELL) for n in size]
    corners = torch.stack(torch.meshgrid(*cells, indexing="ij")).reshape(3, 1, -1)
    corners = corners.expand(3, count, corners.shape[2])
    last = torch.tensor(size).reshape(3, 1, 1) - 1
    chosen = (corners + torch.randint(CELL, corners.shape, generator=random)).minimum(last)
    places = (torch.arange(count)[:, None].expand(chosen.shape[1:]), torch.zeros_like(chosen[0]), *chosen)
    hidden = images.clone()
    hidden[places] = images[places[:2] + tuple(_neighbours(chosen, last, random))]
    return places, hidden


def _neighbours(chosen: Tensor, last: Tensor, random: torch.Generator) -> Tensor:
    """A voxel nearby, never the voxel itself unless the patch is that thin: beyond an end it lies on the other side."""
    steps = torch.randint(1, REACH + 1, chosen.shape, generator=random)
    steps = steps * (2 * torch.randint(2, chosen.shape, generator=random) - 1)
    near = chosen + steps
    outside = (near < 0) | (near > last)
    return torch.where(outside, chosen - steps, near).maximum(torch.zeros_like(last)).minimum(last)


def surroundings(frame: Frame) -> np.ndarray:
    """The Gaussian mean around each voxel, without the voxel itself."""
    mean = smooth(frame.array, AROUND_FWHM_MM, frame.spacing)
    own = _own_share(frame)
    return mean if own > 0.999 else (mean - np.float32(own) * frame.array) / np.float32(1.0 - own)


def _own_share(frame: Frame) -> float:
    """What a voxel within the image counts in its own mean."""
    point = np.zeros([min(n, 33) for n in frame.array.shape], np.float32)
    middle = tuple(n // 2 for n in point.shape)
    point[middle] = 1.0
    return float(smooth(point, AROUND_FWHM_MM, frame.spacing)[middle])
