"""BC-DPM's two conditions and its steered chain against closed forms worked out here."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from petdiffusion.diffusion.schedules import respaced_sigmas, sigma_of
from petdiffusion.errors import OptionError
from petdiffusion.infer.engine import Model, Sampling, Scene, sample_volume
from petdiffusion.infer.patches import PatchRules
from petdiffusion.methods.bc_dpm import conditions as eq10
from petdiffusion.methods.bc_dpm import counts
from petdiffusion.methods.bc_dpm.chain import Settings, Steering, levels
from petdiffusion.methods.bc_dpm.config import CONFIGS, BcDpmConfig
from petdiffusion.methods.bc_dpm.parts import alpha_bar
from petdiffusion.methods.bc_dpm.units import units_of
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.noise import insert_noise
from petdiffusion.physics.projector import Projector
from petdiffusion.physics.recon import fbp
from petdiffusion.prepare.noise import Noise
from petdiffusion.progress import Run
from scipy.special import iv

SIZE, WIDTH = 16, 3.0
"""Pixels of a slice (1 mm), SD of a Gaussian in pixels."""
FWHM = WIDTH * math.sqrt(8 * math.log(2))


def generators(n, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def wave(k, size=SIZE):
    """A cosine along x that meets the borders flat: an eigenvector of the mirrored Gaussian."""
    return torch.cos(math.pi * k * (torch.arange(size) + 0.5) / size).expand(size, size)


def gain(k, sd=WIDTH, size=SIZE):
    """Its eigenvalue."""
    return math.exp(sd**2 * (math.cos(math.pi * k / size) - 1))


# ---- the two conditions as functions ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 3, 7])
def test_the_denoising_condition_takes_smooth_waves_from_the_scan_and_fine_ones_from_the_sample(k):
    smooth = eq10.gaussian(FWHM, (1.0, 1.0))
    got = eq10.denoising(2.0 * wave(k), 5.0 * wave(k), smooth)
    torch.testing.assert_close(got, (gain(k) * 5.0 + (1 - gain(k)) * 2.0) * wave(k), atol=1e-5, rtol=0)


def test_the_denoising_condition_keeps_the_scans_total_slice_by_slice():
    x, y = torch.randn(2, 1, 3, 20, 24), torch.rand(1, 3, 20, 24)
    got = eq10.denoising(x, y, eq10.gaussian(9.0, (2.0, 3.0)))
    torch.testing.assert_close(got.sum((-2, -1)), y.sum((-2, -1)).expand(2, 1, 3), atol=2e-3, rtol=0)


def test_filters_reach_from_slice_to_slice_only_if_asked_and_keep_the_total():
    image = torch.zeros(1, 1, 9, 8, 8)
    image[..., 4, :, :] = 1.0
    within, across = eq10.gaussian(9.0, (2.0, 2.0))(image), eq10.gaussian(9.0, (2.0, 2.0), 8.0, 4.0)(image)
    assert not within[..., 3, :, :].any() and across[..., 3, :, :].min() > 0.1
    for filtered in (within, across):
        assert float(filtered.sum()) == pytest.approx(64.0, rel=1e-5)
    along, t = across[0, 0, :, 0, 0], (8.0 / math.sqrt(8 * math.log(2)) / 4.0) ** 2
    assert float(along[3] / along[4]) == pytest.approx(iv(1, t) / iv(0, t), rel=1e-3)  # the discrete Gaussian


def test_the_noise_insertion_condition_is_the_scan_less_the_inserted_noise():
    """Without a resolution of its own: y + x' - (x' + n) = y - n, whatever the sample."""
    x, y, n = torch.randn(3, 1, 2, 8, 8)
    torch.testing.assert_close(eq10.noise_insertion(x, y, n, lambda image: image), y - n)


@pytest.mark.parametrize("k", [0, 2, 6])
def test_at_a_resolution_it_speaks_of_what_is_resolved_alone(k):
    got = eq10.noise_insertion(2.0 * wave(k), 5.0 * wave(k), 0.5 * wave(k), eq10.gaussian(FWHM, (1.0, 1.0)))
    torch.testing.assert_close(got, (2.0 + gain(k) * (5.0 - 2.0 - 0.5)) * wave(k), atol=1e-5, rtol=0)


def test_lambda_weighs_them():
    one, other = torch.ones(4), torch.zeros(4)
    for balance in (0.0, 0.2, 1.0):
        torch.testing.assert_close(eq10.bidirectional(one, other, balance), torch.full((4,), 1 - balance))


# ---- noise in the sinogram ----------------------------------------------------------------------------------------


def small_inserter(counts_=3e4, size=12):
    """A disc off the centre in a slice so small that P-dagger can be written down as a matrix."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image = torch.from_numpy(((x - 1) ** 2 + y**2 < 14).astype(np.float32))[None]
    geometry = ScanGeometry(size, 4.0, 24, 30)
    projector = Projector(geometry)
    sensitivity = torch.full((1, 1, 1), counts_ / 1.2 / float(projector.forward(image).sum()))
    return eq10.Inserter(projector, sensitivity), image


