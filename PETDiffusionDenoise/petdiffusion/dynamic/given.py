"""Images that are held in memory, as files: frames are denoised from files, and a run that was stopped goes on from
them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import read
from ..errors import InputError
from ..progress import Run
from ..read import files
from ..write import images as image_files
from ..write import labels as label_files
from ..write import staging

FOLDER = "given"
MASKS = ("labels", "lesions")
_ENDING = {"nibabel": ".nii.gz", "SimpleITK": ".mha"}


def as_files(images: Mapping[str, Any], out: Path, replaces: bool, run: Run) -> dict[str, str]:
    """Where each lies. What is a file or folder already stays there; what is not is written below `out`."""
    lie = {name: _path(image) for name, image in images.items()}
    held = [name for name, path in lie.items() if path is None]
    if not held:
        return lie
    with run.stage("given", "Writing the images that were given"):
        names = {name: f"{name}{_frames_ending(images[name]) if name == 'pet' else '.nii.gz'}" for name in held}
        with staging.Staging(out / FOLDER, overwrite=replaces) as folder:
            for name, file in names.items():
                _write(images[name], name, folder / file, run)
    return lie | {name: str((out / FOLDER / file).absolute()) for name, file in names.items()}


def _path(image: Any) -> str | None:
    if not isinstance(image, (str, os.PathLike)):
        return None
    if not os.fspath(image).strip():
        raise InputError("An image's path", "is empty", "Give a file or a folder, or leave the image out.")
    return str(Path(image).absolute())


def _write(image: Any, name: str, file: Path, run: Run) -> None:
    if name in MASKS:
        label_files.write(read.labels(image, allow_empty=name == "lesions", run=run), file)
    elif name != "pet":
        image_files.write(read.image(image, name, run=run), file)
    elif file.name.endswith(".mha"):
        with staging.writing(file):
            image_files.save_itk(image, file, compress=False)
    else:
        import nibabel

        with staging.writing(file):
            nibabel.save(image, file)


def _frames_ending(image: Any) -> str:
    """As the library writes that the image is of; of one image alone there is nothing to write."""
    library = type(image).__module__.split(".")[0]
    if library not in _ENDING or files.frames_in(image)[0] < 2:
        raise InputError(f"The {type(image).__name__} given", "does not hold several frames", "Give a 4D file, a DICOM "
                         "folder, or a 4D image of nibabel or SimpleITK; one image goes to `denoise`.")  # fmt: skip
    return _ENDING[library]
