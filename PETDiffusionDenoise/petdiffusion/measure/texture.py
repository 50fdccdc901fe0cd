"""Haralick texture distance between two images, slice by slice (Haralick 1973; CSRD, Eq. 6).

Per axial slice: 13 features of the grey-level co-occurrence at distance 1, mean of the 4 directions. Then

    formula:   sqrt(sum_i ((h_i(image) - h_i(reference)) / h_i(reference))^2)
    absolute:  sum_i |h_i(image) - h_i(reference)| / |h_i(reference)|

The formula is the paper's; the absolute sum is what its authors' program computes. Results are means over slices.
Slices in which the reference has a single grey level, or in which no two voxels that count are neighbours along one of
the directions, are left out and counted, and so is any feature whose reference value is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputError, OptionError
from .checks import bounding_box, finite_pair, mask_like, versions

NEGLIGIBLE = 1e-10
"""A reference feature below this counts as zero: rounding, not texture."""


@dataclass(frozen=True)
class TextureSettings:
    """Both images are cut to one range and quantised alike; the range decides the result, so it is always reported."""

    low: float = 0.0
    high: float | None = None
    """None: the reference's maximum inside the mask."""
    levels: int = 256
    distance: int = 1
    every: int = 1
    """Take every n-th slice; more than 1 only to save time."""

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256 or self.distance < 1 or self.every < 1:
            raise OptionError(
                f"levels = {self.levels}, distance = {self.distance}, every = {self.every}",
                "levels must be 2 to 256, the others at least 1",
                "See TextureSettings.",
            )


def quantise(image: np.ndarray, low: float, high: float, levels: int = 256) -> np.ndarray:
    """Grey levels 0 to levels - 1 of equal width over [low, high]; values outside go to the ends."""
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise InputError(f"Quantisation range {low} to {high}", "is empty", "Give a range with high above low.")
    scaled = (np.asarray(image, np.float64) - low) * (levels / (high - low))
    return np.clip(scaled, 0, levels - 1).astype(np.uint8)


def haralick(grey: np.ndarray, distance: int = 1, ignore_zeros: bool = False) -> np.ndarray:
    """The 13 features of one quantised slice, mean of the 4 directions."""
    from mahotas.features import haralick as features

    return features(grey, distance=distance, ignore_zeros=ignore_zeros, return_mean=True)


@lru_cache(maxsize=1024)
def _kept(levels: bytes, shape: tuple[int, ...], distance: int, ignore_zeros: bool) -> np.ndarray:
    found = haralick(np.frombuffer(levels, np.uint8).reshape(shape), distance, ignore_zeros)
    found.setflags(write=False)
    return found


def haralick_of_reference(grey: np.ndarray, distance: int = 1, ignore_zeros: bool = False) -> np.ndarray:
    """As `haralick`, kept: many images are compared with one reference."""
    return _kept(grey.tobytes(), grey.shape, distance, ignore_zeros)


def feature_distance(features: np.ndarray, reference: np.ndarray) -> tuple[float, float, int]:
    """(formula, absolute, features left out because the reference's is zero)."""
    used = np.abs(reference) > NEGLIGIBLE
    relative = (features[used] - reference[used]) / reference[used]
    return float(np.sqrt(np.sum(relative**2))), float(np.sum(np.abs(relative))), int(np.sum(~used))


def haralick_distance(
    image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None, settings: TextureSettings | None = None
) -> dict[str, Any]:
    """Both distances as means over slices, with everything they depend on.

    With a mask only pairs of voxels inside it count: the lowest level is kept for the outside and ignored.
    """
    settings = settings or TextureSettings()
    image, reference = finite_pair(image, reference)
    inside = mask_like(image, mask)
    high = float(reference[inside].max()) if settings.high is None else settings.high
    greys = [_levels(each, inside, mask is not None, high, settings) for each in (image, reference)]
    box = bounding_box(inside)
    pairs = list(zip(*(each[box][:: settings.every] for each in (*greys, inside)), strict=True))
    textured = [(a, b) for a, b, there in pairs
                if _has_texture(b, mask is not None) and _has_pairs(there, settings.distance)]  # fmt: skip
    measured = [
        feature_distance(
            haralick(a, settings.distance, mask is not None),
            haralick_of_reference(b, settings.distance, mask is not None),
        )
        for a, b in textured
    ]
    formula, absolute, skipped = (np.array(column) for column in zip(*measured)) if measured else (np.zeros(0),) * 3
    return {
        "Haralick_distance": float(formula.mean()) if measured else None,
        "Haralick_absolute": float(absolute.mean()) if measured else None,
        "Haralick_slices": len(measured),
        "Haralick_flat_slices": len(pairs) - len(textured),
        "Haralick_features_left_out": int(skipped.sum()),
        "Haralick_range": f"{settings.low:g} to {high:g}",
        "Haralick_levels": settings.levels,
        "Haralick_pixel_distance": settings.distance,
        "Haralick_library": versions("mahotas"),
    }


def _levels(image: np.ndarray, inside: np.ndarray, masked: bool, high: float, settings: TextureSettings) -> np.ndarray:
    if not masked:
        return quantise(image, settings.low, high, settings.levels)
    grey = quantise(image, settings.low, high, settings.levels - 1) + np.uint8(1)
    return np.where(inside, grey, np.uint8(0))


def _has_texture(grey: np.ndarray, masked: bool) -> bool:
    values = grey[grey > 0] if masked else grey
    return values.size > 1 and values.min() != values.max()


def _has_pairs(there: np.ndarray, distance: int) -> bool:
    """Whether every direction has two voxels that count this far apart: a slice a voxel wide has not."""
    d = distance
    if min(there.shape) <= d:
        return False
    ahead, behind, whole = slice(d, None), slice(-d), slice(None)
    ends = [((whole, behind), (whole, ahead)), ((behind, whole), (ahead, whole)),
            ((behind, behind), (ahead, ahead)), ((behind, ahead), (ahead, behind))]  # fmt: skip
    return all(bool((there[one] & there[other]).any()) for one, other in ends)