def test_inserted_noise_has_mean_zero_and_the_variance_of_linear_propagation():
    """n = F (N - e) / k with F the linear P-dagger, N Poisson: mean 0, variance sum_j F_ij^2 e_j / k^2."""
    insert, image = small_inserter()
    geometry, draws = insert.projector.geometry, 3000
    bins = math.prod(geometry.sinogram_shape)
    columns = fbp(torch.eye(bins).reshape(bins, *geometry.sinogram_shape), geometry, window=insert.window)
    trues, added = insert.expected(image[None, None])
    k = float(insert.sensitivity)
    variance = torch.einsum("jyx,j->yx", columns.square(), (trues + added).flatten()) / k**2
    noise = insert.noise(image.expand(draws, 1, 1, 12, 12), generators(draws))[:, 0, 0]
    standard_error = (variance / draws).sqrt()
    assert float((noise.mean(0).abs() / standard_error).max()) < 4.5
    assert float((noise.var(0) / variance - 1).abs().max()) < 0.15
    total = noise.sum((1, 2))
    assert abs(float(total.mean())) < 4 * float(total.std()) / math.sqrt(draws), "totals are not kept in expectation"


def test_it_is_the_noise_of_the_physics_package():
    """P-dagger(Po(P x + r + s)) there, less what it gives without noise, has the same SD at the same counts."""
    y, x = np.mgrid[:40, :48] - np.array([19.5, 23.5])[:, None, None]
    image = torch.from_numpy((((x / 20) ** 2 + (y / 16) ** 2 < 1) * 1.0).astype(np.float32))
    stack = image.expand(40, 40, 48)
    insert = eq10.inserter(stack, (4.0, 4.0), 2e5, each_slice=True)
    ours = insert.noise(stack[None, None], generators(1))[0, 0]
    geometry = eq10.slice_geometry((40, 48), (4.0, 4.0))
    theirs = insert_noise(stack, geometry, 2e5, torch.Generator().manual_seed(5), window=eq10.WINDOW)
    theirs = theirs - fbp(Projector(geometry).forward(stack), geometry, window=eq10.WINDOW)
    assert float(ours.std() / theirs.std()) == pytest.approx(1.0, abs=0.03)


def test_expected_counts_are_never_negative_and_a_sample_may_be():
    insert, image = small_inserter()
    for sample in (-image, image - 3.0, 5 * torch.randn(1, 12, 12)):
        trues, added = insert.expected(sample[None, None])
        assert float(trues.min()) >= 0 and float(added.min()) >= 0
        assert torch.isfinite(insert.noise(sample[None, None], generators(1))).all()


