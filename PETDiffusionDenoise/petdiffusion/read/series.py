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
from ..suv import days, header
from . import checks, enhanced

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileDataset

    from ..progress import Run

MODALITY = {"pet": "PT", "reference": "PT", "ct": "CT", "mr": "MR"}
MOST_FILES = 50_000
_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_PREAMBLE, _MARK = 128, b"DICM"
_FIRST_TAGS = {group.to_bytes(2, order) + element.to_bytes(2, order) for order in ("little", "big")
               for group, elements in ((2, (0, 1, 2, 16)), (8, (0, 1, 5, 8, 18, 22))) for element in elements}
"""What files without preamble begin with."""
_SAME_IN_COPIES = ("ImagePositionPatient", "InstanceNumber", "AcquisitionTime", "FrameReferenceTime", "TriggerTime")
"""Some anonymisers give every slice one instance UID: place and time still tell slices and frames apart."""
_FIRST_LOOK = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality",
               "Rows", "Columns", "BitsAllocated", "NumberOfFrames", "ImageType", "CorrectedImage",
               "AttenuationCorrected", enhanced.SHARED, *_SAME_IN_COPIES]
_NOT_IMAGES = {"RTSTRUCT", "RTDOSE", "RTPLAN", "SEG", "SR", "PR", "KO", "REG", "DOC", "PLAN", "RWV"}
_DICOMDIR = "1.2.840.10008.1.3.10"
_OTHER_FORMATS = "Give a DICOM folder or file, or a .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, .mgz or .mgh file."


@dataclass
class Found:
    """One series: its files, one per slice unless they are enhanced, and the first header seen."""

    head: Dataset
    files: list[Path] = field(default_factory=list)
    instances: set[tuple[str, ...]] = field(default_factory=set)
    localizers: list[Path] = field(default_factory=list)
    """The overviews in it that a scan is planned on, which lie across its slices."""

    def add(self, ds: Dataset, file: Path) -> None:
        """Unless it is a copy of one that is there."""
        instance = _instance(ds, file)
        if instance in self.instances:
            return
        self.instances.add(instance)
        if "LOCALIZER" in header.words(ds, "ImageType"):
            self.localizers.append(file)
            return
        if not self.files:
            self.head = ds
        self.files.append(file)

    @property
    def is_corrected(self) -> bool:
        """For attenuation, unless it says otherwise."""
        corrections = enhanced.corrections(self.head)
        if header.text(self.head, "AttenuationCorrected").upper() == "NO":
            return False
        return not corrections or "ATTN" in corrections

    @property
    def images(self) -> int:
        """Slices, of which an enhanced object holds many."""
        return len(self.files) * int(header.number(self.head, "NumberOfFrames") or 1)

    def __str__(self) -> str:
        text = header.text(self.head, "SeriesDescription") or "no description"
        count = f"{self.images} slice{'s' if self.images > 1 else ''}"
        return f"'{text}' ({header.text(self.head, 'Modality') or 'no modality'}, {count})"


def find(path: Path, role: str, run: Run | None = None) -> Found:
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
    likely = _likely(fitting)
    if len(likely) == 1:
        _tell_aside(likely[0], fitting, role, run)
        return likely[0]
    listed = "; ".join(str(one) for one in list(known.values())[:12])
    if not fitting:
        raise InputError(f"{path.name}: {listed}", f"no {wanted} image, which is needed as {role.upper()}",
                         _advice(known))
    raise InputError(f"{path.name} holds {len(likely)} {wanted} series: {listed}", "it is not clear which is meant",
                     "Give the folder of one series, or one of its files.")


def _likely(fitting: Sequence[Found]) -> list[Found]:
    """Without those that nobody means where others are there: raw data and overviews, and of PET what is not corrected
    for attenuation."""
    likely = list(fitting)
    for is_meant in (lambda one: bool(one.files), lambda one: "Rows" in one.head, lambda one: one.is_corrected):
        likely = [one for one in likely if is_meant(one)] or likely
    return likely


