"""The two conditions of BC-DPM (Eq. 10) as functions of images, and what they are made of. No network is involved.

All images are activities (samples, 1, z, y, x): the sample x' and the low-count image y, both with the Gaussian noise
of their time. Slices are worked on all at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...physics.blur import gaussian_filter
from ...physics.geometry import ScanGeometry
from ...physics.poisson import Background, sample_counts
from ...physics.projector import Projector
from ...physics.recon import fbp

Filter = Callable[[Tensor], Tensor]

BACKGROUND = Background(randoms=0.2)
"""r + s: uniform, 20 % of the trues."""
N_RADIAL, N_ANGLES = 160, 192
PIXELS_PER_BIN = 1.2
"""Larger slices get more bins: 128 x 128 pixels are the most that 160 bins see without gaps."""
WINDOW = "hann"
"""Of P-dagger. With it the noise of filtered back-projection is as strong as ML-EM's after 100 iterations where the
condition looks, filtered by some pixels; pixel by pixel it has less than half of its SD."""


def denoising(x: Tensor, y: Tensor, smooth: Filter) -> Tensor:
    """GF(y) + (I - GF)(x'): the sample with the smooth part of the scan."""
    return smooth(y) + x - smooth(x)


def noise_insertion(x: Tensor, y: Tensor, noise: Tensor, resolution: Filter) -> Tensor:
    """y + x' - P_dagger(Po(P x' + r + s)), seen at the resolution R of P_dagger: R y + x' - R(x' + noise).

    With R the identity it is y - noise.
    """
    return resolution(y) + x - resolution(x + noise)


def bidirectional(first: Tensor, second: Tensor, balance: float) -> Tensor:
    """Eq. 10: (1 - lambda) first + lambda second."""
    return (1 - balance) * first + balance * second


def gaussian(fwhm_mm: float, pixel_mm: Sequence[float], axial_mm: float = 0.0, slice_mm: float = 1.0) -> Filter:
    """Gaussian filter within slices, `pixel_mm` is (y, x), and over `axial_mm` from slice to slice. It keeps totals."""
    widths, spacing = (float(axial_mm), *[float(fwhm_mm)] * 2), (slice_mm, *pixel_mm)
    first = 1 if axial_mm == 0 else 0
    return lambda image: gaussian_filter(image, widths[first:], spacing[first:])


def slice_geometry(size: Sequence[int], pixel_mm: Sequence[float]) -> ScanGeometry:
    """160 bins and 192 angles as in the paper; more bins where slices are larger than its own."""
    smallest = min(pixel_mm)
    diagonal = math.hypot(size[0] * pixel_mm[0], size[1] * pixel_mm[1]) / smallest
    radial = max(N_RADIAL, math.ceil(diagonal / PIXELS_PER_BIN))
    return ScanGeometry(tuple(size), tuple(pixel_mm), radial, N_ANGLES)


@dataclass(frozen=True, eq=False)
class Inserter:
    """The noise that counting would add to slices: P_dagger(Po(e) - e) with e = k P x + r + s, in activity.

    P_dagger(Po(P x + r + s)) = P_dagger(P x) + this. Of the first part only the noise is inserted, for P_dagger P is
    the identity but for the pixels' finite size. Noise has mean zero: every total is kept in expectation.
    """

    projector: Projector
    sensitivity: Tensor
    """k: expected trues for each unit of a line integral, (z, 1, 1)."""
    background: Background = BACKGROUND
    window: str = WINDOW

    def to(self, device: torch.device) -> Inserter:
        projector = Projector(self.projector.geometry, device)
        return Inserter(projector, self.sensitivity.to(device), self.background, self.window)

    def expected(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Expected trues and background (..., z, angles, bins). A sample may be negative where it is noisy; the counts
        that are expected of it may not."""
        trues = (self.projector.forward(x) * self.sensitivity).clamp_(min=0)
        return trues, self.background.expected(trues, self.projector.geometry.radial_mm)

    def noise(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """One generator for each sample, so that a sample's noise does not depend on the others."""
        trues, added = self.expected(x)
        expected = trues.add_(added)
        events = sample_counts(expected, generators).sub_(expected)
        factors = self.sensitivity.clamp(min=1e-30)
        restored = fbp(events.div_(factors), self.projector.geometry, window=self.window)
        return torch.where(self.sensitivity > 0, restored, 0.0).to(x.dtype)


def inserter(
    low: Tensor, pixel_mm: Sequence[float], counts: float, each_slice: bool = False,
    background: Background = BACKGROUND,
) -> Inserter:  # fmt: skip
    """Of a scan (z, y, x) whose slices hold `counts` events of every kind: each of them, or a mean one.

    A mean slice is that of the slices that hold activity, weighted evenly: one sensitivity serves the whole scan.
    """
    projector = Projector(slice_geometry(low.shape[-2:], pixel_mm), low.device)
    integrals = projector.forward(low.clamp(min=0)).sum((-2, -1), keepdim=True)
    filled = integrals > 0.02 * integrals.max()
    if not bool(filled.any()):
        return Inserter(projector, torch.zeros_like(integrals), background)
    wanted = background.trues_of_prompts(counts)
    seen = integrals if each_slice else integrals[filled].mean().expand_as(integrals)
    return Inserter(projector, torch.where(filled if each_slice else seen > 0, wanted / seen.clamp(min=1e-30), 0.0),
                    background)  # fmt: skip


def matched(insert: Inserter, low: Tensor, scale: Tensor, body: Tensor, noise: float,
            generator: torch.Generator) -> Inserter:  # fmt: skip
    """The same with the sensitivity at which the noise it inserts has this SD in network units, pixel by pixel, in the
    body: of a noisy scan's that is more than counting would insert (README), and what calibrations were learnt with."""
    if not noise > 0 or not bool(body.any()):
        return insert
    one = insert.noise(low.clamp(min=0)[None, None], [generator])[0, 0] / scale
    own = float(one[body].std())
    return Inserter(insert.projector, insert.sensitivity * (own / noise) ** 2, insert.background, insert.window)