def test_counts_are_those_asked_for():
    """Each slice, or a mean one of those that hold something; empty slices get none and no noise."""
    low = torch.zeros(4, 24, 24)
    low[1, 8:16, 8:16], low[2, 8:16, 8:16] = 1.0, 3.0
    for each, expected in ((True, (0, 6e4, 6e4, 0)), (False, (0, 3e4, 9e4, 0))):
        insert = eq10.inserter(low, (4.0, 4.0), 6e4, each_slice=each)
        trues, added = insert.expected(low[None, None])
        assert (trues + added).sum((-2, -1)).flatten().tolist() == pytest.approx(expected, rel=1e-3)
        assert added[0, 0, 1].sum() == pytest.approx(0.2 * float(trues[0, 0, 1].sum()), rel=1e-3)
        assert not insert.noise(low[None, None], generators(1))[0, 0, [0, 3]].any()


def test_a_scan_without_activity_has_no_noise():
    insert = eq10.inserter(torch.zeros(2, 8, 8), (4.0, 4.0), 1e5)
    assert not insert.noise(torch.zeros(1, 1, 2, 8, 8), generators(1)).any()


def test_a_samples_noise_does_not_depend_on_the_batch():
    insert, image = small_inserter()
    three = insert.noise(image.expand(3, 1, 1, 12, 12), generators(3))
    torch.testing.assert_close(insert.noise(image.expand(1, 1, 1, 12, 12), generators(3)[2:]), three[2:])


def test_sensitivity_matched_to_the_noise_inserts_that_noise():
    low = torch.zeros(6, 40, 40)
    low[:, 8:32, 6:34] = 2.0
    body, scale = low > 0, torch.full_like(low, 4.0)
    insert = eq10.inserter(low, (4.0, 4.0), 1e5)
    for wanted in (0.05, 0.4):
        tuned = eq10.matched(insert, low, scale, body, wanted, torch.Generator().manual_seed(1))
        noise = tuned.noise(low[None, None], generators(1, 7))[0, 0] / scale
        assert float(noise[body].std()) == pytest.approx(wanted, rel=0.06)


def test_bins_are_the_papers_and_grow_with_the_slice():
    assert eq10.slice_geometry((128, 128), (2.0, 2.0)).sinogram_shape == (192, 160)
    assert eq10.slice_geometry((80, 130), (4.0, 4.0)).sinogram_shape == (192, 160)
    wide = eq10.slice_geometry((440, 440), (1.65, 1.65))
    assert wide.radial_mm <= eq10.PIXELS_PER_BIN * 1.65 * 1.001


# ---- the steered chain of a Gaussian prior ------------------------------------------------------------------------

S = 0.8
"""SD of every mode of the prior, whose mean is 0."""


def exact(x, sigma, cond=None):
    return S**2 * x / (S**2 + sigma**2)


def mode_after(sigmas, last, g, h, balance, y, spread, kind="both"):
    """Mean and variance of a mode after Algorithm 2 from y + sigma n, step by step: worked out by hand.

    Eq. 10 for a mode that GF passes by g and P-dagger by h: x = (1 - lambda) (g y_t + (1 - g) x')
    + lambda (h y_t + (1 - h) x' - h n), with y_t = y + sigma_next e and n of variance `spread`.
    """
    weight = {"gaussian": 0.0, "sinogram": 1.0, "both": balance, "none": None}[kind]
    mean, variance, count = y, sigmas[0] ** 2, len(sigmas) - 1
    for i, (t, s) in enumerate(pairwise(sigmas)):
        w = S**2 / (S**2 + t**2)
        keep = w + (s / t) ** 2 * (1 - w)
        mean, variance = keep * mean, keep**2 * variance + (s / t) ** 2 * (t**2 - s**2)
        if count - i - 1 < last and weight is not None:
            on_x = (1 - weight) * (1 - g) + weight * (1 - h)
            on_y = (1 - weight) * g + weight * h
            mean, variance = on_x * mean + on_y * y, on_x**2 * variance + (on_y * s) ** 2 + (weight * h) ** 2 * spread
    return mean, variance


class WhiteNoise:
    """Stands in for the sinogram: white noise of a known SD."""

    sensitivity = torch.ones(1)

    def __init__(self, sd):
        self.sd = sd

    def noise(self, x, generators):
        return self.sd * torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators])


