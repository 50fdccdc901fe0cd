"""From one grid to another: images, label maps, and how much of a grid another covers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, OptionError
from ..filters import FWHM
from ..read import ORGANS
from ..volume import HU, Geometry, LabelMap, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

ORDERS = ("nearest", "linear", "cubic")
AIR_HU = -1024.0
_BOX = 1 / np.sqrt(12.0)
"""SD of a box over its width: the smoothing that stands for the mean over a new voxel."""
FEW_VOXELS = 32_768
"""For so few, to wake ITK's other threads takes ten times as long as the work."""


def resample(volume: Volume, geometry: Geometry, order: str = "linear", fill: float | None = None,
             transform: np.ndarray | None = None) -> Volume:
    """The image on another grid. Where the new voxels are larger it is smoothed first, so nothing aliases.

    `fill` is the value outside the image (air by default); `transform` a 4x4 from points of the new grid to
    points of the image, in LPS millimetres.
    """
    if order not in ORDERS:
        raise OptionError(f"order = {order}", f"must be one of {', '.join(ORDERS)}", "The default is linear.")
    if transform is None and volume.geometry.close_to(geometry):
        return Volume(volume.array, geometry, volume.unit, volume.facts)
    fill = (AIR_HU if volume.unit == HU else 0.0) if fill is None else float(fill)
    source = volume if order == "nearest" else volume.with_array(_smoothed(volume, geometry, transform, 1 / FWHM))
    image = _executed(source.to_sitk(), geometry, order, fill, transform)
    return Volume.from_sitk(image, volume.unit, volume.facts)


def resample_labels(labels: LabelMap, geometry: Geometry) -> LabelMap:
    """Organs on another grid: each voxel takes the structure, or background, that fills most of it.

    On a coarser grid a small structure could vanish: it then keeps the voxel that it fills most. Lesions, whose volumes
    are numbers of their own, are placed by `lesions.place`.
    """
    from scipy.ndimage import find_objects

    check_said(labels, ORGANS, geometry)
    if labels.geometry.close_to(geometry):
        return LabelMap(labels.array, geometry, labels.names)
    winner = np.zeros(geometry.shape, np.int16)
    most, filled = np.zeros(geometry.shape, np.float32), np.zeros(geometry.shape, np.float32)
    peaks: dict[int, tuple[int, ...]] = {}
    for value, box in enumerate(find_objects(labels.array), start=1):
        window = box and reach(box, labels.geometry, geometry)
        if not window:
            continue
        part = part_filled(labels, value, box, cropped(geometry, window))
        filled[window] += part
        better = part > most[window]
        winner[window][better], most[window][better] = value, part[better]
        if part.max() > 1e-3:
            peaks[value] = tuple(int(p) + w.start for p, w in zip(np.unravel_index(part.argmax(), part.shape), window))
    winner[most < 1.0 - filled] = 0
    _rescue(winner, peaks)
    return LabelMap(winner, geometry, labels.names)


def check_said(mask: LabelMap, name: str, image: Geometry) -> None:
    """A mask with the image's voxels and no position was drawn on the image, and lies where a library put it."""
    if not mask.says_place and mask.geometry.size == image.size and not mask.geometry.close_to(image):
        raise GeometryError(f"The {name}", "has as many voxels as the PET, but its header says no position in the "
                            "patient: it would lie elsewhere, with left and right swapped as likely as not",
                            "Save it with the position of the image it was drawn on: as NIfTI with an sform, as NRRD, "
                            "MHA or DICOM SEG.")


def _rescue(winner: np.ndarray, peaks: dict[int, tuple[int, ...]]) -> None:
    counts = np.bincount(winner.ravel(), minlength=max(peaks, default=0) + 1)
    for value, voxel in peaks.items():
        holder = winner[voxel]
        if counts[value] == 0 and (holder == 0 or counts[holder] > 1):
            winner[voxel] = value
            counts[holder] -= 1
            counts[value] = 1


def overlap(a: Geometry, b: Geometry, transform: np.ndarray | None = None) -> float:
    """Part of b's extent (0 to 1) that lies inside a."""
    return float(np.mean(covered(a, _points(b), transform)))


def covered(a: Geometry, points: np.ndarray, transform: np.ndarray | None = None) -> np.ndarray:
    """For each point (n x 3, LPS mm): does it lie inside the voxels of a?"""
    matrix = np.linalg.inv(a.affine) @ (np.eye(4) if transform is None else np.asarray(transform, float))
    index = points @ matrix[:3, :3].T + matrix[:3, 3]
    return np.all((index > -0.5 - 1e-6) & (index < np.asarray(a.size) - 0.5 + 1e-6), axis=1)


