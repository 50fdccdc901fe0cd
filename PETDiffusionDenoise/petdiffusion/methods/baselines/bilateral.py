"""Bilateral filter (Tomasi, Manduchi 1998) in 3D, with distances in millimetres.

    w(p, q) = exp(-|p - q|^2 / 2 a^2) exp(-(g(p) - g(q))^2 / 2 (k s)^2)

Single voxels of a noisy PET say little about what belongs together, so g is the image after a light Gaussian
and s the SD of the noise of the unfiltered image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...progress import Run
from ..contract import Case, Output
from .frame import FWHM, Frame, filtered, smooth
from .neighbours import half_offsets, weighted_mean


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        return bilateral(frame, options["fwhm_mm"], options["strength"], options["guide_fwhm_mm"], run)

    return filtered(case, run, core, options["stabilise"])


def bilateral(frame: Frame, fwhm_mm: float, strength: float, guide_fwhm_mm: float, run: Run) -> np.ndarray:
    sigma_mm = fwhm_mm / FWHM
    offsets = half_offsets(2.0 * sigma_mm, frame.spacing, frame.array.shape)
    if not offsets:
        return frame.array
    image = torch.from_numpy(frame.array / np.float32(frame.noise))
    guide = torch.from_numpy(smooth(image.numpy(), guide_fwhm_mm, frame.spacing)) if guide_fwhm_mm > 0 else image
    fall = -0.5 / strength ** 2

    def weigh(here: tuple[slice, ...], there: tuple[slice, ...], offset: tuple[int, int, int]) -> torch.Tensor:
        away = float(np.sum((np.asarray(offset) * frame.spacing) ** 2)) / (2 * sigma_mm ** 2)
        return torch.sub(guide[here], guide[there]).square_().mul_(fall).sub_(away).exp_()

    return (weighted_mean(image, offsets, weigh, run) * frame.noise).numpy()
