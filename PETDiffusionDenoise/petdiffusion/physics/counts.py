"""How many counts a scan has: from activity, scanner and time, or from the noise of the image itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import PhysicsError
from ..suv.factor import corrected_to
from ..volume import BQML, SUVBW, Facts
from .blur import gaussian_filter
from .geometry import ScanGeometry
from .presets import F18_HALF_LIFE_S, Scanner, body_diameter_mm

F18_POSITRONS = 0.967
_BLOCK_MM = 16.0
"""Side of the blocks in which the noise is measured."""
_LAG_MM = 8.0
"""Distance of the values that are compared: about the resolution of an image, where its noise has most power."""
_FLATTEST = 0.25
"""Share of the blocks that is taken as flat: there the variation of an image is its noise."""
_FEWEST_BLOCKS = 30


def bqml_per_unit(unit: str, facts: Facts, scanner: Scanner) -> tuple[float | None, str]:
    """Activity during the frame that one unit of the image stands for, and what it is estimated from; None for
    arbitrary units. An image is corrected for decay to some time before the frame; what is counted is what was left."""
    decayed = facts.decay_factor or _decayed(facts)
    if unit == BQML:
        return 1.0 / decayed, "the activity of the image in Bq/ml"
    if unit != SUVBW:
        return None, ""
    if facts.injected_dose_bq and facts.weight_kg:
        if facts.suv_factor and facts.decay_factor:  # both from one time, that of the scan's start or of the injection
            return 1.0 / (facts.suv_factor * decayed), "dose and weight of the scan"
        minutes = scanner.uptake_minutes if facts.acquired_minutes is None else facts.acquired_minutes
        decay = 0.5 ** (minutes * 60 / (facts.half_life_s or F18_HALF_LIFE_S))
        return facts.injected_dose_bq * decay / (facts.weight_kg * 1000), "dose and weight of the scan"
    return scanner.bqml_per_suv, f"the usual dose of the {scanner.title}"


def _decayed(facts: Facts) -> float:
    """By the times of late frames, until they began."""
    reference = corrected_to(facts)
    if reference is None or facts.frame_start_minutes is None:
        return 1.0
    return 2 ** ((60 * facts.frame_start_minutes - reference) / facts.half_life_s)


def positrons(facts: Facts) -> float:
    """Of a decay, over those of fluorine-18, which sensitivities of scanners are measured with."""
    return 1.0 if facts.positron_fraction is None else facts.positron_fraction / F18_POSITRONS


def counts_per_projection(geometry: ScanGeometry, spacing_mm: Sequence[float], scanner: Scanner, seconds: float,
                          diameter_mm: float) -> float:
    """Expected true counts in a bin for each Bq/ml mm of its attenuated line integral.

    A slice's bins together hold its activity times the scanner's sensitivity times the time it is seen. Time of flight
    is counted as the counts that the same image noise would need without it.
    """
    kbq_per_integral = geometry.radial_mm * spacing_mm[0] / 1000 / 1000 / geometry.n_angles
    seen = scanner.cps_per_kbq * seconds * scanner.beds_per_slice
    return kbq_per_integral * seen * scanner.tof_gain(diameter_mm)


def diameter_of(mu_per_cm: torch.Tensor, spacing_mm: Sequence[float]) -> float:
    """Diameter of the body in an attenuation map: that of a circle with the mean area of the slices it is in."""
    areas = (mu_per_cm > 0.05).sum((-2, -1)).float() * (spacing_mm[1] * spacing_mm[2])
    areas = areas[areas > 0]
    return body_diameter_mm(float(areas.mean())) if areas.numel() else 0.0


def noise_ratio(image: torch.Tensor, one: torch.Tensor, other: torch.Tensor, spacing_mm: Sequence[float]) -> float:
    """Variance of an image's noise over that of two simulated noise images of the same activity.

    Second differences over about a resolution length leave the noise and the edges. Each block of them is compared
    with the first noise image along every axis; structure only adds, and seldom along all axes, so the smallest of
    the three ratios counts, and of the blocks the lowest quarter. The second noise image, treated in the same way,
    tells what pure noise would give.
    """
    of_image, of_one, of_other = (_block_energies(v, spacing_mm) for v in (image, one, other))
    usable = _in_body(image, spacing_mm) & (of_one > 0).all(0)
    if int(usable.sum()) < _FEWEST_BLOCKS:
        raise PhysicsError("Noise of the image", f"cannot be measured in {int(usable.sum())} blocks of voxels",
                           "Give the counts of the scan.")
    of_image, of_other = ((v[:, usable] / of_one[:, usable]).amin(0).quantile(_FLATTEST) for v in (of_image, of_other))
    return float(of_image / of_other)


def _in_body(image: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """Which blocks lie in the body: those with a quarter of the activity of its brighter parts."""
    smooth = gaussian_filter(image.clamp(min=0), _BLOCK_MM, spacing_mm)
    bright = smooth[smooth > smooth.mean()]
    level = 0.25 * float(bright.mean()) if bright.numel() else float("inf")
    return _blocks(_inner(smooth, _lags(image, spacing_mm)), spacing_mm).mean(-1) > level


def _block_energies(volume: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """Mean square of the second differences along each axis that is long enough: [axes, blocks]."""
    lags = _lags(volume, spacing_mm)
    energies = []
    for axis, lag in enumerate(lags):
        if lag:
            around = sum(_inner(volume.roll(shift, axis), lags) for shift in (-lag, lag))
            energies.append(_blocks((2 * _inner(volume, lags) - around).square(), spacing_mm).mean(-1))
    return torch.stack(energies) if energies else volume.new_zeros(1, 0)


def _lags(volume: torch.Tensor, spacing_mm: Sequence[float]) -> list[int]:
    """Voxels between the values compared along each axis; 0 along an axis too short for it."""
    lags = [max(1, round(_LAG_MM / s)) for s in spacing_mm]
    return [lag if n >= 4 * lag else 0 for n, lag in zip(volume.shape, lags)]


def _inner(volume: torch.Tensor, lags: Sequence[int]) -> torch.Tensor:
    """Without the borders, where a rolled volume meets its other side."""
    z, y, x = (slice(lag, n - lag) for lag, n in zip(lags, volume.shape))
    return volume[z, y, x]


def _blocks(volume: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """[blocks, voxels of a block]."""
    size = [max(1, min(n, round(_BLOCK_MM / s))) for n, s in zip(volume.shape, spacing_mm)]
    for axis, n in enumerate(size):
        volume = volume.narrow(axis, 0, volume.shape[axis] // n * n).unfold(axis, n, n)
    return volume.reshape(-1, size[0] * size[1] * size[2])
