"""NIfTI in two files, `.hdr` and `.img`, read as one file is."""

import json
import shutil

import nibabel
import numpy as np
import petdiffusion
import pytest
from petdiffusion import read
from petdiffusion.errors import InputError
from petdiffusion.progress import Run
from petdiffusion.request import changed_input, sha256_of
from petdiffusion.volume import HU, SUVBW
from support import dicom_factory
from support import io_bad as bad

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2.5, 0, -30], [0, 0, 3, 100], [0, 0, 0, 1]])


def pair(folder, values=None, name="pet", sidecar=None, kind=nibabel.Nifti1Pair):
    folder.mkdir(exist_ok=True)
    nibabel.save(kind(bad.values() if values is None else values, AFFINE), folder / f"{name}.img")
    if sidecar is not None:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return folder / f"{name}.hdr"


@pytest.mark.parametrize("ending", [".hdr", ".img"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_a_pair_is_the_image_that_one_file_is(tmp_path, ending, kind):
    given = pair(tmp_path, sidecar={"Units": "SUVbw", "TracerName": "FDG"}, kind=kind).with_suffix(ending)
    nibabel.save(nibabel.Nifti1Image(bad.values(), AFFINE), tmp_path / "one.nii")
    found, one = read.image(given, run=(run := Run())), read.image(tmp_path / "one.nii", unit="SUVbw")
    np.testing.assert_array_equal(found.array, one.array)
    assert found.geometry == one.geometry and found.unit == SUVBW and found.facts.tracer == "FDG" and not run.warnings


def test_ct_labels_and_frames_too(tmp_path):
    ct = pair(tmp_path, np.linspace(-1000, 1000, bad.values().size, dtype=np.float32).reshape(bad.values().shape), "ct")
    assert read.image(ct, "ct").unit == HU
    organs = pair(tmp_path, (bad.values() > 1).astype(np.int16) * 5, "organs", {"5": "liver"})
    assert set(read.labels(organs).present()) == {5}
    assert len(read.frames(pair(tmp_path, np.stack([bad.values()] * 3, axis=3), "frames", {"Units": "SUVbw"}))) == 3


def test_a_run_knows_both_files(tmp_path):
    path = pair(tmp_path, bad.values((24, 24, 24)), sidecar={"Units": "SUVbw"})
    record = petdiffusion.denoise(path, "gaussian").record
    assert record["inputs_sha256"]["pet"] == sha256_of(path) == sha256_of(path.with_suffix(".img"))
    assert changed_input(record) is None
    data = bytearray(path.with_suffix(".img").read_bytes())
    data[100] ^= 1
    path.with_suffix(".img").write_bytes(data)
    assert changed_input(record)


def test_neither_file_is_replaced(tmp_path):
    from petdiffusion.write import images

    path = pair(tmp_path)
    assert images.originals(path) == images.originals(path.with_suffix(".img")) == [path, path.with_suffix(".img")]


def test_what_is_no_whole_pair_is_refused(tmp_path):
    path = pair(tmp_path)
    voxels = path.with_suffix(".img").read_bytes()
    path.with_suffix(".img").write_bytes(voxels[:-100])
    with pytest.raises(InputError, match=r"pet\.hdr"):
        read.image(path)
    path.with_suffix(".img").unlink()
    with pytest.raises(InputError, match=r"not beside it\. Copy both"):
        read.image(path)
    path.write_text("!INTERFILE := \n")
    path.with_suffix(".img").write_bytes(voxels)
    with pytest.raises(InputError, match=r"pet\.hdr: cannot be read \(its content is not of this format"):
        read.image(path)


def test_analyze_is_refused_since_it_says_no_side(tmp_path):
    image = nibabel.AnalyzeImage(bad.values().astype(np.float32), None)
    nibabel.save(image, tmp_path / "old.img")
    for ending in (".hdr", ".img"):
        with pytest.raises(InputError, match="does not say which side is left"):
            read.image(tmp_path / f"old{ending}")


def test_dicom_that_is_named_img_stays_dicom(tmp_path):
    series = dicom_factory.pet(tmp_path / "series")
    for number, file in enumerate(series.files):
        shutil.move(file, file.with_name(f"slice{number}.img"))
    assert read.image(series.folder / "slice0.img").geometry.size[2] == len(series.files)
