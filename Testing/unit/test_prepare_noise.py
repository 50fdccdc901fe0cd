"""The noise measured is the noise put in, correlated or not, whatever lies beneath it."""

import numpy as np
import pytest
from petdiffusion.prepare import noise as module
from petdiffusion.prepare.noise import measure, noise_sd
from petdiffusion.volume import Geometry, Volume
from support.blobs import blobs, correlated_noise

GRIDS = [((75, 60, 70), (4.0, 4.0, 4.0)), ((60, 80, 90), (2.5, 2.5, 5.0))]


@pytest.mark.parametrize("shape, spacing", GRIDS)
@pytest.mark.parametrize("fwhm", [0.01, 4.0, 6.0, 8.0])
@pytest.mark.parametrize("relative_noise, error", [(0.1, 0.25), (0.2, 0.15), (0.4, 0.08), (0.8, 0.08)])
def test_correlated_poisson_like_noise(shape, spacing, fwhm, relative_noise, error):
    patient = blobs(shape, spacing, relative_noise=relative_noise, fwhm_mm=fwhm)
    assert noise_sd(patient.noisy, patient.body) == pytest.approx(patient.noise, rel=error)


@pytest.mark.parametrize("fwhm", [4.0, 6.0, 8.0])
def test_finest_details_would_underestimate_it(fwhm):
    """The reason for this module: neighbours' differences see a third of correlated noise or less."""
    patient = blobs((60, 60, 60), (2.5, 2.5, 2.5), relative_noise=0.4, fwhm_mm=fwhm)
    fine = np.median(np.abs(np.diff(patient.noisy.array, axis=2))) * 1.4826 / np.sqrt(2)
    assert fine < 0.6 * patient.noise
    assert noise_sd(patient.noisy, patient.body) == pytest.approx(patient.noise, rel=0.1)


@pytest.mark.parametrize("fwhm", [(4.0, 6.0, 6.0), (7.0, 5.0, 5.0)])
def test_width_of_the_correlation_along_each_axis(fwhm):
    generator = np.random.default_rng(3)
    noise = correlated_noise((60, 60, 60), [f / 2.3548 / 2.5 for f in fwhm], generator)
    volume = Volume(5 + noise, Geometry((60, 60, 60), (2.5, 2.5, 2.5)))
    found = measure(volume, np.ones(noise.shape, bool))
    np.testing.assert_allclose(found.fwhm_mm, fwhm, atol=0.35)
    assert found.sd == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_variances_of_blocks_are_those_of_each_block_by_itself(axis):
    """Every block's mean of (x[-2] - 2 x + x[+2])^2 / 6, voxel by voxel, of those that the body holds."""
    image = np.random.default_rng(8).normal(size=(14, 11, 17)).astype(np.float32)
    inside, lag, width = image > -1.5, 2, np.array([4, 4, 5])
    found = module._block_variance(image, inside, axis, lag, width)
    shift = [np.roll(image, by, axis) for by in (lag, -lag)]
    usable = np.logical_and.reduce([inside, *(np.roll(inside, by, axis) for by in (lag, -lag))])
    usable &= np.isin(np.arange(image.shape[axis]), range(lag, image.shape[axis] - lag)).reshape(
        [-1 if a == axis else 1 for a in range(3)])  # fmt: skip
    squared = np.square(shift[0] - 2 * image + shift[1]) / 6
    edges = [module._edges(n, w) for n, w in zip(image.shape, width)]
    for where in np.ndindex(found.shape):
        block = tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, where))
        count = usable[block].sum()
        if count > usable[block].size / 3:
            assert found[where] == pytest.approx(squared[block][usable[block]].mean(), rel=1e-5)
        else:
            assert np.isnan(found[where])


def test_linear_activity_is_not_noise():
    ramp = np.broadcast_to(np.arange(50.0)[:, None, None] * 10, (50, 40, 40))
    noise = 0.5 * np.random.default_rng(0).standard_normal(ramp.shape)
    volume = Volume(ramp + noise, Geometry((40, 40, 50), (3.0, 3.0, 3.0)))
    assert noise_sd(volume, np.ones(ramp.shape, bool)) == pytest.approx(0.5, rel=0.05)


def test_noise_scales_with_the_image():
    patient = blobs((40, 48, 56), (4.0, 4.0, 4.0))
    scaled = patient.noisy.with_array(patient.noisy.array * 5000.0)
    assert noise_sd(scaled, patient.body) == pytest.approx(5000 * noise_sd(patient.noisy, patient.body), rel=1e-4)


def test_line_of_variance_against_mean():
    generator = np.random.default_rng(1)
    mean = np.repeat(np.linspace(1, 9, 10), 10)[:, None, None] * np.ones((1, 60, 60))
    noisy = mean + np.sqrt(0.3 * mean) * generator.standard_normal(mean.shape)
    volume = Volume(noisy, Geometry((60, 60, 100), (3.0, 3.0, 3.0)))
    gain, offset = measure(volume, np.ones(mean.shape, bool)).line()
    assert gain == pytest.approx(0.3, rel=0.15) and offset < 0.3
    even = mean + 0.7 * generator.standard_normal(mean.shape)
    gain, offset = measure(volume.with_array(even), np.ones(mean.shape, bool)).line()
    assert gain < 0.03 and offset == pytest.approx(0.49, rel=0.25)


def test_line_scales_as_variance_does():
    patient = blobs((40, 48, 56), (4.0, 4.0, 4.0))
    gain, offset = measure(patient.noisy, patient.body).line()
    scaled = measure(patient.noisy.with_array(patient.noisy.array * 100.0), patient.body).line()
    assert scaled == pytest.approx((gain * 100, offset * 1e4), rel=1e-3)


def test_one_slice():
    patient = blobs((1, 96, 128), (3.0, 3.0, 3.0), relative_noise=0.3)
    assert noise_sd(patient.noisy, patient.body) == pytest.approx(patient.noise, rel=0.35)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (20, 24, 28)])
def test_flat_image_has_no_noise(shape):
    flat = Volume(np.full(shape, 3.0, np.float32), Geometry(shape[::-1], (4.0, 4.0, 4.0)))
    assert noise_sd(flat, np.ones(shape, bool)) == 0.0
    assert noise_sd(flat, np.zeros(shape, bool)) == 0.0
    assert measure(flat, np.ones(shape, bool)).line() == (0.0, 0.0)
