"""Total variation (Rudin, Osher, Fatemi 1992): min_x 1/2 |x - y|^2 + w TV(x), isotropic, spacing respected.

The gradient is of forward differences, so a mirrored image gives a slightly different result at sharp corners.
Solved in the dual by fast gradient projection (Beck, Teboulle 2009): x = y - w div*(p), |p| <= 1 in each voxel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...prepare.frame import Frame, filtered
from ...progress import Run
from ...threads import one_thread_each
from ..contract import Case, Output

TOLERANCE = 2e-3
"""Stop when a step changes the image by less than this part of the noise, RMS."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        with one_thread_each():
            return total_variation(frame, options["strength"], options["iterations"], run)

    return filtered(case, run, core, options["stabilise"])


def total_variation(frame: Frame, strength: float, iterations: int, run: Run,
                    tolerance: float = TOLERANCE) -> np.ndarray:
    noisy = torch.from_numpy(frame.array / np.float32(frame.noise))
    inverse = [1.0 / s for s in frame.relative_spacing]
    bound = 4.0 * sum(i ** 2 for i, n in zip(inverse, noisy.shape) if n > 1)
    if bound == 0 or strength == 0:
        return frame.array
    p = [torch.zeros_like(noisy) for _ in range(3)]
    ahead, momentum, image = [q.clone() for q in p], 1.0, noisy
    for step in range(iterations):
        run.progress(step / iterations)
        previous, image = image, noisy - strength * _adjoint(ahead, inverse)
        if step and float((image - previous).square().mean().sqrt()) < tolerance:
            break
        following = (1 + np.sqrt(1 + 4 * momentum ** 2)) / 2
        _ascend(ahead, image, inverse, 1.0 / (strength * bound))
        _project(ahead)
        for old, new in zip(p, ahead):
            # new becomes the extrapolated point, old the new dual variable
            change = new - old
            old.copy_(new)
            new.add_(change, alpha=(momentum - 1) / following)
        momentum = following
    return ((noisy - strength * _adjoint(p, inverse)) * frame.noise).numpy()


def _ascend(dual: list[torch.Tensor], image: torch.Tensor, inverse: list[float], step: float) -> None:
    """p += step * gradient(x), forward differences, 0 at the far end."""
    for axis, part in enumerate(dual):
        size = image.shape[axis]
        if size > 1:
            part.narrow(axis, 0, size - 1).add_(
                image.narrow(axis, 1, size - 1) - image.narrow(axis, 0, size - 1), alpha=step * inverse[axis])


def _adjoint(dual: list[torch.Tensor], inverse: list[float]) -> torch.Tensor:
    """gradient^T p: the negative divergence."""
    result = torch.zeros_like(dual[0])
    for axis, part in enumerate(dual):
        size = part.shape[axis]
        if size > 1:
            inner = part.narrow(axis, 0, size - 1)
            result.narrow(axis, 0, size - 1).sub_(inner, alpha=inverse[axis])
            result.narrow(axis, 1, size - 1).add_(inner, alpha=inverse[axis])
    return result


def _project(dual: list[torch.Tensor]) -> None:
    length = dual[0].square().addcmul_(dual[1], dual[1]).addcmul_(dual[2], dual[2]).sqrt_().clamp_(min=1.0)
    for part in dual:
        part.div_(length)
