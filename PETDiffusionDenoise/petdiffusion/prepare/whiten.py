"""Whitening: a scan as a smooth base plus a residual measured in the local noise's standard deviations.

PET noise grows with activity: its SD is about k sqrt(activity). With

    base  f = Gaussian-filtered scan,      scale  s = k sqrt(f + floor),      residual  r = (image - f) / s

r of the noise has SD 1 everywhere and at every dose, so one network serves all doses and all activities. For a given
scan the map image <-> r is affine, so the mean of r gives the mean of the image: nothing is biased by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..filters import gaussian

FLOOR = 0.05
"""Of the body's mean activity: keeps the scale above zero in air."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """`base` and `root` = sqrt(f + floor) are images; `level` is k, in the square root of the image's unit.

    `root_mean` is the root's mean over the body: numbers of the whole scan, the same for each patch of it.
    """

    base: np.ndarray
    root: np.ndarray
    level: float
    floor: float
    root_mean: float

    @property
    def scale(self) -> np.ndarray:
        return self.root * np.float32(self.level)

    def forward(self, image: np.ndarray) -> np.ndarray:
        return (image - self.base) / self.scale

    def inverse(self, residual: np.ndarray) -> np.ndarray:
        return self.base + residual * self.scale

    def on_base(self, image: np.ndarray) -> Whitening:
        """The same noise level and floor, but a better guess of the activity as the base."""
        base = np.asarray(image, np.float32)
        return replace(self, base=base, root=np.sqrt(np.maximum(base, 0) + np.float32(self.floor)))


def whiten(low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, fwhm_mm: float) -> Whitening:
    """The whitening of a scan. `spacing_mm` is (x, y, z), arrays are (z, y, x)."""
    base = gaussian(np.asarray(low, np.float32), fwhm_mm, spacing_mm[::-1], mode="reflect")
    inside = body if body.any() else np.ones(low.shape, bool)
    floor = max(FLOOR * float(np.abs(base[inside]).mean()), 1e-6)
    root = np.sqrt(np.maximum(base, 0) + np.float32(floor))
    noise = np.abs((low[inside] - base[inside]) / root[inside])
    level = max(1.4826 * float(np.median(noise)), 1e-4)  # SD from the median: lesions and edges do not count
    return Whitening(base, root, level, floor, float(root[inside].mean()))
