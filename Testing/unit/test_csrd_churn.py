"""CSRD's churn: noise added on the way down moves the samples, never the mean, and is told where it cannot act."""

from itertools import pairwise

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.methods.csrd.config import CsrdConfig
from petdiffusion.methods.csrd.method import sampling
from petdiffusion.progress import Run
from support.blobs import blobs
from support.tiny_models import write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"), "csrd")


@pytest.fixture
def denoised(models, no_bundled_models, monkeypatch):
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(models))

    def made(**options):
        run, card = Run(seed=3), registry.card("csrd")
        given = {"samples": 2, "steps": 6, **options}
        return card.load()(blobs((12, 16, 20)).case(), card.resolve(given), run), run.warnings

    return made


def test_the_default_sampler_says_that_churn_does_nothing(denoised):
    (plain, _), (churned, said) = denoised(), denoised(churn=40)
    (told,) = [text for text in said if "churn" in text]
    assert "dpmpp_2m" in told and "sampler=heun" in told
    np.testing.assert_array_equal(plain.sd.array, churned.sd.array)
    assert not [text for text in denoised(churn=40, sampler="heun")[1] if "churn" in text]


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_churn_moves_the_samples_and_not_the_mean(denoised, sampler):
    plain, churned = (denoised(sampler=sampler, churn=churn)[0] for churn in (0, 40))
    np.testing.assert_array_equal(plain.pet.array, churned.pet.array)
    assert np.abs(plain.sd.array - churned.sd.array).max() > 1e-3


@pytest.mark.parametrize("steps", [8, 100, 400])
def test_one_level_alone_is_the_highest_however_many_are_churned(steps):
    """Where a sample counts as drowned in noise its own voxels are not looked at: that holds at the first level."""
    config = CsrdConfig()
    asked = sampling({"steps": steps, "samples": 2, "estimate": "mean", "sampler": "heun", "churn": 40.0}, config)
    gamma = min(40.0 / steps, 2**0.5 - 1)
    raised = [sigma * (1 + gamma * (sigma <= asked.extra["s_tmax"])) for sigma, _ in pairwise(asked.sigmas)]
    assert [sigma >= config.sigma_max * (1 - 1e-6) for sigma in raised] == [True] + [False] * (steps - 1)
    assert raised[-1] > asked.sigmas[-2]
