"""Reconstruction against EM worked out on a dense matrix, closed forms, and what theory promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.physics_scenes import disc, disc_projection, em_by_hand, mirrored_gaussian, siddon_by_sorting
from petdiffusion.physics import poisson, recon
from petdiffusion.physics.attenuation import WATER_PER_CM, attenuation_factors
from petdiffusion.physics.blur import Psf, SinogramBlur, gaussian_filter
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.projector import Projector
from scipy import ndimage

SMALL = ScanGeometry((10, 12), (2.0, 1.5), 18, 12)
MIDDLE = ScanGeometry.covering(64, 4.0, n_angles=72)


def hot_spot(geometry: ScanGeometry, size: float = 1.0) -> torch.Tensor:
    """A disc of 1 with a small one of 4 in it."""
    image = disc(geometry, 10.0, -6.0, 80.0 * size) + 3 * disc(geometry, 30.0, -10.0, 14.0 * size)
    return torch.tensor(image, dtype=torch.float32)


def noisy(geometry: ScanGeometry, image: torch.Tensor, total: float, seed: int = 1) -> tuple:
    trues = Projector(geometry).forward(image)
    scale = poisson.scale_to_counts(trues, total)
    background = poisson.Background(randoms=0.2).expected(trues * scale, geometry.radial_mm)
    return poisson.sample_counts(trues * scale + background, poisson.generator(seed)), scale, background


@pytest.mark.parametrize("subsets", [1, 4])
def test_osem_is_the_algorithm_worked_out_on_a_dense_matrix(subsets) -> None:
    rng = np.random.default_rng(2)
    matrix = siddon_by_sorting(SMALL) * 3.0
    background = np.full(len(matrix), 0.7)
    counts = rng.poisson(matrix @ rng.uniform(0, 4, matrix.shape[1]) + background).astype(float)
    rows = np.arange(len(matrix)).reshape(SMALL.sinogram_shape)
    by_hand = em_by_hand(matrix, counts, background, np.ones(matrix.shape[1]), 5,
                         [rows[i::subsets].ravel() for i in range(subsets)])
    image = recon.osem(torch.tensor(counts).reshape(SMALL.sinogram_shape), SMALL, iterations=5, subsets=subsets,
                       factors=3.0, background=0.7, start=torch.ones(SMALL.image_shape))
    assert image.numpy().ravel() == pytest.approx(by_hand, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("subsets", [1, 3])
def test_the_psf_is_in_the_forward_model_the_back_projection_and_the_sensitivity(subsets) -> None:
    """Three slices with factors of their own, blurred within and across: the dense matrix of all of it."""
    psf, slices, (angles, radial) = Psf(4.0, 5.0, 2.0), 3, SMALL.sinogram_shape
    within = mirrored_gaussian(radial, 4.0 / 2.354820045 / SMALL.radial_mm)
    across = mirrored_gaussian(slices, 5.0 / 2.354820045 / 2.0)
    rng = np.random.default_rng(5)
    factors = rng.uniform(0.2, 2.0, slices * angles * radial)
    blur = np.kron(across, np.kron(np.eye(angles), within))
    matrix = factors[:, None] * (blur @ np.kron(np.eye(slices), siddon_by_sorting(SMALL)))
    counts = rng.poisson(matrix @ rng.uniform(0, 4, matrix.shape[1]) + 1.0).astype(float)
    rows = np.arange(len(matrix)).reshape(slices, angles, radial)
    by_hand = em_by_hand(matrix, counts, np.full(len(matrix), 1.0), np.ones(matrix.shape[1]), 4,
                         [rows[:, i::subsets].ravel() for i in range(subsets)])
    shape = (slices, angles, radial)
    image = recon.osem(torch.tensor(counts).reshape(shape), SMALL, iterations=4, subsets=subsets, psf=psf,
                       factors=torch.tensor(factors).reshape(shape), background=1.0,
                       start=torch.ones(slices, *SMALL.image_shape))
    assert image.numpy().ravel() == pytest.approx(by_hand, rel=1e-3, abs=1e-5)


def test_sensitivities_that_are_not_kept_are_the_same(monkeypatch) -> None:
    truth = hot_spot(MIDDLE).expand(70, 64, 64)
    factors = 0.5 + torch.rand(70, *MIDDLE.sinogram_shape, generator=torch.Generator().manual_seed(1))
    counts = Projector(MIDDLE).forward(truth) * factors
    settings = dict(iterations=2, subsets=3, factors=factors, psf=Psf(5.0, 5.0, 3.0))
    kept = recon.osem(counts, MIDDLE, **settings)
    monkeypatch.setattr(recon, "KEPT_BYTES", 0)
    assert torch.equal(recon.osem(counts, MIDDLE, **settings), kept)


def test_pixels_that_no_ray_meets_are_zero_and_those_that_some_subset_misses_are_not() -> None:
    """Narrow profiles at 0, 90, 45 and 135 degrees: the corners are seen by the diagonal ones alone."""
    straight = ScanGeometry(40, 2.0, n_radial=20, n_angles=2, radial_mm=2.0)
    image = recon.mlem(torch.full(straight.sinogram_shape, 50.0), straight, iterations=3)
    assert image[:10, :10].abs().max() == 0 and image[20, 20] > 0 and image[0, 20] > 0
    star = ScanGeometry(40, 2.0, n_radial=20, n_angles=4, radial_mm=2.0)
    line = Projector(star).forward(torch.ones(40, 40))
    image = recon.osem(line, star, iterations=10, subsets=2)
    seen = Projector(star).back(torch.ones(4, 20)) > 0
    assert seen[0, 0] and torch.allclose(image[seen], torch.ones(()), atol=1e-3) and (image[~seen] == 0).all()


def test_osem_with_one_subset_is_ml_em() -> None:
    counts, scale, background = noisy(MIDDLE, hot_spot(MIDDLE), 1e5)
    one = recon.mlem(counts, MIDDLE, iterations=4, factors=scale, background=background)
    assert torch.equal(one, recon.osem(counts, MIDDLE, iterations=4, subsets=1, factors=scale, background=background))
    assert not torch.allclose(one, recon.osem(counts, MIDDLE, iterations=4, subsets=6, factors=scale,
                                              background=background), rtol=1e-2)


@pytest.mark.parametrize("psf", [None, Psf(8.0)], ids=["sharp", "psf"])
def test_the_likelihood_of_ml_em_never_falls(psf) -> None:
    counts, scale, background = noisy(MIDDLE, hot_spot(MIDDLE), 3e4)
    projector, blur = Projector(MIDDLE), SinogramBlur(psf, MIDDLE, 1, counts)
    values = []

    def remember(_: int, image: torch.Tensor) -> None:
        line = blur(projector.forward(image).reshape(-1, 1)).reshape(counts.shape)
        values.append(float(poisson.log_likelihood(counts, line * scale + background)))

    recon.mlem(counts, MIDDLE, iterations=60, factors=scale, background=background, psf=psf, on_iteration=remember)
    rise = np.diff(values)
    assert len(values) == 60 and rise.min() > -1e-6 * abs(values[-1]) and values[-1] > values[0] + 100


def test_without_noise_the_truth_is_approached() -> None:
    truth = hot_spot(MIDDLE)
    line = Projector(MIDDLE).forward(truth)
    errors = [float((recon.mlem(line, MIDDLE, iterations=n) - truth).norm() / truth.norm()) for n in (5, 20, 80, 320)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.025


def test_the_truth_stays_where_it_is() -> None:
    """Warm start: noise-free data do not move the image that explains them."""
    truth = hot_spot(MIDDLE) + 0.1
    line = Projector(MIDDLE).forward(truth)
    image = recon.osem(line * 7 + 2.5, MIDDLE, iterations=2, subsets=6, factors=7.0, background=2.5, start=truth)
    assert torch.allclose(image, truth, rtol=2e-3)


def test_totals_are_kept() -> None:
    truth = hot_spot(MIDDLE)
    counts, scale, background = noisy(MIDDLE, truth, 1e6)
    for image in (recon.osem(counts, MIDDLE, iterations=3, subsets=8, factors=scale, background=background),
                  recon.fbp(counts, MIDDLE, window="hann", factors=scale, background=background)):
        assert float(image.sum() / truth.sum()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("window", recon.FILTERS)
def test_fbp_of_a_discs_chords_is_the_disc(window) -> None:
    geometry = ScanGeometry(128, 2.0, 220, 180, radial_mm=1.7)
    x0, y0, radius = 20.0, -15.0, 60.0
    image = recon.fbp(torch.tensor(disc_projection(geometry, x0, y0, radius)), geometry, window=window).numpy()
    inner, outer = disc(geometry, x0, y0, radius - 10) == 1, disc(geometry, x0, y0, radius + 10) == 0
    inner, outer = inner, outer & (disc(geometry, 0, 0, 120) == 1)
    assert image[inner].mean() == pytest.approx(1, abs=0.003) and image[inner].std() < 0.01
    assert abs(image[outer].mean()) < 0.003 and image[outer].std() < 0.015


def test_fbp_undoes_factors_and_background() -> None:
    truth = hot_spot(MIDDLE)
    line = Projector(MIDDLE).forward(truth)
    factors = torch.rand(line.shape, generator=torch.Generator().manual_seed(1)) + 0.5
    corrected = recon.fbp(line * factors + 3.0, MIDDLE, factors=factors, background=3.0)
    assert torch.allclose(corrected, recon.fbp(line, MIDDLE), atol=1e-3)


def test_slices_do_not_depend_on_their_neighbours() -> None:
    truth = torch.stack([hot_spot(MIDDLE) * level for level in np.linspace(0.2, 2, 80)])
    counts, scale, background = noisy(MIDDLE, truth, 4e6)
    many = recon.osem(counts, MIDDLE, iterations=2, subsets=6, factors=scale, background=background)
    one = recon.osem(counts[70], MIDDLE, iterations=2, subsets=6, factors=scale, background=background[70])
    assert torch.allclose(many[70], one, rtol=1e-3, atol=1e-4)


def test_zero_counts_give_zero_and_leave_other_slices_alone() -> None:
    counts, scale, background = noisy(MIDDLE, hot_spot(MIDDLE).expand(3, 64, 64), 1e5)
    counts[1] = 0
    image = recon.osem(counts, MIDDLE, iterations=6, subsets=8, factors=scale, background=background)
    assert torch.isfinite(image).all() and image[1].abs().max() == 0 and image[0].sum() > 0
    alone = recon.osem(counts[1], MIDDLE, iterations=2, subsets=8)
    assert alone.abs().max() == 0


def test_very_few_counts_stay_finite_and_positive() -> None:
    counts, scale, _ = noisy(MIDDLE, hot_spot(MIDDLE), 30.0)
    image = recon.mlem(counts, MIDDLE, iterations=200, factors=scale)
    assert torch.isfinite(image).all() and image.min() >= 0 and image.max() > 0


def test_on_iteration_sees_every_iteration_and_the_last_is_the_result() -> None:
    counts, scale, background = noisy(MIDDLE, hot_spot(MIDDLE).expand(40, 64, 64), 1e5)
    seen = {}
    image = recon.osem(counts, MIDDLE, iterations=3, subsets=4, factors=scale, background=background,
                       on_iteration=lambda k, x: seen.update({k: x.clone()}))
    assert list(seen) == [1, 2, 3] and torch.equal(seen[3], image) and not torch.equal(seen[1], seen[2])


def test_on_update_counts_up_to_one_and_can_stop_the_work() -> None:
    counts, *_ = noisy(MIDDLE, hot_spot(MIDDLE).expand(100, 64, 64), 1e5)
    shares: list[float] = []
    recon.osem(counts, MIDDLE, iterations=2, subsets=3, on_update=shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1) and len(shares) % 6 == 0

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        recon.osem(counts, MIDDLE, iterations=2, subsets=3, on_update=stop)


def test_blurring_profiles_is_blurring_the_image() -> None:
    """The projection of a blurred slice is the blurred projection."""
    geometry = ScanGeometry.covering(96, 2.0, n_angles=24, rays_per_bin=2)
    image = hot_spot(geometry)
    profiles = SinogramBlur(Psf(9.0), geometry, 1, image)(Projector(geometry).forward(image).reshape(-1, 1))
    blurred = Projector(geometry).forward(gaussian_filter(image, 9.0, (2.0, 2.0)))
    assert (profiles.reshape(blurred.shape) - blurred).abs().max() < 0.006 * blurred.max()


@pytest.mark.parametrize("fwhm", [1.0, 3.0, 40.0])
def test_the_blur_is_symmetric_keeps_totals_constants_and_has_the_right_width(fwhm) -> None:
    geometry = ScanGeometry(8, 1.0, 41, 6, radial_mm=1.0)
    blur = SinogramBlur(Psf(fwhm, 2 * fwhm, 3.0), geometry, 9, torch.zeros(1))
    rng = torch.Generator().manual_seed(1)
    x, y = (torch.rand(6 * 41, 9, generator=rng) for _ in range(2))
    assert float((blur(x) * y).sum()) == pytest.approx(float((x * blur(y)).sum()), rel=1e-5)
    assert float(blur(x).sum()) == pytest.approx(float(x.sum()), rel=1e-5)
    assert torch.allclose(blur(torch.ones_like(x)), torch.ones_like(x), atol=1e-5)
    if fwhm < 10:
        point = torch.zeros(41, dtype=torch.float64)
        point[20] = 1
        spread = gaussian_filter(point, fwhm, (1.0,))
        variance = float((spread * (torch.arange(41) - 20.0) ** 2).sum())
        assert variance == pytest.approx((fwhm / 2.354820045) ** 2, rel=1e-6)


def test_the_filter_is_scipys_gaussian_where_both_are_well_sampled() -> None:
    image = torch.rand(12, 30, 25, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    ours = gaussian_filter(image, (9.0, 12.0, 8.0), (2.0, 1.5, 1.0)).numpy()
    sigmas = np.array([9.0 / 2.0, 12.0 / 1.5, 8.0 / 1.0]) / 2.354820045
    assert np.abs(ours - ndimage.gaussian_filter(image.numpy(), sigmas, mode="reflect", truncate=8)).max() < 4e-3


def test_modelling_the_resolution_recovers_a_small_hot_spot() -> None:
    geometry, truth = ScanGeometry.covering(64, 2.0, n_angles=72), None
    truth = torch.tensor(0.2 + 3 * disc(geometry, 12.0, 5.0, 7.0), dtype=torch.float32).expand(5, 64, 64).clone()
    truth[[0, 1, 3, 4]] = 0.2
    psf = Psf(7.0, 5.0, 3.0)
    line = Projector(geometry).forward(truth)
    measured = SinogramBlur(psf, geometry, 5, line)(line.reshape(5, -1).T.contiguous()).T.reshape(line.shape)
    sharp, blunt = (recon.osem(measured, geometry, iterations=40, subsets=6, psf=p) for p in (psf, None))
    hot = truth[2] > 3
    assert sharp[2][hot].mean() > 0.9 * truth[2][hot].mean() > 1.3 * blunt[2][hot].mean()


def test_attenuation_of_a_water_disc_is_the_exponential_of_its_chord_and_is_corrected() -> None:
    geometry = ScanGeometry.covering(100, 3.0, n_angles=60)
    mu = torch.tensor(disc(geometry, 12.0, 8.0, 100.0) * WATER_PER_CM, dtype=torch.float32)
    factors = attenuation_factors(mu, Projector(geometry))
    expected = np.exp(-0.1 * WATER_PER_CM * disc_projection(geometry, 12.0, 8.0, 100.0))
    assert np.abs(factors.numpy() / expected - 1).mean() < 0.01 and factors.min() == pytest.approx(0.147, abs=0.003)
    truth = hot_spot(geometry)
    image = recon.mlem(Projector(geometry).forward(truth) * factors, geometry, iterations=150, factors=factors)
    assert float((image - truth).norm() / truth.norm()) < 0.05
