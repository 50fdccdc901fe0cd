"""Gaussian filter of a width in millimetres: the clinic's own, and the yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...progress import Run
from ..contract import Case, Output
from .frame import FWHM


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    from scipy.ndimage import gaussian_filter1d

    result = case.pet.array
    for axis, spacing in enumerate(case.pet.geometry.spacing[::-1]):
        run.progress(axis / 3)
        sigma = options["fwhm_mm"] / FWHM / spacing
        if sigma > 0 and result.shape[axis] > 1:
            result = gaussian_filter1d(result, sigma, axis, mode="reflect", truncate=4.0)
    run.progress(1.0)
    return Output(case.pet.with_array(np.asarray(result)))
