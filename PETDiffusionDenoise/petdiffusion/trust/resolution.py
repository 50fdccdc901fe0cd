"""The output at the scan's own resolution: one that is sharper is not wrong for that, and is blurred before it is
compared."""

from __future__ import annotations

import numpy as np

from ..filters import gaussian
from .kernels import Triple

WIDTHS_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
EDGES = 0.05
"""Part of the body's voxels, those with the steepest activity, that decides: texture and noise count least there."""
LEAST_GAIN = 0.02
"""Blurring must explain the scan better by this part."""


def matched(low: np.ndarray, output: np.ndarray, body: np.ndarray, spacing: Triple) -> tuple[np.ndarray, float]:
    """The output, and the FWHM in mm by which it was blurred to agree best with the scan at the patient's edges."""
    edges = _edges(output, body, spacing)
    if not edges.any():
        return output, 0.0
    best, width, lowest = output, 0.0, _misfit(low, output, edges)
    needed = lowest * (1 - LEAST_GAIN)
    for fwhm in WIDTHS_MM[1:]:
        blurred = gaussian(output, fwhm, spacing)
        found = _misfit(low, blurred, edges)
        if found >= lowest:
            break
        if found < needed:
            best, width = blurred, fwhm
        lowest = found
    return best, width


def _misfit(low: np.ndarray, output: np.ndarray, where: np.ndarray) -> float:
    return float(np.mean(np.square(low[where] - output[where], dtype=np.float64)))


def _edges(output: np.ndarray, body: np.ndarray, spacing: Triple) -> np.ndarray:
    from scipy.ndimage import gaussian_gradient_magnitude

    if not body.any() or min(output.shape) < 3:
        return np.zeros(body.shape, bool)
    steep = gaussian_gradient_magnitude(output, [3.0 / step for step in spacing], mode="nearest") * body
    return steep > max(float(np.quantile(steep[body], 1 - EDGES)), 0.0)
