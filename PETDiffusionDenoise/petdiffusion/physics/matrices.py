"""The two sparse matrices of a slice: Siddon's path lengths, and the interpolating back-projector of FBP.

Both are built without a loop over rays or pixels, in compressed rows with 32-bit indices.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sparse

from ..errors import PhysicsError
from .geometry import ScanGeometry

_ON_EDGE = 1e-9
"""Half-width, in pixels, that a ray is given so that one running along a pixel edge is shared by both neighbours."""
_MAX_ENTRIES = 2**31 - 1


def path_lengths(geometry: ScanGeometry) -> sparse.csr_matrix:
    """Length in mm of each ray in each pixel; rows are bins (angle, radial), columns are pixels (y, x).

    Siddon's exact lengths (Med Phys 1985;12:252), found by walking along the axis that the ray follows most: within
    one row (or column) of pixels it then meets at most two pixels, split where it crosses their common edge.
    """
    _refuse_too_large(geometry)
    blocks = [_rays_of_angle(geometry, angle) for angle in geometry.angles]
    counts = np.concatenate([b[0] for b in blocks])
    columns, lengths = np.concatenate([b[1] for b in blocks]), np.concatenate([b[2] for b in blocks])
    shape = (math.prod(geometry.sinogram_shape), math.prod(geometry.image_shape))
    matrix = sparse.csr_matrix((lengths, columns, _row_starts(counts)), shape=shape)
    if geometry.rays_per_bin > 1:
        matrix.sum_duplicates()
    else:
        matrix.sort_indices()
    return matrix


def _rays_of_angle(geometry: ScanGeometry, angle: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of entries of each bin, then pixel and length of every entry, bin after bin."""
    (ny, nx), (dy, dx) = geometry.image_shape, geometry.pixel_mm
    cos, sin = math.cos(angle), math.sin(angle)
    along_y = abs(sin) * dy <= abs(cos) * dx
    if along_y:
        lines, pixels, step = ny, nx, dy / abs(cos)
        at = (_ray_positions(geometry)[:, None] - _edges(ny, dy) * sin) / (cos * dx) + nx / 2
    else:
        lines, pixels, step = nx, ny, dx / abs(sin)
        at = (_ray_positions(geometry)[:, None] - _edges(nx, dx) * cos) / (sin * dy) + ny / 2
    first, share = _two_pixels(at)
    line = np.arange(lines, dtype=np.int32)[:, None]
    place = np.stack([first, first + 1], -1)
    length = np.stack([share, 1 - share], -1) * (step / geometry.rays_per_bin)
    met = (length > 2 * _ON_EDGE * step) & (place >= 0) & (place < pixels)
    pixel = line * nx + place if along_y else place * nx + line
    counts = met.reshape(geometry.n_radial, -1).sum(1)
    return counts, pixel[met].astype(np.int32), length[met].astype(np.float32)


def _two_pixels(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel that a ray meets between two successive lines, and the share of its path that lies in it."""
    low = np.minimum(at[:, :-1], at[:, 1:]) - _ON_EDGE
    high = np.maximum(at[:, :-1], at[:, 1:]) + _ON_EDGE
    first = np.floor(low)
    share = np.minimum((first + 1 - low) / (high - low), 1.0)
    return first.astype(np.int32), share


def _ray_positions(geometry: ScanGeometry) -> np.ndarray:
    """Radial position of every ray, the rays of one bin together."""
    k = geometry.rays_per_bin
    within = ((np.arange(k) + 0.5) / k - 0.5) * geometry.radial_mm
    return (geometry.radial_positions[:, None] + within).ravel()


def _edges(n: int, size: float) -> np.ndarray:
    return (np.arange(n + 1) - n / 2) * size


def interpolation(geometry: ScanGeometry) -> sparse.csr_matrix:
    """Back-projector of FBP: each pixel reads each angle's profile at its own place, linearly between two bins.

    Rows are pixels, columns are bins; weights include the angle step, so that the rows sum to pi for a full scan.
    """
    (ny, nx), (dy, dx) = geometry.image_shape, geometry.pixel_mm
    y, x = (_edges(ny, dy)[:-1] + dy / 2)[:, None, None], (_edges(nx, dx)[:-1] + dx / 2)[None, :, None]
    angles, n = geometry.angles, geometry.n_radial
    at = ((x * np.cos(angles) + y * np.sin(angles)) / geometry.radial_mm + (n - 1) / 2).reshape(ny * nx, -1)
    first = np.floor(at).astype(np.int32)
    weight = np.stack([first + 1 - at, at - first], -1).astype(np.float32) * np.deg2rad(geometry.angle_step_deg)
    place = np.stack([first, first + 1], -1)
    inside = (place >= 0) & (place < n)
    column = place + np.arange(geometry.n_angles, dtype=np.int32)[None, :, None] * n
    counts = inside.reshape(ny * nx, -1).sum(1)
    return sparse.csr_matrix((weight[inside].astype(np.float32), column[inside].astype(np.int32), _row_starts(counts)),
                             shape=(ny * nx, geometry.n_angles * n))


def _row_starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def estimated_entries(geometry: ScanGeometry) -> int:
    """About how many entries the path-length matrix will have: 4/pi pixels per pixel width of path."""
    (ny, nx), (dy, dx) = geometry.image_shape, geometry.pixel_mm
    path_mm = ny * dy * nx * dx / geometry.radial_mm * geometry.n_angles * geometry.rays_per_bin
    return int(path_mm * (2 / math.pi) * (1 / dx + 1 / dy))


def _refuse_too_large(geometry: ScanGeometry) -> None:
    entries = estimated_entries(geometry)
    if entries > _MAX_ENTRIES:
        raise PhysicsError(f"Scan geometry with about {entries:.2g} path lengths", "is too large for one matrix",
                           "Use fewer angles, wider bins, or more subsets.")
