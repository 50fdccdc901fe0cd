"""Agreement, tests and calibration against SciPy, hand arithmetic and closed forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from petdiffusion.errors import InputError, OptionError
from petdiffusion.measure.agreement import agreement, concordance
from petdiffusion.measure.calibration import calibration
from petdiffusion.measure.statistics import bootstrap_interval, compare_methods, holm, least_p, wilcoxon, wilson
from scipy import stats


def test_agreement_by_hand():
    found = agreement([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.slope, found.intercept, found.r_squared) == (pytest.approx(2), pytest.approx(0), pytest.approx(1))
    assert (found.bias, found.sd) == (2.0, 1.0)
    assert (found.limit_low, found.limit_high) == (pytest.approx(0.04), pytest.approx(3.96))
    # means 4 and 2, variances 8/3 and 2/3, covariance 4/3: 2*(4/3) / (8/3 + 2/3 + 4)
    assert found.concordance == pytest.approx((8 / 3) / (10 / 3 + 4))
    # t(0.975, 2) = 4.302653
    assert found.bias_ci[1] == pytest.approx(2 + 4.302653 / np.sqrt(3), rel=1e-6)
    assert agreement([2.0, 4.0], [1.0, 2.0], proportional=True).bias == pytest.approx(200 / 3)


def test_perfect_correlation_is_not_agreement():
    truth = np.arange(1.0, 9.0)
    found = agreement(3 * truth + 1, truth)
    assert found.r_squared == pytest.approx(1.0) and found.concordance < 0.5
    assert concordance(truth, truth) == pytest.approx(1.0)


def test_agreement_without_variation_is_undefined_not_wrong():
    row = agreement([1.0, 2.0], [3.0, 3.0]).to_json()
    assert row["slope"] is None and row["r_squared"] is None and row["bias"] == -1.5
    assert agreement([1.0], [1.0]).to_json()["sd"] is None
    with pytest.raises(InputError):
        agreement([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(InputError):
        agreement([1.0], [1.0, 2.0])


def test_wilcoxon_is_scipys_and_knows_its_smallest_p():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 12), rng.normal(0, 1, 12)
    assert wilcoxon(a, b).p == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)
    five = wilcoxon([1.1, 2.2, 3.3, 4.4, 5.5], [1, 2, 3, 4, 5])
    assert five.p == five.minimum_p == 0.0625
    assert wilcoxon(np.arange(1, 8) * 1.1, np.arange(1, 8)).p == pytest.approx(0.015625)


def by_all_signs(differences):
    """The two-sided p by definition: the share of sign flips whose rank sum lies as far from the middle."""
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(product((0, 1), repeat=ranks.size)))
    away = np.abs(signs @ ranks - ranks.sum() / 2)
    return np.mean(away >= abs(ranks[np.asarray(differences) > 0].sum() - ranks.sum() / 2) - 1e-9)


def test_wilcoxon_is_exact_where_differences_tie():
    """As scores of few decimals do. The normal approximation gave 0.042 for five of one sign, of which 0.0625 is the
    least."""
    tied = np.array([0.5, 0.5, 0.25, 0.75, 1.0])
    found = wilcoxon(tied, np.zeros(5))
    assert found.exact and found.p == found.minimum_p == 0.0625
    rng = np.random.default_rng(3)
    for n in (1, 2, 5, 8, 12):
        for _ in range(5):
            values = rng.choice([-3, -2, -1, 1, 2, 3, 4], n) / 4
            assert wilcoxon(values, np.zeros(n)).p == pytest.approx(by_all_signs(values), rel=1e-12)
    many = np.repeat([0.5, 1.0, -0.25], (20, 19, 1))
    assert wilcoxon(many, np.zeros(40)).p >= 2.0**-39
    assert not wilcoxon(np.ones(51), np.zeros(51)).exact


def test_wilcoxon_leaves_out_equal_pairs():
    found = wilcoxon([1.0, 2.0, 3.5, 4.25], [1.0, 2.0, 3.0, 4.0])
    assert (found.n, found.minimum_p) == (2, 0.5)
    nothing = wilcoxon([1.0, 2.0], [1.0, 2.0])
    assert (nothing.n, nothing.p) == (0, 1.0)


def test_the_middle_of_the_differences_is_their_median():
    assert wilcoxon([1.0, 2.0, 12.0], [0.0, 0.0, 0.0]).median == 2.0


def test_holm_by_hand():
    # sorted 0.01 x4 = 0.04, 0.02 x3 = 0.06, 0.03 x2 = 0.06, 0.5 x1
    assert holm([0.03, 0.01, 0.5, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0
    with pytest.raises(InputError):
        holm([1.2])


def test_the_least_p_that_holm_can_leave():
    """Of comparisons of five, six and six pairs the smallest is multiplied by three."""
    assert least_p([2 / 32, 2 / 64, 2 / 64]) == pytest.approx(6 / 64)
    assert least_p([0.5] * 3) == 1.0 and least_p([]) is None


def test_bootstrap_interval_has_the_width_of_the_standard_error():
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = bootstrap_interval(values, np.random.default_rng(2))
    half = 1.96 * values.std() / 20
    assert (low, high) == (pytest.approx(values.mean() - half, abs=0.02), pytest.approx(values.mean() + half, abs=0.02))
    again = bootstrap_interval(values, np.random.default_rng(2))
    assert again == (low, high)
    assert np.isnan(bootstrap_interval([1.0], np.random.default_rng(0))[0])
    median = bootstrap_interval([1.0, 2.0, 50.0], np.random.default_rng(0), statistic=np.median)
    assert median == (1.0, 50.0)


def test_methods_are_compared_with_a_baseline_and_corrected():
    rng = np.random.default_rng(3)
    base = rng.normal(30, 2, 8)
    scores = {"low": base, "good": base + 2 + rng.normal(0, 0.1, 8), "same": base + rng.normal(0, 0.1, 8)}
    low, good, same = compare_methods(scores, "low", np.random.default_rng(0))
    assert "p" not in low and good["p"] == good["minimum_p"] == 2.0**-7
    assert good["p_holm"] == 2 * good["p"] and good["better"] and same["p_holm"] >= same["p"]
    assert not compare_methods(scores, "low", np.random.default_rng(0), higher_is_better=False)[1]["better"]
    with pytest.raises(OptionError):
        compare_methods(scores, "none", np.random.default_rng(0))
    with pytest.raises(InputError, match="low"):
        compare_methods({"low": [1.0, np.nan], "b": [1.0, 2.0]}, "low", np.random.default_rng(0))


@pytest.fixture(scope="module")
def predicted():
    rng = np.random.default_rng(5)
    sd = rng.uniform(0.2, 3.0, (40, 50, 60))
    mean = rng.normal(0, 5, sd.shape)
    return mean + sd * rng.standard_normal(sd.shape), mean, sd


def test_a_true_sd_is_calibrated(predicted):
    found = calibration(*predicted)
    assert found.coverage == {0.68: pytest.approx(0.68, abs=0.01), 0.95: pytest.approx(0.95, abs=0.01)}
    assert found.expected_error < 0.03
    error = np.abs(predicted[1] - predicted[0])
    assert found.rank_correlation == pytest.approx(stats.spearmanr(error.ravel(), predicted[2].ravel()).statistic)


def test_half_the_sd_is_overconfident(predicted):
    truth, mean, sd = predicted
    found = calibration(truth, mean, sd / 2)
    # the RMSE is twice the SD: (2 - 1) / 1
    assert found.expected_error == pytest.approx(1.0, abs=0.05)
    # 95 % intervals then cover P(|z| < 0.98) = 67.3 %
    assert found.coverage[0.95] == pytest.approx(0.673, abs=0.01)


def test_the_expected_error_by_hand():
    """Ten voxels, a tenth each: SDs of 1 to 10, errors of 3. Those without an SD do not count."""
    sd = np.arange(10.0, 0, -1).reshape(1, 2, 5)
    mean = np.full(sd.shape, 3.0)
    found = calibration(np.zeros_like(sd), mean, sd)
    assert found.expected_error == pytest.approx(np.mean([abs(3 - k) / k for k in range(1, 11)]))
    none = calibration(np.zeros_like(sd), mean, np.zeros_like(sd))
    assert np.isnan(none.expected_error) and none.coverage[0.95] == 0


def test_an_sd_that_knows_nothing_has_no_rank_correlation(predicted):
    truth, mean, sd = predicted
    shuffled = np.random.default_rng(0).permuted(sd.ravel()).reshape(sd.shape)
    assert abs(calibration(truth, mean, shuffled).rank_correlation) < 0.02
    assert np.isnan(calibration(truth, mean, np.ones_like(sd)).rank_correlation)


def test_only_the_mask_counts_and_negative_sd_is_refused(predicted):
    truth, mean, sd = predicted
    mask = np.zeros(sd.shape, bool)
    mask[:10] = True
    changed = np.where(mask, truth, 1e6)
    assert calibration(changed, mean, sd, mask) == calibration(truth, mean, sd, mask)
    with pytest.raises(InputError):
        calibration(truth, mean, -sd)


@pytest.mark.parametrize(("found", "n"), [(0, 10), (7, 10), (10, 10), (148, 172)])
def test_a_proportion_against_scipy(found, n):
    expected = stats.binomtest(found, n).proportion_ci(method="wilson")
    assert wilson(found / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_proportion_of_nothing_is_unknown():
    assert np.isnan(wilson(0.0, 0)).all()
