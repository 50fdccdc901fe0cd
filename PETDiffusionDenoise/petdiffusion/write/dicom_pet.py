"""A derived DICOM PET series beside the original: same patient, study, grid, unit and SUV tags, new pixels.

Values go back into the unit of the original files (Bq/ml, SUV or Philips counts) with all tags that SUV depends on
left as they were, so any software finds the SUVs it found on the original. Each slice has its own rescale slope over
the full 16 bits: the error is at most 1/65534 of the slice's largest value. PET allows no rescale intercept, so
slices are stored signed as soon as one voxel of the series is negative; nothing is clipped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__, suv
from ..errors import GeometryError, InputError, OutputError, UnitError
from ..prepare.upright import Turn
from ..read import enhanced, series, slices
from ..read.sources import kind_of
from ..suv import header
from ..suv.convert import factor_of
from ..suv.dicom import Stored, stored_unit
from ..volume import BQML, SUVBW, Volume
from .staging import Staging, check_space, writing

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

RESEARCH = "research use only"
SIGNED_MAX, UNSIGNED_MAX = 32767, 65535
SERIES_NUMBER_STEP = 1000
_LONGEST_LO, _LONGEST_ST = 64, 1024
_STALE = ("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "SmallestPixelValueInSeries",
          "LargestPixelValueInSeries", "PixelPaddingValue", "PixelPaddingRangeLimit", "FloatPixelData",
          "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
          "RealWorldValueMappingSequence")
FACTORS_AGREE = 0.01
"""Weights, doses and times of a sidecar may be rounded."""
_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
SPARE_BYTES = 20_000


def write(volume: Volume, folder: str | os.PathLike[str], original: str | os.PathLike[str],
          description: str = "Denoised", *, derivation: str = "", seed: int | None = None, overwrite: bool = False,
          run: Run | None = None) -> list[Path]:
    """Write the volume as a new series derived from the DICOM PET it was made from; returns the files.

    `original` is that series' folder or one of its files; the volume may run along its axes the other way, or in
    another order. `seed` makes the UIDs repeatable: the same original, voxels
    and seed give the same UIDs, anything else gives others.
    """
    volume, templates, stored = _templates(volume, Path(original), run)
    _check_suv(volume, stored.unit, templates, run)
    values = _in_stored_unit(volume, stored.unit) / np.float32(stored.scale)
    uids = _Uids(seed, header.text(templates[0], "SeriesInstanceUID"), values)
    signed = bool(values.min() < 0) or header.number(templates[0], "PixelRepresentation") == 1
    about = _About(_writable(_series_description(templates[0], description), templates[0]),
                   _writable(_derivation(description, derivation), templates[0]), uids.make("series"), datetime.now())
    with Staging(folder, protect=[original], overwrite=overwrite) as temporary:
        check_space(temporary, len(templates) * (values[0].size * 2 + SPARE_BYTES))
        names = [f"{index + 1:05d}.dcm" for index in range(len(templates))]
        for index, ds in enumerate(templates):
            _derive(ds, about, uids.make(f"instance {index}"))
            _set_pixels(ds, values[index], signed)
            with writing(Path(folder) / names[index]):
                ds.save_as(temporary / names[index], enforce_file_format=True)
            if run is not None and index % 16 == 0:
                run.check()
    return [Path(folder) / name for name in names]


def check(volume: Volume, original: str | os.PathLike[str]) -> None:
    """Refuse now what of this image's grid and unit `write` would refuse."""
    volume, templates, stored = _templates(volume, Path(original), None)
    _check_unit(volume, stored.unit)
    _check_suv(volume, stored.unit, templates, None)


def _templates(volume: Volume, original: Path, run: Run | None) -> tuple[Volume, list[Dataset], Stored]:
    """The volume as the original lies, the original's headers in that order, and the unit of its values."""
    if kind_of(original) != "dicom":
        raise OutputError(f"{original.name}", "is not DICOM, so no DICOM can be derived from it",
                          "Give the DICOM folder of the original PET, or write NIfTI.")
    templates, geometry = slices.arrange(series.load(series.find(original, "pet"), pixels=False), run)
    turn = Turn.onto(volume.geometry, geometry, tolerance_mm=0.01)
    if turn is None:
        raise GeometryError(f"Image of size {volume.geometry.size} and spacing {_rounded(volume.geometry.spacing)} mm",
                            f"does not lie on the grid of the original ({geometry.size}, "
                            f"{_rounded(geometry.spacing)} mm)", "Give the series that the image was made from.")
    try:
        return turn.image(volume), templates, stored_unit(templates)
    except UnitError as error:
        raise UnitError(error.what, error.why, "No DICOM can be derived from it: write NIfTI.") from error


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(v, 3) for v in values)


