"""The check works on voxels of some 2.5 mm or more (finer ones hold no more, and take eight times as long), and no
farther from the body than its filters see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..measure.checks import bounding_box
from ..volume import Geometry
from .kernels import Triple

WANTED_MM = 2.5


@dataclass(frozen=True)
class Grid:
    """A grid of blocks of `factor` voxels of the image's, cut to `box` (in blocks); axes are (z, y, x)."""

    geometry: Geometry
    factor: tuple[int, int, int]
    box: tuple[slice, slice, slice]

    @classmethod
    def of(cls, geometry: Geometry) -> Grid:
        spacing = geometry.spacing[::-1]
        factor = tuple(max(1, min(round(WANTED_MM / s), n)) for s, n in zip(spacing, geometry.shape))
        return cls(geometry, factor, tuple(slice(0, n // f) for n, f in zip(geometry.shape, factor)))

    def around(self, mask: np.ndarray, margin_mm: float) -> Grid:
        """The same blocks, those near a mask on this grid alone."""
        near = self.near(mask, margin_mm)
        return replace(self, box=tuple(slice(b.start + n.start, b.start + n.stop) for b, n in zip(self.box, near)))

    @property
    def spacing(self) -> Triple:
        return tuple(s * f for s, f in zip(self.geometry.spacing[::-1], self.factor))

    def mean(self, array: np.ndarray) -> np.ndarray:
        """Of each whole block of an image; voxels beyond the last whole one are left out."""
        cut = array[tuple(slice(b.start * f, b.stop * f) for b, f in zip(self.box, self.factor))]
        if self.factor == (1, 1, 1):
            return np.ascontiguousarray(cut, np.float32)
        parts = [v for n, f in zip(cut.shape, self.factor) for v in (n // f, f)]
        return cut.reshape(parts).mean(axis=(1, 3, 5), dtype=np.float32)

    def index(self, voxel: tuple[int, int, int]) -> tuple[float, float, float]:
        """The image's own index (z, y, x) of a block's middle."""
        return tuple((b.start + v + 0.5) * f - 0.5 for v, f, b in zip(voxel, self.factor, self.box))

    def place(self, index: tuple[float, float, float]) -> tuple[float, float, float]:
        """The way back: where an index of the image lies on this grid."""
        return tuple((i + 0.5) / f - 0.5 - b.start for i, f, b in zip(index, self.factor, self.box))

    def point_mm(self, voxel: tuple[int, int, int]) -> tuple[float, float, float]:
        """LPS millimetres of a block's middle."""
        x, y, z = (self.geometry.affine @ [*self.index(voxel)[::-1], 1.0])[:3]
        return float(x), float(y), float(z)

    def near(self, mask: np.ndarray, margin_mm: float) -> tuple[slice, ...]:
        """Box around a mask on this grid."""
        return bounding_box(mask, tuple(int(np.ceil(margin_mm / s)) for s in self.spacing))
