"""Masks as DICOM SEG and their numbers as a structured report (TID 1500), beside the PET series they were found on.

Every lesion and every organ is a segment of its own; the report's groups point at them. Both are marked as made by an
algorithm, for research, and not verified by anyone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import DependencyError, GeometryError, InputError
from ..packages import to_install
from ..suv import header
from ..volume import LabelMap
from .dicom_pet import RESEARCH, SERIES_NUMBER_STEP
from .staging import Staging, writing

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom import Dataset

    from ..progress import Run

ORGANS, LESIONS, REPORT = "organs.dcm", "lesions.dcm", "measurements.dcm"
LESION = ("52988006", "SCT", "Lesion")
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_ALTERED = ("49755003", "SCT", "Morphologically Altered Structure")
_STRUCTURE = ("91723000", "SCT", "Anatomical structure")
_TERMS = {
    "liver": ("10200004", "SCT", "Liver"),
    "lung": ("39607008", "SCT", "Lung"),
    "bone": ("272673000", "SCT", "Bone"),
    "muscle": ("127954009", "SCT", "Skeletal muscle"),
    "kidney": ("64033007", "SCT", "Kidney"),
    "spleen": ("78961009", "SCT", "Spleen"),
    "aorta": ("15825003", "SCT", "Aorta"),
}
"""Others are 'anatomical structure' by code and carry their name in the label."""
_SUV = ("126401", "DCM", "SUVbw")
_MEAN, _MAXIMUM = ("373098007", "SCT", "Mean"), ("56851009", "SCT", "Maximum")
_PEAK = ("126031", "DCM", "Peak Value Within ROI")
_SUV_UNIT, _ML, _G = ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"), ("ml", "UCUM", "ml"), (
    "g", "UCUM", "g")  # fmt: skip
_NUMBERS = {
    "volume_ml": (("118565006", "SCT", "Volume"), _ML, None),
    "SUVmean": (_SUV, _SUV_UNIT, _MEAN),
    "SUVmax": (_SUV, _SUV_UNIT, _MAXIMUM),
    "SUVpeak": (_SUV, _SUV_UNIT, _PEAK),
    "TLG": (("126033", "DCM", "Total Lesion Glycolysis"), _G, None),
}
"""Of a row of the clinical table: its concept, unit and derivation."""
_TIES = ("StudyInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
                 "StudyDate", "StudyTime", "ReferringPhysicianName")  # fmt: skip
_SEXES = ("M", "F", "O")
_UTF_8 = "ISO_IR 192"
"""Holds names of every script, and the labels beside them; an original's character set need not hold the labels."""


def write(organs: LabelMap | None, lesions: LabelMap | None, rows: Sequence[Mapping[str, Any]],
          folder: str | os.PathLike[str], original: str | os.PathLike[str], made_by: str, *, overwrite: bool = False,
          run: Run | None = None) -> list[Path]:  # fmt: skip
    """SEG files of the masks that hold something, and the report on the clinical `rows`, if any; their paths."""
    _require()
    templates = _templates(organs if organs is not None else lesions, Path(original), run)
    number = int(templates[0].get("SeriesNumber") or 0) + SERIES_NUMBER_STEP
    masks = {name: mask for name, mask in ((ORGANS, organs), (LESIONS, lesions)) if mask is not None and mask.present()}
    with Staging(folder, protect=[original], overwrite=overwrite) as temporary:
        made = {}
        for step, (name, mask) in enumerate(masks.items(), 1):
            made[name] = _segmentation(mask, templates, number + step, name == LESIONS, made_by)
        groups = [group for row in rows if (group := _group(row, made)) is not None]
        report = {REPORT: _report(groups, made, templates, number + 9, made_by)} if groups else {}
        for name, ds in {**made, **report}.items():
            with writing(Path(folder) / name):
                ds.save_as(temporary / name)
    return [Path(folder) / name for name in (*made, *report)]


def _require() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise DependencyError("highdicom", "is not installed", to_install("highdicom")) from None


def _templates(mask: LabelMap, original: Path, run: Run | None) -> list[Dataset]:
    """The original's headers in the order of the mask's slices, with all that highdicom asks of them."""
    from ..read import enhanced, series, slices

    templates, geometry = slices.arrange(series.load(series.find(original, "pet"), pixels=False), run)
    if not geometry.close_to(mask.geometry, tolerance_mm=0.01):
        raise GeometryError("The masks", "do not lie on the grid of the original", "Give the series they were made on.")
    if enhanced.SOURCE in templates[0]:
        raise InputError("The original", "is an enhanced (multi-frame) PET, to whose frames masks cannot be tied yet",
                         "Take the masks as NIfTI.")
    for ds in templates:
        _complete(ds, geometry.spacing[2])
    return templates


