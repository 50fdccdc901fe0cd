"""Rigid registration of CT or MR onto the PET; the same input gives the same matrix every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GeometryError
from ..progress import Run
from ..volume import HU, Volume
from .grids import coarser, covered, overlap, resample, world_points

if TYPE_CHECKING:
    import SimpleITK as sitk

LEVELS_MM = (16.0, 8.0, 4.0)
SAMPLES = 60_000
"""Voxels that each level looks at; more costs time, fewer costs accuracy."""
FEWEST_VOXELS = 6
"""Along each axis; a single slice does not tell a rotation out of its plane."""


@dataclass(frozen=True)
class Registration:
    """`volume`: moving on fixed's grid. `matrix`: 4x4 from points of fixed to points of moving, LPS mm.

    `metric` is the mutual information reached (larger is better); `shift_mm` how far fixed's centre moved.
    """

    volume: Volume
    matrix: np.ndarray
    metric: float
    shift_mm: float


def rigid(moving: Volume, fixed: Volume, run: Run | None = None, seed: int = 0) -> Registration:
    """Mattes mutual information over three resolutions, one thread, fixed samples."""
    run = run or Run()
    if min(moving.geometry.size + fixed.geometry.size) < FEWEST_VOXELS:
        raise GeometryError(f"Images of {moving.geometry.size} and {fixed.geometry.size} voxels",
                            f"are too thin to be registered ({FEWEST_VOXELS} voxels along each axis are needed)",
                            "Register the whole scans, or switch registration off.")
    centre = world_points((np.array([fixed.array.shape]) - 1) / 2, fixed.geometry)[0]
    matrix, metric = _start(moving, fixed, centre), np.nan
    with _one_thread():
        for number, level in enumerate(LEVELS_MM):
            run.progress(number / len(LEVELS_MM))
            matrix, metric = _one_level(_prepared(moving, level), _prepared(fixed, level), matrix, centre, level,
                                        run, seed)
    run.progress(1.0)
    moved = matrix[:3, :3] @ centre + matrix[:3, 3] - centre
    return Registration(resample(moving, fixed.geometry, transform=matrix), matrix, -metric,
                        float(np.linalg.norm(moved)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums taken in another order give another last digit, and then another path. The metric inside the
    registration listens only to the global setting."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _start(moving: Volume, fixed: Volume, centre: np.ndarray) -> np.ndarray:
    """Scanner coordinates where the images meet, centre on centre where they do not."""
    matrix = np.eye(4)
    if overlap(moving.geometry, fixed.geometry) < 0.25 and not covered(moving.geometry, centre[None])[0]:
        other = world_points((np.array([moving.array.shape]) - 1) / 2, moving.geometry)[0]
        matrix[:3, 3] = other - centre
    return matrix


def _prepared(volume: Volume, level_mm: float) -> sitk.Image:
    """Smoothed to the level; values bent so that air, tissue and hot spots share the histogram's bins."""
    from scipy.ndimage import gaussian_filter

    array = np.clip(volume.array, -1000, 800) if volume.unit == HU else _evened(volume.array)
    small = resample(volume.with_array(array), coarser(volume.geometry, level_mm / 2))
    sigma = [0.4 * level_mm / s for s in small.geometry.spacing[::-1]]
    return small.with_array(gaussian_filter(small.array, sigma, mode="nearest")).to_sitk()


def _evened(array: np.ndarray) -> np.ndarray:
    top = float(np.percentile(array, 99.5)) or 1.0
    return np.sqrt(np.clip(array / abs(top), 0.0, 1.5))


def _one_level(moving: sitk.Image, fixed: sitk.Image, matrix: np.ndarray, centre: np.ndarray, level_mm: float,
               run: Run, seed: int) -> tuple[np.ndarray, float]:
    import SimpleITK as sitk

    transform = _euler(matrix, centre)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    part = min(1.0, SAMPLES / float(np.prod(fixed.GetSize())))
    method.SetMetricSamplingStrategy(method.RANDOM if part < 1 else method.NONE)
    method.SetMetricSamplingPercentage(part, seed + 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(level_mm / 2, level_mm / 400, 120, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.AddCommand(sitk.sitkIterationEvent, lambda: method.StopRegistration() if run.cancelled.is_set() else None)
    try:
        method.Execute(sitk.Cast(fixed, sitk.sitkFloat32), sitk.Cast(moving, sitk.sitkFloat32))
    except RuntimeError as error:
        run.check()
        raise GeometryError("The images", f"could not be registered ({_last_line(error)})",
                            "Check that both show the same part of the body, or switch registration off.") from None
    run.check()
    return _matrix(transform), float(method.GetMetricValue())


def _last_line(error: Any) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _euler(matrix: np.ndarray, centre: np.ndarray) -> sitk.Euler3DTransform:
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist(), 1e-6)
    transform.SetTranslation((matrix[:3, :3] @ centre + matrix[:3, 3] - centre).tolist())
    return transform


def _matrix(transform: sitk.Euler3DTransform) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.asarray(transform.GetCenter())
    matrix[:3, 3] = np.asarray(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return matrix
