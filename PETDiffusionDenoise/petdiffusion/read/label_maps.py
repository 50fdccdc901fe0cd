"""Label maps from files and images, with their names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, OptionError
from ..volume import LabelMap
from . import files, label_names
from .sidecar import OWN_KEY, path_of
from .sources import describe, kind_of
from .totalsegmentator import TOTAL

if TYPE_CHECKING:
    from ..progress import Run


def labels(source: Any, *, totalsegmentator: bool = False, allow_empty: bool = True, only: Sequence[str] = (),
           called: str = "label map", run: Run | None = None) -> LabelMap:  # fmt: skip
    """See `petdiffusion.read.labels`."""
    name = describe(source)
    found = source if isinstance(source, LabelMap) else _opened(source, name, only, f"The {called}", run)
    if not allow_empty and not found.array.any():
        raise InputError(f"Label map {name}", "holds no structure, only background", "Check the file.")
    if totalsegmentator and not found.names:
        found = replace(found, names=TOTAL)
    if only and not _is_dicom(source):  # of DICOM they are chosen before one takes voxels from another
        kept = chosen(found.present(), only)
        found = replace(found, array=np.where(np.isin(found.array, list(kept)), found.array, 0), names=kept)
    return found


def chosen(known: Mapping[int, str], names: Sequence[str]) -> dict[int, str]:
    """The structures of these names; all where no name is given."""
    if unknown := [name for name in names if name not in known.values()]:
        raise OptionError(f"Structure '{unknown[0]}'", f"is not one of {', '.join(known.values())}",
                          "Name some of them, as they are written.")  # fmt: skip
    return {value: name for value, name in known.items() if not names or name in names}


def _is_dicom(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike)) and kind_of(Path(source)) == "dicom"


def _opened(source: Any, name: str, only: Sequence[str], called: str, run: Run | None) -> LabelMap:
    if _is_dicom(source):
        from . import dicom_masks

        return dicom_masks.read(Path(source), only, called, run)
    if isinstance(source, (str, os.PathLike)):
        image = files.opened(path := Path(source))
        array, geometry, _ = files.of_image(image, name, run, None, called)
        names = _header_names(image, name) or label_names.beside(path)
        frame, says_place = _kept_place(image, path)
    else:
        image = source
        frame, says_place = _kept_place(image)
        array, geometry, _ = files.in_memory(image, run, None, called)
        names = _header_names(image, name)
    try:
        return LabelMap(np.asarray(array), geometry, names, frame, says_place and files.says_place(image))
    except InputError as error:
        raise InputError(f"{name}: {error.what}", error.why, error.remedy) from error


def _header_names(image: Any, name: str) -> dict[int, str]:
    if hasattr(image, "GetMetaDataKeys"):
        fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        return label_names.in_fields(fields, name)
    return label_names.in_nifti(getattr(getattr(image, "header", None), "extensions", ()) or ())


def _kept_place(image: Any, path: Path | None = None) -> tuple[str | None, bool]:
    """Frame of reference and whether there is a position, as this program noted them when it wrote the map: a file's
    own header states some position, given or not."""
    note = files.own_field(image)
    try:
        if note is None and path is not None:
            note = path_of(path).read_text(encoding="utf-8-sig")
        own = json.loads(note or "{}")[OWN_KEY]
        frame = own.get("frame_of_reference")
        return (frame if isinstance(frame, str) else None), own.get("says_place") is not False
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None, True
