"""The check works on voxels of about 2.5 mm or more: finer ones hold no more, and take eight times as long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..volume import Geometry
from .kernels import Triple

LEAST_MM = 2.5


@dataclass(frozen=True)
class Grid:
    """A grid of blocks of `factor` voxels of the image's; axes are (z, y, x)."""

    geometry: Geometry
    factor: tuple[int, int, int]

    @classmethod
    def of(cls, geometry: Geometry) -> Grid:
        spacing = geometry.spacing[::-1]
        return cls(geometry, tuple(max(1, min(int(LEAST_MM / s), n)) for s, n in zip(spacing, geometry.shape)))

    @property
    def spacing(self) -> Triple:
        return tuple(s * f for s, f in zip(self.geometry.spacing[::-1], self.factor))

    def mean(self, array: np.ndarray) -> np.ndarray:
        """Of each whole block; voxels beyond the last whole one are left out."""
        shape = [n // f for n, f in zip(array.shape, self.factor)]
        cut = array[tuple(slice(0, n * f) for n, f in zip(shape, self.factor))]
        if self.factor == (1, 1, 1):
            return np.ascontiguousarray(cut, np.float32)
        parts = [v for n, f in zip(shape, self.factor) for v in (n, f)]
        return cut.reshape(parts).mean(axis=(1, 3, 5), dtype=np.float32)

    def index(self, voxel: tuple[int, int, int]) -> tuple[float, float, float]:
        """The image's own index (z, y, x) of a block's middle."""
        return tuple((v + 0.5) * f - 0.5 for v, f in zip(voxel, self.factor))

    def point_mm(self, voxel: tuple[int, int, int]) -> tuple[float, float, float]:
        """LPS millimetres of a block's middle."""
        x, y, z = (self.geometry.affine @ [*self.index(voxel)[::-1], 1.0])[:3]
        return float(x), float(y), float(z)

    def box(self, mask: np.ndarray, margin_mm: float) -> tuple[slice, ...]:
        """Around a mask on this grid."""
        from ..measure.checks import bounding_box

        return bounding_box(mask, tuple(int(np.ceil(margin_mm / s)) for s in self.spacing))
