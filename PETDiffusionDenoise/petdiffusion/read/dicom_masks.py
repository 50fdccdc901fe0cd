"""Masks from DICOM: segmentations (SEG) and the contours of structure sets (RTSTRUCT), each on a grid of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, PETDiffusionError
from ..suv import header
from ..volume import LabelMap

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"
LABELMAP_SEG = "1.2.840.10008.5.1.4.1.1.66.7"
CLASSES = (SEG, LABELMAP_SEG, RTSTRUCT)
MOST_TOLD = 5
Tell = Callable[[str], None]


def read(path: Path, only: Sequence[str] = (), called: str = "The label map", run: Run | None = None) -> LabelMap:
    """The masks of a file, or of the one SEG or RTSTRUCT of a folder; with `only` those of these names, each whole.

    Where some overlap the smaller one is kept, which `run` is told.
    """
    from .dicom_planes import ORIGINAL

    file = path if path.is_file() else _only_one(path)
    ds = _opened(file)
    kind = header.text(ds, "SOPClassUID")
    if kind not in CLASSES:
        raise InputError(f"{file.name}", f"is DICOM of modality {header.text(ds, 'Modality') or 'unknown'}, not masks",
                         "Give a DICOM SEG, an RTSTRUCT, or a .nii, .nii.gz, .nrrd or .mha file.")
    from . import dicom_contours, dicom_segments

    def tell(text: str) -> None:  # warnings stand in reports, and a file's name may hold the patient's
        if run is not None:
            run.warn(f"{called}: {text}")

    try:
        return (dicom_contours if kind == RTSTRUCT else dicom_segments).masks(ds, file.name, only, tell)
    except (PETDiffusionError, MemoryError):
        raise
    except Exception as error:  # what damaged tags raise is not to be foreseen
        what = "an RTSTRUCT" if kind == RTSTRUCT else "a DICOM SEG"
        raise InputError(f"File {file.name}", f"lacks what {what} must have ({error})", ORIGINAL) from error


def tell_overlaps(masks: LabelMap, filled: Mapping[int, int], tell: Tell) -> None:
    """Which structures smaller ones took voxels from: `filled` says how many each had."""
    import numpy as np

    if not filled:
        return
    highest = max(*filled, int(masks.array.max()))
    kept = sum(np.bincount(plane.ravel(), minlength=highest + 1) for plane in masks.array)
    lost = {value: voxels - int(kept[value]) for value, voxels in filled.items() if voxels > kept[value]}
    if not lost:
        return
    ml = masks.geometry.voxel_ml
    told = [f"'{masks.names.get(v, v)}' loses {n * ml:.1f} of {filled[v] * ml:.1f} ml" for v, n in lost.items()]
    more = f" and {len(told) - MOST_TOLD} more lose some" if len(told) > MOST_TOLD else ""
    tell("where structures overlap the smaller one is kept: " + ", ".join(told[:MOST_TOLD]) + f"{more}. "
         "To have one whole, take it alone: petdiffusion convert --role labels --only NAME.")


def _only_one(folder: Path) -> Path:
    from .series import first_look

    files = sorted(one for one in folder.rglob("*") if one.is_file())
    looked = ((file, first_look(file)) for file in files)
    found = [file for file, ds in looked if ds is not None and header.text(ds, "SOPClassUID") in CLASSES]
    if len(found) == 1:
        return found[0]
    what = f"holds {len(found)} DICOM SEG or RTSTRUCT: {', '.join(f.name for f in found[:5])}" if found else (
        "holds no DICOM SEG and no RTSTRUCT")
    raise InputError(f"Folder {folder.name}", what, "Give the file of the masks.")


def _opened(file: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(file)
    except InvalidDicomError:
        raise InputError(f"{file.name}", "is not a label map file",
                         "Give a .nii, .nii.gz, .nrrd or .mha file, a DICOM SEG or an RTSTRUCT.") from None
    except Exception as error:
        raise InputError(f"File {file.name}", f"cannot be read ({error or type(error).__name__})",
                         "It may be damaged or incomplete: copy or export it again.") from error
