"""The Gaussian has the width it says, in millimetres, along each axis."""

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.methods.contract import Case
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, Volume
from scipy.ndimage import gaussian_filter
from support.blobs import blobs

GAUSSIAN = registry.card("gaussian")


def filtered(array, spacing, fwhm):
    volume = Volume(array, Geometry(array.shape[::-1], spacing))
    case = Case(volume, np.ones(array.shape, bool), 1.0)
    return GAUSSIAN.load()(case, GAUSSIAN.resolve({"fwhm_mm": fwhm}), Run()).pet.array


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 2.0, 3.0)])
@pytest.mark.parametrize("fwhm", [8.0, 14.0])
def test_width_of_the_impulse_response(spacing, fwhm):
    impulse = np.zeros((31, 41, 51), np.float32)
    impulse[15, 20, 25] = 1.0
    response = filtered(impulse, spacing, fwhm)
    assert response.sum() == pytest.approx(1.0, rel=1e-4)
    for axis, step in enumerate(spacing[::-1]):
        profile = response.sum(axis=tuple(a for a in range(3) if a != axis))
        position = (np.arange(profile.size) - profile.size // 2) * step
        second_moment = np.sqrt(np.sum(profile * position ** 2) / profile.sum())
        assert second_moment * 2.3548 == pytest.approx(fwhm, rel=0.02)


def test_equals_scipy():
    noisy = blobs((20, 24, 28), (3.0, 4.0, 5.0)).noisy.array
    sigma = [6.0 / 2.354820045 / s for s in (5.0, 4.0, 3.0)]
    np.testing.assert_allclose(filtered(noisy, (3.0, 4.0, 5.0), 6.0), gaussian_filter(noisy, sigma), atol=1e-5)


def test_nothing_at_width_0():
    noisy = blobs().noisy.array
    np.testing.assert_array_equal(filtered(noisy, (4.0, 4.0, 4.0), 0.0), noisy)


def test_total_of_the_image_is_kept():
    noisy = blobs(relative_noise=1.0).noisy.array
    assert filtered(noisy, (4.0, 4.0, 4.0), 10.0).sum(dtype=float) == pytest.approx(noisy.sum(dtype=float), rel=1e-5)
