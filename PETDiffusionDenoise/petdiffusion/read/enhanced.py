"""Enhanced (multi-frame) PET, CT and MR as the slices of a classic series: one header for each frame, with the classic
attributes.

What the enhanced object says of a frame stands in functional groups, shared by all frames or its own; times are
date-times, corrections are flags, units are those of a Real World Value Mapping, and the dose is in MBq (PS3.3 A.56,
C.8.22). Legacy converted objects (A.70) keep the classic attributes of the slices they were made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InputError, UnitError
from ..suv import header
from ..suv.dicom import half_life_of
from ..suv.factor import DOSE_BQ, ROUNDING_S
from ..wording import counted
from . import enhanced_units

if TYPE_CHECKING:
    from pydicom import Dataset

PET, LEGACY_PET, CLASSIC_PET, CT, LEGACY_CT, CLASSIC_CT, MR, LEGACY_MR, CLASSIC_MR = (
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("130", "128.1", "128", "2.1", "2.2", "2", "4.1", "4.4", "4"))
CLASSIC = {PET: CLASSIC_PET, LEGACY_PET: CLASSIC_PET, CT: CLASSIC_CT, LEGACY_CT: CLASSIC_CT, MR: CLASSIC_MR,
           LEGACY_MR: CLASSIC_MR}  # fmt: skip
SHARED, OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
SOURCE = "ConversionSourceAttributesSequence"
"""Of a header made here: the frame that it is of."""
_GROUPS = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "FrameContentSequence",
           "PixelValueTransformationSequence", "PETFrameCorrectionFactorsSequence", "RadiopharmaceuticalUsageSequence",
           "CardiacSynchronizationSequence", "RespiratorySynchronizationSequence", "CTImageFrameTypeSequence",
           "MRImageFrameTypeSequence", "MREchoSequence", "MRDiffusionSequence",
           "UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")  # fmt: skip
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Where a DICOM file may keep its pixels."""
_OF_ALL = (SHARED, OWN, "NumberOfFrames", *PIXELS, "DimensionOrganizationSequence", "DimensionIndexSequence",
           "DimensionOrganizationType", "ConcatenationUID", "SOPInstanceUIDOfConcatenationSource",
           "ConcatenationFrameOffsetNumber", "InConcatenationNumber", "InConcatenationTotalNumber")  # fmt: skip
"""What a header of one frame cannot say."""
_CORRECTIONS = {"DecayCorrected": "DECY", "AttenuationCorrected": "ATTN", "ScatterCorrected": "SCAT",
                "DeadTimeCorrected": "DTIM", "RandomsCorrected": "RAN", "DetectorNormalizationCorrection": "NORM"}
_TRIGGERS = ("NominalCardiacTriggerDelayTime", "NominalRespiratoryTriggerDelayTime",
             "NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase")  # fmt: skip
"""What tells gates apart, and their order: milliseconds, or where the object has none its share of the cycle."""
_AGAIN = "It may be damaged or incomplete: copy or export it again."


def is_enhanced(ds: Dataset) -> bool:
    return header.text(ds, "SOPClassUID") in CLASSIC


def classic(ds: Dataset, path: str, pixels: bool = False) -> list[Dataset]:
    """The classic headers that a file of any kind stands for; its own if it is no enhanced object."""
    return slices_of(ds, path, pixels) if is_enhanced(ds) else [ds]


def corrections(ds: Dataset) -> list[str]:
    """Corrected image (0028,0051), which a legacy converted object has among what its slices shared."""
    kept = header.item(header.item(ds, SHARED) or ds, "UnassignedSharedConvertedAttributesSequence")
    return header.words(ds, "CorrectedImage") or (header.words(kept, "CorrectedImage") if kept is not None else [])


def slices_of(ds: Dataset, path: str, pixels: bool = True) -> list[Dataset]:
    """A classic header for every frame, with its pixels if they are wanted."""
    own = list(ds.get(OWN) or [])
    count = int(header.number(ds, "NumberOfFrames") or 1)
    if len(own) != count:
        raise InputError(f"File {path}: {counted(count, 'frame')}", f"and {counted(len(own), 'item')} for them", _AGAIN)
    keyword, stored = _stored(ds, count, path) if pixels else ("", [])
    common = _common(ds)
    made = [_header(ds, common, item, number, path) for number, item in enumerate(own, 1)]
    if CLASSIC[header.text(ds, "SOPClassUID")] == CLASSIC_PET:
        kind = _series_type(made)
        for slice_ in made:
            slice_.SeriesType = slice_.get("SeriesType") or [kind, "IMAGE"]
    for slice_, frame in zip(made, stored):
        slice_.add_new(keyword, ds[keyword].VR, frame)
        slice_.file_meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    return made


