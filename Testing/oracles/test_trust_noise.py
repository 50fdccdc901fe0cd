"""The null distributions of the check: on noise of known covariance p-values are uniform, and never too small."""

import numpy as np
import pytest
from petdiffusion.trust import spots
from petdiffusion.trust.chance import chance
from petdiffusion.trust.check import check, spread_error
from petdiffusion.trust.kernels import SIZES_MM, Filter, correlated_noise, correlation
from petdiffusion.trust.noise import NoiseModel, _between, noise_model
from petdiffusion.trust.regions import change_of, sum_variance
from petdiffusion.trust.spots import unskewed, usable_sizes, z_maps
from petdiffusion.volume import Geometry, LabelMap, Volume

GRIDS = [((4.0, 4.0, 4.0), (4.5, 5.6, 5.0)), ((2.7, 4.0, 4.0), (6.0, 6.0, 6.0)), ((3.0, 3.0, 3.0), (0.0, 0.0, 0.0))]


def highest_of_regions(values: np.ndarray, side: tuple[int, int, int]) -> np.ndarray:
    parts = [v for n, s in zip(values.shape, side) for v in (n // s, s)]
    return values.reshape(parts).max(axis=(1, 3, 5)).ravel()


def test_simulated_noise_has_the_correlation_asked_for():
    spacing, fwhm = (4.0, 4.0, 4.0), (4.5, 5.6, 8.0)
    noise = correlated_noise((96, 96, 96), spacing, fwhm, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, abs=0.01)
    for axis in range(3):
        for lag in (1, 2):
            found = float(np.mean(noise * np.roll(noise, lag, axis)))
            assert found == pytest.approx(float(correlation(np.array(4.0 * lag), fwhm[axis])), abs=0.02)


@pytest.mark.parametrize("spacing, fwhm", GRIDS)
@pytest.mark.parametrize("size", SIZES_MM[:4])
def test_filtered_noise_has_the_variance_worked_out(spacing, fwhm, size):
    rng = np.random.default_rng(1)
    one, found = Filter(size, spacing), []
    for _ in range(3):
        noise = correlated_noise((80, 72, 72), spacing, fwhm, rng)
        found.append(one(noise, mode="wrap").var())
    assert np.sqrt(np.mean(found)) == pytest.approx(one.noise_sd(fwhm), rel=0.04)


@pytest.mark.parametrize("spacing, fwhm", GRIDS)
def test_p_values_of_regions_are_uniform_on_noise(spacing, fwhm):
    """On noise that the null distribution was not made from."""
    filters = [Filter(size, spacing) for size in SIZES_MM]
    null, rng, p = chance(filters, fwhm), np.random.default_rng(2), []
    shape = tuple(s * (200 // int(s * step)) for s, step in zip(null.region_voxels, spacing))
    for _ in range(3):
        noise = correlated_noise(shape, spacing, fwhm, rng)
        highest = np.max([np.abs(f(noise, "wrap")) / f.noise_sd(fwhm) for f in filters], axis=0)
        p.append(null.in_region(highest_of_regions(highest, null.region_voxels)))
    p = np.concatenate(p)
    for level in (0.01, 0.05, 0.2, 0.5, 0.8):
        assert np.mean(p < level) == pytest.approx(level, rel=0.45 if level < 0.02 else 0.15)


def test_p_of_the_whole_scan_holds_the_rate_of_false_alarms():
    """Forty scans of noise: about one in twenty has a place with an adjusted p below 0.05, not one in two."""
    spacing, fwhm = (4.0, 4.0, 4.0), (5.0, 5.0, 5.0)
    filters = [Filter(size, spacing) for size in SIZES_MM]
    null, rng, lowest = chance(filters, fwhm), np.random.default_rng(3), []
    for _ in range(40):
        noise = correlated_noise((36, 36, 36), spacing, fwhm, rng)
        highest = max(np.abs(f(noise, "wrap")).max() / f.noise_sd(fwhm) for f in filters)
        lowest.append(float(null.in_scan(highest, 36**3 / np.prod(null.region_voxels))[0]))
    lowest = np.array(lowest)
    assert np.mean(lowest < 0.05) <= 0.15
    assert np.mean(lowest < 0.5) == pytest.approx(0.5, abs=0.2)


def test_chance_falls_with_z_and_goes_on_beyond_what_was_simulated():
    null = chance([Filter(8.5, (4.0, 4.0, 4.0))], (5.0, 5.0, 5.0))
    p = null.in_region(np.linspace(0, 9, 91))
    assert np.all(np.diff(p) <= 0) and 0 < p[-1] < 1e-12 and p[0] == pytest.approx(1.0)
    assert null.in_region(null.threshold(0.01))[0] == pytest.approx(0.01, rel=0.1)
    assert null.in_scan(4.5, 1000)[0] == pytest.approx(1 - (1 - null.in_region(4.5)[0]) ** 1000)


def test_skewed_noise_becomes_normal():
    """Gamma variables of known skewness: both tails are right after the cube root, and wrong without it."""
    rng, skew = np.random.default_rng(4), 0.8
    shape = 4 / skew**2
    z = (rng.gamma(shape, size=400_000) - shape) / np.sqrt(shape)
    for sign in (1, -1):
        assert np.mean(sign * unskewed(z, np.full(z.shape, skew)) > 2.5758) == pytest.approx(0.005, rel=0.15)
    assert np.mean(z > 2.5758) > 0.01 and np.mean(-z > 2.5758) < 0.001


def test_noise_of_a_scan_is_found_place_by_place():
    """SD proportional to the root of activity, twice as high in one half, correlated: all three are found."""
    spacing, fwhm, rng = (4.0, 4.0, 4.0), (5.0, 6.0, 5.0), np.random.default_rng(5)
    shape = (48, 60, 60)
    truth = np.where(np.arange(60) < 30, 2.0, 6.0)[None, None] * np.ones(shape)
    level = np.where(np.arange(48) < 24, 0.3, 0.6)[:, None, None] * np.ones(shape)
    low = (truth + level * np.sqrt(truth) * correlated_noise(shape, spacing, fwhm, rng)).astype(np.float32)
    found = noise_model(low, truth.astype(np.float32), np.ones(shape, bool), spacing)
    for z in (8, 40):
        for x in (10, 50):
            want = level[z, 30, x] * np.sqrt(truth[z, 30, x])
            assert found.sd[z, 30, x] == pytest.approx(want, rel=0.15)
    np.testing.assert_allclose(found.fwhm_mm, fwhm, atol=0.6)
    assert found.removed == pytest.approx(1.0, abs=0.02)


def test_noise_that_the_output_kept_still_counts_as_the_scans():
    """An output that kept half of the noise leaves half in the residual; the scan's noise is the whole, and of its
    variance three quarters are gone."""
    spacing, fwhm, rng = (4.0, 4.0, 4.0), (5.0, 5.0, 5.0), np.random.default_rng(6)
    truth = np.full((48, 48, 48), 4.0, np.float32)
    noise = correlated_noise(truth.shape, spacing, fwhm, rng)
    found = noise_model(truth + noise, truth + 0.5 * noise, np.ones(truth.shape, bool), spacing)
    assert found.in_residual == pytest.approx(0.25, rel=0.1)
    assert found.removed == pytest.approx(0.75, abs=0.05)
    assert np.median(found.sd) == pytest.approx(1.0, rel=0.1)


def test_the_correlation_of_noise_that_was_kept_lies_between_the_residuals_and_the_scans():
    """3 and 5 mm, a quarter of the variance in the residual: the square lies at three quarters of the way."""
    assert _between(3.0, 5.0, 0.25) == pytest.approx(np.sqrt(9 + 0.75 * 16))
    assert _between(3.0, 5.0, 1.0) == 3.0 == _between(3.0, 2.0, 0.25)  # the scan's is never taken to shorten it


def test_the_skewness_is_told_from_the_quantiles():
    """Of gamma variables whose skewness is 24 mm over the size, three quarters are taken (`SKEW_SHARE`)."""
    rng, body, raw = np.random.default_rng(12), np.ones((60, 60, 60), bool), []
    filters = [Filter(size, (4.0, 4.0, 4.0)) for size in SIZES_MM[:2]]
    for one in filters:
        shape = 4 / (0.1 * 24.0 / one.size_mm) ** 2
        z = (rng.gamma(shape, size=body.shape) - shape) / np.sqrt(shape)
        raw.append((z, np.full(body.shape, 0.1)))
    assert spots._skew(filters, raw, body) == pytest.approx(spots.SKEW_SHARE * 24.0, rel=0.1)


def test_a_spots_height_is_as_uncertain_as_the_residual_shows():
    """Noise twice as strong as the model says: twice the SD of heights, in units of the model's."""
    spacing, shape, rng = (4.0, 4.0, 4.0), (40, 40, 40), np.random.default_rng(13)
    truth, body, filters = np.full(shape, 4.0, np.float32), np.ones(shape, bool), [Filter(8.5, spacing)]
    low = truth + 0.6 * correlated_noise(shape, spacing, (5.0,) * 3, rng)
    units = []
    for sd in (0.6, 0.3):
        model = NoiseModel(np.full(shape, sd, np.float32), (5.0,) * 3, 1.0)
        (one,) = z_maps(low, truth, body, model, filters)
        units.append(one.sd_unit * sd)
    assert units[1] == pytest.approx(units[0], rel=0.1)


def test_z_is_standard_on_a_scan_of_noise():
    spacing, fwhm, rng = (4.0, 4.0, 4.0), (5.0, 5.0, 5.0), np.random.default_rng(7)
    truth = np.full((60, 60, 60), 4.0, np.float32)
    body = np.ones(truth.shape, bool)
    low = truth + 0.3 * correlated_noise(truth.shape, spacing, fwhm, rng)
    model = noise_model(low, truth, body, spacing)
    for one in z_maps(low, truth, body, model, usable_sizes(spacing, truth.shape)[:4]):
        inner = one.z[10:-10, 10:-10, 10:-10]
        assert inner.std() == pytest.approx(1.0, abs=0.12) and abs(inner.mean()) < 0.1


@pytest.mark.parametrize("shape, spacing, fwhm", [
    ((36, 48, 48), (4.0, 4.0, 4.0), (5.0, 5.0, 5.0)), ((40, 40, 40), (4.0, 4.0, 4.0), (8.0, 8.0, 8.0)),
    ((40, 40, 40), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0)), ((24, 32, 32), (4.0, 4.0, 4.0), (6.0, 6.0, 6.0))])  # fmt: skip
def test_the_spread_of_z_varies_from_scan_to_scan_as_told(shape, spacing, fwhm, monkeypatch):
    """The p of a structured residual rests on it: sixty scans of nothing but noise, by the filters of the check."""
    monkeypatch.setattr(spots, "LEAST_SPREAD", 0.0)
    rng, filters, spread = np.random.default_rng(10), usable_sizes(spacing, shape), []
    places = (((i - (n - 1) / 2) / (0.42 * n)) ** 2 for i, n in zip(np.indices(shape), shape))
    body = sum(places) < 1
    truth = np.where(body, 4.0, 0.0).astype(np.float32)
    for _ in range(60):
        low = truth + np.float32(0.3) * body * correlated_noise(shape, spacing, fwhm, rng)
        maps = z_maps(low, truth, body, noise_model(low, truth, body, spacing), filters)
        spread.append([one.spread for one in maps])
    told = [spread_error(one.size_mm, body.sum() * np.prod(spacing)) for one in filters]
    assert np.mean(np.std(spread, axis=0, ddof=1) / told) == pytest.approx(0.93, abs=0.17)


def test_variance_of_a_sum_worked_by_hand():
    """Two voxels of SD 2 and 3, 4 mm apart, noise of FWHM 8 mm: 4 + 9 + 2 x 6 x exp(-(4 / 3.397)^2 / 4)."""
    scaled = np.zeros((1, 1, 8))
    scaled[0, 0, 3:5] = 2.0, 3.0
    want = 13 + 12 * np.exp(-((4 / (8 / 2.354820045)) ** 2) / 4)
    assert sum_variance(scaled, (8.0, 8.0, 8.0), (4.0, 4.0, 4.0)) == pytest.approx(want, rel=1e-6)


def test_all_that_is_correlated_counts_in_the_variance_of_a_sum():
    """Thirty voxels of 2 mm, noise of FWHM 8 mm: the sum over all pairs, written out."""
    places = 2.0 * np.arange(30)
    want = correlation(places[:, None] - places[None], 8.0).sum()
    assert sum_variance(np.ones((1, 1, 30)), (8.0, 8.0, 8.0), (2.0, 2.0, 2.0)) == pytest.approx(want, rel=0.01)


def test_mean_of_a_region_varies_as_told():
    spacing, fwhm, rng = (4.0, 4.0, 4.0), (6.0, 6.0, 6.0), np.random.default_rng(8)
    mask = np.zeros((24, 24, 24), bool)
    mask[8:14, 8:14, 9:13] = True
    flat = np.full(mask.shape, 5.0)
    model = NoiseModel(np.full(mask.shape, 0.7), fwhm, 1.0)
    z = [change_of(flat + 0.7 * correlated_noise(mask.shape, spacing, fwhm, rng), flat, mask, model, spacing).z
         for _ in range(300)]  # fmt: skip
    assert np.std(z) == pytest.approx(1.0, abs=0.13) and abs(np.mean(z)) < 0.2


def test_the_noise_of_every_mean_is_what_scans_repeated_show():
    """Of organs and lesions alike, by their numbers."""
    spacing, fwhm, rng = (4.0, 4.0, 4.0), (6.0, 6.0, 6.0), np.random.default_rng(9)
    shape = (28, 32, 32)
    geometry = Geometry(shape[::-1], spacing)
    organs, lesions = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
    organs[6:20, 6:20, 6:18], lesions[20:22, 20:23, 20:23] = 5, 3
    truth = np.where(organs == 5, 6.0, 2.0).astype(np.float32)
    masks = LabelMap(organs, geometry, {5: "liver"}), LabelMap(lesions, geometry, {3: "tumour", 4: "other"})
    told, means = [], []
    for _ in range(60):
        low = truth + np.float32(0.3) * np.sqrt(truth) * correlated_noise(shape, spacing, fwhm, rng)
        found = check(Volume(low.astype(np.float32), geometry), Volume(truth, geometry), np.ones(shape, bool), *masks)
        told.append((found.noise["organs"][5], found.noise["lesions"][3]))
        means.append((low[organs == 5].mean(), low[lesions == 3].mean()))
    np.testing.assert_allclose(np.mean(told, axis=0), np.std(means, axis=0, ddof=1), rtol=0.25)
