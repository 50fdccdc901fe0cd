"""ScanGeometry: where the pixels of a slice and the lines of response of a 2D parallel scan lie.

x runs along the last array axis, y along the one before it; both are zero at the centre of the image. The ray of angle
phi and radial position s is the line x cos(phi) + y sin(phi) = s, so phi = 0 sums over y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import PhysicsError

_RADIAL_MARGIN = 2
"""Bins beyond the corners of the image, so that a blurred projection does not end at its edge."""


@dataclass(frozen=True)
class ScanGeometry:
    """One slice's pixels and the sinogram that belongs to it. Hashable: matrices are cached by it."""

    n_pixels: int | tuple[int, int]
    """Size of the slice: one number for a square, or (ny, nx)."""
    pixel_mm: float | tuple[float, float]
    """Pixel size: one number, or (along y, along x)."""
    n_radial: int = 160
    n_angles: int = 192
    radial_mm: float | None = None
    """Distance between radial bins; by default the bins span the diagonal of the image, so that nothing is lost."""
    rays_per_bin: int = 1
    """Rays averaged over the width of a bin; 1 is a line integral, 3 is close to a strip integral."""
    first_angle_deg: float = 0.0
    angle_step_deg: float | None = None
    """By default the angles cover 180 degrees."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "n_pixels", _pair(self.n_pixels, int))
        set_(self, "pixel_mm", _pair(self.pixel_mm, float))
        self._check()
        if self.radial_mm is None:
            set_(self, "radial_mm", self.diagonal_mm / self.n_radial)
        if self.angle_step_deg is None:
            set_(self, "angle_step_deg", 180.0 / self.n_angles)

    def _check(self) -> None:
        for name in ("n_radial", "n_angles", "rays_per_bin"):
            _check_count(name, getattr(self, name))
        for size in self.n_pixels:
            _check_count("n_pixels", size)
        for size in (*self.pixel_mm, *(() if self.radial_mm is None else (self.radial_mm,))):
            if not (math.isfinite(size) and size > 0):
                raise PhysicsError(f"Pixel or bin size {size} mm", "must be a positive number",
                                   "Give sizes in millimetres.")
        for angle in (self.first_angle_deg, self.angle_step_deg):
            if angle is not None and not math.isfinite(angle):
                raise PhysicsError(f"Angle {angle}", "is not a finite number", "Give angles in degrees.")

    @property
    def image_shape(self) -> tuple[int, int]:
        return self.n_pixels

    @property
    def sinogram_shape(self) -> tuple[int, int]:
        return self.n_angles, self.n_radial

    @property
    def size_mm(self) -> tuple[float, float]:
        """Extent of the image along (y, x)."""
        return self.n_pixels[0] * self.pixel_mm[0], self.n_pixels[1] * self.pixel_mm[1]

    @property
    def diagonal_mm(self) -> float:
        return math.hypot(*self.size_mm)

    @property
    def angles(self) -> np.ndarray:
        """Angles in radians."""
        return np.deg2rad(self.first_angle_deg + self.angle_step_deg * np.arange(self.n_angles))

    @property
    def radial_positions(self) -> np.ndarray:
        """Signed distance of each bin's centre from the centre of the image, in mm."""
        return (np.arange(self.n_radial) - (self.n_radial - 1) / 2) * self.radial_mm

    def subset(self, i: int, n: int) -> ScanGeometry:
        """Angles i, i + n, i + 2n, ...: one of n ordered subsets."""
        if not 1 <= n <= self.n_angles or not 0 <= i < n:
            raise PhysicsError(f"Subset {i} of {n}", f"cannot be taken from {self.n_angles} angles",
                               f"Choose between 1 and {self.n_angles} subsets.")
        return replace(self, n_angles=len(range(i, self.n_angles, n)), angle_step_deg=self.angle_step_deg * n,
                       first_angle_deg=self.first_angle_deg + i * self.angle_step_deg)

    @classmethod
    def covering(cls, n_pixels: int | tuple[int, int], pixel_mm: float | tuple[float, float], *, n_angles: int = 192,
                 radial_mm: float | None = None, rays_per_bin: int = 1) -> ScanGeometry:
        """As many bins of `radial_mm` (default: the smaller pixel side) as cover the corners of the image."""
        bare = cls(n_pixels, pixel_mm, 1, n_angles, 1.0 if radial_mm is None else radial_mm, rays_per_bin)
        radial_mm = min(bare.pixel_mm) if radial_mm is None else radial_mm
        n_radial = math.ceil(bare.diagonal_mm / radial_mm) + 2 * _RADIAL_MARGIN
        return replace(bare, n_radial=n_radial, radial_mm=radial_mm)


def _pair(value: object, kind: type) -> tuple:
    values = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    try:
        pair = tuple(kind(v) for v in values)
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or any(p != v for p, v in zip(pair, values)):
        raise PhysicsError(f"Image size or pixel size {value!r}", f"must be one {kind.__name__} or a pair (y, x)",
                           "Give for instance 192 or (192, 256).")
    return pair


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise PhysicsError(f"{name} = {value!r}", "must be a whole number of at least 1", "Check the scan geometry.")