def _stored(ds: Dataset, count: int, path: str) -> tuple[str, list[bytes]]:
    """Where the pixels stand, and those of each frame as they are stored, also if they are compressed."""
    from pydicom.encaps import encapsulate, generate_frames

    keyword = next((name for name in PIXELS if name in ds), None)
    if keyword is None:
        raise InputError(f"File {path}", "holds no pixels, or is cut off", _AGAIN)
    data = ds[keyword].value
    try:
        if ds.file_meta.TransferSyntaxUID.is_compressed:
            frames = [encapsulate([frame]) for frame in generate_frames(data, number_of_frames=count)]
        else:
            size = int(ds.Rows) * int(ds.Columns) * int(ds.BitsAllocated) // 8
            frames = [data[k * size : (k + 1) * size] for k in range(count) if len(data) >= (k + 1) * size > 0]
    except Exception as error:
        raise InputError(f"File {path}", f"has unreadable pixels ({error or type(error).__name__})", _AGAIN) from error
    if len(frames) != count:
        raise InputError(f"File {path}", f"holds the pixels of {len(frames)} of its {counted(count, 'frame')}", _AGAIN)
    return keyword, frames


def _common(ds: Dataset) -> dict[int, object]:
    """What the headers of all frames say."""
    from pydicom.datadict import tag_for_keyword

    left_out = {tag_for_keyword(name) for name in _OF_ALL}
    said = {tag: _element(ds, tag) for tag in ds.keys() if tag not in left_out}
    return {**said, **_of_groups(header.item(ds, SHARED))}


def _of_groups(groups: Dataset | None) -> dict[int, object]:
    found = {}
    for name in _GROUPS:
        item = None if groups is None else header.item(groups, name)
        found |= {} if item is None else {tag: _element(item, tag) for tag in item.keys()}
    return found


def _header(ds: Dataset, common: Mapping[int, object], own: Dataset, number: int, path: str) -> Dataset:
    from pydicom import Dataset

    made = Dataset({**{tag: copy(element) for tag, element in common.items()}, **_of_groups(own)})
    made.filename = f"{path}, frame {number}"
    made.InstanceNumber = number
    _set_file(made, ds, number)
    _set_place_in_time(made)
    if made.SOPClassUID == CLASSIC_PET:
        _set_pet(made, ds, own)
    elif made.SOPClassUID == CLASSIC_MR and "EffectiveEchoTime" in made:
        made.EchoTime = made.EffectiveEchoTime
    return made


def _set_pet(made: Dataset, ds: Dataset, own: Dataset) -> None:
    shared = header.item(ds, SHARED)
    enhanced_units.set_units(made, *(groups for groups in (own, shared) if groups is not None))
    if header.text(ds, "SOPClassUID") == PET:
        _set_isotope(made)
    _set_times(made)
    _set_corrections(made)


def _element(ds: Dataset, tag: int) -> object:
    """Of its own: who changes one header changes no other. A damaged one stays as it is stored."""
    try:
        return copy(ds[tag])
    except Exception:
        return ds.get_item(tag)


