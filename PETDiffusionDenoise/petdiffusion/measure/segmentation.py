"""Masks against masks: overlap, surface distance and lesion-by-lesion detection.

An empty reference has no Dice of its own: with an empty prediction the case is not counted (NaN), with any prediction
it is 0. Tables say how many structures were not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import GeometryError, OptionError
from .checks import bounding_box

CONNECTIVITY = {6: 1, 18: 2, 26: 3}
SIZES_ML = (1.0, 5.0)
"""Lesions are counted apart below, between and above these volumes."""


def components(mask: np.ndarray, connectivity: int = 26) -> tuple[np.ndarray, int]:
    """Connected parts of a mask, numbered from 1, the largest first; and how many."""
    if connectivity not in CONNECTIVITY:
        raise OptionError(f"connectivity = {connectivity}", "must be 6, 18 or 26", "The default is 26.")
    found = np.zeros(np.shape(mask), np.int32)
    if not np.any(mask):
        return found, 0
    box, labelled, sizes = _labelled(mask, connectivity)
    rank = np.zeros(len(sizes), labelled.dtype)
    rank[1 + np.argsort(-sizes[1:], kind="stable")] = np.arange(1, len(sizes))
    found[box] = rank[labelled]
    return found, len(sizes) - 1


def strays(mask: np.ndarray, pieces: int) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of a mask that is not empty, and in it the connected parts beyond so many largest."""
    box, labelled, sizes = _labelled(mask, 26)
    beyond = sizes > 0
    beyond[0] = sizes[0] = 0  # what is no part
    for _ in range(pieces):
        largest = sizes.argmax()
        beyond[largest] = sizes[largest] = 0
    return box, beyond[labelled]


def regions(numbered: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    """Each number that occurs, the box around it, and its mask in the box."""
    for number, box in enumerate(ndimage.find_objects(numbered) if numbered.any() else (), 1):
        if box is not None:
            yield number, box, numbered[box] == number


def _labelled(mask: np.ndarray, connectivity: int) -> tuple[tuple[slice, ...], np.ndarray, np.ndarray]:
    """The mask's box, which is little of a scan for an organ, its connected parts, and the voxels of each number."""
    box = bounding_box(mask)
    labelled, count = ndimage.label(mask[box], ndimage.generate_binary_structure(3, CONNECTIVITY[connectivity]))
    return box, labelled, np.bincount(labelled.ravel(), minlength=count + 1)


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """2 |P and R| / (|P| + |R|); NaN where both are empty."""
    p, r = _masks(prediction, reference)
    total = np.count_nonzero(p) + np.count_nonzero(r)
    return 2.0 * np.count_nonzero(p & r) / total if total else float("nan")


@dataclass(frozen=True)
class SurfaceDistance:
    """In mm. NaN where both masks are empty, infinite where one is."""

    hd95: float
    """The larger of both directions' 95th percentiles."""
    assd: float
    """Mean over the surface voxels of both masks."""


def surface_distance(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> SurfaceDistance:
    """Distances between the surface voxels (mask voxels with a face outside); spacing is (x, y, z) in mm."""
    p, r = _masks(prediction, reference)
    if not (p.any() and r.any()):
        value = float("inf") if p.any() or r.any() else float("nan")
        return SurfaceDistance(value, value)
    box = bounding_box(p | r, (1, 1, 1))
    surfaces = [_surface(mask[box]) for mask in (p, r)]
    step = spacing[::-1]
    to_r, to_p = (
        ndimage.distance_transform_edt(~other, sampling=step)[own] for own, other in (surfaces, surfaces[::-1])
    )
    return SurfaceDistance(
        float(max(np.percentile(to_r, 95), np.percentile(to_p, 95))), float(np.concatenate([to_r, to_p]).mean())
    )


def detection(
    prediction: np.ndarray,
    reference: np.ndarray,
    voxel_ml: float,
    minimum_overlap: float = 0.0,
    sizes_ml: Sequence[float] = SIZES_ML,
    connectivity: int = 26,
) -> list[dict[str, Any]]:
    """Lesions found and false positives, by size and in all.

    A reference lesion counts as found where more than `minimum_overlap` of its voxels are predicted; a predicted
    region that touches no reference lesion is a false positive, in the class of its own size.
    """
    if not 0 <= minimum_overlap < 1:
        raise OptionError(f"minimum_overlap = {minimum_overlap}", "must lie in 0 to 1, 1 excluded", "The default is 0.")
    p, r = _masks(prediction, reference)
    covered, reference_ml = _covered(r, p, voxel_ml, connectivity)
    touching, predicted_ml = _covered(p, r, voxel_ml, connectivity)
    found, false = covered > minimum_overlap, touching == 0
    edges = (0.0, *sizes_ml, np.inf)
    rows = [
        _detected(
            f"{low:g} to {high:g} ml" if np.isfinite(high) else f"above {low:g} ml",
            found[(reference_ml > low) & (reference_ml <= high)],
            false[(predicted_ml > low) & (predicted_ml <= high)],
        )
        for low, high in pairwise(edges)
    ]
    return [*rows, _detected("all", found, false)]


def _detected(size: str, found: np.ndarray, false: np.ndarray) -> dict[str, Any]:
    return {
        "size": size,
        "lesions": int(found.size),
        "found": int(found.sum()),
        "sensitivity": float(found.mean()) if found.size else None,
        "false_positives": int(false.sum()),
    }


def _covered(mask: np.ndarray, by: np.ndarray, voxel_ml: float, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Per component of the mask: the part covered by the other mask, and its volume."""
    labelled, count = components(mask, connectivity)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    return np.bincount(labelled[by], minlength=count + 1)[1:] / np.maximum(sizes, 1), sizes * voxel_ml


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, border_value=0)


def _masks(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, r = np.asarray(prediction).astype(bool), np.asarray(reference).astype(bool)
    if p.shape != r.shape:
        raise GeometryError(
            f"Masks of shapes {p.shape} and {r.shape}", "lie on different grids", "Bring both onto one grid first."
        )
    return p, r
