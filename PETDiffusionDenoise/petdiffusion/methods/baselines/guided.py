"""Guided filter (He, Sun, Tang 2013): in each window the result is a linear function of the guides.

    x = sum_c a_c g_c + b,   a = (cov(g) + diag(e))^-1 cov(g, y),   b = mean(y) - a . mean(g)

The guides are the PET itself, so that what only PET sees is kept, and with it CT or MR. e is (k s)^2 for the
PET (s: its noise) and (k / 10)^2 for an anatomical guide scaled to unit SD in the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...prepare.frame import Frame, anatomy_of, filtered
from ...progress import Run
from ..contract import Case, Output

ANATOMY_PART = 0.1


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    choice = options["guide"]
    anatomy = None if choice == "self" else anatomy_of(case, choice, needed=choice != "auto")

    def core(frame: Frame) -> np.ndarray:
        image = frame.array / np.float32(frame.noise)
        guides = [image] if anatomy is None else [image, anatomy[frame.box]]
        eps = [options["strength"] ** 2, (ANATOMY_PART * options["strength"]) ** 2][:len(guides)]
        return guided(image, guides, eps, frame.voxels(options["radius_mm"]), run) * np.float32(frame.noise)

    return filtered(case, run, core, options["stabilise"])


def guided(image: np.ndarray, guides: list[np.ndarray], eps: list[float], radius: tuple[int, int, int],
           run: Run) -> np.ndarray:
    """One or two guides; windows are boxes of 2 r + 1 voxels, mirrored at the image's ends."""
    from scipy.ndimage import uniform_filter

    def mean(array: np.ndarray) -> np.ndarray:
        run.check()
        return uniform_filter(array, [2 * r + 1 for r in radius], mode="reflect")

    means, image_mean = [mean(g) for g in guides], mean(image)
    run.progress(0.2)
    joint = [mean(g * image) - m * image_mean for g, m in zip(guides, means)]
    variance = [mean(g * g) - m * m + e for g, m, e in zip(guides, means, eps)]
    run.progress(0.5)
    if len(guides) == 1:
        slopes = [joint[0] / variance[0]]
    else:
        cross = mean(guides[0] * guides[1]) - means[0] * means[1]
        determinant = variance[0] * variance[1] - cross * cross
        slopes = [(variance[1] * joint[0] - cross * joint[1]) / determinant,
                  (variance[0] * joint[1] - cross * joint[0]) / determinant]
    level = image_mean - sum(a * m for a, m in zip(slopes, means))
    run.progress(0.8)
    return mean(level) + sum(mean(a) * g for a, g in zip(slopes, guides))
