"""Finds the DICOM series meant by a folder or a file, and reads it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..suv import header
from . import checks

if TYPE_CHECKING:
    from pydicom import Dataset

MODALITY = {"pet": "PT", "reference": "PT", "ct": "CT", "mr": "MR"}
MOST_FILES = 50_000
_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_SAME_IN_COPIES = ("ImagePositionPatient", "InstanceNumber", "AcquisitionTime", "FrameReferenceTime", "TriggerTime")
"""Some anonymisers give every slice one instance UID: place and time still tell slices and frames apart."""
_FIRST_LOOK = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality",
               "Rows", "Columns", "BitsAllocated", "NumberOfFrames", *_SAME_IN_COPIES]
_NOT_IMAGES = {"RTSTRUCT", "RTDOSE", "RTPLAN", "SEG", "SR", "PR", "KO", "REG", "DOC", "PLAN", "RWV"}
_DICOMDIR = "1.2.840.10008.1.3.10"
_OTHER_FORMATS = "Give a DICOM folder or file, or a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file."


@dataclass
class Found:
    """One series: its files, one per slice, and the first header seen."""

    head: Dataset
    files: list[Path] = field(default_factory=list)
    instances: set[tuple[str, ...]] = field(default_factory=set)

    def __str__(self) -> str:
        text = header.text(self.head, "SeriesDescription") or "no description"
        count = f"{len(self.files)} slice{'s' if len(self.files) > 1 else ''}"
        return f"'{text}' ({header.text(self.head, 'Modality') or 'no modality'}, {count})"


def find(path: Path, role: str) -> Found:
    """The series that a folder or one of its files stands for in this role."""
    one_of = first_look(path, must=True) if path.is_file() else None
    if path.is_file() and one_of is None:  # a DICOMDIR
        path = path.parent
    known = _series_in(path)
    if one_of is not None:
        uid = header.text(one_of, "SeriesInstanceUID")
        known = {uid: known[uid]}
    wanted = MODALITY[role]
    fitting = [one for one in known.values() if header.text(one.head, "Modality").upper() == wanted]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(str(one) for one in list(known.values())[:12])
    if not fitting:
        raise InputError(f"{path.name}: {listed}", f"no {wanted} image, which is needed as {role.upper()}",
                         _advice(known))
    raise InputError(f"{path.name} holds {len(fitting)} {wanted} series: {listed}", "it is not clear which is meant",
                     "Give the folder of one series, or one of its files.")


def _advice(known: dict[str, Found]) -> str:
    modalities = {header.text(one.head, "Modality").upper() for one in known.values()}
    return "Give the images, not what refers to them." if modalities <= _NOT_IMAGES else "Give the right series."


def _series_in(path: Path) -> dict[str, Found]:
    """All series of a folder, or of the folder a file lies in. A damaged .dcm file must not pass for a gap."""
    known: dict[str, Found] = {}
    for file in _files(path):
        ds = first_look(file, must=(path.is_dir() and file.suffix.lower() in _DICOM_SUFFIXES) or file == path)
        if ds is not None:
            one = known.setdefault(header.text(ds, "SeriesInstanceUID"), Found(ds))
            instance = _instance(ds, file)
            if instance not in one.instances:
                one.instances.add(instance)
                one.files.append(file)
    if "" in known and len(known) > 1:
        raise InputError(f"File {known[''].files[0].name}", "belongs to no series, or is cut off",
                         "Copy or export the whole series again.")
    if not known:
        raise InputError(f"Folder {path.name}", f"holds no DICOM image{_what_else(path)}", _OTHER_FORMATS)
    return known


def _instance(ds: Dataset, file: Path) -> tuple[str, ...]:
    """What only copies of one file share. Values as they are stored: a damaged one is no concern of a first look."""
    uid = header.text(ds, "SOPInstanceUID")
    stored = (str(ds.get_item(keyword).value) if keyword in ds else "" for keyword in _SAME_IN_COPIES)
    return (uid, *stored) if uid else (str(file),)


def _files(path: Path) -> list[Path]:
    """All files of a folder and those below it; for one file, its neighbours."""
    if path.is_file():
        return sorted(one for one in path.parent.iterdir() if one.is_file())
    found: list[Path] = []
    for folder, _, names in os.walk(path):
        found += [Path(folder) / name for name in names if not name.startswith(".")]
        if len(found) > MOST_FILES:
            raise InputError(f"Folder {path.name}", f"holds more than {MOST_FILES} files",
                             "Give the folder of one series, or one of its files.")
    return sorted(found)


def _what_else(path: Path) -> str:
    from .sources import ITK, NIFTI

    images = [one.name for one in _files(path) if one.name.lower().endswith(NIFTI + ITK)]
    return f", but {images[0]}" if images else ""


def first_look(file: Path, must: bool = False) -> Dataset | None:
    """The few tags that tell series apart; None for files that are not DICOM, unless they must be."""
    from pydicom.errors import InvalidDicomError

    try:
        with _quiet():
            ds = _dcmread(file, force=must)
    except InvalidDicomError:
        return None
    except Exception as error:
        if must:
            raise _unreadable(file, error) from error
        return None
    if not header.text(ds, "SOPClassUID") and not header.text(ds, "SeriesInstanceUID"):
        if must:
            raise InputError(f"File {file.name}", "is not an image this program can read", _OTHER_FORMATS)
        return None
    return None if header.text(ds, "SOPClassUID") == _DICOMDIR else ds


def _dcmread(file: Path, force: bool) -> Dataset:
    from pydicom import dcmread

    if file.stat().st_size == 0:
        raise EOFError("the file is empty")
    return dcmread(file, stop_before_pixels=True, specific_tags=_FIRST_LOOK, force=force)


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"File {file.name}", f"cannot be read ({error or type(error).__name__})",
                      "It may be damaged or incomplete: copy or export it again.")


def load(found: Found, pixels: bool = True) -> list[Dataset]:
    """Every slice of the series, in no particular order."""
    from pydicom import dcmread

    if pixels:
        rows, columns = (header.number(found.head, key) or 0 for key in ("Rows", "Columns"))
        bits = header.number(found.head, "BitsAllocated") or 16
        checks.memory((int(columns), int(rows), len(found.files)), int(bits) // 8, str(found))
    series = []
    with _quiet():
        for file in found.files:
            try:
                series.append(dcmread(file, stop_before_pixels=not pixels, force=True))
            except Exception as error:
                raise _unreadable(file, error) from error
    return series


def file_name(ds: Dataset) -> str:
    return Path(str(getattr(ds, "filename", "") or "slice")).name


def names(series: Sequence[Dataset], most: int = 3) -> str:
    shown = ", ".join(file_name(ds) for ds in series[:most])
    return shown + (f" and {len(series) - most} more" if len(series) > most else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of every odd value; what matters here is checked and raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