def steered(y, sigmas, **changes):
    """Samples (runs, z, y, x) of the exact prior, with the program's own engine and steering. Activity is 2 units."""
    alike = changes.pop("alike", 0.0)
    settings = Settings(**{"transitions": 5, "balance": 0.2, "smooth_mm": FWHM, "resolution_mm": FWHM / 2, **changes})
    scale = torch.full_like(y, 2.0)
    steering = Steering(settings, 2 * y, scale, eq10.gaussian(settings.smooth_mm, (1.0, 1.0)),
                        eq10.gaussian(settings.resolution_mm, (1.0, 1.0)), WhiteNoise(2 * 0.3), 7, alike)  # fmt: skip
    drawn = []
    sampling = Sampling(tuple(sigmas), "ddpm", settings.samples, mean="samples", alike=alike)
    sample_volume(Model(exact, rules=PatchRules(dims=2)), Scene(y.shape, start=y[None]), sampling, Run(seed=2),
                  on_step=steering, on_sample=lambda image: drawn.append(image[0]))  # fmt: skip
    return torch.stack(drawn)


@pytest.mark.parametrize("kind", ["both", "gaussian", "sinogram", "none"])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_steered_chain_has_the_mean_and_variance_worked_out_by_hand(kind, k):
    sigmas = [1.0, 0.7, 0.45, 0.2, 0.05, 0.0]
    y = 1.5 * wave(k).expand(400, SIZE, SIZE)
    drawn = steered(y, sigmas, conditions=kind, transitions=3, samples=2)
    modes = (drawn * wave(k)).sum((-2, -1)) / wave(k).square().sum()
    g, h = gain(k), gain(k, WIDTH / 2)
    mean, variance = mode_after(sigmas, 3, g, h, 0.2, 1.5, 0.3**2, kind)
    unit = 1 / float(wave(k).square().sum())
    """White noise of SD 1 has this variance in a mode's amplitude."""
    error = math.sqrt(variance * unit / modes.numel())
    assert abs(float(modes.mean()) - mean) < 4 * error + 1e-4
    assert float(modes.var()) == pytest.approx(variance * unit, rel=0.16, abs=1e-7)


def test_with_a_filter_that_passes_everything_the_denoising_condition_gives_the_scan():
    y = torch.randn(3, SIZE, SIZE)
    drawn = steered(y, [1.0, 0.3, 0.0], conditions="gaussian", smooth_mm=0.0, samples=1)
    torch.testing.assert_close(drawn[0], y)


def test_only_the_last_l_steps_are_steered():
    """A step's hook: nothing before, Eq. 10 from the l-th step before the end on."""
    y = torch.zeros(2, SIZE, SIZE)
    steering = Steering(Settings(2, 0.2, 4.0, 2.0), y, torch.ones_like(y), *[eq10.gaussian(4.0, (1.0, 1.0))] * 2,
                        WhiteNoise(0.1), 0)  # fmt: skip
    from petdiffusion.diffusion.samplers import Step

    x = torch.zeros(1, 1, 2, SIZE, SIZE)
    changed = [steering(Step(i, 5, 1.0, 0.5, x, x)) is not None for i in range(5)]
    assert changed == [False, False, False, True, True]


def test_samples_do_not_depend_on_how_many_are_drawn():
    y = torch.randn(2, SIZE, SIZE)
    one, three = (steered(y, [1.0, 0.5, 0.0], samples=n, alike=3.0) for n in (1, 3))
    torch.testing.assert_close(one[0], three[0])
    assert float((three[1] - three[0]).abs().max()) > 0.01


# ---- levels, units, count levels ----------------------------------------------------------------------------------


