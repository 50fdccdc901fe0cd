"""BM3D and BM4D: exact transforms, parts that agree with brute force, gains of the published kind."""

import numpy as np
import pytest
import torch
from petdiffusion.methods.baselines import bm3d
from petdiffusion.methods.baselines.bm3d import Plan, cubes_plan, slices_plan
from petdiffusion.progress import Run
from scipy.fft import dctn
from skimage import data
from support.blobs import blobs, correlated_noise, psnr
from support.frames import frame


def decibel(image, truth, peak=255.0):
    return 10 * np.log10(peak ** 2 / np.mean((image - truth) ** 2))


@pytest.mark.parametrize("block", [(1, 8, 8), (4, 4, 4)])
def test_block_transform_is_scipys_orthonormal_dct(block):
    values = np.random.default_rng(0).standard_normal(block).astype(np.float32)
    transform = bm3d.block_transform(block)
    ours = (transform @ torch.from_numpy(values).ravel()).numpy().reshape(block)
    np.testing.assert_allclose(ours, dctn(values, norm="ortho"), atol=1e-5)
    np.testing.assert_allclose((transform @ transform.T).numpy(), np.eye(len(transform)), atol=1e-6)


def test_haar_by_hand():
    half, quarter = 0.5, 1 / np.sqrt(2)
    expected = [[half, half, half, half], [half, half, -half, -half],
                [quarter, -quarter, 0, 0], [0, 0, quarter, -quarter]]
    np.testing.assert_allclose(bm3d.haar_matrix(4).numpy(), expected, atol=1e-6)
    for size in (1, 2, 8, 32):
        matrix = bm3d.haar_matrix(size).numpy()
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-6)


@pytest.mark.parametrize("block, fwhm", [((1, 8, 8), (0.0, 2.0, 2.0)), ((4, 4, 4), (2.0, 1.5, 2.5)),
                                         ((4, 4, 4), (0.0, 0.0, 0.0))])
def test_sd_of_coefficients_of_correlated_noise(block, fwhm):
    noise = correlated_noise((64, 64, 64), [f / 2.3548 for f in fwhm], np.random.default_rng(0))
    plan = Plan(block, (1, 1, 1), (0, 0, 0))
    coefficients = bm3d._blocks(torch.from_numpy(noise), plan)[::7] @ bm3d.block_transform(block).T
    expected = bm3d.coefficient_sd(block, list(fwhm)).numpy()
    measured = coefficients.std(0).numpy()
    large = expected > 0.3
    assert large.sum() > 15
    np.testing.assert_allclose(measured[large], expected[large], rtol=0.15)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 3)])
def test_blocks_by_hand(stride):
    image = torch.arange(3 * 11 * 13, dtype=torch.float32).reshape(3, 11, 13)
    plan = Plan((2, 4, 4), (1, 1, 1), (0, 0, 0), stride)
    rows, corners = bm3d._blocks(image, plan), plan.corners(image.shape)
    z, y, x = 1, 2, 1
    expected = image[z:z + 2, y:y + 3 * stride[1] + 1:stride[1], x:x + 3 * stride[2] + 1:stride[2]]
    row = rows[(z * corners[1] + y) * corners[2] + x]
    np.testing.assert_array_equal(row.numpy(), expected.ravel().numpy())
    assert len(rows) == np.prod(corners)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 1)])