def _complete(ds: Dataset, slice_mm: float) -> None:
    """What highdicom wants of a header and anonymised ones lack: left empty where DICOM allows it."""
    from pydicom.valuerep import format_number_as_ds

    for keyword in _TIES:
        if not header.text(ds, keyword):
            raise InputError(f"The original's {keyword}", "is missing, so no mask can be tied to it",
                             "Export the series with it, or take the masks as NIfTI.")  # fmt: skip
    for keyword in _MAY_BE_EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, "")
    if ds.PatientSex not in _SEXES:
        ds.PatientSex = ""
    if not header.number(ds, "SliceThickness"):
        ds.SliceThickness = format_number_as_ds(slice_mm)


def _concept(code: tuple[str, str, str]) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def term(name: str, lesion: bool) -> tuple[str, str, str]:
    return LESION if lesion else _TERMS.get(name, _STRUCTURE)


def _segmentation(mask: LabelMap, templates: Sequence[Dataset], number: int, lesions: bool,
                  made_by: str) -> Segmentation:  # fmt: skip
    import highdicom as hd

    present = mask.present()
    lookup = np.zeros(max(present) + 1, np.uint16)
    lookup[list(present)] = np.arange(1, len(present) + 1)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=made_by[:64], version=__version__, family=_concept(("123110", "DCM", "Artificial Intelligence"))
    )
    described = [
        hd.seg.SegmentDescription(
            segment_number=place,
            segment_label=name[:64],
            segmented_property_category=_concept(_ALTERED if lesions else _ANATOMY),
            segmented_property_type=_concept(term(name, lesions)),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=hd.UID(),
            tracking_id=name[:64],
        )
        for place, name in enumerate(present.values(), 1)
    ]
    return hd.seg.Segmentation(
        source_images=templates,
        pixel_array=lookup[mask.array],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description=f"{'Lesions' if lesions else 'Organs'} ({RESEARCH})",
        content_label="LESIONS" if lesions else "ORGANS",
        specific_character_set=_UTF_8,
        **_device(),
    )


def _device() -> dict[str, Any]:
    return {"manufacturer": "PETDiffusion", "manufacturer_model_name": "PETDiffusion", "software_versions": __version__,
            "device_serial_number": "0"}  # fmt: skip


def _report(groups: Sequence[Any], made: Mapping[str, Segmentation], templates: Sequence[Dataset], number: int,
            made_by: str) -> Dataset:  # fmt: skip
    import highdicom as hd

    observer = hd.sr.ObserverContext(
        observer_type=_concept(("121007", "DCM", "Device")),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=f"PETDiffusion, {made_by}, {RESEARCH}"[:64]
        ),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_concept(("44139-4", "LN", "PET whole body")),
        imaging_measurements=groups,
        title=_concept(("126000", "DCM", "Imaging Measurement Report")),
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[*templates, *made.values()],
        content=report,
        series_instance_uid=hd.UID(),
        series_number=number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        is_complete=True,
        is_verified=False,
        manufacturer="PETDiffusion",
        specific_character_set=_UTF_8,
        series_description=f"Measurements ({RESEARCH})",
    )


def _group(row: Mapping[str, Any], made: Mapping[str, Segmentation]) -> Any:
    """A row's numbers, with the segment they belong to and under its tracking UID; totals belong to none."""
    import highdicom as hd

    lesion = row["what"] != "organ"
    shared = {
        "finding_type": _concept(term(row["name"], lesion)),
        "measurements": [_measured(key, row[key]) for key in _NUMBERS if row.get(key) is not None],
    }
    if row["what"] == "total":
        tracked = hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=row["name"])
        return hd.sr.MeasurementsAndQualitativeEvaluations(tracking_identifier=tracked, **shared)
    segmentation = made.get(LESIONS if lesion else ORGANS)
    segment = None if segmentation is None else _segment(segmentation, row["name"])
    if segment is None:
        return None
    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    referenced = hd.sr.ReferencedSegment(segmentation.SOPClassUID, segmentation.SOPInstanceUID,
                                         int(segment.SegmentNumber),
                                         source_series=hd.sr.SourceSeriesForSegmentation(series))  # fmt: skip
    tracked = hd.sr.TrackingIdentifier(uid=hd.UID(segment.TrackingUID), identifier=segment.TrackingID)
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=referenced, tracking_identifier=tracked, **shared
    )


def _segment(segmentation: Segmentation, name: str) -> Dataset | None:
    return next((s for s in segmentation.SegmentSequence if s.SegmentLabel == name[:64]), None)


def _measured(key: str, value: float) -> Any:
    import highdicom as hd

    name, unit, derivation = _NUMBERS[key]
    return hd.sr.Measurement(_concept(name), float(value), _concept(unit),
                             derivation=None if derivation is None else _concept(derivation))  # fmt: skip
