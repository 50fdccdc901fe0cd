"""Compressed files that a copy damaged: the libraries read on with wrong voxels, this program says so."""

import gzip
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import read
from petdiffusion.errors import InputError
from support import io_bad as bad
from support.io_bad import refused

VOXELS = np.arange(720, dtype=np.float32).reshape(8, 9, 10) % 7
STORED = 0
"""Level of compression at which a changed byte is a changed voxel, and nothing that unpacking would stumble on."""
HOW = {
    "voxel changed": (lambda packed: _flipped(packed, len(packed) // 2), "its voxels are damaged"),
    "checksum lost": (lambda packed: packed[:-8], "its voxels are incomplete"),
    "checksum changed": (lambda packed: _flipped(packed, len(packed) - 6), "its voxels are damaged"),
    "length changed": (lambda packed: _flipped(packed, len(packed) - 2), "its voxels are damaged"),
}


def _flipped(packed, at):
    changed = bytearray(packed)
    changed[at] ^= 1
    return bytes(changed)


def nifti(folder, array=VOXELS, change=lambda packed: packed):
    plain = nibabel.Nifti1Image(array.T, np.diag([2.0, 2, 3, 1])).to_bytes()
    return bad.file(folder, "pet.nii.gz", change(gzip.compress(plain, STORED, mtime=0)))


def metaimage(folder, how, array=VOXELS, apart=False, size=True, wrong_length=0):
    """Written by hand: ITK cannot be asked for a level."""
    raw = array.tobytes()
    packed = zlib.compress(raw + b"\0" * wrong_length if wrong_length > 0 else raw[: len(raw) + wrong_length], STORED)
    packed = how(packed)
    kind = {"float32": "MET_FLOAT", "uint8": "MET_UCHAR"}[str(array.dtype)]
    sizes = " ".join(str(n) for n in array.shape[::-1])
    header = (f"ObjectType = Image\nNDims = {array.ndim}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
              f"CompressedData = True\n{f'CompressedDataSize = {len(packed)}' if size else 'Comment = none'}\n"
              f"DimSize = {sizes}\nElementType = {kind}\nElementDataFile = {'pet.zraw' if apart else 'LOCAL'}\n")
    if apart:
        bad.file(folder, "pet.zraw", packed)
        return bad.file(folder, "pet.mhd", header.encode())
    return bad.file(folder, "pet.mha", header.encode() + packed)


@pytest.mark.parametrize("how", HOW)
def test_a_nifti_whose_checksum_does_not_fit_is_no_image(tmp_path, how):
    change, words = HOW[how]
    file = nifti(tmp_path, change=change)
    for source in (file, nibabel.load(file)):
        refused(tmp_path, InputError, words, lambda source=source: read.image(source))
        refused(tmp_path, InputError, words, lambda source=source: read.labels(source))


@pytest.mark.parametrize("how", HOW)
def test_frames_whose_checksum_does_not_fit_are_refused_before_the_first_is_read(tmp_path, how):
    change, words = HOW[how]
    file = nifti(tmp_path, np.stack([VOXELS, VOXELS + 1]), change)
    refused(tmp_path, InputError, words, lambda: read.frames(file))


def test_a_nifti_packed_in_parts_or_with_something_behind_it_is_read(tmp_path):
    plain = gzip.decompress(nifti(tmp_path).read_bytes())
    parts = gzip.compress(plain[:500]) + gzip.compress(plain[500:])
    for packed in (parts, parts + b"\0" * 512, parts + b"end of tape"):
        np.testing.assert_array_equal(read.image(bad.file(tmp_path, "pet.nii.gz", packed)).array, VOXELS)


def test_values_changed_in_memory_are_those_that_count(tmp_path):
    image = nibabel.load(nifti(tmp_path))
    image.get_fdata(dtype=np.float32)[0, 0, 0] = 50
    assert read.image(image).array[0, 0, 0] == 50


SIMPLE = {name: HOW[name] for name in ("voxel changed", "checksum lost")}


@pytest.mark.parametrize("size", [True, False], ids=["size told", "size not told"])
@pytest.mark.parametrize("apart", [False, True], ids=["mha", "mhd"])
@pytest.mark.parametrize("how", SIMPLE)
def test_a_compressed_metaimage_that_is_damaged_is_no_image(tmp_path, how, apart, size):
    change, words = SIMPLE[how]
    file = metaimage(tmp_path, change, apart=apart, size=size)
    refused(tmp_path, InputError, words, lambda: read.image(file))
    refused(tmp_path, InputError, words, lambda: read.labels(file))


@pytest.mark.parametrize("how", SIMPLE)
def test_compressed_frames_that_are_damaged_are_refused(tmp_path, how):
    change, words = SIMPLE[how]
    file = metaimage(tmp_path, change, np.stack([VOXELS] * 2))
    refused(tmp_path, InputError, words, lambda: read.frames(file))


@pytest.mark.parametrize("bytes_more", [-40, 40])
def test_a_compressed_metaimage_of_another_length_than_its_header_says_is_no_image(tmp_path, bytes_more):
    file = metaimage(tmp_path, lambda packed: packed, wrong_length=bytes_more)
    refused(tmp_path, InputError, "pet.mha", lambda: read.image(file))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("apart", [False, True], ids=["mha", "mhd"])
def test_a_compressed_metaimage_that_is_sound_is_read(tmp_path, apart, dtype):
    file = metaimage(tmp_path, lambda packed: packed, VOXELS.astype(dtype), apart)
    np.testing.assert_array_equal(read.image(file).array, VOXELS)
    for name in ("itk.mha", "itk.mhd"):  # as ITK packs them
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS.astype(dtype)), str(tmp_path / name), useCompression=True)
        np.testing.assert_array_equal(read.image(tmp_path / name).array, VOXELS)


def test_an_almost_empty_map_that_packs_to_nearly_nothing_is_read(tmp_path):
    organs = np.zeros((100, 160, 200), np.uint8)
    organs[50, 60, 70] = 4
    for name in ("organs.mha", "organs.mhd", "organs.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(organs), str(tmp_path / name), useCompression=True)
        np.testing.assert_array_equal(read.labels(tmp_path / name).array, organs)
