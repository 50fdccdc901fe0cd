"""Whitening: a scan of known noise has a residual of SD 1, and its level is the noise's own."""

from __future__ import annotations

import numpy as np
import pytest
from petdiffusion.prepare.whiten import FLOOR, whiten


@pytest.mark.parametrize("level", [0.1, 0.4])
@pytest.mark.parametrize(("spacing", "fwhm"), [((4.0, 4.0, 4.0), 24.0), ((3.0, 3.0, 6.0), 18.0)])
def test_the_level_is_that_of_the_noise_and_the_residual_has_sd_one(level, spacing, fwhm) -> None:
    """Two halves of activity 2 and 8, with noise of `level` times the root of activity and floor."""
    truth = np.full((40, 40, 40), 2.0, np.float32)
    truth[:, :, 20:] = 8.0
    root = np.sqrt(truth + FLOOR * truth.mean())
    low = truth + level * root * np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32)
    inside = np.zeros(truth.shape, bool)
    inside[5:-5, 5:-5, 3:13] = inside[5:-5, 5:-5, 27:37] = True  # away from the border, where the base is blurred
    found = whiten(low, spacing, inside, fwhm)
    assert found.level == pytest.approx(level, rel=0.03)
    for half in (slice(0, 20), slice(20, None)):
        residual = found.forward(low)[:, :, half][inside[:, :, half]]
        assert residual.std() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(found.inverse(found.forward(low)), low, rtol=1e-5, atol=1e-5)


def test_lesions_do_not_count_as_noise() -> None:
    low = np.random.default_rng(2).normal(4.0, 0.4, (40, 40, 40)).astype(np.float32)
    body = np.ones(low.shape, bool)
    alone = whiten(low, (4.0, 4.0, 4.0), body, 24.0).level
    low[10:16, 10:16, 10:16] += 40.0
    assert whiten(low, (4.0, 4.0, 4.0), body, 24.0).level == pytest.approx(alone, rel=0.1)
