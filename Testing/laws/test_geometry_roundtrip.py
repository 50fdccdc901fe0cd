"""No format and no library moves a voxel: any grid, any direction, any anisotropy."""

import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from petdiffusion import read
from petdiffusion.volume import Geometry, LabelMap, Volume
from petdiffusion.write import dicom_pet, images, labels
from scipy.spatial.transform import Rotation
from support import dicom_factory as factory

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FLOAT32_MM = 2e-3
"""NIfTI keeps positions in float32: at 10 m that is a part of a micrometre per voxel, over a corner a little more."""


@st.composite
def geometries(draw, smallest=1):
    size = draw(st.tuples(*[st.integers(smallest, 7)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 20.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-2000.0, 2000.0)] * 3))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180.0, 180.0)] * 3)), degrees=True).as_matrix()
    flips = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    order = np.eye(3)[list(draw(st.permutations(range(3))))]
    return Geometry(size, spacing, origin, tuple((turn @ flips @ order).ravel()))


def image_on(geometry: Geometry, seed: int = 0) -> Volume:
    """Different everywhere, so that a swap of axes or a flip cannot pass."""
    values = np.random.default_rng(seed).normal(5, 1, geometry.shape).astype(np.float32)
    values.flat[0] = 100.0
    return Volume(values, geometry, "SUVbw")


def world(geometry: Geometry, index: tuple[int, int, int]) -> np.ndarray:
    return (geometry.affine @ [*index, 1])[:3]


@given(geometries())
@settings(max_examples=60, deadline=None)
def test_simpleitk_in_memory_is_exact(geometry):
    original = image_on(geometry)
    image = original.to_sitk()
    last = tuple(n - 1 for n in geometry.size)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(last), world(geometry, last), atol=1e-9)
    assert image[last] == original.array[last[::-1]]
    back = read.image(image, unit="SUVbw") if original.array.size > 1 else Volume.from_sitk(image)
    assert back.geometry == geometry
    np.testing.assert_array_equal(back.array, original.array)


@given(geometries())
@settings(max_examples=60, deadline=None)
def test_nibabel_in_memory_is_exact(geometry):
    original = image_on(geometry)
    image = original.to_nibabel()
    last = tuple(n - 1 for n in geometry.size)
    ras = (image.affine @ [*last, 1])[:3]
    np.testing.assert_allclose(ras * [-1, -1, 1], world(geometry, last), atol=1e-9)
    back = Volume.from_nibabel(image)
    assert back.geometry.close_to(geometry, 1e-9)
    np.testing.assert_array_equal(back.array, original.array)


@given(geometries(smallest=2), st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]))
@settings(max_examples=80, deadline=None)
def test_files_and_both_libraries_agree_on_every_grid(geometry, suffix):
    original = image_on(geometry)
    with tempfile.TemporaryDirectory() as folder:
        file = images.write(original, Path(folder) / f"image{suffix}")
        back = read.image(file)
        np.testing.assert_array_equal(back.array, original.array)
        tolerance = FLOAT32_MM if ".nii" in suffix else 1e-6
        assert back.geometry.close_to(geometry, tolerance)
        itk = sitk.ReadImage(str(file))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), original.array)
        assert Geometry.of_sitk(itk).close_to(back.geometry, 20 * FLOAT32_MM if ".nii" in suffix else 1e-6)
        if ".nii" in suffix:
            np.testing.assert_allclose(LPS_FROM_RAS @ nibabel.load(file).affine, geometry.affine, atol=FLOAT32_MM)


@given(geometries(smallest=2), st.sampled_from([".nii.gz", ".nrrd", ".seg.nrrd", ".mha"]))
@settings(max_examples=40, deadline=None)
def test_label_maps_lie_where_their_image_lies(geometry, suffix):
    mask = LabelMap(np.arange(np.prod(geometry.size)).reshape(geometry.shape) % 7, geometry, {1: "a", 6: "b"})
    with tempfile.TemporaryDirectory() as folder:
        back = read.labels(labels.write(mask, Path(folder) / f"mask{suffix}"))
    np.testing.assert_array_equal(back.array, mask.array)
    assert back.geometry.close_to(geometry, FLOAT32_MM)


@given(geometries(smallest=2))
@settings(max_examples=25, deadline=None)
def test_dicom_in_and_out_lies_where_itk_sees_it(geometry):
    """DICOM knows right-handed stacks only; values keep 16 bits a slice."""
    if np.linalg.det(np.reshape(geometry.direction, (3, 3))) < 0:
        flipped = np.reshape(geometry.direction, (3, 3)) * [1, 1, -1]
        geometry = Geometry(geometry.size, geometry.spacing, geometry.origin, tuple(flipped.ravel()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = factory.pet(folder / "in", geometry=geometry, values=image_on(geometry).array * 1e3)
        original = read.image(series.folder)
        assert original.geometry.close_to(geometry, 1e-4)
        changed = original.with_array(original.array[:, ::-1] * 0.7 - 100)
        dicom_pet.write(changed, folder / "out", series.folder)
        back = read.image(folder / "out")
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "out")))
        itk = reader.Execute()
    assert back.geometry == original.geometry
    assert Geometry.of_sitk(itk).close_to(back.geometry, 1e-3)
    peaks = np.abs(changed.array).max(axis=(1, 2), keepdims=True)
    assert (np.abs(back.array - changed.array) / peaks).max() < 1e-4
    np.testing.assert_allclose(sitk.GetArrayFromImage(itk), back.array, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_known_voxel_is_where_it_was_put(tmp_path, suffix):
    """By hand: voxel (2, 1, 3) of spacing (2, 3, 4) from (10, 20, 30), turned 90 degrees about z."""
    geometry = Geometry((5, 4, 6), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    array = np.zeros(geometry.shape, np.float32)
    array[3, 1, 2] = 1.0
    back = read.image(images.write(Volume(array, geometry, "SUVbw"), tmp_path / f"a{suffix}"))
    k, j, i = np.argwhere(back.array == 1.0)[0]
    np.testing.assert_allclose(world(back.geometry, (i, j, k)), (10 - 3, 20 + 4, 30 + 12), atol=1e-4)
