"""BM3D and BM4D: exact transforms, parts that agree with brute force, gains of the published kind."""

from itertools import product

import numpy as np
import pytest
import torch
from petdiffusion import registry, threads
from petdiffusion.methods.baselines import blocks, bm3d
from petdiffusion.methods.baselines.blocks import Plan
from petdiffusion.methods.baselines.bm3d import cubes_plan, slices_plan
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
    transform = blocks.block_transform(block)
    ours = (transform @ torch.from_numpy(values).ravel()).numpy().reshape(block)
    np.testing.assert_allclose(ours, dctn(values, norm="ortho"), atol=1e-5)
    np.testing.assert_allclose((transform @ transform.T).numpy(), np.eye(len(transform)), atol=1e-6)


def test_haar_by_hand():
    """Rows as sums and differences, their squared lengths, and the way back."""
    expected = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 0, 0], [0, 0, 1, -1]]
    np.testing.assert_array_equal(blocks.haar(torch.eye(4)).numpy(), expected)
    assert blocks.haar_lengths(8).tolist() == [8, 8, 4, 4, 2, 2, 2, 2]
    for size in (1, 2, 8, 32):
        rows, lengths = blocks.haar(torch.eye(size)), blocks.haar_lengths(size)
        np.testing.assert_array_equal((rows @ rows.T).numpy(), np.diag(lengths.numpy()))
        np.testing.assert_allclose(blocks.haar_back(rows / lengths[:, None]).numpy(), np.eye(size), atol=1e-6)


@pytest.mark.parametrize("second", [False, True], ids=["threshold", "Wiener gain"])
def test_a_stack_by_its_formula(second):
    """With orthonormal matrices in double precision; the weight is 1 / (remaining variance)."""
    generator, sd = np.random.default_rng(0), np.linspace(0.5, 2.0, 64)
    coefficients, pilots = generator.normal(0, 3, (2, 50, 64))
    members = generator.integers(0, 50, (4, 7))
    haar = np.array([[.5, .5, .5, .5], [.5, .5, -.5, -.5], [.5 ** .5, -.5 ** .5, 0, 0], [0, 0, .5 ** .5, -.5 ** .5]])
    rows, guide = (np.einsum("ij,jgv->igv", haar, c[members]) for c in (coefficients, pilots))
    gain = guide ** 2 / (guide ** 2 + sd ** 2) if second else (np.abs(rows) > 2.7 * sd).astype(float)
    gain[0, :, 0] = 1.0

    def single(array):
        return torch.from_numpy(array.astype(np.float32))

    stack, weight = blocks._filtered_stack(single(coefficients), single(pilots) if second else None,
                                           torch.from_numpy(members), single(sd))
    np.testing.assert_allclose(stack.numpy(), np.einsum("ij,igv->jgv", haar, rows * gain), atol=1e-4)
    np.testing.assert_allclose(weight.numpy(), 1 / ((gain * sd) ** 2).sum((0, 2)), rtol=1e-4)


@pytest.mark.parametrize("block, fwhm", [((1, 8, 8), (0.0, 2.0, 2.0)), ((4, 4, 4), (2.0, 1.5, 2.5)),
                                         ((4, 4, 4), (0.0, 0.0, 0.0))])
def test_sd_of_coefficients_of_correlated_noise(block, fwhm):
    noise = correlated_noise((64, 64, 64), [f / 2.3548 for f in fwhm], np.random.default_rng(0))
    plan = Plan(block, (1, 1, 1), (0, 0, 0))
    coefficients = blocks.blocks(torch.from_numpy(noise), plan)[::7] @ blocks.block_transform(block).T
    expected = blocks.coefficient_sd(block, list(fwhm)).numpy()
    measured = coefficients.std(0).numpy()
    large = expected > 0.3
    assert large.sum() > 15
    np.testing.assert_allclose(measured[large], expected[large], rtol=0.15)


def test_blocks_by_hand():
    image = torch.arange(3 * 11 * 13, dtype=torch.float32).reshape(3, 11, 13)
    plan = Plan((2, 4, 4), (1, 1, 1), (0, 0, 0))
    rows, corners = blocks.blocks(image, plan), plan.corners(image.shape)
    z, y, x = 1, 2, 1
    row = rows[(z * corners[1] + y) * corners[2] + x]
    np.testing.assert_array_equal(row.numpy(), image[z:z + 2, y:y + 4, x:x + 4].ravel().numpy())
    assert len(rows) == np.prod(corners)


@pytest.mark.parametrize("together", [1, 10 ** 6])
def test_blocks_laid_down_lie_where_they_were_taken(together, monkeypatch):
    """Voxel by voxel: each block adds its values under a Kaiser window, weighted by its mass."""
    monkeypatch.setattr(blocks, "TRANSFORMED_AT_ONCE", together)
    plan, shape = Plan((2, 4, 4), (1, 1, 1), (0, 0, 0)), (4, 7, 6)
    corners, generator = plan.corners(shape), np.random.default_rng(0)
    values = generator.standard_normal((np.prod(corners), 32)).astype(np.float32)
    mass = generator.random(len(values)).astype(np.float32)
    window = np.einsum("i,j,k->ijk", *[np.kaiser(n, 2.0) for n in plan.block])
    total, weights = np.zeros(shape), np.zeros(shape)
    for number, corner in enumerate(np.ndindex(*corners)):
        place = tuple(slice(c, c + n) for c, n in zip(corner, plan.block))
        total[place] += values[number].reshape(plan.block) * window
        weights[place] += mass[number] * window
    spectra = torch.from_numpy(values) @ blocks.block_transform(plan.block).T
    ours = blocks._laid_down(spectra, torch.from_numpy(mass), plan, torch.Size(shape))
    np.testing.assert_allclose(ours[0].numpy(), total, atol=1e-5)
    np.testing.assert_allclose(ours[1].numpy(), weights, rtol=1e-5)


