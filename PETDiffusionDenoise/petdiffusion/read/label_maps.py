"""Label maps from files and images, with their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..volume import LabelMap
from . import files, label_names
from .sources import describe, kind_of
from .totalsegmentator import TOTAL


def labels(source: Any, *, totalsegmentator: bool = False, allow_empty: bool = True) -> LabelMap:
    """See `petdiffusion.read.labels`."""
    name = describe(source)
    found = source if isinstance(source, LabelMap) else _opened(source, name)
    if not allow_empty and not found.array.any():
        raise InputError(f"Label map {name}", "holds no structure, only background", "Check the file.")
    if totalsegmentator and not found.names:
        found = LabelMap(found.array, found.geometry, TOTAL)
    return found


def _opened(source: Any, name: str) -> LabelMap:
    if isinstance(source, (str, os.PathLike)):
        array, geometry, names = _from_path(Path(source))
    else:
        array, geometry, _ = files.in_memory(source, dtype=None)
        names = _header_names(source, name)
    try:
        return LabelMap(np.asarray(array), geometry, names)
    except InputError as error:
        raise InputError(f"{name}: {error.what}", error.why, error.remedy) from error


def _from_path(path: Path) -> tuple[Any, Any, dict[int, str]]:
    if kind_of(path) == "dicom":
        from . import dicom_masks

        masks = dicom_masks.read(path)
        return masks.array, masks.geometry, dict(masks.names)
    image = files.opened(path)
    array, geometry, _ = files.of_image(image, path.name, dtype=None)
    return array, geometry, _header_names(image, path.name) or label_names.beside(path)


def _header_names(image: Any, name: str) -> dict[int, str]:
    if hasattr(image, "GetMetaDataKeys"):
        fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        return label_names.in_fields(fields, name)
    return label_names.in_nifti(getattr(getattr(image, "header", None), "extensions", ()) or ())
