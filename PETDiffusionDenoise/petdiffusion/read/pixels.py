"""Pixel data of a DICOM series as one float array, each slice with its own rescale slope."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, UnitError
from ..suv import header
from ..volume import Geometry
from .enhanced import PIXELS
from .itk_names import itk_name
from .series import file_name

if TYPE_CHECKING:
    from pydicom import Dataset

_AGAIN = "It may be damaged or incomplete: copy or export it again."


def stack(series: Sequence[Dataset], geometry: Geometry, needs_rescale: bool) -> np.ndarray:
    """Rescaled values (z, y, x)."""
    array = np.empty(geometry.shape, np.float32)
    for index, ds in enumerate(series):
        slope, intercept = _rescale(ds, needs_rescale)
        array[index] = _plane(ds, slope, intercept, geometry.shape[1:])
    return array


def _rescale(ds: Dataset, needed: bool) -> tuple[float, float]:
    slope, intercept = header.number(ds, "RescaleSlope"), header.number(ds, "RescaleIntercept")
    if needed and slope is None:
        raise UnitError(f"File {file_name(ds)}", "has no rescale slope (0028,1053), so its values have no unit",
                        "Export the series again.")
    if intercept is None and header.text(ds, "Modality").upper() == "CT":
        raise UnitError(f"File {file_name(ds)}", "has no rescale intercept (0028,1052), so its values are not in HU",
                        "Export the series again.")
    if slope is not None and slope < 0:
        raise UnitError(f"File {file_name(ds)}: rescale slope {slope:g}", "is negative", "Export the series again.")
    return 1.0 if slope is None else slope, intercept or 0.0


def _plane(ds: Dataset, slope: float, intercept: float, shape: tuple[int, ...]) -> np.ndarray:
    stored, done = _decode(ds)
    if stored.shape != shape:
        raise InputError(f"File {file_name(ds)}", f"has pixels of shape {stored.shape} instead of {shape}", _AGAIN)
    if slope == 0 and stored.any():
        raise UnitError(f"File {file_name(ds)}", "has a rescale slope of 0 but pixels that are not",
                        "Export the series again.")
    return stored if done else stored * slope + intercept


def _decode(ds: Dataset) -> tuple[np.ndarray, bool]:
    """The stored pixels, and whether they are rescaled already (as GDCM gives them)."""
    if not any(keyword in ds for keyword in PIXELS):
        raise InputError(f"File {file_name(ds)}", "holds no pixels, or is cut off", _AGAIN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(ds.pixel_array), False
    except Exception as error:
        syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_compressed:
            is_file = Path(ds.filename).is_file()
            return (_by_gdcm if is_file else _frame_by_gdcm)(ds, syntax.name, error), is_file
        raise InputError(f"File {file_name(ds)}", f"has unreadable pixels ({_short(error)})", _AGAIN) from error


_DECODED_BY = ("SOPClassUID", "SOPInstanceUID", "Modality", "Rows", "Columns", "SamplesPerPixel",
               "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
               "PixelData")  # fmt: skip


def _frame_by_gdcm(ds: Dataset, syntax: str, first: Exception) -> np.ndarray:
    """One frame of an enhanced object, as a file of its own that knows of no rescaling."""
    from pydicom import FileDataset

    made = FileDataset("", {}, file_meta=copy(ds.file_meta), preamble=b"\0" * 128)
    for keyword in _DECODED_BY:
        if keyword in ds:
            made.add(copy(ds[keyword]))
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made["PixelData"].is_undefined_length = True
    with TemporaryDirectory(prefix="petdiffusion-") as folder:
        made.filename = str(Path(folder) / file_name(ds))
        made.save_as(made.filename, enforce_file_format=True)
        return _by_gdcm(made, syntax, first)


def _by_gdcm(ds: Dataset, syntax: str, first: Exception) -> np.ndarray:
    """JPEG and JPEG 2000 need codecs that pydicom lacks; ITK brings them."""
    import SimpleITK as sitk

    from .files import quiet_itk

    try:
        with quiet_itk(), itk_name(Path(ds.filename)) as itks:
            image = sitk.ReadImage(itks, imageIO="GDCMImageIO")
        return sitk.GetArrayFromImage(image)[0]
    except Exception as error:
        raise InputError(f"File {file_name(ds)}", f"is compressed as '{syntax}', which cannot be decoded "
                         f"({_short(first)})", "Export the series uncompressed.") from error


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
