"""The voxel grid in the world and the canonical coordinates of its voxels: posture, size and random deformation."""

from __future__ import annotations

import numpy as np

from ...volume import Geometry
from ..deform import Warp
from .person import Person
from .shapes import Points

_STEP = 5
WARP_SCALES = ((75.0, 2.6), (160.0, 5.0))
"""Distance of the deformation's knots and its amplitude, in mm; gradients stay well below one, so nothing folds."""


class Pose:
    """Maps world points to canonical points: scale, bends of head and trunk, and a smooth random deformation."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.warp = Warp(person.rng("warp"), WARP_SCALES)

    def canonical(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Points:
        """Canonical coordinates (z, y, x) of the grid given by three world axes in mm."""
        sx, sy, sz = (np.float32(s) for s in self.person.scale)
        level = (z / sz)[:, None, None]
        calm = 1 - 0.6 * np.clip((level - 590) / 60, 0, 1)
        dx, dy, dz = (part * calm for part in self.warp.on_axes(x, y, z))
        px = (x / sx)[None, None, :] + dx - self._aside(level)
        py = (y / sy)[None, :, None] + dy
        pz = level + dz
        head = np.clip((pz - 545) / 130, 0, 1)
        head = head * head * (3 - 2 * head)
        px, py = _turn(px, py - 12, head * np.float32(np.deg2rad(self.person.turn_degrees)))
        py, pz = _turn(py, pz - 600, head * np.float32(np.deg2rad(self.person.nod_degrees)))
        return Points(*(np.asarray(v, np.float32) for v in (px, py + 12, pz + 600)))

    def _aside(self, level: np.ndarray) -> np.ndarray:
        return (self.person.lean_mm * np.clip(level / 700, -0.3, 1.1) ** 2 * np.sign(level)).astype(np.float32)


def _turn(a: np.ndarray, b: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c, s = np.cos(angle), np.sin(angle)
    return c * a - s * b, s * a + c * b


class Grid:
    """A world grid with the canonical coordinates of every voxel."""

    def __init__(self, pose: Pose, low: np.ndarray, high: np.ndarray, spacing: tuple[float, float, float]) -> None:
        """Covers the world box from `low` to `high` (x, y, z in LPS mm)."""
        size = np.maximum(np.ceil((np.asarray(high) - low) / spacing - 1e-6).astype(int), 1)
        origin = np.asarray(low) + np.asarray(spacing) / 2
        self.geometry = Geometry(tuple(size), tuple(spacing), tuple(origin))
        self.axes = tuple((o + s * np.arange(n)).astype(np.float32) for o, s, n in zip(origin, spacing, size))
        self.points = self._canonical(pose)
        self.voxel_mm = float(np.prod(spacing) ** (1 / 3) / np.prod(pose.person.scale) ** (1 / 3))
        self._coarse = Points(
            *(np.ascontiguousarray(v[::_STEP, ::_STEP, ::_STEP]) for v in (self.points.x, self.points.y, self.points.z))
        )
        self._reach = [1.25 * _STEP * s for s in spacing]

    def _canonical(self, pose: Pose) -> Points:
        """Slab by slab, as whole-grid intermediates would need more memory than the result."""
        x, y, z = self.axes
        whole = Points(*(np.empty(self.geometry.shape, np.float32) for _ in range(3)))
        depth = max(400_000 // (len(x) * len(y)), 1)
        for low in range(0, len(z), depth):
            part = pose.canonical(x, y, z[low : low + depth])
            for values, slab in ((whole.x, part.x), (whole.y, part.y), (whole.z, part.z)):
                values[low : low + depth] = slab
        return whole

    def everywhere(self) -> Points:
        return Points(self.points.x, self.points.y, self.points.z, tuple(slice(0, n) for n in self.points.x.shape))

    def box(self, low, high) -> Points | None:
        """The voxels in a canonical box, or None where the grid has none of them."""
        inside = np.ones(self._coarse.x.shape, bool)
        for axis, reach, a, b in zip((self._coarse.x, self._coarse.y, self._coarse.z), self._reach, low, high):
            inside &= (axis > a - reach) & (axis < b + reach)
        where = []
        for axis, n in enumerate(self.points.x.shape):
            hit = np.flatnonzero(inside.any(axis=tuple(i for i in range(3) if i != axis)))
            if not hit.size:
                return None
            where.append(slice(max(hit[0] * _STEP - _STEP // 2, 0), min(hit[-1] * _STEP + _STEP, n)))
        where = tuple(where)
        return Points(self.points.x[where], self.points.y[where], self.points.z[where], where)

    def world_axes(self, where: tuple[slice, slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        z, y, x = where
        return self.axes[0][x], self.axes[1][y], self.axes[2][z]
