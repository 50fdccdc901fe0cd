"""Scan: one activity map in one scanner, with what it is expected to count and how the counts are reconstructed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..errors import PhysicsError, ResourceError
from . import matrices
from .attenuation import attenuation_factors
from .blur import SinogramBlur, gaussian_filter
from .geometry import ScanGeometry
from .presets import Scanner
from .projector import Projector, from_columns, to_columns
from .recon import KEPT_BYTES, osem

_SINOGRAMS, _IMAGES = 10, 6
"""How many arrays of either size a simulation holds at its peak."""


@dataclass(frozen=True)
class Scan:
    """Expected `trues` [z, angles, radial] at one count per unit of activity and mm, with their background."""

    scanner: Scanner
    geometry: ScanGeometry
    spacing_mm: tuple[float, float, float]
    trues: torch.Tensor
    background: torch.Tensor
    factors: torch.Tensor | None

    @classmethod
    def of(cls, activity: torch.Tensor, spacing_mm: Sequence[float], scanner: Scanner, mu: torch.Tensor | None = None,
           *, blurred: bool = True) -> Scan:
        """Scan of activity [z, y, x], attenuated by mu (1/cm). Without `blurred`, perfectly sharp detectors."""
        check_activity(activity, spacing_mm)
        geometry = scanner.geometry(activity.shape[1:], spacing_mm[1:])
        _check_memory(geometry, activity.shape[0], scanner.subsets, activity.device)
        projector = Projector(geometry, activity.device)
        trues = projector.forward(activity)
        if blurred:
            blur = SinogramBlur(scanner.psf(spacing_mm[0]), geometry, trues.shape[0], trues)
            trues = from_columns(blur(to_columns(trues)), trues.shape)
        factors = None
        if mu is not None:
            _check_same_grid(mu, activity)
            factors = attenuation_factors(mu, projector)
            trues = trues.mul_(factors)
        return cls(scanner, geometry, tuple(spacing_mm), trues, scanner.background.expected(trues, geometry.radial_mm),
                   factors)

    def expected(self, scale: torch.Tensor | float) -> torch.Tensor:
        """Expected counts of every kind: trues times scale, with the background that belongs to them."""
        return (self.trues + self.background).mul_(scale)

    def reconstruct(self, counts: torch.Tensor, scale: torch.Tensor | float,
                    on_update: Callable[[float], None] | None = None) -> torch.Tensor:
        """The scanner's OSEM and post-filter, in units of activity."""
        image = osem(counts, self.geometry, iterations=self.scanner.equivalent_iterations,
                     subsets=self.scanner.subsets, factors=scale if self.factors is None else self.factors * scale,
                     background=self.background * scale, on_update=on_update,
                     psf=self.scanner.psf(self.spacing_mm[0]) if self.scanner.models_psf else None)
        return gaussian_filter(image, self.scanner.post_filter_mm, self.spacing_mm)


def check_activity(activity: torch.Tensor, spacing_mm: Sequence[float]) -> None:
    if activity.dim() != 3 or min(activity.shape) < 1:
        raise PhysicsError(f"Activity of shape {tuple(activity.shape)}", "is not a volume (z, y, x)",
                           "Give a 3D image.")
    if len(spacing_mm) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise PhysicsError(f"Spacing {tuple(spacing_mm)} mm", "must be three positive numbers (z, y, x)",
                           "Give the voxel size.")
    if not torch.isfinite(activity).all():
        raise PhysicsError("Activity", "holds infinite or undefined values", "Replace them before simulating.")
    if (activity < 0).any():
        raise PhysicsError(f"Activity down to {float(activity.min()):.3g}", "cannot be negative",
                           "Clip the image at zero.")
    if not (activity > 0).any():
        raise PhysicsError("Activity", "is zero everywhere, so it gives no counts", "Give an image with activity.")


def _check_same_grid(mu: torch.Tensor, activity: torch.Tensor) -> None:
    if mu.shape != activity.shape:
        raise PhysicsError(f"Attenuation map of shape {tuple(mu.shape)}",
                           f"does not fit the activity {tuple(activity.shape)}", "Resample it to the activity's grid.")


def _check_memory(geometry: ScanGeometry, slices: int, subsets: int, device: torch.device) -> None:
    """Refuses a job that would not fit, rather than let the system end the program."""
    if device.type != "cpu":
        return
    import psutil

    values = slices * (_SINOGRAMS * math.prod(geometry.sinogram_shape) + _IMAGES * math.prod(geometry.image_shape))
    sensitivities = min(4 * subsets * slices * math.prod(geometry.image_shape), KEPT_BYTES)
    needed = 4 * values + sensitivities + 16 * matrices.estimated_entries(geometry) * (2 if subsets > 1 else 1)
    available = psutil.virtual_memory().available
    if needed > available:
        raise ResourceError(f"Scan of {slices} slices of {geometry.image_shape}",
                            f"needs about {needed / 2**30:.1f} GiB of memory, {available / 2**30:.1f} GiB are free",
                            "Crop the image, use fewer slices at a time, or a coarser grid.")