def _tell_aside(chosen: Found, fitting: Sequence[Found], role: str, run: Run | None) -> None:
    if run is None:
        return
    if chosen.files and chosen.localizers:
        count = len(chosen.localizers)
        run.warn(f"{checks.called(role)}: its series holds {count} localizer{'s' if count > 1 else ''}, which "
                 f"{'are' if count > 1 else 'is'} left out.")
    if uncorrected := sum("Rows" in one.head and not one.is_corrected for one in fitting if one is not chosen):
        run.warn(f"{checks.called(role)}: of {uncorrected + 1} series the one that is corrected for attenuation is "
                 "read.")


def _advice(known: dict[str, Found]) -> str:
    modalities = {header.text(one.head, "Modality").upper() for one in known.values()}
    return "Give the images, not what refers to them." if modalities <= _NOT_IMAGES else "Give the right series."


def _series_in(path: Path) -> dict[str, Found]:
    """All series of a folder, or of the folder a file lies in. A damaged slice must not pass for a gap."""
    known: dict[str, Found] = {}
    nothing_left, folders = [], set()
    for file in _files(path):
        ds = first_look(file, must=(path.is_dir() and _is_slice(file)) or file == path)
        if ds is not None:
            known.setdefault(header.text(ds, "SeriesInstanceUID"), Found(ds)).add(ds, file)
            folders |= {file.parent} if _is_bare(file) else set()
        elif path.is_dir() and file.is_file() and _is_bare(file) and _is_nothing(_start(file)):
            nothing_left.append(file)
    for file in nothing_left:
        first_look(file, must=file.parent in folders)
    if "" in known and len(known) > 1:
        first = (known[""].files or known[""].localizers)[0]
        raise InputError(f"File {first.name}", "belongs to no series, or is cut off",
                         "Copy or export the whole series again.")
    if not known:
        raise InputError(f"Folder {path.name}", f"holds no DICOM image{_what_else(path)}", _OTHER_FORMATS)
    return known


def _is_slice(file: Path) -> bool:
    """By its suffix, or as it begins."""
    if file.suffix.lower() in _DICOM_SUFFIXES or not file.is_file():
        return file.suffix.lower() in _DICOM_SUFFIXES
    start = _start(file) or b""
    return start[_PREAMBLE:] == _MARK or start[:4] in _FIRST_TAGS


def _is_bare(file: Path) -> bool:
    """Without a suffix, as archives name slices. One of which nothing is left may well have been one, if the others in
    its folder are named so too."""
    suffix = file.suffix.lower()
    return suffix in ("", ".") or suffix[1:].isdigit()


def _is_nothing(start: bytes | None) -> bool:
    return start is None or (len(start) <= _PREAMBLE and not start.strip(b"\0"))


def _start(file: Path) -> bytes | None:
    """None where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(_PREAMBLE + len(_MARK))
    except OSError:
        return None


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
    from .sources import IMAGES

    images = [one.name for one in _files(path) if one.name.lower().endswith(IMAGES)]
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
    if _DICOMDIR in (header.text(ds, "SOPClassUID"), header.text(ds.file_meta, "MediaStorageSOPClassUID")):
        return None
    if not header.text(ds, "SOPClassUID") and not header.text(ds, "SeriesInstanceUID"):
        if must:
            raise InputError(f"File {file.name}", "is not an image this program can read", _OTHER_FORMATS)
        return None
    return ds


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
        checks.memory((int(columns), int(rows), found.images), int(bits) // 8, str(found))
    series: list[Dataset] = []
    with _quiet():
        for file in found.files or found.localizers:
            try:
                ds = _with_syntax(dcmread(file, stop_before_pixels=not pixels, force=True))
            except Exception as error:
                raise _unreadable(file, error) from error
            series += enhanced.classic(ds, file.name, pixels)
        return days.of_their_days(series)


def _with_syntax(ds: FileDataset) -> FileDataset:
    """A file without a header of its own was read by a guess at its encoding; the pixels are in the same."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, little = ds.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return ds


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
