"""Synthetic DICOM series in the manner of three vendors, with known voxels, grid and SUV factor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from petdiffusion.volume import Geometry
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

CLASSES = {"PT": "1.2.840.10008.5.1.4.1.1.128", "CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
PATIENT_NAME, PATIENT_ID = "Secret^Name", "ID-4711"
HALF_LIFE_S, DOSE_BQ, WEIGHT_KG = 6586.2, 370e6, 70.0
FRAME_S = 180.0
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.4711"
"""All series are of one examination."""
PHILIPS_SUV, PHILIPS_BQML = 0.000381, 1.25
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)

Triple = tuple[float, float, float]
Edit = Callable[[Dataset, int], None]
"""Changes the header of slice number k before it is saved."""


@dataclass
class Series:
    """What was written: values as the rescaled pixels give them (z, y, x), along the slice normal."""

    folder: Path
    files: list[Path]
    array: np.ndarray
    geometry: Geometry
    datasets: list[Dataset] = field(default_factory=list)


def grid(shape: tuple[int, int, int] = (6, 20, 24), spacing: Triple = (4.07, 4.07, 3.27),
         origin: Triple = (-40.0, -30.5, 100.25), direction: tuple[float, ...] = OBLIQUE) -> Geometry:
    return Geometry(shape[::-1], spacing, origin, direction)


def activity(shape: tuple[int, int, int], seed: int = 0, highest: float = 20000.0) -> np.ndarray:
    """A warm ellipse with a hot spot and noise, in Bq/ml; one slice is much brighter than the others."""
    y, x = (np.linspace(-1, 1, n) for n in shape[1:])
    body = (y[:, None] ** 2 + x[None, :] ** 2 < 0.8)[None] * np.ones(shape)
    rng = np.random.default_rng(seed)
    values = body * (0.2 + 0.05 * rng.standard_normal(shape))
    values[shape[0] // 2, shape[1] // 2, shape[2] // 2] = 1.0
    return np.clip(values, 0, None) * highest


def pet(folder: Path, vendor: str = "Siemens", *, values: np.ndarray | None = None, geometry: Geometry | None = None,
        units: str = "BQML", edit: Edit | None = None, seed: int = 0) -> Series:
    """A PET of two beds; vendor is Siemens, GE or Philips. Injected at 09:30, scanned from 10:30."""
    geometry = geometry or grid()
    values = activity(geometry.shape, seed) if values is None else values

    def header(ds: Dataset, k: int) -> None:
        _pet_header(ds, units, k >= geometry.size[2] // 2 and geometry.size[2] > 1)
        _VENDORS[vendor](ds, units)
        if edit:
            edit(ds, k)

    return _write(folder, "PT", values, geometry, header, signed=vendor == "GE", per_slice=True)


def ct(folder: Path, *, geometry: Geometry | None = None, edit: Edit | None = None, seed: int = 0) -> Series:
    """A CT with an intercept of -1024 in signed pixels."""
    geometry = geometry or grid()
    rng = np.random.default_rng(seed)
    inside = activity(geometry.shape) > 0
    values = np.where(inside, 40 + 20 * rng.standard_normal(geometry.shape), -1000).round()

    def header(ds: Dataset, k: int) -> None:
        ds.KVP, ds.RescaleType = 120, "HU"
        if edit:
            edit(ds, k)

    return _write(folder, "CT", values, geometry, header, signed=True, per_slice=False, intercept=-1024)


def mr(folder: Path, *, geometry: Geometry | None = None, edit: Edit | None = None) -> Series:
    geometry = geometry or grid()
    values = (activity(geometry.shape) / 20).round()
    return _write(folder, "MR", values, geometry, edit or (lambda ds, k: None), signed=False, per_slice=False)


def _write(folder: Path, modality: str, values: np.ndarray, geometry: Geometry, header: Edit, *, signed: bool,
           per_slice: bool, intercept: float = 0.0) -> Series:
    folder.mkdir(parents=True, exist_ok=True)
    common = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(),
              "FrameOfReferenceUID": FRAME_OF_REFERENCE}
    files, datasets, stored = [], [], np.empty(values.shape, np.float64)
    count = geometry.size[2]
    for k in range(count):
        ds = _common(modality, common, geometry, k)
        peak = float(np.abs(values[k]).max())
        slope = format_number_as_ds(peak / 32767) if per_slice and peak else "1"
        stored[k] = _pixels(ds, values[k], float(slope), intercept, signed)
        ds.RescaleSlope, ds.RescaleIntercept = slope, format_number_as_ds(float(intercept))
        ds.InstanceNumber = count - k  # head first, as scanners number: file order is not spatial order
        header(ds, k)
        file = folder / f"{modality}_{count - k:04d}.dcm"
        ds.save_as(file, enforce_file_format=True)
        files.append(file)
        datasets.append(ds)
    return Series(folder, files, stored, geometry, datasets)


def _common(modality: str, uids: dict[str, str], geometry: Geometry, k: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CLASSES[modality], generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for key, value in uids.items():
        setattr(ds, key, value)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "103000.000000"
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber = modality, f"{modality} test", 4
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT_NAME, PATIENT_ID, "19600101"
    ds.PatientSex, ds.PatientAge, ds.PatientWeight, ds.PatientSize = "F", "064Y", WEIGHT_KG, 1.65
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "1"
    ds.PositionReferenceIndicator, ds.Laterality = "", ""
    matrix = np.reshape(geometry.direction, (3, 3))
    position = np.asarray(geometry.origin) + matrix[:, 2] * geometry.spacing[2] * k
    ds.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in (*matrix[:, 0], *matrix[:, 1])]
    ds.ImagePositionPatient = [format_number_as_ds(float(v)) for v in position]
    ds.PixelSpacing = [geometry.spacing[1], geometry.spacing[0]]
    ds.SliceThickness = geometry.spacing[2]
    return ds


def _pixels(ds: Dataset, plane: np.ndarray, slope: float, intercept: float, signed: bool) -> np.ndarray:
    pixels = np.rint((plane - intercept) / slope).astype("<i2" if signed else "<u2")
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
    ds.PixelData = pixels.tobytes()
    return pixels * slope + intercept


def _pet_header(ds: Dataset, units: str, second_bed: bool) -> None:
    ds.Units, ds.CountsSource, ds.DecayCorrection, ds.SeriesType = units, "EMISSION", "START", ["WHOLE BODY", "IMAGE"]
    ds.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    ds.CollimatorType, ds.RandomsCorrectionMethod = "NONE", "DLYD"
    ds.ActualFrameDuration = int(FRAME_S * 1000)
    began = FRAME_S if second_bed else 0.0
    ds.AcquisitionTime = "103300.000000" if second_bed else "103000.000000"
    ds.FrameReferenceTime = format_number_as_ds((began + FRAME_S / 2) * 1000)
    ds.DecayFactor = format_number_as_ds(2 ** ((began + FRAME_S / 2) / HALF_LIFE_S))
    info = Dataset()
    info.Radiopharmaceutical = "Fluorodeoxyglucose"
    info.RadiopharmaceuticalStartTime = "093000.000000"
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = DOSE_BQ, HALF_LIFE_S
    info.RadionuclidePositronFraction = 0.967
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    info.RadionuclideCodeSequence = [code]
    ds.RadiopharmaceuticalInformationSequence = [info]


def _siemens(ds: Dataset, units: str) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = "SIEMENS", "Biograph Test"


def _ge(ds: Dataset, units: str) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = "GE MEDICAL SYSTEMS", "Discovery Test"
    info = ds.RadiopharmaceuticalInformationSequence[0]
    info.RadiopharmaceuticalStartDateTime = "20240102093000.00"
    block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20240102103000.00")


def _philips(ds: Dataset, units: str) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = "Philips Medical Systems", "Gemini Test"
    mean = FRAME_S / 2 - np.log(2) / HALF_LIFE_S * FRAME_S**2 / 24  # when the mean activity of a frame is passed
    began = FRAME_S if str(ds.AcquisitionTime).startswith("1033") else 0.0
    ds.FrameReferenceTime = format_number_as_ds(float(began + mean) * 1000)
    if units == "CNTS":
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", str(PHILIPS_SUV))
        block.add_new(0x09, "DS", str(PHILIPS_BQML))


_VENDORS = {"Siemens": _siemens, "GE": _ge, "Philips": _philips}
