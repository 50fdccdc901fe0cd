"""The body is found at any dose, in any unit, without the noise of the air and without the table."""

import numpy as np
import pytest
from petdiffusion.prepare.mask import _block_mean, _closed, _refined, body_mask, bounding_box, from_ct
from petdiffusion.volume import HU, SUVBW, Geometry, Volume
from scipy import ndimage
from support.blobs import blobs


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("relative_noise", [0.02, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("arms", [False, True])
def test_body_is_found_at_every_dose(relative_noise, arms):
    patient = blobs((75, 60, 80), (4.0, 4.0, 4.0), arms=arms, relative_noise=relative_noise)
    mask = body_mask(patient.noisy)
    assert dice(mask, patient.body) > 0.9
    trunk = patient.labels.array == 1
    assert mask[trunk].mean() > 0.97


@pytest.mark.parametrize("relative_noise", [0.1, 0.5])
def test_arms_beside_the_trunk_belong_to_the_body(relative_noise):
    patient = blobs((75, 60, 80), (4.0, 4.0, 4.0), arms=True, relative_noise=relative_noise)
    arms = np.isin(patient.labels.array, (8, 9))
    assert body_mask(patient.noisy)[arms].mean() > 0.85


def test_cold_lungs_are_inside():
    patient = blobs((75, 60, 80), (4.0, 4.0, 4.0), relative_noise=0.3)
    lungs = np.isin(patient.labels.array, (2, 3))
    assert body_mask(patient.noisy)[lungs].all()


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("find", [body_mask, from_ct])
def test_lungs_open_at_the_fields_ends_are_inside_however_the_file_lies(find, order):
    """Each axial slice encloses them, and no plane of a coronal or sagittal file does."""
    _, y, x = np.indices((20, 50, 80))
    body = ((y - 25) / 20) ** 2 + ((x - 40) / 34) ** 2 < 1
    lungs = ((y - 25) / 13) ** 2 + (np.abs(x - 40) / 11 - 1.45) ** 2 < 1
    array = np.where(lungs, 0.02, np.where(body, 1.0, 0.0)) if find is body_mask else np.where(body & ~lungs, 40, -900)
    unit = SUVBW if find is body_mask else HU
    axes = np.zeros((3, 3))
    axes[[2 - axis for axis in order], [2, 1, 0]] = 1  # the file's axes, in the patient's
    stored = np.ascontiguousarray(array.transpose(order), np.float32)
    geometry = Geometry(stored.shape[::-1], (4.0, 4.0, 4.0), direction=tuple(axes.ravel()))
    mask = find(Volume(stored, geometry, unit)).transpose(np.argsort(order))
    axial = find(Volume(array.astype(np.float32), Geometry(array.shape[::-1], (4.0, 4.0, 4.0)), unit))
    assert axial[lungs].all() and np.array_equal(mask, axial)


def test_mask_does_not_depend_on_the_unit():
    patient = blobs((40, 48, 56), (5.0, 5.0, 5.0), arms=True)
    scaled = patient.noisy.with_array(patient.noisy.array * 8192.0)
    np.testing.assert_array_equal(body_mask(scaled), body_mask(patient.noisy))


def test_brain_alone_with_a_faint_scalp():
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (50, 60, 60)], indexing="ij")
    radius = np.sqrt(x ** 2 + y ** 2 + z ** 2)
    truth = np.where(radius < 0.55, 6.0, np.where(radius < 0.75, 1.2, 0.0))
    noisy = truth + 0.15 * np.random.default_rng(0).standard_normal(truth.shape)
    mask = body_mask(Volume(noisy, Geometry((60, 60, 50), (4.0, 4.0, 4.0))))
    assert dice(mask, radius < 0.75) > 0.93


def test_image_full_of_tissue_is_all_body():
    noisy = 1.0 + 0.3 * np.random.default_rng(1).standard_normal((30, 40, 40))
    assert body_mask(Volume(noisy, Geometry((40, 40, 30), (4.0, 4.0, 4.0)))).all()


@pytest.mark.parametrize("shape", [(1, 60, 80), (3, 60, 80), (40, 1, 80), (1, 1, 1)])
def test_thin_images(shape):
    patient = blobs(shape, (4.0, 4.0, 4.0))
    mask = body_mask(patient.noisy)
    assert mask.shape == shape and mask.dtype == bool
    if shape[0] < 10 and shape[1] > 10:
        assert dice(mask, patient.body) > 0.9


