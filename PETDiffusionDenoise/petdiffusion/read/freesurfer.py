"""What nibabel does not tell of FreeSurfer's MGH and MGZ files."""

from __future__ import annotations

import gzip
from pathlib import Path

from ..errors import InputError

_FLAG = slice(28, 30)


def check_place(path: Path) -> None:
    """nibabel puts an image whose header gives no place somewhere, and sets the flag that says so."""
    packed = path.name.lower().endswith(".mgz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        flag = stream.read(_FLAG.stop)[_FLAG]
    if flag == bytes(2):
        raise InputError("The header", "does not say where the image lies in the patient (goodRASFlag is 0)",
                         "Convert it to NIfTI with the position that it should have.")  # fmt: skip