@pytest.mark.parametrize("at_once", [1, 10 ** 6])
def test_matches_are_the_nearest_blocks(at_once, monkeypatch):
    monkeypatch.setattr(blocks, "DISTANCES_AT_ONCE", at_once)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 14, 15)).astype(np.float32))
    plan = Plan((2, 4, 4), (1, 3, 3), (1, 2, 2))
    distance, position = blocks.matches(image, range(0, 2), plan, 8, Run())
    rows, corners = blocks.blocks(image, plan).numpy(), plan.corners(image.shape)
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


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 14, 16, 23])
def test_no_voxel_of_the_image_is_missed(stride, size):
    """Counts the blocks over each voxel of every lattice, by brute force; the lattices make up the image."""
    plan, image = cubes_plan(2), np.zeros((size, size + 1, size + 2), np.float32)
    seen = np.zeros(image.shape, int)
    for parity in np.ndindex(*np.minimum(stride, image.shape)):
        lattice = bm3d.Lattice(image, None, parity, stride, plan)
        count = np.zeros(lattice.noisy.shape, int)
        for corner in product(*plan.references(lattice.noisy.shape)):
            count[tuple(slice(c, c + n) for c, n in zip(corner, plan.block))] += 1
        assert count[-1, -1, -1] == 1, "the last block does not end with the image"
        seen[lattice.place] += np.minimum(count[lattice.crop], 1)
    np.testing.assert_array_equal(seen, 1)


@pytest.mark.parametrize("plan", [slices_plan(3), cubes_plan(1)], ids=["slices", "cubes"])
@pytest.mark.parametrize("fwhm", [0.0, 2.0])
def test_neither_threads_nor_slabs_change_the_result(plan, fwhm, monkeypatch):
    image = frame(blobs((26, 22, 24)).noisy.array, 0.2)
    whole = bm3d.collaborative(image, plan, Run(), 1.0, (fwhm,) * 3)
    monkeypatch.setattr(bm3d, "BLOCKS_AT_ONCE", 1)
    slabs = bm3d.collaborative(image, plan, Run(), 1.0, (fwhm,) * 3)
    monkeypatch.setattr(threads, "workers", lambda: 3)
    np.testing.assert_array_equal(bm3d.collaborative(image, plan, Run(), 1.0, (fwhm,) * 3), slabs)
    np.testing.assert_allclose(slabs, whole, atol=1e-5)


def test_chequers_are_removed_and_smooth_images_are_not():
    ramp = np.add.outer(np.arange(12.0), np.arange(20.0))[None].repeat(3, 0).astype(np.float32)
    chequers = (-1.0) ** np.indices(ramp.shape)[1:].sum(0)
    cleaned = bm3d._without_chequers(ramp + chequers.astype(np.float32), (1, 2, 2))
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
    plan, sd = slices_plan(8), blocks.coefficient_sd((1, 8, 8), [0, 0, 0])
    scaled = (noisy[None] / 25).astype(np.float32)
    first = bm3d.step(scaled, None, plan, (1, 1, 1), sd, Run())
    second = bm3d.step(scaled, first, plan, (1, 1, 1), sd, Run())
    before, after = (decibel(s[0] * 25, truth) for s in (first, second))
    assert after > before + 0.1 and after > decibel(noisy, truth) + 7


def test_knowing_the_correlation_is_worth_decibels():
    patient = blobs((20, 44, 56), (3.0, 3.0, 3.0), relative_noise=0.3, poisson=False)
    noisy, truth, body = patient.noisy.array, patient.truth.array, patient.body
    white, known = (psnr(bm3d.collaborative(frame(noisy, patient.noise, (3.0, 3.0, 3.0)), cubes_plan(3), Run(), 1.0,
                                            (fwhm,) * 3), truth, body) for fwhm in (0.0, 6.0))
    assert known > white + 1.5 and known > psnr(noisy, truth, body) + 4


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_bm4d_of_fewer_slices_than_a_cube_has_is_bm3d(slices):
    """With mirrored copies in a cube's place it left more noise than BM3D in the same slices."""
    scan = blobs(shape=(slices, 64, 64))
    cards = [registry.card(name) for name in ("bm3d", "bm4d")]
    flat, found = (card.load()(scan.case(), card.resolve({"strength": 1.2}), Run()).pet.array for card in cards)
    np.testing.assert_array_equal(found, flat)
    mirrored = bm3d._run(scan.case(), cards[1].resolve({}), Run(), cubes_plan(4)).pet.array
    left, before = (float(np.std((image - scan.truth.array)[scan.body])) for image in (found, mirrored))
    assert left < 0.9 * before


def test_bm4d_of_a_cubes_slices_uses_cubes():
    case, card = blobs(shape=(4, 32, 36)).case(), registry.card("bm4d")
    options = card.resolve({})
    expected = bm3d._run(case, options, Run(), cubes_plan(4)).pet.array
    np.testing.assert_array_equal(card.load()(case, options, Run()).pet.array, expected)
