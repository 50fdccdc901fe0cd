"""Classic PET series of the factory as enhanced (multi-frame) and legacy converted objects of the same scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ENHANCED, LEGACY = "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1"
UCUM = {"BQML": "Bq/ml", "GML": "{SUVbw}g/ml"}
FLAGS = {"DecayCorrected": "DECY", "AttenuationCorrected": "ATTN", "ScatterCorrected": "SCAT",
         "DeadTimeCorrected": "DTIM", "RandomsCorrected": "RAN", "DetectorNormalizationCorrection": "NORM"}
_OF_ALL = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "StudyDate", "StudyTime", "SeriesDate",
           "SeriesTime", "Modality", "SeriesDescription", "SeriesNumber", "PatientName", "PatientID",
           "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "PatientSize", "AccessionNumber", "StudyID",
           "ReferringPhysicianName", "PositionReferenceIndicator", "Manufacturer", "ManufacturerModelName", "Rows",
           "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
           "PixelRepresentation", "CountsSource", "RandomsCorrectionMethod", "CollimatorType")  # fmt: skip
_CLASSIC = ("Units", "DecayCorrection", "SeriesType", "CorrectedImage", "AcquisitionDate", "AcquisitionTime",
            "ActualFrameDuration", "FrameReferenceTime", "DecayFactor", "RadiopharmaceuticalInformationSequence")
Frame = Callable[[Dataset, int], None]
Whole = Callable[[Dataset], None]


def item(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def mapping(slope: float, unit: str, intercept: float = 0.0) -> Dataset:
    code = item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
    return item(RealWorldValueSlope=slope, RealWorldValueIntercept=intercept, RealWorldValueFirstValueMapped=0,
                RealWorldValueLastValueMapped=32767, LUTLabel="unit", LUTExplanation="unit",
                MeasurementUnitsCodeSequence=[code])  # fmt: skip


def enhanced(slices: Sequence[Dataset], file: Path, edit: Whole | None = None, frame: Frame | None = None,
             places: Sequence[int] | None = None) -> Path:  # fmt: skip
    """`slices` are the factory's datasets, in the order of the frames. `places` are their positions in time."""
    ds = _begun(slices, ENHANCED)
    first = slices[0]
    ds.AcquisitionDateTime = f"{first.AcquisitionDate}{first.AcquisitionTime}"
    ds.DecayCorrectionDateTime = f"{first.SeriesDate}{first.SeriesTime}"
    for keyword, word in FLAGS.items():
        setattr(ds, keyword, "YES" if word in first.CorrectedImage else "NO")
    ds.RadiopharmaceuticalInformationSequence = [_isotope(first.RadiopharmaceuticalInformationSequence[0], first)]
    ds.SharedFunctionalGroupsSequence = [item(
        PixelMeasuresSequence=[item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
        RadiopharmaceuticalUsageSequence=[item(RadiopharmaceuticalAgentNumber=1)],
    )]  # fmt: skip
    ds.PerFrameFunctionalGroupsSequence = []
    for number, one in enumerate(slices):
        content = item(FrameAcquisitionDateTime=f"{one.AcquisitionDate}{one.AcquisitionTime}",
                       FrameAcquisitionDuration=float(one.ActualFrameDuration), StackID="1",
                       TemporalPositionIndex=1 if places is None else places[number])  # fmt: skip
        groups = item(
            FrameContentSequence=[content],
            PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
            PixelValueTransformationSequence=[item(RescaleSlope="1", RescaleIntercept="0", RescaleType="US")],
            RealWorldValueMappingSequence=[mapping(float(one.RescaleSlope), UCUM.get(one.Units, one.Units),
                                                   float(one.RescaleIntercept))],
            PETFrameCorrectionFactorsSequence=[item(DecayFactor=one.DecayFactor)],
        )  # fmt: skip
        if frame is not None:
            frame(groups, number)
        ds.PerFrameFunctionalGroupsSequence.append(groups)
    return _saved(ds, file, edit)


def of_kind(slices: Sequence[Dataset], file: Path, sop_class: str, edit: Whole | None = None,
            frame: Frame | None = None) -> Path:  # fmt: skip
    """A CT or MR, enhanced or legacy converted: what tells where and how bright is in the same groups."""
    ds, first = _begun(slices, sop_class), slices[0]
    ds.SharedFunctionalGroupsSequence = [item(
        PixelMeasuresSequence=[item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
    )]  # fmt: skip
    ds.PerFrameFunctionalGroupsSequence = []
    for number, one in enumerate(slices):
        groups = item(
            FrameContentSequence=[item(StackID="1")],
            PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
            PixelValueTransformationSequence=[item(RescaleSlope=one.RescaleSlope, RescaleType="HU",
                                                   RescaleIntercept=one.RescaleIntercept)],
        )  # fmt: skip
        if frame is not None:
            frame(groups, number)
        ds.PerFrameFunctionalGroupsSequence.append(groups)
    return _saved(ds, file, edit)


def legacy(slices: Sequence[Dataset], file: Path, edit: Whole | None = None) -> Path:
    """As a converter makes it of the slices: what the enhanced object has no place for goes along as it was."""
    ds = _begun(slices, LEGACY)
    first = slices[0]
    shared = [keyword for keyword in _CLASSIC if keyword in first and all(one[keyword].value == first[keyword].value
                                                                          for one in slices)]  # fmt: skip
    ds.SharedFunctionalGroupsSequence = [item(
        PixelMeasuresSequence=[item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
        UnassignedSharedConvertedAttributesSequence=[item(**{k: first[k].value for k in shared})],
    )]  # fmt: skip
    ds.PerFrameFunctionalGroupsSequence = [item(
        PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
        PixelValueTransformationSequence=[item(RescaleSlope=one.RescaleSlope, RescaleIntercept=one.RescaleIntercept,
                                               RescaleType="US")],
        UnassignedPerFrameConvertedAttributesSequence=[item(**{k: one[k].value for k in _CLASSIC
                                                              if k in one and k not in shared})],
    ) for one in slices]  # fmt: skip
    return _saved(ds, file, edit)


def _begun(slices: Sequence[Dataset], sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for keyword in _OF_ALL:
        if keyword in slices[0]:
            setattr(ds, keyword, slices[0][keyword].value)
    ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1
    ds.ContentDate, ds.ContentTime = slices[0].ContentDate, slices[0].ContentTime
    ds.NumberOfFrames = len(slices)
    ds.PixelData = b"".join(one.PixelData for one in slices)
    return ds


def _isotope(classic: Dataset, ds: Dataset) -> Dataset:
    """Of the enhanced object the dose is in MBq, and the injection has a date."""
    dated = f"{ds.SeriesDate}{classic.RadiopharmaceuticalStartTime}"
    return item(RadiopharmaceuticalAgentNumber=1, RadiopharmaceuticalStartDateTime=dated,
                RadionuclideTotalDose=float(classic.RadionuclideTotalDose) / 1e6,
                RadionuclideHalfLife=classic.RadionuclideHalfLife,
                RadionuclidePositronFraction=classic.get("RadionuclidePositronFraction"),
                RadionuclideCodeSequence=classic.get("RadionuclideCodeSequence") or [],
                RadiopharmaceuticalCodeSequence=[item(CodeValue="C-B1031", CodingSchemeDesignator="SRT",
                                                      CodeMeaning="Fluorodeoxyglucose F^18^")])  # fmt: skip


def _saved(ds: FileDataset, file: Path, edit: Whole | None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if edit is not None:
        edit(ds)
    ds.save_as(file, enforce_file_format=True)
    return file


def shuffled(count: int, seed: int = 0) -> list[int]:
    return list(np.random.default_rng(seed).permutation(count))
