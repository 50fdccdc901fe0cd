"""Attenuation of 511 keV photons: coefficients from CT, or from the outline of the body where there is no CT."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..errors import PhysicsError
from ..volume import HU, Geometry, Volume
from .blur import gaussian_filter
from .projector import Projector

WATER_PER_CM = 0.096
"""Linear attenuation coefficient of water at 511 keV, 1/cm."""

# Carney et al., Med Phys 2006;33:976, table 1: above the break, mu = slope (HU + 1000) + offset (1/cm).
_BONE = {80: (3.64e-5, 6.26e-2, 50.0), 100: (4.43e-5, 5.44e-2, 52.0), 110: (4.92e-5, 4.88e-2, 43.0),
         120: (5.10e-5, 4.71e-2, 47.0), 130: (5.51e-5, 4.24e-2, 37.0), 140: (5.64e-5, 4.08e-2, 30.0)}
_HIGHEST_HU = 3071.0
_OUTLINE_FWHM_MM = 12.0
_OUTLINE_LEVEL = 0.1
_OUTSIDE = -1.0
"""No attenuation coefficient: marks what a CT doesn't reach."""
_RECURSIVE_MINIMUM = 4
"""Fewest samples along an axis that the recursive Gaussian filter takes."""


def mu_from_hu(hu: torch.Tensor, kvp: int = 120) -> torch.Tensor:
    """Bilinear conversion of CT numbers to 511 keV attenuation coefficients (1/cm) at a tube voltage."""
    if kvp not in _BONE:
        raise PhysicsError(f"Tube voltage {kvp} kV", f"has no conversion to 511 keV; known are {sorted(_BONE)}",
                           "Give the nearest of these.")
    if not torch.isfinite(hu).all():
        raise PhysicsError("CT", "holds infinite or undefined values", "Export the CT again.")
    slope, offset, highest_soft = _BONE[kvp]
    shifted = hu.clamp(-1000.0, _HIGHEST_HU) + 1000.0
    return torch.where(hu <= highest_soft, shifted * (WATER_PER_CM / 1000), shifted * slope + offset)


def attenuation_factors(mu_per_cm: torch.Tensor, projector: Projector) -> torch.Tensor:
    """Share of photon pairs that leave the body, exp(-line integral of mu), for each bin of [..., ny, nx]."""
    if not torch.isfinite(mu_per_cm).all() or (mu_per_cm < 0).any():
        raise PhysicsError("Attenuation map", "holds negative, infinite or undefined values",
                           "Give linear attenuation coefficients in 1/cm, about 0.096 in water.")
    return torch.exp_(projector.forward(mu_per_cm).mul_(-0.1))


def body_mu(pet: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """Water inside the outline of the body that the PET [z, y, x] itself shows; lungs count as water."""
    from scipy.ndimage import binary_fill_holes

    smooth = gaussian_filter(pet.clamp(min=0), _OUTLINE_FWHM_MM, spacing_mm)
    bright = smooth[smooth > smooth.mean()]
    level = _OUTLINE_LEVEL * float(bright.mean()) if bright.numel() else 0.0
    outline = (smooth > level).cpu().numpy()
    filled = np.stack([binary_fill_holes(slice_) for slice_ in outline])
    return torch.from_numpy(filled).to(pet) * WATER_PER_CM


def mu_of_ct(ct: Volume, grid: Geometry, kvp: int = 120, beyond: torch.Tensor | None = None) -> torch.Tensor:
    """Attenuation map (1/cm) on a PET's grid [z, y, x], averaged over its voxels. Outside the CT it is that of a map
    `beyond` on the PET's grid, by default of air."""
    import SimpleITK as sitk

    if ct.unit != HU:
        raise PhysicsError(f"CT in '{ct.unit}'", "is not in Hounsfield units", "Give the CT in HU.")
    mu = mu_from_hu(torch.tensor(ct.array), kvp)
    if ct.geometry.close_to(grid):
        return mu
    image = ct.geometry.onto_sitk(sitk.GetImageFromArray(mu.numpy()))
    for axis, (fine, coarse) in enumerate(zip(ct.geometry.spacing, _voxel_along(ct.geometry, grid))):
        if coarse > fine and ct.geometry.size[axis] >= _RECURSIVE_MINIMUM:
            image = sitk.RecursiveGaussian(image, math.sqrt(coarse**2 - fine**2) / math.sqrt(12), direction=axis)
    like = grid.onto_sitk(sitk.Image(grid.size, sitk.sitkFloat32))
    resampled = sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, _OUTSIDE)
    found = torch.from_numpy(sitk.GetArrayFromImage(resampled))
    if beyond is not None:
        found = torch.where(found > _OUTSIDE / 2, found, beyond.to(found))
    return found.clamp_(min=0)


def _voxel_along(ct: Geometry, grid: Geometry) -> np.ndarray:
    """How far a voxel of the grid reaches along each axis of the CT, which may be stored in slices of another plane."""
    edges = np.reshape(grid.direction, (3, 3)) * np.asarray(grid.spacing)
    return np.linalg.norm(np.reshape(ct.direction, (3, 3)).T @ edges, axis=1)
