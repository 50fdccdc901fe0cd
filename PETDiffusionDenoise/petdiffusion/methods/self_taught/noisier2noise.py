"""Noisier2Noise (Moran et al. 2020; Yie et al. 2020): what takes added noise off a scan takes off the scan's own too.

To the scan y = x + n noise m is added that has n's correlation and `added` times its SD; the network learns E[y | z] of
z = y + m. As n is m's like, E[x | z] = ((1 + a^2) E[y | z] - z) / a^2 (`corrected`, the mean over several m). In PET it
was given the scan itself, as Yie et al. did: biased, but without the noise that the equation adds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...filters import FWHM
from ...infer import on_frame
from ...infer.device import Policy
from ...prepare.frame import Frame, filtered, smooth
from ...prepare.noise import measure
from ...progress import Run
from ..contract import Case, Output
from . import lesson

BASE_FWHM_MM = 6.0
MARGIN = 8
"""Voxels around a patch on which noise is drawn, for the filters' sake."""
DRAWS = 8
"""Noisier scans that the corrected estimate is the mean of."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    widths = measure(case.pet, case.body).fwhm_mm
    return filtered(case, run, lambda frame: _learnt(frame, widths, options, run), stabilise=True)


def _learnt(frame: Frame, widths: Sequence[float], options: Mapping[str, Any], run: Run) -> np.ndarray:
    network, random = lesson.unet(frame, run), lesson.randomness(run)
    patches = lesson.Patches.of(frame, network.config.multiple, random)
    scan, amount = on_frame.scaled(frame), options["added"] / on_frame.UNIT
    base = _smoothed(scan, frame)
    inside = torch.from_numpy(frame.body)[None]

    def loss(policy: Policy) -> Tensor:
        boxes = patches.draw()
        seen, smoothed, body = (lesson.cut_all(image, boxes) for image in (scan, base, inside))
        more = amount * noise(seen.shape, widths, frame.spacing, random)
        with policy.autocast():
            change = network((seen + more).to(policy.device))
        error = change.float().cpu() + smoothed + blurred(more, frame.spacing) - seen
        return lesson.mean_square(error, body)

    lesson.learn(network, loss, options["steps"], run.part(0.0, lesson.LEARNT), exact=patches.thin)
    rest = run.part(lesson.LEARNT, 1.0)

    def given(image: Tensor, run: Run) -> np.ndarray:
        return on_frame.painted(network, image, network.config.multiple, run) + _smoothed(image, frame)[0].numpy()

    if not options["corrected"]:
        return on_frame.restored(frame, given(scan, rest))
    total = np.zeros_like(frame.array)
    for draw in range(DRAWS):
        more = noise((1, *scan.shape), widths, frame.spacing, random)[0]
        noisier = scan + amount * more
        total += corrected(given(noisier, rest.part(draw / DRAWS, (draw + 1) / DRAWS)), noisier[0].numpy(),
                           options["added"])  # fmt: skip
    return on_frame.restored(frame, total / DRAWS)


def corrected(estimate: np.ndarray, noisier: np.ndarray, added: float) -> np.ndarray:
    """E[x | z] from E[y | z]: Moran's equation."""
    return ((1.0 + added**2) * estimate - noisier) / np.float32(added**2)


def noise(shape: Sequence[int], widths: Sequence[float], spacing: Sequence[float], random: torch.Generator) -> Tensor:
    """(n, 1, z, y, x) of noise with SD 1 and the scan's correlation, as `prepare.noise` measures it."""
    white = torch.randn(*shape[:2], *(n + 2 * MARGIN for n in shape[2:]), generator=random)
    lines = [_correlating(width / FWHM / step) for width, step in zip(widths, spacing)]
    return _along(white, lines)[(..., *(slice(MARGIN, -MARGIN),) * 3)]


def blurred(images: Tensor, spacing: Sequence[float]) -> Tensor:
    """The base's filter, for patches of noise: (n, 1, z, y, x)."""
    return _along(images, [_gaussian(BASE_FWHM_MM / FWHM / step) for step in spacing])


def _along(images: Tensor, lines: Sequence[Tensor]) -> Tensor:
    for axis, line in enumerate(lines):
        if len(line) > 1 and images.shape[2 + axis] > 1:
            reach = [0] * 6
            reach[4 - 2 * axis] = reach[5 - 2 * axis] = len(line) // 2
            shape = [1, 1, *(len(line) if a == axis else 1 for a in range(3))]
            images = F.conv3d(F.pad(images, reach, mode="replicate"), line.reshape(shape))
    return images


def _gaussian(sigma: float) -> Tensor:
    """Its mean is kept. `sigma` in voxels."""
    reach = min(math.ceil(3 * sigma), MARGIN)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return line / line.sum()


def _correlating(sigma: float) -> Tensor:
    """Gives white noise the correlation exp(-d^2 / 4 sigma^2) between voxels; its SD is kept. Where sigma is below a
    voxel, a sampled Gaussian would give less: the kernel is the root of the correlation's spectrum."""
    if sigma < 0.05:
        return torch.ones(1)
    lags = torch.arange(-32, 32).roll(32)
    spectrum = torch.fft.rfft(torch.exp(-((lags / sigma) ** 2) / 4)).real.clamp_min(0).sqrt()
    line = torch.fft.irfft(spectrum, 64).roll(MARGIN)[: 2 * MARGIN + 1]
    return line / line.norm()


def _smoothed(image: Tensor, frame: Frame) -> Tensor:
    return torch.from_numpy(smooth(image[0].numpy(), BASE_FWHM_MM, frame.spacing))[None]