@pytest.mark.parametrize("value, expected", [(0.0, False), (-1.0, False), (2.5, True)])
def test_flat_images(value, expected):
    flat = Volume(np.full((10, 12, 14), value, np.float32), Geometry((14, 12, 10), (4.0, 4.0, 4.0)))
    assert np.all(body_mask(flat) == expected)


def test_ct_body_without_table_and_with_lungs():
    patient = blobs((75, 60, 80), (4.0, 4.0, 4.0), arms=True)
    ct = patient.ct.array.copy()
    ct[:, 57:58, 5:75] = 100.0
    mask = from_ct(patient.ct.with_array(ct))
    assert dice(mask, patient.body) > 0.93
    assert not mask[:, 57, 5:75].any()
    assert mask[np.isin(patient.labels.array, (2, 3))].all()


def test_ct_of_air_has_no_body():
    air = Volume(np.full((10, 12, 14), -1000.0, np.float32), Geometry((14, 12, 10), (2.0, 2.0, 2.0)), HU)
    assert not from_ct(air).any()


def test_bounding_box_by_hand():
    mask = np.zeros((6, 7, 8), bool)
    mask[2:4, 3, 5:8] = True
    assert bounding_box(mask) == (slice(2, 4), slice(3, 4), slice(5, 8))
    assert bounding_box(mask, (1, 4, 2)) == (slice(1, 5), slice(0, 7), slice(3, 8))
    assert bounding_box(np.zeros((2, 3, 4), bool)) == (slice(0, 2), slice(0, 3), slice(0, 4))


@pytest.mark.parametrize("seed", range(12))
def test_gaps_are_closed_as_by_distances(seed):
    """Closing by a ball is growing and shrinking by distances; beyond the border the mask goes on as it is there."""
    rng = np.random.default_rng(seed)
    shape, spacing = tuple(rng.integers(2, 24, 3)), rng.uniform(1.2, 9.0, 3)
    mask = ndimage.gaussian_filter(rng.standard_normal(shape), 1.0) > 0.2
    mask[: shape[0] // 3] &= seed % 2 == 0
    pad = [(9, 9)] * 3
    grown = ndimage.distance_transform_edt(~np.pad(mask, pad, mode="edge"), spacing) <= 6.0
    shrunk = ndimage.distance_transform_edt(np.pad(grown, 9, mode="edge"), spacing)[18:-18, 18:-18, 18:-18] > 6.0
    np.testing.assert_array_equal(_closed(mask, spacing, 6.0), shrunk | mask)


FACTORS = [(1, 1, 2), (2, 2, 2), (1, 3, 2), (4, 5, 3), (3, 1, 7), (2, 8, 9)]


@pytest.mark.parametrize("factor", FACTORS)
def test_blocks_are_averaged_to_the_bit_as_numpy_does(factor):
    array = np.random.default_rng(0).standard_normal((23, 31, 37)).astype(np.float32) * 1e3
    expected = np.pad(array, [(0, -n % f) for n, f in zip(array.shape, factor)], mode="edge")
    for axis, f in enumerate(factor):
        if f > 1:
            parts = np.split(expected, expected.shape[axis] // f, axis)
            expected = np.concatenate([part.mean(axis, np.float32, keepdims=True) for part in parts], axis)
    np.testing.assert_array_equal(_block_mean(array, np.array(factor)), expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("part", [0.0, 0.001, 0.03, 0.5, 1.0])
def test_the_mask_is_refined_to_the_bit_as_the_whole_grid_would_be(factor, part):
    """Linear between the centres of the coarse voxels, and level beyond the outermost."""
    rng = np.random.default_rng(int(1000 * part))
    coarse = rng.random((7, 9, 11)) < part
    shape = tuple(n * f - int(rng.integers(f)) for n, f in zip(coarse.shape, factor))
    level = coarse.astype(np.float32)
    for axis, (size, f) in enumerate(zip(shape, factor)):
        at = np.clip([(k + 0.5) / f - 0.5 for k in range(size)], 0, coarse.shape[axis] - 1)
        weight = (at - np.floor(at)).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
        level = level.take(low, axis) * (1 - weight) + level.take(high, axis) * weight
    np.testing.assert_array_equal(_refined(coarse, np.array(factor), shape), level >= 0.5)
