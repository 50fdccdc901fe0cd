"""Puts the slices of a series in order and works out their grid; refuses what is not one regular volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GeometryError, InputError
from ..suv import header
from ..volume import Geometry
from ..wording import counted
from . import enhanced
from .series import file_name, names

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

AXES_TOLERANCE = 1e-2
REGULAR = 0.1
"""Slices may lie off a regular grid by this part of their spacing (headers are often rounded)."""
SAME_PLACE_MM = 0.01
_AGAIN = "Copy or export the whole series again."
SEVERAL = ("Give it to `petdiffusion dynamic`, which denoises every frame, or make one image of some: `petdiffusion "
           "convert … --frames 10-24`.")  # fmt: skip
ONE = "Export one of them by itself, or convert it to NIfTI."


def arrange(series: Sequence[Dataset], run: Run | None = None) -> tuple[list[Dataset], Geometry]:
    """Slices along the normal of the slice plane, and the grid they make."""
    check_images(series)
    rows, columns = _same(series, "Rows"), _same(series, "Columns")
    spacing = _same_numbers(series, "PixelSpacing", 2)
    axes = _axes(_same_numbers(series, "ImageOrientationPatient", 6))
    positions = np.array([_numbers(ds, "ImagePositionPatient", 3) for ds in series])
    along = positions @ axes[:, 2]
    order = np.argsort(along, kind="stable")
    series, positions, along = [series[i] for i in order], positions[order], along[order]
    step = _step(series, positions, along, axes[:, 2], min(spacing))
    _tell_incomplete(series, run)
    size = (int(columns), int(rows), len(series))
    return series, Geometry(size, (spacing[1], spacing[0], step), tuple(positions[0]), tuple(axes.ravel()))


def check_images(series: Sequence[Dataset]) -> None:
    for ds in series:
        enhanced.refuse_other(ds, file_name(ds))
        if "Rows" not in ds or "Columns" not in ds:
            raise InputError(f"File {file_name(ds)}", "holds no image, or is cut off", _AGAIN)
        if (header.number(ds, "NumberOfFrames") or 1) > 1:
            raise InputError(f"File {file_name(ds)}", f"holds {int(ds.NumberOfFrames)} frames in one object",
                             "Export single-frame DICOM, or convert it to NIfTI.")
        if (header.number(ds, "SamplesPerPixel") or 1) > 1:
            raise InputError(f"File {file_name(ds)}",
                             f"is a colour picture ({header.text(ds, 'PhotometricInterpretation')})",
                             "Give the original series, not a screen shot.")


def along_normal(series: Sequence[Dataset]) -> np.ndarray:
    """Where each slice lies along the normal of the slice plane, in mm."""
    axes = _axes(_same_numbers(series, "ImageOrientationPatient", 6))
    return np.array([_numbers(ds, "ImagePositionPatient", 3) for ds in series]) @ axes[:, 2]


def _same(series: Sequence[Dataset], keyword: str) -> float:
    found = Counter(header.number(ds, keyword) for ds in series)
    if len(found) > 1 or None in found or min(found) < 1:
        listed = ", ".join(f"{_shown(value)} ({counted(count, 'slice')})" for value, count in found.items())
        raise InputError(f"{keyword} {listed}", "must be one number for the whole series", "Give one series.")
    return next(iter(found))


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(v) for v in ds[keyword].value)
    except Exception:
        values = ()
    if len(values) != count or not np.all(np.isfinite(values)):
        raise GeometryError(f"{keyword} of {file_name(ds)}", "is missing or damaged", "Give the original series.")
    return values


def _same_numbers(series: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...]:
    values = np.array([_numbers(ds, keyword, count) for ds in series])
    apart = np.abs(values - values[0]).max(axis=1)
    if apart.max() > 1e-3:
        other = series[int(apart.argmax())]
        raise InputError(f"{keyword} {values[0].tolist()} and {values[apart.argmax()].tolist()} ({file_name(other)})",
                         "occur in one series", "Give one series of parallel slices.")
    return tuple(values[0])


def _axes(orientation: tuple[float, ...]) -> np.ndarray:
    """Columns: along a row, along a column, across slices. Rounded headers are made orthonormal."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    matrix = np.stack([row, column, np.cross(row, column)], axis=1)
    error = np.abs(matrix.T @ matrix - np.eye(3)).max()
    if error > AXES_TOLERANCE:
        raise GeometryError(f"ImageOrientationPatient {[float(v) for v in orientation]}",
                            "are not two unit vectors at right angles", "Give the original series.")
    if error <= 1e-9:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _step(series: Sequence[Dataset], positions: np.ndarray, along: np.ndarray, normal: np.ndarray,
          pixel_mm: float) -> float:
    """Distance of neighbouring slices."""
    if len(series) == 1:
        return _thickness(series[0])
    gaps = np.diff(along)
    if gaps.min() < SAME_PLACE_MM:
        raise _several_at_one_place(series, along)
    typical = float(np.median(gaps))
    if gaps.max() > 1.5 * typical:
        at = int(gaps.argmax())
        between = f"{file_name(series[at])} and {file_name(series[at + 1])}"
        missing = f"{round(gaps[at] / typical) - 1 or 'part'} missing"
        raise GeometryError(f"A gap of {gaps[at]:.2f} mm between {between}",
                            f"slices are {typical:.2f} mm apart, so {missing}", _AGAIN)
    step = float(along[-1] - along[0]) / (len(series) - 1)
    off = np.abs(along - along[0] - step * np.arange(len(series)))
    if off.max() > REGULAR * step:
        raise GeometryError(f"Slice {file_name(series[int(off.argmax())])}",
                            f"lies {off.max():.2f} mm off a regular spacing of {step:.3f} mm",
                            "Resample the series to equal spacing first.")
    _check_stacked(series, positions, along, normal, pixel_mm)
    return step


