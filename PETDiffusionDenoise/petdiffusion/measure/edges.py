"""Effective resolution without a reference: how wide the patient's own edges are in an image.

A sharp border seen with a Gaussian resolution s and smoothed by t more rises with slope ~ 1 / sqrt(s^2 + t^2). The
slopes at two smoothings t therefore tell s, whatever the height of the border. Slopes are summed over many places of
one set of edges before they are compared: sums are linear in the image, so noise does not make it look sharp.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..filters import FWHM, gaussian, slabs
from ..threads import at_once
from .checks import bounding_box

Triple = tuple[float, float, float]
FINE_MM, COARSE_MM, FINDING_MM = 5.0, 10.0, 8.0
"""FWHM of both smoothings, and of the one under which edges are looked for."""
STEEPEST, MOST_PLACES, LEAST_PLACES = 0.05, 20_000, 200
"""Part of the body's voxels that may be edges, and how many are used."""
AROUND_MM = 25.0
"""What is read around the body, more than the widest smoothing and the places beside an edge reach."""


def edge_widths(images: Mapping[str, np.ndarray], guide: np.ndarray, body: np.ndarray,
                spacing: Triple) -> dict[str, float | None]:
    """FWHM in mm of each image's edges; None where there are too few of them, 0 where they are too sharp, or the noise
    too strong, to tell. All images are measured at the edges of `guide`, which should be the least noisy of them."""
    if not body.any():
        return dict.fromkeys(images)
    more = tuple(int(np.ceil(AROUND_MM / step)) for step in spacing)
    box = bounding_box(body, more)
    places, normals = edges_of(guide[box], body[box], spacing)
    if len(places) < LEAST_PLACES:
        return dict.fromkeys(images)
    return {name: _width(image[box], places, normals, spacing) for name, image in images.items()}


def edges_of(guide: np.ndarray, body: np.ndarray, spacing: Triple) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) in voxels and unit normals (n, 3) in mm, where the slope is steep and falls to both sides."""
    if min(guide.shape) < 5:
        return np.zeros((0, 3)), np.zeros((0, 3))
    smooth, within = _smoothed(guide, FINDING_MM, spacing), _inner(body)
    if not within.any():
        return np.zeros((0, 3)), np.zeros((0, 3))
    size = _steepness(smooth, spacing)
    places = np.argwhere(within & (size > np.quantile(size[within], 1 - STEEPEST)))
    places = places[:: max(1, len(places) // (4 * MOST_PLACES))]
    normals = _slopes(smooth, places, spacing)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    step = normals * (FINDING_MM / FWHM) / np.asarray(spacing)
    here, ahead, behind = (_at(size, points) for points in (places, places + step, places - step))
    crest = (here > ahead) & (here > behind)
    places, normals = places[crest], normals[crest]
    keep = slice(None, None, max(1, len(places) // MOST_PLACES))
    return places[keep].astype(float), normals[keep]


def _smoothed(image: np.ndarray, fwhm_mm: float, spacing: Triple) -> np.ndarray:
    return gaussian(np.asarray(image, np.float32), fwhm_mm, spacing, mode="reflect")


def _steepness(image: np.ndarray, spacing: Triple) -> np.ndarray:
    """How steep the image is everywhere; by slabs, since all three slopes of a large image are a lot of memory."""
    size = np.empty_like(image)

    def measure(part: tuple[slice, slice]) -> None:
        read, wanted = part
        squares = sum(np.square(slope) for slope in np.gradient(image[read], *spacing))
        start = read.start + wanted.start
        np.sqrt(squares[wanted], out=size[start : start + wanted.stop - wanted.start])

    at_once(measure, slabs(len(image), 1))
    return size


def _slopes(image: np.ndarray, places: np.ndarray, spacing: Triple) -> np.ndarray:
    """(n, 3): slopes at places that have neighbours on all sides."""
    ahead, behind = (image[tuple((places[:, None] + sign * np.eye(3, dtype=int)).transpose(2, 0, 1))]
                     for sign in (1, -1))  # fmt: skip
    return (ahead - behind) / (2 * np.asarray(spacing))


def _inner(body: np.ndarray) -> np.ndarray:
    """Without the image's border, where slopes are of the field's end."""
    inner = np.zeros(body.shape, bool)
    inner[2:-2, 2:-2, 2:-2] = body[2:-2, 2:-2, 2:-2]
    return inner


def _width(image: np.ndarray, places: np.ndarray, normals: np.ndarray, spacing: Triple) -> float | None:
    fine, coarse = (_rise(_smoothed(image, fwhm, spacing), places, normals, spacing)
                    for fwhm in (FINE_MM, COARSE_MM))  # fmt: skip
    if coarse <= 0 or fine <= coarse:
        return None
    ratio = (fine / coarse) ** 2
    squared = (COARSE_MM ** 2 - ratio * FINE_MM ** 2) / (ratio - 1) - _own_blur(normals, spacing)
    return float(np.sqrt(max(squared, 0.0)))


def _own_blur(normals: np.ndarray, spacing: Triple) -> float:
    """Square of the FWHM that reading adds along the normals: of a straight line between voxels (twice that of a box
    of one voxel), and of the distance that a slope is taken over."""
    interpolation = 2 * np.mean(np.square(normals * np.asarray(spacing)).sum(1)) / 12
    return FWHM ** 2 * float(interpolation + min(spacing) ** 2 / 12)


def _rise(image: np.ndarray, places: np.ndarray, normals: np.ndarray, spacing: Triple) -> float:
    """Mean slope along the normals, from one place on each side."""
    step = normals * (min(spacing) / 2) / np.asarray(spacing)
    return float((_at(image, places + step) - _at(image, places - step)).mean(dtype=np.float64))


def _at(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, points.T, order=1, mode="nearest")
