"""Counting statistics: what Poisson counts, thinning and background must obey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from petdiffusion.physics import noise, poisson
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.projector import Projector

REPEATS = 4000


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    """Expected sinogram of a few blobs, 0 to about 60 counts a bin."""
    geometry = ScanGeometry(24, 4.0, 20, 12)
    image = torch.zeros(24, 24)
    image[6:12, 8:18], image[14:20, 4:9] = 1.0, 3.0
    line = Projector(geometry).forward(image)
    return line * poisson.scale_to_counts(line, 4000.0)


@pytest.fixture(scope="module")
def samples(expected) -> torch.Tensor:
    return poisson.sample_counts(expected.expand(REPEATS, *expected.shape), poisson.generator(7))


def test_variance_follows_the_mean(expected, samples) -> None:
    mean, variance = samples.mean(0).numpy(), samples.var(0).numpy()
    seen = expected.numpy() > 0.5
    power, level = np.polyfit(np.log(mean[seen]), np.log(variance[seen]), 1)
    assert power == pytest.approx(1, abs=0.01) and level == pytest.approx(0, abs=0.02)
    error = (mean - expected.numpy()) / np.sqrt(np.maximum(expected.numpy(), 1e-9) / REPEATS)
    assert np.abs(error[seen]).max() < 5 and error[seen].std() == pytest.approx(1, abs=0.15)
    assert (samples[:, expected == 0] == 0).all()


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
def test_thinned_counts_are_poisson_and_independent_of_the_events_removed(expected, samples, fraction) -> None:
    kept = poisson.thin(samples, fraction, poisson.generator(8, fraction))
    removed = samples - kept
    assert (kept >= 0).all() and (removed >= 0).all() and torch.equal(kept, kept.round())
    seen = (expected > 5).numpy()
    assert float(kept.sum() / samples.sum()) == pytest.approx(fraction, rel=0.01)
    mean, variance = kept.mean(0).numpy()[seen], kept.var(0).numpy()[seen]
    assert (variance / mean).mean() == pytest.approx(1, abs=0.02)
    a, b = (v - v.mean(0) for v in (kept, removed))
    correlation = ((a * b).mean(0) / (a.std(0) * b.std(0))).numpy()[seen]
    assert abs(correlation.mean()) < 4 / np.sqrt(REPEATS * seen.sum())
    assert correlation.std() == pytest.approx(1 / np.sqrt(REPEATS), rel=0.2)


def test_fresh_poisson_noise_on_a_scaled_scan_is_not_thinning(samples) -> None:
    """What thinning must not be: its total would not be part of the events that were there."""
    kept = poisson.thin(samples, 0.9, poisson.generator(1))
    fresh = poisson.sample_counts(samples * 0.9, poisson.generator(1))
    assert (kept <= samples).all() and not (fresh <= samples).all()
    assert kept.var(0).mean() < 0.6 * fresh.var(0).mean()


def test_thinning_by_one_keeps_everything(samples) -> None:
    kept = poisson.thin(samples[:3], 1.0, poisson.generator(1))
    assert torch.equal(kept, samples[:3]) and kept.data_ptr() != samples.data_ptr()


def test_streams_of_a_seed_are_repeatable_and_apart() -> None:
    def draw(*numbers: float) -> torch.Tensor:
        return torch.rand(4000, generator=poisson.generator(*numbers))

    assert torch.equal(draw(3, 0.1), draw(3, 0.1))
    for other in (draw(4, 0.1), draw(3, 0.2), draw(3)):
        assert abs(np.corrcoef(draw(3, 0.1), other)[0, 1]) < 0.06


def test_counts_do_not_depend_on_how_the_slices_are_grouped(expected) -> None:
    many = expected.expand(10, *expected.shape)
    whole, stream = poisson.sample_counts(many, poisson.generator(5)), poisson.generator(5)
    assert torch.equal(whole, torch.cat([poisson.sample_counts(many[:3], stream),
                                         poisson.sample_counts(many[3:], stream)]))


def test_scaling_gives_the_counts_asked_for(expected) -> None:
    slices = torch.stack([expected, expected * 5, expected * 0])
    total = slices * poisson.scale_to_counts(slices, 1e6)
    assert float(total.double().sum()) == pytest.approx(1e6, rel=1e-5)
    each = (slices * poisson.scale_to_counts(slices, 3e5, per_slice=True)).double().sum((1, 2))
    assert each.tolist() == pytest.approx([3e5, 3e5, 0], rel=1e-5)


def test_background_has_the_fractions_asked_for_and_its_shape(expected) -> None:
    slices = torch.stack([expected, expected * 3])
    even = poisson.Background(randoms=0.2).expected(slices, 6.0)
    assert (even.amax((1, 2)) / even.amin((1, 2))).tolist() == pytest.approx([1, 1])
    assert (even.sum((1, 2)) / slices.sum((1, 2))).tolist() == pytest.approx([0.2, 0.2], rel=1e-5)
    both = poisson.Background(randoms=0.3, scatter=0.5, scatter_fwhm_mm=60).expected(slices, 6.0)
    assert (both.sum((1, 2)) / slices.sum((1, 2))).tolist() == pytest.approx([0.8, 0.8], rel=1e-4)
    roughness = [float(v.diff(dim=-1).abs().sum() / v.sum()) for v in (both, slices)]
    assert 0 < roughness[0] < 0.3 * roughness[1]


def test_prompts_of_the_paper() -> None:
    """BC-DPM: background of 20 % of the trues, a million events together."""
    background = poisson.Background(randoms=0.2)
    assert background.fraction == pytest.approx(0.2) and background.trues_of_prompts(1e6) == pytest.approx(1e6 / 1.2)


def test_log_likelihood_is_scipys_up_to_the_counts_own_term(expected) -> None:
    from scipy import stats

    counts, other = poisson.sample_counts(expected + 1, poisson.generator(2)), expected * 1.1 + 2
    difference = poisson.log_likelihood(counts, expected + 1) - poisson.log_likelihood(counts, other)
    by_scipy = stats.poisson.logpmf(counts, expected.double() + 1) - stats.poisson.logpmf(counts, other.double())
    assert float(difference) == pytest.approx(by_scipy.sum(), rel=1e-6)


@pytest.mark.parametrize("iterations", [0, 10])
def test_inserted_noise_keeps_the_mean_and_falls_with_the_root_of_the_counts(iterations) -> None:
    geometry = ScanGeometry(32, 4.0, 48, 40)
    image = torch.zeros(32, 32)
    image[8:24, 6:26] = 2.0
    repeats = image.expand(200, 32, 32)
    spreads = []
    for counts in (1e4, 1e6):
        noisy = noise.insert_noise(repeats, geometry, counts, poisson.generator(3), iterations=iterations)
        assert float(noisy.sum() / repeats.sum()) == pytest.approx(1, abs=0.03)
        assert float(noisy.mean(0)[12:20, 10:22].mean()) == pytest.approx(2, rel=0.04)
        spreads.append(float(noisy.var(0)[12:20, 10:22].mean()) ** 0.5)
    assert spreads[0] / spreads[1] == pytest.approx(10, rel=0.1)


def test_empty_slices_stay_empty_beside_others() -> None:
    geometry = ScanGeometry(16, 4.0, 24, 12)
    slices = torch.stack([torch.zeros(16, 16), torch.ones(16, 16)])
    for iterations in (0, 5):
        noisy = noise.insert_noise(slices, geometry, 1e4, poisson.generator(1), iterations=iterations)
        assert noisy[0].abs().max() == 0 and noisy[1].mean() > 0.5
    assert noise.insert_noise(slices[0], geometry, 1e4, poisson.generator(1)).abs().max() == 0


def test_with_a_generator_each_a_slice_does_not_depend_on_its_batch() -> None:
    geometry = ScanGeometry(16, 4.0, 24, 12)
    slices = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    batch = noise.insert_noise(slices, geometry, 1e4, [poisson.generator(i) for i in range(3)])
    alone = noise.insert_noise(slices[2:], geometry, 1e4, [poisson.generator(2)])
    assert torch.allclose(batch[2:], alone, atol=1e-5) and not torch.allclose(batch[1:2], alone, atol=1e-2)
