"""Volumes out: NIfTI with a JSON sidecar for unit and facts; NRRD and MetaImage with the same in their header.

The sidecar speaks PET-BIDS for other programs and keeps the facts as they are for this one.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..read import pairs
from ..read.itk_names import itk_name
from ..read.sidecar import HEADER_KEY, OWN_KEY, path_of
from ..read.sources import IMAGES, ITK, NIFTI, suffix_of
from ..suv.factor import corrected_to
from ..volume import ARBITRARY, BQML, HU, SUVBW, Facts, Volume
from . import gzipped
from .staging import Staging, check_space, writing

BIDS_UNIT = {BQML: "Bq/mL", SUVBW: "SUVbw", HU: "HU", ARBITRARY: "arbitrary"}
SPARE_BYTES = 1_000_000


def write(volume: Volume, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a volume as float32 in the format of the file's ending; reading it gives the same voxels, unit and facts.

    Where it came from (`facts.source`) is left out, since paths often name the patient.
    """
    target = Path(path)
    suffix = checked_suffix(target)
    protect = originals(Path(volume.facts.source)) if volume.facts.source else []
    with Staging(target.parent, protect=protect, overwrite=overwrite) as folder:
        check_space(folder, volume.array.nbytes + SPARE_BYTES)
        with writing(target):
            _save(volume, folder / target.name, suffix)
    return target


def originals(source: Path) -> list[Path]:
    """What nothing may replace of an image that was read: its file, and a sidecar that this program did not write."""
    beside = path_of(source)
    is_image = source.is_file() and suffix_of(source) in IMAGES
    return [*pairs.files_of(source), *([beside] if is_image and beside.is_file() and not _is_own(beside) else [])]


def _is_own(sidecar: Path) -> bool:
    try:
        return OWN_KEY in json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def checked_suffix(target: Path) -> str:
    if "\0" in str(target):
        raise OutputError(f"File {target.name!r}", "has a null byte in its name", "Choose another name.")
    suffix = suffix_of(target)
    if suffix not in NIFTI + ITK:
        raise OutputError(f"File {target.name}", f"does not end in one of {', '.join(NIFTI + ITK)}",
                          "Choose such a name.")
    return suffix


def _save(volume: Volume, file: Path, suffix: str) -> None:
    if suffix in NIFTI:
        save_nifti(volume.to_nibabel(), file)
        write_json(notes_of(volume), path_of(file))
        return
    image = volume.to_sitk()
    image.SetMetaData(HEADER_KEY, one_line(notes_of(volume)))
    save_itk(image, file, compress=suffix in (".nrrd", ".nhdr"))


def save_nifti(image: Any, file: Path) -> None:
    """With both of NIfTI's positions, since some programs look at one and some at the other."""
    affine = image.affine
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    data = io.BytesIO()
    image.to_stream(data)
    if file.name.lower().endswith(".gz"):
        gzipped.write(data.getbuffer(), file)
    else:
        file.write_bytes(data.getbuffer())


def save_itk(image: Any, file: Path, compress: bool) -> None:
    import SimpleITK as sitk

    from ..read.files import quiet_itk

    with quiet_itk(), itk_name(file) as itks:
        sitk.WriteImage(image, itks, compress, 1 if compress else -1)


def notes_of(volume: Volume) -> dict[str, Any]:
    """What the sidecar says of a volume."""
    facts = volume.with_facts(source=None).facts
    return {"Units": BIDS_UNIT[volume.unit], **_bids(facts), OWN_KEY: {"facts": _plain(facts.to_json())}}


def _bids(facts: Facts) -> dict[str, Any]:
    dose = facts.injected_dose_bq
    keys = {"Modality": facts.modality, "TracerName": facts.tracer, "RadionuclideHalfLife": facts.half_life_s,
            "InjectedRadioactivity": None if dose is None else dose / 1e6,
            "InjectedRadioactivityUnits": None if dose is None else "MBq",
            "BodyWeight": facts.weight_kg, "PatientSex": facts.sex, "ScannerName": facts.scanner,
            "FrameDuration": _of_frame(facts.frame_seconds), "DecayCorrectionFactor": _of_frame(facts.decay_factor),
            **_times(facts)}
    return {key: value for key, value in _plain(keys).items() if value is not None}


def _of_frame(value: float | None) -> list[float] | None:
    """A list of one, as PET-BIDS has what differs from frame to frame."""
    return [float(value)] if value is not None and np.isfinite(value) else None


def _times(facts: Facts) -> dict[str, Any]:
    """In seconds from the injection; the time of day is nobody's business."""
    if facts.acquired_minutes is None:
        return {}
    reference, scan, frame = corrected_to(facts), facts.uptake_minutes, facts.frame_start_minutes
    decay = {} if reference is None else {"ImageDecayCorrected": True, "ImageDecayCorrectionTime": reference}
    return {"InjectionStart": 0, **({} if scan is None else {"ScanStart": 60.0 * scan}),
            **({} if frame is None else {"FrameTimesStart": [60.0 * frame]}), **decay}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """NumPy scalars as Python's own; numbers that JSON cannot hold are left out."""
    own = {key: value.item() if isinstance(value, np.generic) else value for key, value in values.items()}
    return {key: value for key, value in own.items() if not isinstance(value, float) or np.isfinite(value)}


def one_line(data: dict[str, Any]) -> str:
    """As a header field takes it: ASCII, no line breaks."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False)


def write_json(data: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
