"""Bilateral filter (Tomasi, Manduchi 1998) in 3D, with distances in millimetres.

    w(p, q) = exp(-|p - q|^2 / 2 a^2) exp(-(g(p) - g(q))^2 / 2 (k s)^2)

Single voxels of a noisy PET say little about what belongs together, so g is the image after a light Gaussian
and s the SD of the noise of the unfiltered image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...filters import FWHM
from ...prepare.frame import Frame, filtered, smooth
from ...progress import Run
from ..contract import Case, Output
from .neighbours import Offset, Slab, Weigh, half_offsets, slabs, weighted_mean


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    def core(frame: Frame) -> np.ndarray:
        return bilateral(frame, options["fwhm_mm"], options["strength"], options["guide_fwhm_mm"], run)

    return filtered(case, run, core, options["stabilise"])


def bilateral(frame: Frame, fwhm_mm: float, strength: float, guide_fwhm_mm: float, run: Run) -> np.ndarray:
    sigma_mm = fwhm_mm / FWHM
    offsets = half_offsets(2.0 * sigma_mm, frame.spacing, frame.array.shape)
    if not offsets:
        return frame.array
    image = frame.array / np.float32(frame.noise)
    guide = activity_guide(image, frame, guide_fwhm_mm, strength)

    def weighing(slab: Slab) -> Weigh:
        return likeness(slab, guide, frame.spacing, sigma_mm)

    return weighted_mean(image, offsets, slabs(image.shape, offsets), weighing, run) * np.float32(frame.noise)


def activity_guide(image: np.ndarray, frame: Frame, fwhm_mm: float, strength: float) -> np.ndarray:
    """g / (sqrt(2) k s): the squared difference of two voxels is the exponent of their likeness."""
    guide = smooth(image, fwhm_mm, frame.spacing) if fwhm_mm > 0 else image
    return guide / np.float32(np.sqrt(2.0) * strength)


def likeness(slab: Slab, guide: np.ndarray, spacing: tuple[float, ...], sigma_mm: float) -> Weigh:
    """w(p, q) of the formula above. In gaps the guide is so high that nothing is like it."""
    row = slab.laid_out(guide, float(guide.max()) + 100.0)
    here = row[slab.here()]

    def weigh(offset: Offset, weight: np.ndarray) -> None:
        away = float(np.sum((np.asarray(offset) * spacing) ** 2)) / (2 * sigma_mm ** 2)
        np.subtract(here, row[slab.there(offset)], out=weight)
        np.multiply(weight, weight, out=weight)
        np.subtract(np.float32(-away), weight, out=weight)
        np.exp(weight, out=weight)

    return weigh
