"""NIfTI in two files, `.hdr` and `.img`. DICOM may be named `.img` too: it has no header beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError

PAIR = (".hdr", ".img")


def files_of(path: Path) -> list[Path]:
    """Both files of a pair, the header first, where the other one is there; else the one given."""
    if path.suffix.lower() not in PAIR:
        return [path]
    other = ".img" if path.suffix.lower() == ".hdr" else ".hdr"
    beside = next((file for end in (other, other.upper()) if (file := path.with_suffix(end)).is_file()), None)
    return [path] if beside is None else sorted((path, beside), key=lambda file: file.suffix.lower())


def is_pair(path: Path) -> bool:
    """A header by itself is half an image."""
    if path.suffix.lower() not in PAIR or path.is_dir():
        return False
    whole = len(files_of(path)) == len(PAIR)
    if not whole and path.suffix.lower() == ".hdr":
        raise InputError(f"File {path.name}", "is a header whose voxels, in a file .img of the same name, are not "
                         "beside it", "Copy both files of the pair.")  # fmt: skip
    return whole


def check(image: Any, path: Path) -> None:
    """Analyze 7.5 has pairs of the same names, and no word for left and right."""
    import nibabel

    if not isinstance(image, nibabel.Nifti1Pair):
        raise InputError(f"File {path.name}", "is Analyze 7.5, whose header does not say which side is left",
                         "Convert it to NIfTI by a program that knows how it was written.")
