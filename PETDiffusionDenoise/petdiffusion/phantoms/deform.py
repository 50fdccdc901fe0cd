"""Smooth random fields and the warps made of them, defined in millimetres so that any grid samples the same anatomy."""

from __future__ import annotations

import numpy as np

_POINTS_AT_ONCE = 200_000


def bspline_weights(fraction: np.ndarray) -> np.ndarray:
    """The four cubic B-spline weights at each fraction in [0, 1)."""
    t = np.asarray(fraction)
    return np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], -1) / 6


class SmoothField:
    """Gaussian field of unit variance: a periodic lattice of random numbers, cubic B-spline between its knots.

    `knot_mm` is the distance of knots; structures are about twice as wide. It repeats after `n` knots.
    """

    def __init__(self, rng: np.random.Generator, knot_mm: float, n: int = 32) -> None:
        self.knot_mm, self.n = float(knot_mm), n
        lattice = rng.standard_normal((n, n, n))
        self.offset = rng.random(3) * n
        smoothing = np.mean(np.sum(bspline_weights(np.linspace(0, 1, 64, endpoint=False)) ** 2, -1))
        self.lattice = (lattice / smoothing**1.5).astype(np.float32)

    def on_axes(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values (z, y, x) at the points of a regular grid given by its three axes in mm."""
        wx, wy, wz = (self._matrix(axis, i) for i, axis in enumerate((x, y, z)))
        part = np.tensordot(self.lattice, wx, (2, 1))
        part = np.tensordot(wy, part, (1, 1))
        return np.tensordot(wz, part, (1, 1))

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values at scattered points."""
        x, y, z = np.broadcast_arrays(x, y, z)
        flat = [np.ravel(v) for v in (x, y, z)]
        parts = [
            self._gather(*(v[i : i + _POINTS_AT_ONCE] for v in flat)) for i in range(0, flat[0].size, _POINTS_AT_ONCE)
        ]
        return np.concatenate(parts).reshape(x.shape) if parts else np.zeros(x.shape, np.float32)

    def _knots(self, values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        position = np.asarray(values, np.float64) / self.knot_mm + self.offset[axis]
        base = np.floor(position).astype(np.int64)
        index = (base[..., None] + np.arange(-1, 3)) % self.n
        return index, bspline_weights(position - base).astype(np.float32)

    def _matrix(self, values: np.ndarray, axis: int) -> np.ndarray:
        index, weight = self._knots(np.asarray(values), axis)
        matrix = np.zeros((len(index), self.n), np.float32)
        np.add.at(matrix, (np.arange(len(index))[:, None], index), weight)
        return matrix

    def _gather(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        (ix, wx), (iy, wy), (iz, wz) = (self._knots(v, i) for i, v in enumerate((x, y, z)))
        total = np.zeros(len(x), np.float32)
        flat = self.lattice.ravel()
        for k in range(4):
            for j in range(4):
                row = (iz[:, k] * self.n + iy[:, j]) * self.n
                total += wz[:, k] * wy[:, j] * np.sum(flat[row[:, None] + ix] * wx, 1)
        return total


class Warp:
    """Displacement in mm made of smooth fields: several scales, each with its amplitude per axis."""

    def __init__(self, rng: np.random.Generator, scales: tuple[tuple[float, float], ...]) -> None:
        self.parts = [(amplitude, tuple(SmoothField(rng, knot, 16) for _ in range(3))) for knot, amplitude in scales]

    def on_axes(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The displacement's three components on a regular grid."""
        return tuple(sum(amplitude * fields[i].on_axes(x, y, z) for amplitude, fields in self.parts) for i in range(3))