def test_matches_are_the_nearest_blocks(stride):
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 14, 14)).astype(np.float32))
    plan = Plan((2, 4, 4), (1, 3, 3), (1, 2, 2), stride)
    distance, position = bm3d._matches(image, range(0, 2), plan, 8, Run())
    rows, corners = bm3d._blocks(image, plan).numpy(), plan.corners(image.shape)
    references = [(z, y, x) for z in range(0, 2) for y in range(0, corners[1], 3) for x in range(0, corners[2], 3)]
    assert len(position) == len(references)
    for number, reference in enumerate(references):
        near = [tuple(np.add(reference, offset)) for offset in plan.offsets]
        near = [n for n in near if all(0 <= c < size for c, size in zip(n, corners))]
        own, *_ = place = [np.ravel_multi_index(n, corners) for n in (reference, *near)]
        every = np.sort([np.mean((rows[own] - rows[p]) ** 2) for p in place[1:]])
        np.testing.assert_allclose(distance[number][1:], every[1:8], rtol=1e-4)
        assert position[number][0] == own
        found = np.mean((rows[own] - rows[position[number].numpy()]) ** 2, axis=1)
        np.testing.assert_allclose(found, every[:8], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("plan", [slices_plan(3), cubes_plan(2)], ids=["slices", "cubes"])
@pytest.mark.parametrize("fwhm", [0.0, 2.0, 3.0])
def test_every_voxel_is_reached(plan, fwhm):
    """Also with blocks whose voxels lie apart, on sizes that fit no step: nothing keeps its noise."""
    noisy = 10 + np.random.default_rng(0).standard_normal((5, 17, 22)).astype(np.float32)
    result = bm3d.collaborative(frame(noisy), plan, Run(), 3.0, (fwhm, fwhm, fwhm))
    assert np.abs(result - 10).max() < 1.5 < np.abs(noisy - 10).max() / 2


@pytest.mark.parametrize("stride, step", [((1, 1, 1), (3, 3, 3)), ((1, 2, 2), (3, 3, 3)), ((2, 2, 2), (3, 3, 3)),
                                          ((1, 3, 3), (3, 4, 4))])
@pytest.mark.parametrize("size", [5, 9, 14, 16, 23])
def test_no_voxel_of_the_image_is_missed(stride, step, size):
    """Counts the blocks over each voxel, by brute force."""
    plan = cubes_plan(2).strided(stride)
    assert plan.step == step
    padded, crop = bm3d._padded(np.zeros((size, size + 1, size + 2), np.float32), plan)
    count = np.zeros(padded.shape, int)
    for corner in np.ndindex(*[len(range(0, n, s)) for n, s in zip(plan.corners(padded.shape), plan.step)]):
        start = np.multiply(corner, plan.step)
        count[tuple(slice(c, c + e, s) for c, e, s in zip(start, plan.extent, plan.stride))] += 1
    assert count[crop].min() >= 1
    assert count[crop].shape == (size, size + 1, size + 2)


def test_chequers_are_removed_and_smooth_images_are_not():
    plan = cubes_plan(2).strided((1, 2, 2))
    ramp = np.add.outer(np.arange(12.0), np.arange(20.0))[None].repeat(3, 0).astype(np.float32)
    chequers = (-1.0) ** np.indices(ramp.shape)[1:].sum(0)
    cleaned = bm3d._without_chequers(torch.from_numpy(ramp + chequers.astype(np.float32)), plan).numpy()
    np.testing.assert_allclose(cleaned[:, 2:-2, 2:-2], ramp[:, 2:-2, 2:-2], atol=1e-5)


@pytest.mark.parametrize("plan", [slices_plan(3), cubes_plan(2)], ids=["slices", "cubes"])
def test_hardly_any_noise_leaves_the_image(plan):
    image = blobs((8, 20, 22)).noisy.array
    np.testing.assert_allclose(bm3d.collaborative(frame(image, 1e-4), plan, Run()), image, atol=2e-3)


@pytest.mark.parametrize("plan", [slices_plan(6), cubes_plan(3)], ids=["slices", "cubes"])
def test_flat_image_loses_nearly_all_its_noise(plan):
    noisy = 100 + 5 * np.random.default_rng(0).standard_normal((8, 32, 32))
    result = bm3d.collaborative(frame(noisy, 5.0), plan, Run())
    assert result.std() < 0.2 * 5 and result.mean() == pytest.approx(noisy.mean(), abs=0.1)


def test_gain_on_a_blocky_image_at_sigma_25():
    y, x = np.mgrid[:96, :96]
    truth = ((x // 16 + y // 16) % 2 * 120 + 60 + (x > 48) * 40).astype(np.float32)
    noisy = truth + 25 * np.random.default_rng(0).standard_normal(truth.shape)
    result = bm3d.collaborative(frame(noisy[None], 25.0), slices_plan(12), Run())[0]
    assert decibel(noisy, truth) == pytest.approx(20.2, abs=0.3)
    assert decibel(result, truth) > 32.5


@pytest.mark.slow
def test_gain_on_a_photograph_at_sigma_25():
    """BM3D gives 29.5 dB on the 256 x 256 Cameraman (Dabov 2007, table 1); this is a photograph like it."""
    truth = data.camera().astype(np.float32).reshape(256, 2, 256, 2).mean((1, 3))
    noisy = truth + 25 * np.random.default_rng(0).standard_normal(truth.shape)
    result = bm3d.collaborative(frame(noisy[None], 25.0), slices_plan(19), Run())[0]
    assert decibel(result, truth) > 28.4


def test_second_step_improves_on_the_first():
    truth = data.camera()[100:196, 180:276].astype(np.float32)
    noisy = truth + 25 * np.random.default_rng(0).standard_normal(truth.shape)
    plan, sd = slices_plan(8), bm3d.coefficient_sd((1, 8, 8), [0, 0, 0])
    padded, crop = bm3d._padded((noisy[None] / 25).astype(np.float32), plan)
    first = bm3d._step(torch.from_numpy(padded), None, plan, sd, Run())
    second = bm3d._step(torch.from_numpy(padded), first, plan, sd, Run())
    before, after = (decibel(s.numpy()[crop][0] * 25, truth) for s in (first, second))
    assert after > before + 0.1 and after > decibel(noisy, truth) + 7


def test_knowing_the_correlation_is_worth_decibels():
    patient = blobs((20, 44, 56), (3.0, 3.0, 3.0), relative_noise=0.3, poisson=False)
    noisy, truth, body = patient.noisy.array, patient.truth.array, patient.body
    white, known = (psnr(bm3d.collaborative(frame(noisy, patient.noise, (3.0, 3.0, 3.0)), cubes_plan(3), Run(), 1.0,
                                            (fwhm,) * 3), truth, body) for fwhm in (0.0, 6.0))
    assert known > white + 1.5 and known > psnr(noisy, truth, body) + 4