def _in_stored_unit(volume: Volume, unit: str) -> np.ndarray:
    if not np.isfinite(volume.array).all():
        raise InputError("The image to write", "holds NaN or infinite values", "Do not write it.")
    _check_unit(volume, unit)
    return (suv.to_bqml(volume) if unit == BQML else suv.to_suv(volume)).array


def _check_unit(volume: Volume, stored: str) -> None:
    if volume.unit not in (BQML, SUVBW):
        raise UnitError(f"Image in {volume.unit}", "cannot be written as DICOM PET", "Give it in Bq/ml or SUVbw.")
    if volume.unit != stored:
        factor_of(volume)


def _check_suv(volume: Volume, stored: str, templates: Sequence[Dataset], run: Run | None) -> None:
    """Of Bq/ml any program makes SUVs by the header, which stays: they are the image's own only if it has the same
    factor. A weight of its own leaves its Bq/ml as they are, anything else, such as another moment to which it is
    corrected for decay, does not."""
    own, its = volume.facts.suv_factor, _factor_by(templates)
    if stored != BQML or not own or its is None:
        return
    given, weight = volume.facts.weight_kg, header.number(templates[0], "PatientWeight")
    by_weight = weight / given if given and weight else 1.0
    wrong = its / own / by_weight
    if abs(wrong - 1) > FACTORS_AGREE:
        raise UnitError("The image to write", "is corrected for decay to another moment than the series, or is of "
                        f"another dose: SUVs would be read {_percent(wrong)} % too {'high' if wrong > 1 else 'low'}",
                        "Give the series that the image was made from, or write NIfTI.")  # fmt: skip
    if run is not None and abs(by_weight - 1) > FACTORS_AGREE:
        run.warn(f"The DICOM series keeps the weight of its header, {weight:g} kg, and SUVs here are by {given:g} kg: "
                 f"those read from the series are {_percent(by_weight)} % {'higher' if by_weight > 1 else 'lower'}.")


def _percent(ratio: float) -> str:
    return f"{100 * abs(ratio - 1):.0f}"


def _factor_by(templates: Sequence[Dataset]) -> float | None:
    try:
        return suv.factor_from_dicom(templates)
    except (UnitError, InputError):
        return None


class _Uids:
    """New UIDs: random, or repeatable from a seed and everything they stand for."""

    def __init__(self, seed: int | None, original: str, values: np.ndarray) -> None:
        import hashlib

        digest = hashlib.sha256(np.ascontiguousarray(values)).hexdigest()
        self._entropy = None if seed is None else [str(seed), original, digest]

    def make(self, what: str) -> str:
        from pydicom.uid import generate_uid

        return generate_uid() if self._entropy is None else generate_uid(entropy_srcs=[*self._entropy, what])


class _About:
    """What all slices of the new series share."""

    def __init__(self, title: str, derivation: str, uid: str, now: datetime) -> None:
        self.title, self.derivation, self.uid = title, derivation, uid
        self.date, self.time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")


def _series_description(template: Dataset, description: str) -> str:
    """The original's name, what was done and that it is for research, in the 64 characters DICOM allows."""
    tail = f" ({RESEARCH})"
    head = " ".join(filter(None, (header.text(template, "SeriesDescription"), description)))
    if len(head) + len(tail) > _LONGEST_LO:
        head = description
    return _plain(head)[: _LONGEST_LO - len(tail)].rstrip() + tail


def _derivation(description: str, derivation: str) -> str:
    text = f"{description}. {derivation}".strip() + f" PETDiffusion {__version__}, {RESEARCH}."
    return _plain(text)[:_LONGEST_ST]


