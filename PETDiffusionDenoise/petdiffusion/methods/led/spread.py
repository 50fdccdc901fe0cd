"""How sure a frame is that was led: noise like its own goes the same way, again and again.

The frame's noise is told from what the fit took away (`trust.noise`), and goes through the fit by itself, since that
is linear: what comes out differs as led frames would, were the scan repeated. Means of regions get no intervals of it:
what the fit and the lead do to them is more than what is left of the noise.
"""

from __future__ import annotations

import math

import numpy as np

from ...filters import gaussian
from ...prepare.mask import bounding_box
from ...progress import Run
from ...volume import Volume
from .fit import Fit

AROUND_MM, MARGIN_MM = 14.0, 20.0
"""FWHM of the neighbourhood over which what few samples tell of slopes and levels is averaged. Both change slowly; the
SD itself does not, since it follows the lead. And how far beyond the body's box noise is looked at."""


def of_noise(scan: Volume, body: np.ndarray, made: np.ndarray, fit: Fit, samples: int, run: Run) -> np.ndarray:
    """SD of each voxel by the frame's noise; 0 far from the body."""
    sd = np.zeros_like(made)
    if body.any():
        spacing = scan.geometry.spacing[::-1]
        box = bounding_box(body, tuple(math.ceil(MARGIN_MM / step) for step in spacing))
        sd[box] = _within(scan.array[box], body[box], made[box], fit.part(box), spacing, samples, run)
    return sd


def _within(scan: np.ndarray, body: np.ndarray, made: np.ndarray, fit: Fit, spacing: tuple[float, ...], samples: int,
            run: Run) -> np.ndarray:  # fmt: skip
    from ...trust.noise import noise_model

    noise = noise_model(scan, made, body, spacing)
    sd, generator = noise.sd.astype(np.float32), np.random.default_rng(run.seed)
    of_slope, of_both, of_level = (np.zeros_like(made) for _ in range(3))
    for number in range(samples):
        slope, level = fit(sd * like_noise(made.shape, noise.fwhm_mm, spacing, generator))
        of_slope += slope * slope
        of_both += slope * level
        of_level += level * level
        run.progress((number + 1) / samples)
    of_slope, of_both, of_level = (gaussian(total / np.float32(samples), AROUND_MM, spacing)
                                   for total in (of_slope, of_both, of_level))  # fmt: skip
    variance = (of_slope * fit.lead + 2 * of_both) * fit.lead + of_level
    return np.sqrt(np.maximum(variance, 0))


def like_noise(shape: tuple[int, ...], fwhm_mm: tuple[float, ...], spacing_mm: tuple[float, ...],
               generator: np.random.Generator) -> np.ndarray:  # fmt: skip
    """Gaussian noise of SD 1, correlated as by a kernel of these widths."""
    made = gaussian(generator.standard_normal(shape, np.float32), fwhm_mm, spacing_mm, mode="wrap")
    return made / max(float(made.std()), 1e-6)