def _set_file(made: Dataset, ds: Dataset, number: int) -> None:
    """As of a file of the classic kind; where it comes from is kept for what will be derived from it."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    source.ReferencedFrameNumber = number
    made.ConversionSourceAttributesSequence = [source]
    made.SOPClassUID = CLASSIC[header.text(ds, "SOPClassUID")]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _set_isotope(made: Dataset) -> None:
    """Of several agents that of this frame; the dose in Bq."""
    from pydicom import Dataset
    from pydicom.valuerep import format_number_as_ds

    told = list(made.get("RadiopharmaceuticalInformationSequence") or [])
    agent = _number(made, "RadiopharmaceuticalAgentNumber")
    own = [info for info in told if agent is None or _number(info, "RadiopharmaceuticalAgentNumber") == agent]
    infos = [Dataset({tag: _element(info, tag) for tag in info.keys()}) for info in own or told]
    for info in infos:
        dose = _number(info, "RadionuclideTotalDose")
        if dose is not None and dose < DOSE_BQ[0]:  # some programs write Bq, and nobody is given so many MBq
            info.RadionuclideTotalDose = format_number_as_ds(dose * 1e6)
    if infos:
        made.RadiopharmaceuticalInformationSequence = infos


def _set_times(made: Dataset) -> None:
    raw = header.text(made, "FrameAcquisitionDateTime") or header.text(made, "AcquisitionDateTime")
    zone = raw[-5:] if raw[-5:-4] in ("+", "-") else ""
    if zone and not header.text(made, "TimezoneOffsetFromUTC"):
        made.TimezoneOffsetFromUTC = zone  # the clock that the others are brought to
    began = _stamp(made, "FrameAcquisitionDateTime")
    if began is not None:
        made.AcquisitionDate, made.AcquisitionTime = header.as_day(began), f"{began:%H%M%S.%f}"
    length = _number(made, "FrameAcquisitionDuration")
    if length is not None and "ActualFrameDuration" not in made:
        made.ActualFrameDuration = round(length)


def _stamp(ds: Dataset, keyword: str, clock_of: Dataset | None = None) -> datetime | None:
    """None also where it is damaged: there is an image without it."""
    try:
        return header.stamp(header.text(ds, keyword), keyword, ds if clock_of is None else clock_of)
    except InputError:
        return None


def _number(ds: Dataset, keyword: str) -> float | None:
    """None also where it is damaged."""
    try:
        return header.number(ds, keyword)
    except InputError:
        return None


def _set_corrections(made: Dataset) -> None:
    """What a classic header says of decay: corrected to the injection, or to what it calls the time of the series."""
    said = {keyword: header.text(made, keyword).upper() for keyword in _CORRECTIONS}
    if any(said.values()) and "CorrectedImage" not in made:
        made.CorrectedImage = [word for keyword, word in _CORRECTIONS.items() if said[keyword] == "YES"]
    if "DecayCorrection" in made or not said["DecayCorrected"]:
        return
    reference = _stamp(made, "DecayCorrectionDateTime")
    if said["DecayCorrected"] != "YES" or reference is None:
        made.DecayCorrection = "NONE" if said["DecayCorrected"] == "NO" else ""
        return
    info = header.item(made, "RadiopharmaceuticalInformationSequence")
    injected = _stamp(info, "RadiopharmaceuticalStartDateTime", clock_of=made) if info is not None else None
    _set_decay_factor(made, reference)
    if injected is not None and abs((reference - injected).total_seconds()) <= ROUNDING_S:
        made.DecayCorrection = "ADMIN"
    else:
        made.DecayCorrection = "START"
        made.SeriesDate, made.SeriesTime = header.as_day(reference), f"{reference:%H%M%S.%f}"


def _set_decay_factor(made: Dataset, reference: datetime) -> None:
    """A classic header proves by it what its series time means; here the file says what the reference is."""
    from pydicom.valuerep import format_number_as_ds

    life = _half_life(made)
    began, length = _stamp(made, "FrameAcquisitionDateTime"), _number(made, "ActualFrameDuration")
    if not header.text(made, "DecayFactor") and None not in (began, length, life) and life > 0:
        seconds = (began - reference).total_seconds() + length / 2000
        if abs(seconds) < 100 * life:
            made.DecayFactor = format_number_as_ds(float(2 ** (seconds / life)))


def _half_life(made: Dataset) -> float | None:
    """The header's, else the nuclide's. For the unit alone 3D Slicer's own Python reads headers too, without pysuv."""
    info = header.item(made, "RadiopharmaceuticalInformationSequence")
    stated = _number(info, "RadionuclideHalfLife") if info is not None else None
    try:
        return stated or half_life_of([made])
    except (InputError, UnitError, ImportError):
        return None


def _set_place_in_time(made: Dataset) -> None:
    from pydicom.valuerep import format_number_as_ds

    index = _number(made, "TemporalPositionIndex")
    if index is not None:
        made.TemporalPositionIdentifier = int(index)
    trigger = next((value for name in _TRIGGERS if (value := _number(made, name)) is not None), None)
    if trigger is not None and "TriggerTime" not in made:
        made.TriggerTime = format_number_as_ds(trigger)


def _series_type(made: Sequence[Dataset]) -> str:
    def several(keyword: str) -> bool:
        return len({header.text(ds, keyword) for ds in made}) > 1

    return "GATED" if several("TriggerTime") else "DYNAMIC" if several("TemporalPositionIdentifier") else "STATIC"


def refuse_other(ds: Dataset, path: str) -> None:
    """Enhanced objects of other kinds, also those of a single frame, are not read."""
    if SHARED in ds or OWN in ds:
        kind = getattr(ds.get("SOPClassUID"), "name", "") or "Multi-frame Image Storage"
        raise InputError(f"File {path}", f"is an enhanced (multi-frame) image ({kind})",
                         "Export single-frame DICOM, or convert it to NIfTI.")

