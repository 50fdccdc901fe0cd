"""Everything that can be wrong with where a result goes: the named error, nothing half-written, no input touched."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import petdiffusion
import pytest
import SimpleITK as sitk
from petdiffusion import convert, read
from petdiffusion.errors import OutputError
from petdiffusion.rerun import rerun
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write import dicom_pet, images, labels
from support import dicom_factory as factory
from support import io_bad as bad
from support.io_bad import refused
from support.scans import write_patient

GRID = Geometry((4, 5, 6), (2, 2, 3))


def volume():
    return Volume(bad.values((6, 5, 4)), GRID, SUVBW)


def label_map():
    return LabelMap(np.arange(120).reshape(6, 5, 4) % 3, GRID, {1: "liver"})


SAVERS = {"nifti": lambda path: images.write(volume(), path), "labels": lambda path: labels.write(label_map(), path)}
TARGETS = {
    "no image format": ("pet.tiff", "pet.tiff"), "no suffix": ("pet", ".nii.gz"),
    "below a file": ("taken.txt/pet.nii.gz", "taken.txt"), "a folder in the way": ("folder.nii.gz", "is a folder"),
    "exists": ("there.nii.gz", "exists already"), "sidecar exists": ("there.nii", "exists already"),
    "name too long": ("n" * 300 + ".nii.gz", "too long"), "zero byte": ("a\0b.nii.gz", "null byte"),
}


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("case", TARGETS)
def test_targets(tmp_path, case, saver):
    target, named = TARGETS[case]
    bad.file(tmp_path, "taken.txt")
    bad.file(tmp_path, "there.nii.gz")
    bad.file(tmp_path, "there.json")
    (tmp_path / "folder.nii.gz").mkdir()
    refused(tmp_path, OutputError, named, lambda: SAVERS[saver](tmp_path / target))


NOTES = {"Units": "Bq/mL", "TimeZero": "10:00:00", "Mine": "keep me"}


@pytest.mark.parametrize("make", [bad.nifti, bad.itk])
def test_a_sidecar_of_the_image_that_is_converted_is_not_replaced(tmp_path, make):
    """Both would have the same name."""
    source = make(tmp_path)
    bad.file(tmp_path, "pet.json", json.dumps(NOTES).encode())
    refused(tmp_path, OutputError, "pet.json", lambda: convert(source, tmp_path / "pet.nii", overwrite=True))
    refused(tmp_path, OutputError, "pet.json",
            lambda: images.write(read.image(source), tmp_path / "pet.nii", overwrite=True))  # fmt: skip
    assert read.image(convert(source, tmp_path / "other.nii")).unit == "Bq/ml"


@pytest.mark.parametrize("make", [bad.nifti, bad.itk])
def test_no_sidecar_comes_to_lie_beside_an_image_of_another_unit(tmp_path, make):
    """The image would be read by it from then on."""
    source = make(tmp_path)
    refused(tmp_path, OutputError, "pet.json",
            lambda: convert(source, tmp_path / "pet.nii", unit="SUVbw", to="SUVbw"))  # fmt: skip
    for _ in range(2):  # a sidecar that this program wrote is replaced by what says the same
        convert(source, tmp_path / "pet.nii", unit="SUVbw", overwrite=True)
    own = images.write(volume(), tmp_path / "own.nrrd")  # by its header
    assert read.image(convert(own, tmp_path / "own.nii", to="SUVbw")).unit == SUVBW


def test_no_room_is_seen_beforehand(tmp_path, monkeypatch):
    from petdiffusion.write import staging

    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    refused(tmp_path, OutputError, "are free", lambda: images.write(volume(), tmp_path / "new" / "a.nii.gz"))
    refused(tmp_path, OutputError, "are free", lambda: labels.write(label_map(), tmp_path / "new" / "a.nrrd"))
    assert not (tmp_path / "new").exists()


def test_no_room_for_a_result_is_seen_before_the_work_and_said_of_the_users_folder(tmp_path, monkeypatch):
    import petdiffusion
    from petdiffusion.write import staging

    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    monkeypatch.delattr("petdiffusion.run._prepare")
    with pytest.raises(OutputError, match="are free") as caught:
        petdiffusion.denoise(volume(), "gaussian", out=tmp_path / "new")
    assert caught.value.what == f"{tmp_path / 'new'} cannot be written" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"),
                                            (errno.EROFS, "read-only")])
def test_the_disk_fails_while_writing(tmp_path, monkeypatch, suffix, code, said):
    def fail(image, path, *more):
        with open(path, "wb") as stream:
            stream.write(b"half")
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("petdiffusion.write.gzipped.write", fail)
    monkeypatch.setattr(sitk, "WriteImage", fail)
    refused(tmp_path, OutputError, said, lambda: images.write(volume(), tmp_path / "out" / f"a{suffix}"))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_really_full_device(tmp_path, monkeypatch, suffix):
    """The libraries' own reaction to ENOSPC, not a pretended one."""
    from petdiffusion.write import images as module

    def into_full(save):
        def divert(image, path, **more):
            path.symlink_to("/dev/full")
            save(image, path, **more)
        return divert

    for name in ("save_nifti", "save_itk"):
        monkeypatch.setattr(module, name, into_full(getattr(module, name)))
    big = Volume(np.random.default_rng(0).random((60, 60, 60)), Geometry((60, 60, 60), (1, 1, 1)), SUVBW)
    refused(tmp_path, OutputError, f"a{suffix}", lambda: images.write(big, tmp_path / f"a{suffix}"))


