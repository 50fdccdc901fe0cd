"""Signed distances in mm (negative inside) of the shapes that anatomy is built from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

FAR = np.float32(1e3)


@dataclass
class Points:
    """Canonical coordinates of a box of voxels (x to the left, y to the back, z to the head) and where the box lies."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    where: tuple[slice, slice, slice] = field(default=(slice(None),) * 3)

    def at(self, centre, rotation=None) -> Points:
        """The same points seen from a centre, in axes that are the rows of `rotation`."""
        x, y, z = (axis - np.float32(c) for axis, c in zip((self.x, self.y, self.z), centre))
        if rotation is not None:
            r = np.asarray(rotation, np.float32)
            x, y, z = (r[i, 0] * x + r[i, 1] * y + r[i, 2] * z for i in range(3))
        return Points(x, y, z, self.where)

    def mirrored(self, side: int) -> Points:
        """x counted outwards on one side: +1 left, -1 right."""
        return self if side > 0 else Points(-self.x, self.y, self.z, self.where)

    def slabs(self, voxels: int = 400_000) -> Iterator[Points]:
        """The same voxels in slabs along z, small enough for the processor's cache."""
        depth = max(int(voxels // max(self.x[0].size, 1)), 1) if self.x.size else 1
        first = self.where[0].start or 0
        for low in range(0, len(self.x), depth):
            part = slice(low, min(low + depth, len(self.x)))
            where = (slice(first + part.start, first + part.stop), *self.where[1:])
            yield Points(self.x[part], self.y[part], self.z[part], where)

    def pick(self, mask: np.ndarray) -> Points:
        return Points(self.x[mask], self.y[mask], self.z[mask], self.where)


def smooth_union(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Minimum whose crease is rounded over about k mm."""
    h = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / k)


def smooth_cut(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Maximum (intersection) whose edge is rounded over about k mm."""
    return -smooth_union(-a, -b, k)


def ellipsoid(p: Points, centre, radii, rotation=None) -> np.ndarray:
    q = p.at(centre, rotation)
    a, b, c = (np.float32(max(r, 1e-3)) for r in radii)
    k0 = np.sqrt((q.x / a) ** 2 + (q.y / b) ** 2 + (q.z / c) ** 2)
    k1 = np.sqrt((q.x / a**2) ** 2 + (q.y / b**2) ** 2 + (q.z / c**2) ** 2)
    return np.where(k1 > 1e-6, k0 * (k0 - 1) / np.maximum(k1, 1e-6), -min(a, b, c)).astype(np.float32)


def capsule(
    p: Points, a, b, radius_a: float, radius_b: float | None = None, flat: tuple = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """Cone with round ends from a to b; `flat` stretches the distance per axis (2 = half as thick along it)."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    u, length2 = b - a, float(np.sum((b - a) ** 2)) + 1e-6
    x, y, z = p.x - a[0], p.y - a[1], p.z - a[2]
    t = np.clip((x * u[0] + y * u[1] + z * u[2]) / np.float32(length2), 0, 1)
    dx, dy, dz = ((v - t * w) * np.float32(f) for v, w, f in zip((x, y, z), u, flat))
    radius = radius_a + t * np.float32((radius_a if radius_b is None else radius_b) - radius_a)
    return np.sqrt(dx * dx + dy * dy + dz * dz) - radius


def box(p: Points, centre, half, rounding: float, rotation=None) -> np.ndarray:
    """Box with rounded edges; `half` includes the rounding."""
    q = p.at(centre, rotation)
    d = [np.abs(v) - np.float32(max(h - rounding, 0)) for v, h in zip((q.x, q.y, q.z), half)]
    outside = np.sqrt(sum(np.maximum(v, 0) ** 2 for v in d))
    return outside + np.minimum(np.maximum(np.maximum(d[0], d[1]), d[2]), 0) - np.float32(rounding)


def curve(points, step: float = 2.0) -> np.ndarray:
    """Rows of control values (x, y, z, and anything after) interpolated smoothly, sampled every `step` mm."""
    rows = np.asarray(points, float)
    gaps = np.maximum(np.sqrt(np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1)), 1e-3)
    knots = np.concatenate([[0], np.cumsum(gaps)])
    fine = _catmull(knots, rows, np.linspace(0, knots[-1], 24 * len(rows)))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine[:, :3], axis=0), axis=1))])
    at = np.linspace(0, length[-1], max(int(length[-1] / step) + 1, 2))
    return np.stack([np.interp(at, length, fine[:, i]) for i in range(rows.shape[1])], 1)


def _catmull(knots: np.ndarray, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    if len(rows) < 3:
        return np.stack([np.interp(at, knots, rows[:, i]) for i in range(rows.shape[1])], 1)
    place = CubicSpline(knots, rows[:, :3], bc_type="natural")(at)
    rest = PchipInterpolator(knots, rows[:, 3:])(at) if rows.shape[1] > 3 else np.zeros((len(at), 0))
    return np.concatenate([place, rest], 1)


def resampled(line: np.ndarray, n: int) -> np.ndarray:
    """n points evenly along the rows of a line."""
    at, old = np.linspace(0, 1, n), np.linspace(0, 1, len(line))
    return np.stack([np.interp(at, old, line[:, i]) for i in range(line.shape[1])], 1)


def thin_cover(radius: np.ndarray, voxel: float) -> np.ndarray:
    """Makes a soft-edged tube hold its true cross-section, however thin it is against the voxel."""
    w = np.float32(voxel)
    thin = 3 * w * radius**2 / (radius + w / 2) ** 3
    thick = radius**2 / (radius**2 + w * w / 12)
    return np.where(radius < w / 2, thin, thick).astype(np.float32)


def rotation(rx: float = 0.0, ry: float = 0.0, rz: float = 0.0) -> np.ndarray:
    """Rows are the axes of a frame turned by degrees about x, then y, then z."""
    cx, cy, cz = np.cos(np.deg2rad([rx, ry, rz]))
    sx, sy, sz = np.sin(np.deg2rad([rx, ry, rz]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).T


class Cloud:
    """Union of many balls along curves or over sheets: tubes, plates, vessel trees, bowel.

    Each ball has a radius and a tag; a tube may be flat: then `normal` is its thin direction and `flat` how many
    times wider than thick it is.
    """

    def __init__(self, parts) -> None:
        rows = [np.atleast_2d(np.asarray(part, float)) for part in parts]
        self.tag = np.concatenate([np.full(len(r), i) for i, r in enumerate(rows)])
        self.along = np.concatenate([_lengths(r) for r in rows])
        every = np.concatenate([r[:, :4] for r in rows])
        self.points, self.radii = every[:, :3], every[:, 3].astype(np.float32)
        self.tree = cKDTree(self.points)

    def bounds(self, margin: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
        reach = self.radii[:, None] + margin
        return (self.points - reach).min(0), (self.points + reach).max(0)

    def nearest(self, p: Points, reach: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the union and index of the nearest ball's centre; FAR beyond `reach` of the surface."""
        shape = p.x.shape
        limit = float(self.radii.max()) + reach
        near = self._near(p, limit)
        d = np.full(shape, FAR, np.float32)
        index = np.zeros(shape, np.int32)
        if near.any():
            q = np.stack([p.x[near], p.y[near], p.z[near]], -1)
            distance, i = self.tree.query(q, distance_upper_bound=limit)
            found = np.minimum(i, len(self.radii) - 1)
            d[near] = np.where(np.isfinite(distance), distance - self.radii[found], FAR)
            index[near] = found
        return d, index

    def distance(self, p: Points, reach: float = 12.0) -> np.ndarray:
        return self.nearest(p, reach)[0]

    def _near(self, p: Points, limit: float) -> np.ndarray:
        """Voxels worth a query: blocks of 4x4x4 whose middle is near enough."""
        if p.x.ndim != 3 or p.x.size < 4096:
            return np.ones(p.x.shape, bool)
        step = 4
        centre = tuple(slice(min(step // 2, n - 1), None, step) for n in p.x.shape)
        x, y, z = (np.ascontiguousarray(v[centre]) for v in (p.x, p.y, p.z))
        size = max(float(np.abs(np.diff(v, axis=a)).max(initial=0)) for v, a in ((x, 2), (y, 1), (z, 0)))
        distance, _ = self.tree.query(np.stack([x, y, z], -1), distance_upper_bound=limit + 0.95 * size)
        mask = np.isfinite(distance)
        for axis in range(3):
            mask = np.repeat(mask, step, axis)
        pad = [(0, max(0, n - m)) for n, m in zip(p.x.shape, mask.shape)]
        return np.pad(mask, pad, mode="edge")[tuple(slice(0, n) for n in p.x.shape)]


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1))])


class Loft:
    """Surface r(angle, z) about a centre line: the outer and inner surfaces of trunk, neck and limbs.

    The angle runs from the front (0) over the left side (90) to the back (180); both sides are alike.
    """

    step_z, step_angle = 4.0, 3.0

    def __init__(self, z, half_width, front, back, exponent=2.3, centre=None, dent=None) -> None:
        """`front` and `back` are y of the surface in the midline; `dent(angle, z)` scales the radius (1 = none)."""
        self.z0, self.z1 = float(z[0]), float(z[-1])
        self.zs = np.arange(self.z0, self.z1 + self.step_z, self.step_z)
        self.angles = np.arange(0, 180 + self.step_angle, self.step_angle)
        inside = np.clip(self.zs, self.z0, self.z1)
        a, f, b = (PchipInterpolator(z, v)(inside) for v in (half_width, front, back))
        n = np.broadcast_to(PchipInterpolator(z, np.broadcast_to(exponent, len(z)))(inside), inside.shape)[:, None]
        self.centre = (f + b) / 2 if centre is None else PchipInterpolator(z, centre)(inside)
        angle = np.deg2rad(self.angles)[None, :]
        depth = np.where(angle < np.pi / 2, (self.centre - f)[:, None], (b - self.centre)[:, None])
        side = np.abs(np.sin(angle) / a[:, None]) ** n + np.abs(np.cos(angle) / depth) ** n
        self.radius = side ** (-1 / n)
        if dent is not None:
            self.radius = self.radius * dent(self.angles[None, :], self.zs[:, None])
        self._tables()

    def _tables(self) -> None:
        slope_z, slope_angle = np.gradient(self.radius, self.step_z, np.deg2rad(self.step_angle))
        self.scale = np.clip((1 + (slope_angle / self.radius) ** 2 + np.clip(slope_z, -2, 2) ** 2) ** -0.5, 0.35, 1)
        self.radius, self.scale = self.radius.astype(np.float32), self.scale.astype(np.float32)

    def polar(self, p: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance from the centre line, the surface's distance there, and the angle in degrees."""
        row = np.clip((p.z - self.z0) / self.step_z, 0, len(self.zs) - 1)
        y = p.y - np.interp(row, np.arange(len(self.zs)), self.centre).astype(np.float32)
        x = np.abs(p.x)
        rho, angle = np.sqrt(x * x + y * y), np.rad2deg(np.arctan2(x, -y)).astype(np.float32)
        surface = map_coordinates(self.radius, [row, angle / self.step_angle], order=1, mode="nearest")
        return rho, surface, angle

    def distance(self, p: Points) -> np.ndarray:
        """Distance to the surface; the ends are left open."""
        rho, surface, angle = self.polar(p)
        row = np.clip((p.z - self.z0) / self.step_z, 0, len(self.zs) - 1)
        return (rho - surface) * map_coordinates(self.scale, [row, angle / self.step_angle], order=1, mode="nearest")

    def closed(self, p: Points, rounding: float = 20.0) -> np.ndarray:
        """Distance with rounded ends."""
        ends = np.maximum(np.float32(self.z0) - p.z, p.z - np.float32(self.z1))
        return smooth_cut(self.distance(p), ends, rounding)

    def surface(self, angle, z, offset=0.0, side=1) -> np.ndarray:
        """Points (..., 3) on the surface, moved outwards by `offset` mm, on the left (side 1) or right (-1)."""
        angle, z, offset = np.broadcast_arrays(
            np.asarray(angle, float), np.asarray(z, float), np.asarray(offset, float)
        )
        row = np.clip((z - self.z0) / self.step_z, 0, len(self.zs) - 1)
        where = [np.ravel(row), np.ravel(np.abs(angle) / self.step_angle)]
        radius = map_coordinates(self.radius.astype(float), where, order=1).reshape(row.shape) + offset
        centre = np.interp(row, np.arange(len(self.zs)), self.centre)
        turn = np.deg2rad(angle)
        return np.stack([side * radius * np.sin(turn), centre - radius * np.cos(turn), z], -1)
