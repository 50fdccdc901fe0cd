"""A frame y as a linear function of the lead D in each neighbourhood (Gaussian, of a width w), by least squares:

    y = s D + b,   s = (cov(D, y) + e m^2 r) / (var(D) + e m^2),   b = mean(y) - s m,   m = mean(D), r = mean(y) / m

Where D has borders the slope follows how much of them the frame shows, so that a lesion that is not there yet is not
drawn; where D is even, nothing tells the slope, and it is drawn to r, the ratio of the activities. The slopes and
levels of all neighbourhoods that a voxel lies in are averaged, as in the guided filter (He, Sun, Tang 2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError
from ...filters import gaussian
from ...prepare import grids
from ...progress import Run
from ...volume import Volume
from ..contract import Case, Output

OWN_FWHM_MM = 6.0
SMALL = 1e-3
"""Of the lead's mean: below it, as where an image is negative, there is no activity to take a ratio of."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    lead = _lead(case, options["lead"])
    made = led(case.pet.array, lead, options["fwhm_mm"], options["pull"], case.pet.geometry.spacing[::-1], run)
    return Output(case.pet.with_array(made), details={"lead": "given" if options["lead"] else "the scan itself"})


def _lead(case: Case, path: str) -> np.ndarray:
    if not path:
        return gaussian(case.pet.array, OWN_FWHM_MM, case.pet.geometry.spacing[::-1], mode="reflect")
    from ... import read

    image = read.image(path, "reference")
    _check(image, case.pet, Path(path).name)
    return grids.resample(image, case.pet.geometry).array


def _check(image: Volume, pet: Volume, name: str) -> None:
    covered = grids.overlap(image.geometry, pet.geometry)
    if covered < 0.99:
        raise OptionError(f"lead = {name}", f"shows {100 * covered:.0f} % of the scan's field of view",
                          "Give an image of the same place, such as the mean of all frames.")


def led(frame: np.ndarray, lead: np.ndarray, fwhm_mm: float, pull: float, spacing_mm: tuple[float, ...], run: Run
        ) -> np.ndarray:  # fmt: skip
    """Arrays (z, y, x) on one grid; the result is in the frame's unit, whatever the lead's."""
    scale = float(np.abs(lead).mean())
    if scale == 0:
        return gaussian(frame, fwhm_mm, spacing_mm, mode="reflect")
    lead = lead / np.float32(scale)

    def mean(array: np.ndarray, done: float) -> np.ndarray:
        run.progress(done)
        return gaussian(array, fwhm_mm, spacing_mm, mode="reflect")

    m, level = mean(lead, 0.1), mean(frame, 0.25)
    variance = np.maximum(mean(lead * lead, 0.4) - m * m, 0)
    joint = mean(lead * frame, 0.55) - m * level
    even = np.float32(pull) * m * m
    ratio = np.where(m > SMALL, level / np.maximum(m, SMALL), 0)
    slope = (joint + even * ratio) / (variance + even + np.float32(SMALL) ** 2)
    made = mean(slope, 0.7) * lead + mean(level - slope * m, 0.85)
    run.progress(1.0)
    return made.astype(np.float32, copy=False)
