"""Smoothing of images of any size, in several threads: to the bit what SciPy gives on one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .threads import at_once, workers

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half maximum of a Gaussian with SD 1."""
SMALL = 1 << 18
"""Voxels; below this threads cost more than they give."""
THICK = 24
"""Planes that are worked on together: enough for a halo to be a small part, few enough to stay near the processor."""


def gaussian(image: np.ndarray, fwhm_mm: float | Sequence[float], spacing_mm: Sequence[float], mode: str = "nearest",
             truncate: float = 3.0) -> np.ndarray:
    """`scipy.ndimage.gaussian_filter` by a width in millimetres; `spacing_mm` in the order of the array's axes."""
    from scipy.ndimage import gaussian_filter1d

    sigmas = np.broadcast_to(fwhm_mm, image.ndim) / FWHM / np.asarray(spacing_mm)
    axes = np.flatnonzero(sigmas > 0)
    result = np.empty_like(image) if axes.size else image.copy()
    for axis in axes:
        # A line is read before it is written, so that the second axis works in place.
        source = image if axis == axes[0] else result
        at_once(lambda cut, s=source, a=axis: gaussian_filter1d(s[cut], sigmas[a], a, output=result[cut], mode=mode,
                                                                truncate=truncate), _across(image, axis))
    return result


def _across(image: np.ndarray, axis: int) -> list[tuple[slice, ...]]:
    """Parts of an image that hold all of each line along an axis: no line depends on another."""
    split = 1 if axis == 0 else 0
    count = min(4 * workers(), image.shape[split]) if image.size > SMALL else 1
    ends = np.linspace(0, image.shape[split], count + 1).round().astype(int)
    return [(slice(None),) * split + (slice(*pair),) for pair in pairwise(ends)]


def slabs(planes: int, halo: int, thick: int = THICK) -> list[tuple[slice, slice]]:
    """Planes to read, and those of them that are wanted: all planes are wanted once, with the halo read around them."""
    parts = []
    for start in range(0, planes, thick):
        first, stop = max(start - halo, 0), min(start + thick, planes)
        parts.append((slice(first, min(stop + halo, planes)), slice(start - first, stop - first)))
    return parts
