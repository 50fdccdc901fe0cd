"""The MNI152 maps as signed distances in millimetres: smooth, thin-walled and quick to deform.

Distances keep a 2.5 mm cortical ribbon sharp where interpolated probabilities would blur it, and a surface is moved
by adding millimetres. All fields live in MNI space (RAS, mm); negative is inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from ...errors import DependencyError
from ...packages import to_install
from .anatomy import CEREBELLUM, DEEP
from .shapes import Chain, Ellipsoid, Points, Union

MARGIN = 5
"""Voxels kept around the brain."""
LATERAL_VENTRICLE = ((14, 34, 0, 11), (12, 22, 8, 12), (12, 5, 18, 11), (14, -12, 24, 11), (19, -28, 22, 12),
                     (27, -42, 12, 13), (28, -58, 10, 11), (27, -70, 8, 8))
TEMPORAL_HORN = ((30, -42, 2, 10), (35, -30, -8, 7), (35, -18, -17, 7), (32, -8, -22, 6))
THIRD_VENTRICLE = ((0, 2, -8, 5), (0, -8, -6, 7), (0, -20, 6, 8), (0, -27, 2, 5))
FOURTH_VENTRICLE = ((0, -32, -14, 4), (0, -38, -24, 7), (0, -44, -34, 10), (0, -44, -44, 5))


@dataclass(frozen=True)
class Field:
    """Values (z, y, x) on a regular grid of MNI space, read anywhere by linear interpolation (edge values outside)."""

    values: np.ndarray
    origin: tuple[float, float, float]
    """Of the first voxel, (x, y, z) in mm."""
    step: float

    def at(self, points: Points) -> np.ndarray:
        """Values at `points` (x, y, z arrays of one shape) in mm."""
        index = [(points[i] - self.origin[i]) / self.step for i in (2, 1, 0)]
        return ndimage.map_coordinates(self.values, index, output=np.float32, order=1, mode="nearest", prefilter=False)


@dataclass(frozen=True)
class Template:
    """What every brain is made from."""

    white: Field
    """Distance to the white matter's surface."""
    sulcus: Field
    """Distance to the middle of the nearest sulcus; small where the maps show CSF between gyri."""
    ventricle: Field
    hull: Field
    """Distance to the envelope of the brain, known up to 60 mm outside."""
    t1: Field
    """T1 contrast inside the brain, 0 to 1; shows the folia of the cerebellum."""
    cerebellum: Field
    hull_box: Ellipsoid
    """Only its bounds are used: the box that holds the brain."""


@cache
def template() -> Template:
    """Built once a process, in a few seconds."""
    t1, grey, white, origin = _maps()
    inside = t1 > 0
    csf = np.where(inside, np.clip(1 - grey - white, 0, 1), 1).astype(np.float32)
    points = grid_points(t1.shape, origin, 1.0)
    ventricles = _ventricles(csf, points)
    deep = DEEP(points)
    return Template(white=Field(np.minimum(_white_distance(white, inside), deep), origin, 1.0),
                    sulcus=Field(_sulcus_distance(csf, inside), origin, 1.0),
                    ventricle=Field(ventricles, origin, 1.0),
                    hull=_hull(inside, origin),
                    t1=Field(t1, origin, 1.0),
                    cerebellum=Field(CEREBELLUM(points), origin, 1.0),
                    hull_box=_box(t1.shape, origin))


def _box(shape: tuple[int, ...], origin: tuple[float, ...]) -> Ellipsoid:
    half = np.array(shape[::-1]) / 2.0
    return Ellipsoid(tuple(np.asarray(origin) + half), tuple(half))


def grid_points(shape: tuple[int, ...], origin: tuple[float, ...], step: float) -> Points:
    """x, y, z in mm of a grid of `shape` (z, y, x); sparse, they broadcast against each other."""
    return spread([(o + step * np.arange(n)).astype(np.float32) for n, o in zip(shape[::-1], origin)])


def spread(axes: Sequence[np.ndarray]) -> Points:
    """The points (x, y, z) of the (z, y, x) grid that three axes (x, y, z) span, sparse."""
    x, y, z = axes
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _maps() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float, float]]:
    try:
        from nilearn import datasets
    except ImportError as error:
        raise DependencyError("The MNI brain maps", "come with the package nilearn, which is not installed",
                              to_install("nilearn")) from error
    images = [load(resolution=1) for load in (datasets.load_mni152_template, datasets.load_mni152_gm_template,
                                              datasets.load_mni152_wm_template)]
    box = ndimage.find_objects((np.asarray(images[0].dataobj) > 0).astype(np.uint8))[0]
    box = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in box)
    t1, grey, white = (np.ascontiguousarray(np.asarray(image.dataobj[box], dtype=np.float32).T) for image in images)
    return t1, grey, white, tuple(float(o + s.start) for o, s in zip(images[0].affine[:3, 3], box))


def distance(score: np.ndarray, step: float = 1.0) -> np.ndarray:
    """Signed distance (mm) to the surface score = 0, negative where score > 0, sub-voxel close to it."""
    inside = score > 0
    far = ndimage.distance_transform_edt(~inside).astype(np.float32)
    far -= ndimage.distance_transform_edt(inside).astype(np.float32)
    far -= np.sign(far) * np.float32(0.5)
    slope = np.sqrt(sum(np.square(g) for g in np.gradient(score)))
    near = -score / np.maximum(slope, 0.05)
    near_weight = np.clip(1.6 - np.abs(far), 0, 1)
    blended = far + near_weight * (np.clip(near, -1.2, 1.2) - far)
    return ndimage.gaussian_filter(blended, 0.5) * np.float32(step)


def _white_distance(white: np.ndarray, inside: np.ndarray) -> np.ndarray:
    # Averaging 152 people thins the blades of white matter; subtracting the local mean brings them back.
    sharpened = white + 0.9 * (white - ndimage.gaussian_filter(white, 3.5))
    return distance(np.where(inside, sharpened, 0) - np.float32(0.52))


def _sulcus_distance(csf: np.ndarray, inside: np.ndarray) -> np.ndarray:
    # The same for sulci: a ridge of CSF counts even where the average leaves only a tenth of it.
    ridge = csf - ndimage.gaussian_filter(np.where(inside, csf, 0.15), 3.0)
    return distance(np.where(inside, ridge, 0.2) - np.float32(0.07))


def _ventricles(csf: np.ndarray, points: Points) -> np.ndarray:
    near = Union(Chain(LATERAL_VENTRICLE, mirrored=True), Chain(TEMPORAL_HORN, mirrored=True),
                 Chain(THIRD_VENTRICLE), Chain(FOURTH_VENTRICLE))(points) < 0
    return distance(np.where(near, csf, 0) - np.float32(0.45))


def _hull(inside: np.ndarray, origin: tuple[float, float, float], step: int = 2, margin: int = 30) -> Field:
    """Envelope on a coarser grid with a margin for skull and scalp."""
    coarse = np.pad(ndimage.binary_fill_holes(inside), 2 * margin)[::step, ::step, ::step]
    soft = ndimage.gaussian_filter(coarse.astype(np.float32), 1.0)
    return Field(distance(soft - np.float32(0.5), step), tuple(o - 2 * margin for o in origin), float(step))
