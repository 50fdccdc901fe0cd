"""What ITK passes over in a NRRD's header: the unit of its space, and whether that space is the patient's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GeometryError

if TYPE_CHECKING:
    import SimpleITK

ENDINGS = (".nrrd", ".nhdr")
MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "um": 0.001, "µm": 0.001}
"""A word that is none of these is no length, or no one knows which: ITK takes all for millimetres."""
MOST_LINES, LONGEST_LINE = 10_000, 1 << 20


def in_mm(path: Path, image: SimpleITK.Image) -> SimpleITK.Image:
    """The image of a file, its grid in millimetres."""
    if not path.name.lower().endswith(ENDINGS):
        return image
    found = {word: MM[word] for word in _units(path) if word in MM}
    if len(set(found.values())) > 1:
        raise GeometryError(f"{path.name}: its axes", f"are measured in different units ({', '.join(found)})",
                            "Save it in millimetres.")
    for scale in set(found.values()) - {1.0}:
        image.SetSpacing([scale * v for v in image.GetSpacing()[:3]] + list(image.GetSpacing()[3:]))
        image.SetOrigin([scale * v for v in image.GetOrigin()[:3]] + list(image.GetOrigin()[3:]))
    return image


def says_place(image: SimpleITK.Image) -> bool:
    """Of an image that ITK read from a NRRD: without a space its axes are nobody's left, back or head."""
    if not image.HasMetaDataKey("ITK_InputFilterName") or image.GetMetaData("ITK_InputFilterName") != "NrrdImageIO":
        return True
    space = image.GetMetaData("NRRD_space") if image.HasMetaDataKey("NRRD_space") else "3D-"
    return image.GetDimension() != 3 or not space.startswith("3D-")


def _units(path: Path) -> list[str]:
    with path.open("rb") as stream:
        for _ in range(MOST_LINES):
            line = stream.readline(LONGEST_LINE).decode("utf-8", "replace").strip()
            if not line:
                break
            if line.lower().startswith(("space units:", "units:")):
                return [word.strip() for word in re.findall(r'"([^"]*)"', line)]
    return []
