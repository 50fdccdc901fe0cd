"""Makers of images that are wrong in one way each, for the table of bad input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

from support import dicom_factory as factory


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def values(shape: tuple[int, ...] = (6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32) + 0.1


def nifti(folder: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None, name: str = "pet.nii.gz",
          sidecar: Any = None, **header: Any) -> Path:
    """A NIfTI file; `array` in (x, y, z)."""
    image = nibabel.Nifti1Image(values() if array is None else array, np.diag([2.0, 2, 3, 1]))
    if affine is not None:
        image.header.set_sform(affine, 1)
        image.header.set_qform(np.eye(4), 0)
        image = nibabel.Nifti1Image(image.dataobj, None, image.header)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, folder / name)
    if sidecar is not None:
        text = sidecar if isinstance(sidecar, str) else json.dumps(sidecar)
        (folder / name.replace(".nii.gz", ".json")).write_text(text)
    return folder / name


def itk(folder: Path, name: str = "pet.nrrd", array: np.ndarray | None = None, vector: bool = False,
        fields: Mapping[str, str] | None = None) -> Path:
    image = sitk.GetImageFromArray(values() if array is None else array, isVector=vector)
    for key, value in (fields or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(folder / name))
    return folder / name


def file(folder: Path, name: str, content: bytes = b"This is no image. " * 40) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def cut(path: Path, keep: float = 0.5) -> Path:
    """The first part of a file, as a broken copy leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def nrrd_header(folder: Path, directions: str, sizes: str = "6 5 4") -> Path:
    """A NRRD with axes of one's choice and no more than a header's worth of data."""
    text = (f"NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
            f"space directions: {directions}\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
            "space origin: (0,0,0)\n\n")
    return file(folder, "pet.nrrd", text.encode() + values().tobytes())


def huge_nifti(folder: Path) -> Path:
    """A header that promises 30 terabytes."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((20000, 20000, 20000))
    return file(folder, "huge.nii", header.binaryblock + b"\0" * 4)


def dicom(folder: Path, edit: factory.Edit | None = None, **more: Any) -> Path:
    return factory.pet(folder / "series", edit=edit, **more).folder


def setting(only: int | None = None, **changes: Any) -> factory.Edit:
    """Sets tags in every slice or in one; None removes them."""
    def edit(ds: pydicom.Dataset, k: int) -> None:
        info = ds.get("RadiopharmaceuticalInformationSequence") or [pydicom.Dataset()]
        for name, value in changes.items():
            target = info[0] if name.startswith("Radio") and name in info[0] else ds
            if only not in (None, k):
                continue
            if value is None:
                del target[name]
            else:
                setattr(target, name, value)
    return edit


def afterwards(folder: Path, change: Callable[[Path], None], number: int = 2, **more: Any) -> Path:
    """A good series in which one file is changed after it was written."""
    series = factory.pet(folder / "series", **more)
    change(series.files[number])
    return series.folder


def resaved(path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    ds = pydicom.dcmread(path)
    change(ds)
    ds.save_as(path)


def frames(folder: Path, keyword: str, shown: Callable[[int], Any]) -> Path:
    """The same positions three times over: a dynamic or gated series."""
    uid = generate_uid()

    def edit(number: int) -> factory.Edit:
        def apply(ds: pydicom.Dataset, k: int) -> None:
            ds.SeriesInstanceUID, ds.FrameReferenceTime, ds.AcquisitionTime = uid, "90000", "103000"
            if keyword:
                setattr(ds, keyword, shown(number))
        return apply

    for number in range(3):
        series = factory.pet(folder / "series" / str(number), edit=edit(number), geometry=factory.grid((3, 6, 7)))
    return series.folder.parent


def mixed(folder: Path, **differently: Any) -> Path:
    """Two series under one UID."""
    uid = generate_uid()
    edit = setting(SeriesInstanceUID=uid)
    one = factory.pet(folder / "series" / "a", edit=edit, geometry=factory.grid((4, 6, 7)))
    shape, grid = differently.pop("shape", (4, 6, 7)), differently.pop("grid", {})
    grid = {"origin": (-40.0, -30.5, 300.0), **grid}
    factory.pet(folder / "series" / "b", edit=edit, geometry=factory.grid(shape, **grid), **differently)
    return one.folder.parent


def not_image(folder: Path, modality: str, sop_class: str) -> Path:
    """A structure set and the like: DICOM, but no picture."""
    (folder / "series").mkdir()
    series = factory.pet(folder / "tmp", geometry=factory.grid((1, 4, 4)))
    ds = pydicom.dcmread(series.files[0])
    ds.Modality, ds.SOPClassUID = modality, sop_class
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    for name in ("PixelData", "Rows", "Columns"):
        del ds[name]
    ds.save_as(folder / "series" / "one.dcm")
    series.files[0].unlink()
    series.folder.rmdir()
    return folder / "series"


def refused(tmp_path: Path, error: type | tuple[type, ...], named: str, action: Callable[[], Any]) -> None:
    """Runs the action; the error must be the right one and nothing may have changed on disk."""
    before = digests(tmp_path)
    with pytest.raises(error) as caught:
        action()
    text = str(caught.value)
    assert named in text, text
    assert caught.value.remedy.strip(), text
    assert "Traceback" not in text and "\n" not in text.strip(), text
    assert digests(tmp_path) == before
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".petdiffusion")]