def test_dicom_out_fails_half_way(tmp_path, monkeypatch):
    import pydicom

    source = bad.dicom(tmp_path)
    pet = read.image(source)
    saved, real = [], pydicom.FileDataset.save_as

    def fail(self, path, **more):
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        saved.append(path)
        real(self, path, **more)

    monkeypatch.setattr(pydicom.FileDataset, "save_as", fail)
    refused(tmp_path, OutputError, "disk is full", lambda: dicom_pet.write(pet, tmp_path / "out", source))
    assert len(saved) == 3 and not (tmp_path / "out").exists()


def test_the_input_is_never_overwritten(tmp_path):
    file = bad.nifti(tmp_path, sidecar={"Units": "SUVbw"})
    pet = read.image(file)
    refused(tmp_path, OutputError, "input", lambda: images.write(pet, file, overwrite=True))
    series = bad.dicom(tmp_path)
    scan = read.image(series)
    (tmp_path / "series" / "00001.dcm").write_bytes((tmp_path / "series" / "PT_0001.dcm").read_bytes())
    refused(tmp_path, OutputError, "input", lambda: dicom_pet.write(scan, series, series, overwrite=True))


@pytest.mark.parametrize("name", [
    "größe 大 имя", "with  spaces & (brackets)", "deep/" * 20 + "down", "n" * 200, "ё'\"!#%"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_unusual_names_work(tmp_path, name, suffix):
    target = tmp_path / f"{name}{suffix}"
    assert read.image(images.write(volume(), target)).array.size == 120
    folder = tmp_path / "dicom" / name
    series = factory.pet(folder / "in", geometry=factory.grid((2, 4, 4)))
    dicom_pet.write(read.image(series.folder), folder / "out", series.folder)
    assert read.image(folder / "out").geometry.size == (4, 4, 2)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names there are Unicode")
def test_a_scan_in_a_folder_whose_name_is_no_unicode_is_denoised_and_repeated(tmp_path):
    """As where an archive of Windows was unpacked. All was computed, and then lost with the record."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    pet = write_patient(folder)["pet"]
    petdiffusion.denoise(pet, method="gaussian", out=tmp_path / "out")
    record = (tmp_path / "out" / "record.json").read_bytes().decode("utf-8")
    assert json.loads(record)["request"]["pet"] == pet
    rerun(tmp_path / "out", tmp_path / "again")
    assert (tmp_path / "again" / "record.json").is_file()
    (folder / "cases.csv").write_text("id,pet\na,low.nii.gz\n")
    (row,) = petdiffusion.run_batch(folder / "cases.csv", folder / "study", "gaussian")
    assert row["status"] == "failed" and "does not exist" in (folder / "study" / "summary.csv").read_text("utf-8")
