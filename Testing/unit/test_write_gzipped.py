"""gzip in threads: one stream of the same bytes, read by zlib itself, ITK and nibabel."""

import gzip
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion.volume import Geometry, Volume
from petdiffusion.write import gzipped, images


@pytest.fixture(params=[1, 3])
def small_parts(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(request.param))
    monkeypatch.setattr(gzipped, "PART", 50_000)


@pytest.mark.parametrize("size", [0, 1, 49_999, 50_000, 50_001, 1_234_567])
def test_one_stream_of_the_same_bytes(size, small_parts, tmp_path):
    data = (np.random.default_rng(2).integers(0, 40, size) ** 2 // 90).astype(np.uint8).tobytes()
    gzipped.write(data, tmp_path / "a.gz")
    packed = (tmp_path / "a.gz").read_bytes()
    assert gzip.decompress(packed) == data
    one = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert one.decompress(packed) == data and one.eof and not one.unused_data
    gzipped.write(memoryview(data), tmp_path / "b.gz")
    assert (tmp_path / "b.gz").read_bytes() == packed


def test_parts_know_what_came_before(small_parts, tmp_path):
    """Bytes that come again after 20,000 others take no room, though a part ends between them."""
    once = np.random.default_rng(2).integers(0, 256, 20_000).astype(np.uint8).tobytes()
    gzipped.write(once * 40, tmp_path / "a.gz")
    assert (tmp_path / "a.gz").stat().st_size < 2 * len(once)


@pytest.mark.parametrize("ending", [".nii.gz", ".NII.GZ", ".nii"])
def test_programs_of_the_field_read_it(ending, small_parts, tmp_path):
    array = np.random.default_rng(2).normal(size=(30, 40, 50)).astype(np.float32)
    volume = Volume(array, Geometry((50, 40, 30), (2.0, 2.0, 3.0), (-5.0, 7.0, 1.0)))
    file = images.write(volume, tmp_path / f"a{ending}")
    assert (file.read_bytes()[:2] == b"\x1f\x8b") == ending.lower().endswith(".gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(file))), array)
    np.testing.assert_array_equal(np.asarray(nibabel.load(file).dataobj).T, array)
