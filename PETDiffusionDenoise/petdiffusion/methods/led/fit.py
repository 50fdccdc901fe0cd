"""A frame y as a linear function of the lead D in each neighbourhood (Gaussian, of a width w), by least squares:

    y = s D + b,   s = (cov(D, y) + e m^2 r) / (var(D) + e m^2),   b = mean(y) - s m,   m = mean(D), r = mean(y) / m

Where D has borders the slope follows how much of them the frame shows, so that a lesion that is not there yet is not
drawn; where D is even, nothing tells the slope, and it is drawn to r, the ratio of the activities. The slopes and
levels of all neighbourhoods that a voxel lies in are averaged, as in the guided filter (He, Sun, Tang 2013).
"""

from __future__ import annotations

from copy import copy

import numpy as np

from ...filters import gaussian

SMALL = 1e-3
"""Of the lead's mean: below it, as where an image is negative, there is no activity to take a ratio of."""


class Fit:
    """What is to be known of the lead, once for all that is fitted to it. Every fit is linear in what is fitted: noise
    goes through it by itself as it goes in a frame. Arrays (z, y, x) on one grid."""

    def __init__(self, lead: np.ndarray, fwhm_mm: float, pull: float, spacing_mm: tuple[float, ...]) -> None:
        self._fwhm_mm, self._spacing_mm = fwhm_mm, spacing_mm
        self.scale = float(np.abs(lead).mean()) or 1.0
        self.lead = lead / np.float32(self.scale)
        """In units of its mean: its own unit does not matter."""
        self._mean = self._around(self.lead)
        self._even = np.float32(pull) * self._mean * self._mean
        variance = np.maximum(self._around(self.lead * self.lead) - self._mean * self._mean, 0)
        self._below = variance + self._even + np.float32(SMALL) ** 2

    def __call__(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope and level of each voxel, `image` of which is the fitted frame. The slope is of `lead`."""
        level = self._around(frame)
        joint = self._around(self.lead * frame) - self._mean * level
        ratio = np.where(self._mean > SMALL, level / np.maximum(self._mean, SMALL), 0)
        slope = (joint + self._even * ratio) / self._below
        return self._around(slope), self._around(level - slope * self._mean)

    def part(self, box: tuple[slice, ...]) -> Fit:
        """The same within a box, for what is fitted there alone."""
        part = copy(self)
        part.lead, part._mean, part._even, part._below = (
            array[box] for array in (self.lead, self._mean, self._even, self._below)
        )
        return part

    def image(self, slope: np.ndarray, level: np.ndarray) -> np.ndarray:
        """In the frame's unit."""
        return (slope * self.lead + level).astype(np.float32, copy=False)

    def _around(self, array: np.ndarray) -> np.ndarray:
        return gaussian(array, self._fwhm_mm, self._spacing_mm, mode="reflect")
