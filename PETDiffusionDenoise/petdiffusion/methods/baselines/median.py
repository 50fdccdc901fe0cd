"""Median over a box of voxels: keeps edges, removes small peaks; small lesions suffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...prepare.frame import Frame, filtered
from ...progress import Run
from ..contract import Case, Output

SLAB = 24


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    return filtered(case, run, lambda frame: _median(frame, options["radius_mm"], run))


def _median(frame: Frame, radius_mm: float, run: Run) -> np.ndarray:
    """In slabs, so that a cancel is heard. An axis whose voxels are longer than the radius is left alone."""
    import SimpleITK as sitk

    radius = frame.voxels(radius_mm)
    if not any(radius):
        return frame.array
    result = np.empty_like(frame.array)
    depth = frame.array.shape[0]
    for start in range(0, depth, SLAB):
        run.progress(start / depth)
        stop = min(depth, start + SLAB)
        low, high = max(0, start - radius[0]), min(depth, stop + radius[0])
        part = sitk.Median(sitk.GetImageFromArray(frame.array[low:high]), radius[::-1])
        result[start:stop] = sitk.GetArrayViewFromImage(part)[start - low:stop - low]
    return result
