"""Gaussian blur as small symmetric matrices: self-adjoint, exact in variance, keeping every total and every constant.

The projection of a blurred slice is the blurred projection, so the scanner's point spread function is applied to
profiles of the sinogram, where an ordered subset has far fewer values than the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..errors import PhysicsError
from .geometry import ScanGeometry

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True)
class Psf:
    """Point spread function of a scanner: full widths at half maximum within and across slices."""

    fwhm_mm: float = 0.0
    axial_fwhm_mm: float = 0.0
    slice_mm: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slice_mm) and self.slice_mm > 0):
            raise PhysicsError(f"Slice distance {self.slice_mm} mm", "must be a positive number",
                               "Give it in millimetres.")
        for fwhm in (self.fwhm_mm, self.axial_fwhm_mm):
            _check_fwhm(fwhm)


class SinogramBlur:
    """The scanner's point spread function on columns [(angle, radial), slice]; its own transpose.

    A single column stands for a sinogram that all slices share, which a blur across slices leaves as it is.
    """

    def __init__(self, psf: Psf | None, geometry: ScanGeometry, slices: int, like: torch.Tensor) -> None:
        psf, self.n_radial = psf or Psf(), geometry.n_radial
        self._radial = _matrix(geometry.n_radial, psf.fwhm_mm / geometry.radial_mm, like)
        self._axial = _matrix(slices, psf.axial_fwhm_mm / psf.slice_mm, like)

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        if self._radial is not None:
            profiles = columns.view(-1, self.n_radial, columns.shape[1])
            columns = torch.matmul(self._radial, profiles).view(columns.shape)
        return columns if self._axial is None or columns.shape[1] == 1 else columns @ self._axial


def gaussian_filter(volume: torch.Tensor, fwhm_mm: float | Sequence[float],
                    spacing_mm: Sequence[float]) -> torch.Tensor:
    """Gaussian of the given width(s) over the last axes, one per spacing, mirrored at the borders."""
    widths = [fwhm_mm] * len(spacing_mm) if isinstance(fwhm_mm, (int, float)) else list(fwhm_mm)
    if len(widths) != len(spacing_mm) or volume.dim() < len(spacing_mm):
        raise PhysicsError(f"Filter widths {widths} for an image of {volume.dim()} axes and spacing {spacing_mm}",
                           "do not fit together", "Give one width, or one for each spacing.")
    for axis, (fwhm, spacing) in enumerate(zip(widths, spacing_mm), start=-len(widths)):
        _check_fwhm(fwhm)
        matrix = _matrix(volume.shape[axis], fwhm / spacing, volume)
        if matrix is not None:
            volume = _along(volume, matrix, axis)
    return volume


def _along(volume: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    if axis == -1:
        return volume @ matrix
    if axis == -2:
        return torch.matmul(matrix, volume)
    shape = volume.shape
    flat = volume.reshape(*shape[:axis], shape[axis], -1)
    return torch.matmul(matrix, flat).reshape(shape)


def _matrix(n: int, fwhm: float, like: torch.Tensor) -> torch.Tensor | None:
    """Blur over n samples of unit distance, or None where there is nothing to blur."""
    if fwhm == 0 or n == 1:
        return None
    return torch.from_numpy(_mirrored_gaussian(n, fwhm / FWHM_PER_SIGMA)).to(like.device, like.dtype)


@lru_cache(maxsize=64)
def _mirrored_gaussian(n: int, sigma: float) -> np.ndarray:
    """Symmetric n x n matrix without negative entries, rows and columns summing to one.

    It is the discrete Gaussian exp(-t) I_k(t), t = sigma^2, of variance sigma^2 however narrow, mirrored at both
    borders however wide. The cosines of the DCT-II are its eigenvectors, with eigenvalues exp(t (cos(pi k / n) - 1)).
    """
    k, at = np.arange(n)[:, None], np.arange(n)[None, :] + 0.5
    cosines = np.sqrt(np.where(k == 0, 1, 2) / n) * np.cos(np.pi / n * k * at)
    kept = np.exp(sigma**2 * (np.cos(np.pi / n * k) - 1))
    return np.maximum(cosines.T @ (kept * cosines), 0.0)


def _check_fwhm(fwhm: float) -> None:
    if not (math.isfinite(fwhm) and fwhm >= 0):
        raise PhysicsError(f"Filter width {fwhm} mm", "must be zero or a positive number", "Give it in millimetres.")