def _check_stacked(series: Sequence[Dataset], positions: np.ndarray, along: np.ndarray, normal: np.ndarray,
                   pixel_mm: float) -> None:
    sideways = np.linalg.norm(positions - positions[0] - np.outer(along - along[0], normal), axis=1)
    if sideways.max() > REGULAR * pixel_mm:
        raise GeometryError(f"Slice {file_name(series[int(sideways.argmax())])}",
                            f"is shifted sideways by {sideways.max():.2f} mm (tilted gantry, or slices of two series)",
                            "Resample the series to a straight grid first.")


def _thickness(ds: Dataset) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = header.number(ds, keyword)
        if value and value > 0:
            return value
    raise GeometryError(f"The single slice {file_name(ds)}", "has no thickness (0018,0050)", "Give the whole series.")


def _several_at_one_place(series: Sequence[Dataset], along: np.ndarray) -> InputError:
    """Time frames, gates, or files that were copied together."""
    places = int((np.diff(along) >= SAME_PLACE_MM).sum()) + 1
    first = [ds for ds, where in zip(series, along) if where - along[0] < SAME_PLACE_MM]
    for keyword, kind in (("FrameReferenceTime", "time frames"), ("TriggerTime", "gates"),
                          ("TemporalPositionIdentifier", "time frames"), ("AcquisitionTime", "time frames"),
                          ("EchoTime", "echoes"), ("DiffusionBValue", "b-values"), ("FrameType", "kinds of image"),
                          ("ComplexImageComponent", "parts of complex values")):
        if len({header.text(ds, keyword) for ds in first} - {""}) == len(first):
            is_pet = header.text(first[0], "Modality").upper() == "PT"
            return InputError(f"{len(series)} slices at {counted(places, 'position')}: {len(first)} {kind}",
                              "a single static image is needed", SEVERAL if is_pet else ONE)
    return InputError(f"{len(series)} slices at {counted(places, 'position')} ({names(first)} lie at the same)",
                      "positions occur more than once", "Keep one copy of each slice.")


def _tell_incomplete(series: Sequence[Dataset], run: Run | None) -> None:
    stated = header.number(series[0], "NumberOfSlices")
    if run is not None and stated and stated > len(series):
        run.warn(f"The header says that the series has {counted(int(stated), 'slice')}; {len(series)} "
                 f"{'is' if len(series) == 1 else 'are'} here.")