def test_levels_are_the_papers_times_in_its_own_units():
    config = BcDpmConfig(level_scale=1.0)
    settings = Settings(10, 0.2, 1.0, 1.0, start="noise")
    torch.testing.assert_close(levels(config, settings), respaced_sigmas(alpha_bar(config), 100))
    from_scan = levels(config, Settings(10, 0.2, 1.0, 1.0))
    t = [round(1 + 999 * i / 99) for i in range(10)][::-1]
    torch.testing.assert_close(from_scan, torch.cat((sigma_of(alpha_bar(config))[[i - 1 for i in t]],
                                                     torch.zeros(1, dtype=torch.float64))))  # fmt: skip


def test_levels_never_exceed_what_the_network_has_seen_and_fall():
    for steps in (10, 100, 1000):
        found = levels(CONFIGS["compact"], Settings(5, 0.2, 1.0, 1.0, start="noise", steps=steps))
        assert float(found[0]) <= float(sigma_of(alpha_bar(CONFIGS["compact"]))[-1]) and bool((found.diff() < 0).all())


def patient():
    _, y, x = np.mgrid[:6, :64, :80]
    body = ((x - 40) / 34) ** 2 + ((y - 32) / 26) ** 2 < 1
    truth = body * 0.7 + 3.0 * (((x - 28) ** 2 + (y - 30) ** 2) < 130) + 20.0 * (((x - 56) ** 2 + (y - 36) ** 2) < 60)
    return truth.astype(np.float32), body


def test_units_come_back_exactly_and_cut_nothing_off():
    truth, body = patient()
    truth[0, 36, 56] = 400.0
    truth[1, 3, 3] = -5.0
    units = units_of(truth, (4.0, 4.0, 4.0), body, BcDpmConfig())
    np.testing.assert_allclose(units.inverse(units.forward(truth)), truth, rtol=1e-6)
    assert units.scale.min() > 0 and units.forward(truth).argmax() == truth.argmax()


def test_units_follow_a_scaled_image_so_that_the_network_sees_the_same():
    truth, body = patient()
    seen = [units_of(k * truth, (4.0, 4.0, 4.0), body, BcDpmConfig()).forward(k * truth) for k in (1.0, 7e3)]
    np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-6)


def test_noise_that_grows_with_the_root_of_activity_is_alike_in_network_units():
    """Poisson-like noise: its SD differs five-fold between muscle and a bladder, and hardly in network units."""
    truth, body = patient()
    noise = 0.2 * np.sqrt(truth) * np.random.default_rng(0).standard_normal(truth.shape)
    units = units_of(truth, (4.0, 4.0, 4.0), body, BcDpmConfig())
    _, y, x = np.mgrid[:6, :64, :80]
    muscle = (truth == np.float32(0.7)) & (abs(x - 40) > 24)
    bladder = (x - 56) ** 2 + (y - 36) ** 2 < 20
    plain = noise[bladder].std() / noise[muscle].std()
    even = units.forward(noise)[bladder].std() / units.forward(noise)[muscle].std()
    assert plain > 5 and 0.8 < even < 1.25
    one = units_of(truth, (4.0, 4.0, 4.0), body, BcDpmConfig(power=0.0))
    assert np.ptp(one.scale) == 0


def test_slices_scanned_one_by_one_have_units_of_their_own():
    truth, body = patient()
    twice = truth * np.array([1, 2, 4, 1, 2, 4], np.float32)[:, None, None]
    seen = units_of(twice, (4.0, 4.0, 4.0), body, BcDpmConfig(), each_slice=True).forward(twice)
    for other in seen[1:]:
        np.testing.assert_allclose(seen[0], other, rtol=1e-4, atol=1e-6)


OPTIONS = {"counts": 0.0, "fraction": 0.0}


def test_l_is_the_papers_at_its_levels_and_between_them():
    assert [counts.transitions(c, 100) for c in (1e6, 3e5, 1e5)] == [5, 10, 15]
    assert counts.transitions(math.sqrt(1e6 * 3e5), 100) == round(7.5) and counts.transitions(1e12, 100) == 3
    found = [counts.transitions(c, 100) for c in np.geomspace(1e3, 1e8, 60)]
    assert found == sorted(found, reverse=True) and found[0] > 15
    assert counts.transitions(3e5, 1000) == 100 and counts.transitions(1e3, 10) <= 10


