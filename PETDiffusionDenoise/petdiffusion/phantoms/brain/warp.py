"""How one head differs from the MNI head: size, pose and a smooth random deformation that never folds.

The map runs backwards, from a place in this head to the place in MNI space that is found there. Lattices are fixed in
millimetres, so the same seed is the same head at every voxel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..deform import SmoothField
from .person import Person
from .shapes import Chain, Points, Union, inside
from .template import LATERAL_VENTRICLE, TEMPORAL_HORN, THIRD_VENTRICLE, Field, Template, spread

LOW, HIGH = np.array((-116.0, -140.0, -192.0)), np.array((116.0, 132.0, 132.0))
"""Box of the lattice (mm, RAS around the middle of the head)."""
STEP = 4.0
CENTRE = np.array((0.0, -16.0, 5.0))
"""MNI place of the middle of the head."""
SCALES = ((75.0, 2.8, 2.8), (42.0, 0.8, 1.4), (22.0, 0.25, 0.85), (14.0, 0.1, 0.6))
"""Knot distance of a random velocity, its SD outside and inside the brain (mm)."""
SYMMETRIC = 0.8
"""Share of the velocity's variance that both halves of a head have in common."""


@dataclass(frozen=True)
class Warp:
    """Backward map: head (mm, RAS) to MNI (mm)."""

    shift: np.ndarray
    """Displacement (3, z, y, x) on the lattice, in the head's axes."""
    matrix: np.ndarray

    def on(self, axes: Sequence[np.ndarray]) -> np.ndarray:
        """MNI places (3, z, y, x) of the grid that three axes (x, y, z) of the head span."""
        moved = [g + _along_axes(s, axes) for g, s in zip(spread(axes), self.shift)]
        return np.stack([sum(np.float32(m) * q for m, q in zip(row, moved)) + np.float32(c)
                         for row, c in zip(self.matrix, CENTRE)]).astype(np.float32)

    def to_head(self, place: Sequence[float]) -> np.ndarray:
        """Where in this head (mm) an MNI place is found, to within about a millimetre."""
        target = np.linalg.solve(self.matrix, np.asarray(place, float) - CENTRE)
        here = target.copy()
        for _ in range(12):
            axes = [np.array([v], np.float32) for v in here]
            here = target - np.array([_along_axes(s, axes)[0, 0, 0] for s in self.shift])
        return here


def _along_axes(values: np.ndarray, axes: Sequence[np.ndarray]) -> np.ndarray:
    """A lattice (z, y, x) read on an aligned grid, linearly along one axis after the other."""
    for axis, i in ((2, 0), (1, 1), (0, 2)):
        weights = _weights(axes[i], LOW[i], values.shape[axis])
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def _weights(places: np.ndarray, low: float, count: int) -> np.ndarray:
    index = np.clip((np.asarray(places) - low) / STEP, 0, count - 1.001)
    below = index.astype(int)
    weights = np.zeros((len(places), count), np.float32)
    rows = np.arange(len(places))
    weights[rows, below] = 1 - (index - below)
    weights[rows, below + 1] = index - below
    return weights


def lattice_axes() -> list[np.ndarray]:
    return [np.arange(low, high + STEP / 2, STEP).astype(np.float32) for low, high in zip(LOW, HIGH)]


def warp(rng: np.random.Generator, person: Person, maps: Template) -> Warp:
    """Random smooth velocities, integrated by scaling and squaring, so that nothing folds."""
    axes = lattice_axes()
    still = Warp(np.zeros((3, *(len(a) for a in axes[::-1])), np.float32), (person.rotation / person.scale).T)
    places = still.on(axes)
    brain = inside(maps.hull.at(places), 16.0)
    velocity = sum((out + (within - out) * brain) * _random_velocity(rng, knot, axes) for knot, out, within in SCALES)
    velocity += _towards_ventricles(person, maps, places)
    return Warp(_integrate(velocity), still.matrix)


def _random_velocity(rng: np.random.Generator, knot: float, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Unit SD; partly the mirror image of itself, as left and right of a head resemble each other."""
    one, other = (np.stack([SmoothField(rng, knot, 24).on_axes(*axes) for _ in range(3)]) for _ in range(2))
    mirrored = one[..., ::-1] * np.array((-1, 1, 1), np.float32)[:, None, None, None]
    return np.float32(np.sqrt(SYMMETRIC / 2)) * (one + mirrored) + np.float32(np.sqrt(1 - SYMMETRIC)) * other


def _towards_ventricles(person: Person, maps: Template, places: Points) -> np.ndarray:
    """Velocity of the backward map that moves the ventricles' walls outwards and dies away within 15 mm of them."""
    axis = Union(Chain(LATERAL_VENTRICLE, mirrored=True), Chain(TEMPORAL_HORN, mirrored=True), Chain(THIRD_VENTRICLE))
    around = np.exp(-np.square(np.maximum(maps.ventricle.at(places), 0) / 9.0)) * (axis(places) < 14)
    smooth = ndimage.gaussian_filter(maps.ventricle.values, 1.0)
    slopes = [Field(g, maps.ventricle.origin, maps.ventricle.step).at(places) for g in np.gradient(smooth)[::-1]]
    outwards = np.stack([sum(person.rotation[i, j] * slopes[j] for j in range(3)) for i in range(3)])
    return np.stack([ndimage.gaussian_filter(o, 0.7) for o in -1.6 * person.ventricle_mm * around * outwards])


def _integrate(velocity: np.ndarray, squarings: int = 5) -> np.ndarray:
    """Displacement (mm) after unit time along a velocity (3, z, y, x) whose components are x, y, z in mm."""
    shift = velocity / (STEP * 2**squarings)
    index = np.indices(velocity.shape[1:], dtype=np.float32)
    for _ in range(squarings):
        there = index + shift[::-1]
        shift = shift + np.stack([ndimage.map_coordinates(s, there, order=1, mode="nearest") for s in shift])
    return (shift * STEP).astype(np.float32)
