"""Closed forms and brute-force computations that the physics is compared with; none of it calls the program."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm


def pixel_centres(geometry) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of each pixel in mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(geometry.image_shape, geometry.pixel_mm)]
    return np.meshgrid(*axes, indexing="ij")


def disc(geometry, x0: float, y0: float, radius: float, finer: int = 8) -> np.ndarray:
    """Share of each pixel that a disc covers."""
    y, x = pixel_centres(geometry)
    steps = (np.arange(finer) + 0.5) / finer - 0.5
    dy, dx = np.meshgrid(steps * geometry.pixel_mm[0], steps * geometry.pixel_mm[1], indexing="ij")
    inside = [((x + b - x0) ** 2 + (y + a - y0) ** 2 < radius**2) for a, b in zip(dy.ravel(), dx.ravel())]
    return np.mean(inside, 0)


def gaussian(geometry, x0: float, y0: float, sigma: float) -> np.ndarray:
    y, x = pixel_centres(geometry)
    return np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))


def distances(geometry, x0: float, y0: float) -> np.ndarray:
    """Distance of the point from each ray [angles, radial]."""
    cos, sin = np.cos(geometry.angles)[:, None], np.sin(geometry.angles)[:, None]
    return geometry.radial_positions[None] - (x0 * cos + y0 * sin)


def disc_projection(geometry, x0: float, y0: float, radius: float) -> np.ndarray:
    """Chords of a disc: 2 sqrt(R^2 - d^2)."""
    return 2 * np.sqrt(np.clip(radius**2 - distances(geometry, x0, y0) ** 2, 0, None))


def gaussian_projection(geometry, x0: float, y0: float, sigma: float) -> np.ndarray:
    """sqrt(2 pi) sigma exp(-d^2 / 2 sigma^2)."""
    return np.sqrt(2 * np.pi) * sigma * np.exp(-(distances(geometry, x0, y0) ** 2) / (2 * sigma**2))


def rectangle_chords(geometry) -> np.ndarray:
    """Length of each ray inside the whole image, by clipping the line at its four sides."""
    cos, sin = np.cos(geometry.angles)[:, None], np.sin(geometry.angles)[:, None]
    s = geometry.radial_positions[None]
    low, high = np.full(np.broadcast(cos, s).shape, -np.inf), np.full(np.broadcast(cos, s).shape, np.inf)
    for start, slope, half in ((s * cos, -sin, geometry.size_mm[1] / 2), (s * sin, cos, geometry.size_mm[0] / 2)):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            a, b = (-half - start) / slope, (half - start) / slope
        low, high = np.fmax(low, np.minimum(a, b)), np.fmin(high, np.maximum(a, b))
    return np.clip(high - low, 0, None)


def siddon_by_sorting(geometry) -> np.ndarray:
    """Dense path lengths by Siddon's own recipe: all crossings of one ray, sorted, midpoints looked up."""
    (ny, nx), (dy, dx) = geometry.image_shape, geometry.pixel_mm
    matrix = np.zeros((geometry.n_angles * geometry.n_radial, ny * nx))
    planes_x, planes_y = (np.arange(nx + 1) - nx / 2) * dx, (np.arange(ny + 1) - ny / 2) * dy
    for row, (angle, s) in enumerate((a, s) for a in geometry.angles for s in geometry.radial_positions):
        cos, sin = np.cos(angle), np.sin(angle)
        t = [(s * cos - planes_x) / sin] if abs(sin) > 1e-12 else []
        t += [(planes_y - s * sin) / cos] if abs(cos) > 1e-12 else []
        t = np.sort(np.concatenate(t))
        middle, length = (t[1:] + t[:-1]) / 2, np.diff(t)
        i = np.floor((s * cos - middle * sin) / dx + nx / 2).astype(int)
        j = np.floor((s * sin + middle * cos) / dy + ny / 2).astype(int)
        inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
        np.add.at(matrix[row], j[inside] * nx + i[inside], length[inside])
    return matrix


def mirrored_gaussian(n: int, sigma: float) -> np.ndarray:
    """Blur of variance sigma^2 between mirrors: heat that spreads for a time sigma^2 / 2 over a closed row of cells."""
    flow = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    return expm(sigma**2 / 2 * (flow - np.diag(flow.sum(1))))


def em_by_hand(matrix: np.ndarray, counts: np.ndarray, background: np.ndarray, start: np.ndarray, iterations: int,
               subsets: list[np.ndarray]) -> np.ndarray:
    """OSEM in double precision on a dense matrix; `subsets` lists the rows of each."""
    image = start.copy()
    for _ in range(iterations):
        for rows in subsets:
            part = matrix[rows]
            ratio = counts[rows] / (part @ image + background[rows])
            image = image * (part.T @ ratio) / part.sum(0)
    return image
