"""FreeSurfer's files are read as the NIfTI of the same image is, and never with voxels or a place that are wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from petdiffusion import convert, read
from petdiffusion.errors import InputError, OutputError

ENDINGS = (".mgz", ".mgh")
TURN = np.deg2rad(20)
AFFINE = np.array([[-2 * np.cos(TURN), 0, 1.5 * np.sin(TURN), 31], [0, 2.5, 0, -17],
                   [2 * np.sin(TURN), 0, 1.5 * np.cos(TURN), 5], [0, 0, 0, 1]])  # fmt: skip
VALUES = np.random.default_rng(3).gamma(2.0, 50.0, (12, 10, 8)).astype(np.float32)
FLAG = slice(28, 30)
"""Where `goodRASFlag` stands in the header."""


def saved(file: Path, values: np.ndarray = VALUES) -> Path:
    kind = nibabel.Nifti1Image if file.name.endswith((".nii", ".nii.gz")) else nibabel.MGHImage
    nibabel.save(kind(values, AFFINE), file)
    return file


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_mr_is_that_of_its_nifti(tmp_path, ending):
    found, wanted = (read.image(saved(tmp_path / f"t1{one}"), "mr") for one in (ending, ".nii.gz"))
    assert np.array_equal(found.array, wanted.array)
    assert np.allclose(found.geometry.affine, wanted.geometry.affine, atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_are_those_of_their_nifti(tmp_path, ending):
    values = (VALUES // 40).astype(np.int32)
    found, wanted = (read.labels(saved(tmp_path / f"aseg{one}", values)) for one in (ending, ".nii.gz"))
    assert np.array_equal(found.array, wanted.array) and found.array.dtype.isnative
    assert np.allclose(found.geometry.affine, wanted.geometry.affine, atol=1e-4)


def test_its_sidecar_says_the_unit(tmp_path):
    (tmp_path / "pet.json").write_text(json.dumps({"Units": "SUVbw"}))
    assert read.image(saved(tmp_path / "pet.mgz", VALUES / 50)).unit == "SUVbw"


def test_it_is_read_and_not_written(tmp_path):
    file = convert(saved(tmp_path / "t1.mgz"), tmp_path / "t1.nii.gz", role="mr")
    assert np.array_equal(read.image(file, "mr").array, VALUES.transpose(2, 1, 0))
    with pytest.raises(OutputError, match=r"again\.mgz"):
        convert(file, tmp_path / "again.mgz", role="mr")


def test_damaged_voxels_are_refused(tmp_path):
    file = saved(tmp_path / "t1.mgz")
    stored = bytearray(file.read_bytes())
    stored[-8] ^= 1  # gzip's checksum, which stands behind the last voxel
    file.write_bytes(stored)
    with pytest.raises(InputError, match="damaged"):
        read.image(file, "mr")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_header_without_a_place_is_refused(tmp_path, ending):
    file = saved(tmp_path / f"t1{ending}")
    opened = gzip.open if ending == ".mgz" else open
    with opened(file, "rb") as stream:
        stored = bytearray(stream.read())
    stored[FLAG] = b"\0\0"
    with opened(file, "wb") as stream:
        stream.write(stored)
    with pytest.raises(InputError, match="goodRASFlag"):
        read.image(file, "mr")