def _plain(text: str) -> str:
    """Without the characters that separate values in DICOM."""
    return " ".join(text.replace("\\", "/").split())


def _derive(ds: Dataset, about: _About, instance: str) -> None:
    """Turns the header of an original slice into that of the derived one."""
    ds.SourceImageSequence = [_reference(ds)]
    ds.ContributingEquipmentSequence = [*_items(ds, "ContributingEquipmentSequence"), _equipment()]
    kind = list(ds.get("ImageType") or [])
    ds.ImageType = ["DERIVED", "PRIMARY", *kind[2:]]  # the PET module allows no other second value
    ds.SOPInstanceUID, ds.SeriesInstanceUID = instance, about.uid
    ds.SeriesDescription, ds.DerivationDescription = about.title, about.derivation
    ds.SeriesNumber = int(header.number(ds, "SeriesNumber") or 0) + SERIES_NUMBER_STEP
    ds.InstanceCreationDate = ds.ContentDate = about.date
    ds.InstanceCreationTime = ds.ContentTime = about.time
    if enhanced.SOURCE in ds:
        del ds[enhanced.SOURCE]
    _remove_stale(ds)
    _make_little_endian(ds)
    _set_file_meta(ds)


def _remove_stale(ds: Dataset) -> None:
    """What described the old pixels: thumbnails, overlays, signatures, a second slope that some viewers prefer."""
    for keyword in _STALE:
        if keyword in ds:
            del ds[keyword]
    for group in {tag.group for tag in ds.keys() if 0x6000 <= tag.group <= 0x60FF or tag.group == 0xFFFA}:
        for tag in [tag for tag in ds.keys() if tag.group == group]:
            del ds[tag]


def _make_little_endian(ds: Dataset) -> None:
    """pydicom turns a big endian original's numbers round as it writes them, but nothing that it holds as bytes."""
    if ds.original_encoding[1] is not False:
        return
    for element in ds.iterall():
        if element.VR in _WORD_BYTES and element.value:
            element.value = np.frombuffer(element.value, f">u{_WORD_BYTES[element.VR]}").byteswap().tobytes()
    ds.set_original_encoding(None, None)


def _writable(text: str, template: Dataset) -> str:
    """Reduced to ASCII unless the original's character set is Unicode; changing the set could garble its names."""
    if template.get("SpecificCharacterSet") == "ISO_IR 192":
        return text
    return text.encode("ascii", "replace").decode()


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    return list(ds.get(keyword) or [])


def _reference(original: Dataset) -> Dataset:
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    item = Dataset()
    item.ReferencedSOPClassUID = original.SOPClassUID
    item.ReferencedSOPInstanceUID = original.SOPInstanceUID
    item.update(header.item(original, enhanced.SOURCE) or {})
    item.PurposeOfReferenceCodeSequence = [_code(codes.DCM.SourceImageForImageProcessingOperation)]
    return item


def _equipment() -> Dataset:
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code(codes.DCM.ModifyingEquipment)]
    item.Manufacturer = "PETDiffusion"
    item.SoftwareVersions = __version__
    item.ContributionDescription = f"Image processing, {RESEARCH}"
    return item


def _code(code: object) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _set_file_meta(ds: Dataset) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _set_pixels(ds: Dataset, values: np.ndarray, signed: bool) -> None:
    """16-bit pixels with the slope that uses the whole range."""
    top = SIGNED_MAX if signed else UNSIGNED_MAX
    stored_slope = _slope(float(np.abs(values).max()), top)
    slope = float(stored_slope)
    pixels = np.clip(np.rint(values / slope), -top if signed else 0, top).astype("<i2" if signed else "<u2")
    ds.RescaleSlope, ds.RescaleIntercept = stored_slope, "0"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(signed)
    ds.Rows, ds.Columns = values.shape
    for keyword, value in (("SmallestImagePixelValue", pixels.min()), ("LargestImagePixelValue", pixels.max())):
        ds.add_new(keyword, "SS" if signed else "US", int(value))
    ds.add_new("PixelData", "OW", pixels.tobytes())


def _slope(largest: float, top: int) -> str:
    """As DICOM stores it, in 16 characters; 1 for an empty slice, since 0 is not allowed."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(largest / top) if largest / top > 1e-30 else "1"