def chain(steps, **changes):
    given = {"transitions": counts.transitions(1e6, steps), "reach": counts.reach(1e6), "balance": 0.2,
             "smooth_mm": FWHM, "resolution_mm": FWHM, "steps": steps, **changes}  # fmt: skip
    return levels(BcDpmConfig(), Settings(**given))


@pytest.mark.parametrize("start", ["scan", "noise"])
@pytest.mark.parametrize("steps", [10, 15, 20, 33, 50, 99])
def test_few_steps_begin_where_the_papers_do(steps, start):
    """The scan is steered from the level of its noise on; the last of 20 evenly spaced times is next to no noise."""
    paper, few = float(chain(100)[0]), chain(steps, start=start)
    steered = few[-1 - counts.transitions(1e6, steps):]
    assert float(steered[0]) == pytest.approx(paper, rel=0.03) and few[-1] == 0 and (few.diff() < 0).all()
    assert len(few) <= steps + 3


def test_a_hundred_steps_are_the_papers_and_a_stated_l_goes_as_far_as_it_says():
    found = BcDpmConfig().level_scale * respaced_sigmas(alpha_bar(BcDpmConfig()), 100)
    torch.testing.assert_close(chain(100), found[-6:])
    stated = chain(20, transitions=2, reach=0.0)
    assert float(stated[0]) == pytest.approx(float(found[-11]), rel=0.03) and len(stated) == 3


def test_the_count_level_comes_from_counts_then_fraction_then_noise():
    config = BcDpmConfig(normal_counts=4e6)
    assert counts.level_of({"counts": 2e5, "fraction": 0.5}, 0.1, config).counts == 2e5
    assert counts.level_of({"counts": 0.0, "fraction": 0.1}, 0.1, config).counts == pytest.approx(4e5)
    read = counts.level_of(OPTIONS, 0.375, config)
    assert read.counts == pytest.approx(3e5, rel=1e-6) and read.measured == 0.375 and "noise" in read.told
    with pytest.raises(OptionError, match="count level of normal-dose"):
        counts.level_of({"counts": 0.0, "fraction": 0.1}, 0.1, BcDpmConfig())


def test_a_limbs_slice_is_steered_as_a_trunks_of_equal_noise():
    """Variance goes as pixels^1.5 / counts: a quarter of the pixels hold an eighth of the variance."""
    assert counts.as_in_a_trunk(1e5, counts.TRUNK / 4) == pytest.approx(8e5)
    for pixels in (counts.TRUNK, 0.7 * counts.TRUNK, 1.5 * counts.TRUNK):
        assert counts.as_in_a_trunk(1e5, pixels) == 1e5
    assert counts.as_in_a_trunk(1e5, 0) <= counts.HIGHEST


def test_beyond_the_measured_levels_noise_goes_as_the_inverse_root_of_counts():
    low, high = counts.counts_of_noise(2 * 0.536), counts.counts_of_noise(0.276 / 2)
    assert low == pytest.approx(1e5 / 4) and high == pytest.approx(4e6)
    assert counts.counts_of_noise(0.0) == counts.HIGHEST


def test_smoothed_noise_counts_as_the_white_noise_of_its_power():
    """White noise smoothed by a Gaussian, SD s pixels: variance falls by 4 pi s^2, power at low frequency does not."""
    rng = np.random.default_rng(1)
    from scipy.ndimage import gaussian_filter

    s = 1.0
    smooth = gaussian_filter(rng.standard_normal((400, 400)), s, mode="wrap")
    fwhm = s * math.sqrt(8 * math.log(2)) * 4.0
    seen = Noise(np.ones(1), np.array([smooth.var()]), (0.0, fwhm, fwhm))
    assert counts.effective(seen, 4.0) == pytest.approx(1.0, rel=0.03)
    fine = Noise(np.ones(1), np.ones(1), (0.0, 0.0, 0.0))
    assert counts.effective(fine, 4.0) == pytest.approx(1.0)