def seen(source: Geometry, target: Geometry) -> np.ndarray:
    """Which voxels of the target's grid the source shows at least half of. One whose centre lies on the source's edge
    counts at the low end alone, so that of two images end to end only one shows it."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    x, y = np.arange(target.size[0]), np.arange(target.size[1])[:, None]
    within = np.ones(target.shape, bool)
    for row, size in zip(matrix, source.size):
        first = row[0] * x + row[1] * y + row[3] + 0.5 + 1e-6
        for z, plane in enumerate(within):
            index = first + row[2] * z
            plane &= (index >= 0) & (index < size)
    return within


def coarser(geometry: Geometry, spacing_mm: float) -> Geometry:
    """The same extent with voxels of at least this size along each axis."""
    size = [max(1, int(np.floor(n * s / max(s, spacing_mm)))) for n, s in zip(geometry.size, geometry.spacing)]
    spacing = [n * s / m for n, s, m in zip(geometry.size, geometry.spacing, size)]
    first = np.array([[(n / m - 1) / 2 for n, m in zip(geometry.size, size)][::-1]])
    return Geometry(tuple(size), tuple(spacing), tuple(world_points(first, geometry)[0]), geometry.direction)


def moved(geometry: Geometry, matrix: np.ndarray) -> Geometry:
    """The grid of an image after a rigid movement. The 4x4 goes the other way, as registration gives it: from points of
    the new place to points of the image."""
    return Geometry.from_affine(geometry.size, np.linalg.inv(np.asarray(matrix, float)) @ geometry.affine)


def world_points(index_zyx: np.ndarray, geometry: Geometry) -> np.ndarray:
    """LPS millimetres of array indices (n x 3 in z, y, x)."""
    return np.asarray(index_zyx, float)[:, ::-1] @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]


def _points(geometry: Geometry, per_axis: int = 32) -> np.ndarray:
    """Evenly spread points that stand for equal parts of the grid's extent."""
    axes = [(np.arange(per_axis) + 0.5) / per_axis * n - 0.5 for n in geometry.shape]
    return world_points(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), geometry)


def _smoothed(volume: Volume, geometry: Geometry, transform: np.ndarray | None, sigma_per_mm: float) -> np.ndarray:
    """Gaussian whose width makes up the difference between the old voxel and the new one along each old axis."""
    from scipy.ndimage import gaussian_filter

    rotation = np.eye(3) if transform is None else np.asarray(transform, float)[:3, :3]
    old = np.reshape(volume.geometry.direction, (3, 3))
    new = np.reshape(geometry.direction, (3, 3)) * np.asarray(geometry.spacing)
    width = np.linalg.norm(old.T @ rotation @ new, axis=1)
    own = np.asarray(volume.geometry.spacing)
    sigma = np.sqrt(np.maximum(width ** 2 - own ** 2, 0.0)) * sigma_per_mm / own
    sigma = np.where((sigma > 0.05) & (np.asarray(volume.geometry.size) > 1), sigma, 0.0)[::-1]
    return gaussian_filter(volume.array, sigma, mode="nearest") if np.any(sigma) else volume.array


def _executed(image: sitk.Image, geometry: Geometry, order: str, fill: float,
              transform: np.ndarray | None) -> sitk.Image:
    import SimpleITK as sitk

    kinds = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline}
    chosen = sitk.Transform(3, sitk.sitkIdentity) if transform is None else sitk_transform(transform)
    if order == "cubic" and min(image.GetSize()) < 4:
        order = "linear"  # a cubic spline needs four samples along each axis
    resampler = sitk.ResampleImageFilter()
    if math.prod(geometry.size) < FEW_VOXELS:
        resampler.SetNumberOfWorkUnits(1)
    resampler.SetOutputOrigin(geometry.origin)
    resampler.SetOutputSpacing(geometry.spacing)
    resampler.SetOutputDirection(geometry.direction)
    resampler.SetSize(geometry.size)
    resampler.SetTransform(chosen)
    resampler.SetInterpolator(kinds[order])
    resampler.SetDefaultPixelValue(fill)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return resampler.Execute(image)


def sitk_transform(matrix: np.ndarray) -> sitk.AffineTransform:
    """SimpleITK's affine transform of a 4x4 matrix."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.asarray(matrix, float)[:3, :3].ravel().tolist())
    transform.SetTranslation(np.asarray(matrix, float)[:3, 3].tolist())
    return transform


def cropped(geometry: Geometry, window: tuple[slice, ...]) -> Geometry:
    """The window's part of a grid."""
    start = np.array([[w.start for w in window]])
    size = tuple(w.stop - w.start for w in window)[::-1]
    return Geometry(size, geometry.spacing, tuple(world_points(start, geometry)[0]), geometry.direction)


def reach(box: tuple[slice, ...], source: Geometry, target: Geometry) -> tuple[slice, ...] | None:
    """Part of the target grid that a box of the source grid can touch; None where it lies outside."""
    corners = np.array([[(b.start - 1, b.stop)[i] for b, i in zip(box, pick)] for pick in np.ndindex(2, 2, 2)])
    matrix = np.linalg.inv(target.affine)
    index = (world_points(corners, source) @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1]
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, target.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high)) if np.all(high > low) else None


def part_filled(labels: LabelMap, value: int, box: tuple[slice, ...], target: Geometry) -> np.ndarray:
    """How much of each new voxel the structure fills. The crop keeps room for the smoothing and is edge-true."""
    wide = tuple(slice(max(0, b.start - 12), min(n, b.stop + 12)) for b, n in zip(box, labels.array.shape))
    indicator = Volume((labels.array[wide] == value).astype(np.float32), cropped(labels.geometry, wide))
    evened = indicator.with_array(_smoothed(indicator, target, None, _BOX))
    image = _executed(evened.to_sitk(), target, "linear", 0.0, np.eye(4))
    return Volume.from_sitk(image).array
