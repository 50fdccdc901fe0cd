"""Gaussian filter of a width in millimetres: the clinic's own, and the yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...filters import gaussian
from ...progress import Run
from ..contract import Case, Output


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    result, spacing = case.pet.array, case.pet.geometry.spacing[::-1]
    for axis, width in enumerate(options["fwhm_mm"] * np.eye(3)):
        run.progress(axis / 3)
        result = gaussian(result, width, spacing, mode="reflect", truncate=4.0)
    run.progress(1.0)
    return Output(case.pet.with_array(result))
