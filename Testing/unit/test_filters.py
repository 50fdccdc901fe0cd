"""Smoothing in threads is SciPy's, to the bit, and slabs read what their planes need and want each plane once."""

import numpy as np
import pytest
from petdiffusion import filters
from petdiffusion.filters import FWHM, gaussian, slabs
from scipy.ndimage import gaussian_filter


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(request.param))
    monkeypatch.setattr(filters, "SMALL", 0)


@pytest.mark.parametrize("mode", ["nearest", "reflect", "constant"])
@pytest.mark.parametrize("fwhm", [7.0, (0.0, 5.0, 9.0), (6.0, 0.0, 0.0), 0.0])
@pytest.mark.parametrize("shape", [(21, 18, 25), (1, 30, 2)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_gaussian_is_scipys_to_the_bit(shape, fwhm, mode, kind, threads):
    image, spacing = np.random.default_rng(1).normal(size=shape).astype(kind), (3.0, 2.0, 1.5)
    before = image.copy()
    found = gaussian(image, fwhm, spacing, mode, truncate=3.5)
    sigmas = np.broadcast_to(fwhm, 3) / FWHM / spacing
    np.testing.assert_array_equal(found, gaussian_filter(image, sigmas, mode=mode, truncate=3.5))
    assert found.dtype == kind and found is not image
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("planes", "halo", "thick"), [(1, 0, 4), (10, 2, 4), (13, 5, 3), (8, 30, 8), (9, 1, 1)])
def test_slabs_want_each_plane_once_and_read_their_neighbours(planes, halo, thick):
    wanted = []
    for read, inner in slabs(planes, halo, thick):
        here = np.arange(planes)[read][inner]
        assert 0 < len(here) <= thick
        assert read.start == max(here[0] - halo, 0) and read.stop == min(here[-1] + halo + 1, planes)
        wanted.extend(here)
    assert wanted == list(range(planes))
