"""Intervals from samples cover what they say: hand-worked ranks, and Gaussian posteriors known in closed form."""

import json
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.errors import InputError, ModelError
from petdiffusion.measure.suvs import peak
from petdiffusion.trust.calibrate import Scores, fit
from petdiffusion.trust.conformal import (
    LEVELS,
    Calibration,
    Family,
    conformal_ends,
    ends,
    fit_family,
    fit_voxels,
    independent,
    likeness,
    spread,
    uncalibrated,
)
from petdiffusion.trust.samples import Collector, Key, Numbers
from petdiffusion.trust.uncertainty import interval_rows, voxel_factor
from petdiffusion.volume import Geometry, LabelMap

SAMPLES = 6


def test_order_statistics_worked_by_hand():
    """Of 19 numbers at level 0.8: k = ceil(20 x 0.9) = 18, so the 18th smallest and the 2nd smallest."""
    assert conformal_ends(np.arange(1.0, 20.0), 0.8) == (2.0, 18.0)
    assert conformal_ends(np.array([3.0, 1.0, 2.0]), 0.95) == (1.0, 3.0)


def test_likeness_within_patients_by_hand():
    """Two patients of two: (0, 0) and (3, 3) are as two numbers, (0, 3) and (0, 3) as four. (0, 2) and (2, 4): between
    4, within 2, so rho = (4 - 2) / (4 + 2) = 1/3 and 4 / (1 + 1/9) = 3.6."""
    patients = ["a", "a", "b", "b"]
    assert independent(np.array([0.0, 0.0, 3.0, 3.0]), patients) == pytest.approx(2)
    assert independent(np.array([0.0, 3.0, 0.0, 3.0]), patients) == 4
    assert independent(np.array([0.0, 2.0, 2.0, 4.0]), patients) == pytest.approx(3.6)
    assert independent(np.array([0.0, 2.0, 2.0, 4.0]), list("abcd")) == 4
    assert conformal_ends(np.arange(1.0, 101.0), 0.8, 19.0) == (6.0, 95.0)  # k = 100 x 18 / 19


def test_likeness_where_patients_have_not_as_many_numbers_by_hand():
    """(0, 2, 4) and (6): between 12, within 4, and 1.5 numbers a patient: rho = 8 / (12 + 0.5 x 4) = 4/7."""
    assert likeness(np.array([0.0, 2.0, 4.0, 6.0]), ["a", "a", "a", "b"]) == pytest.approx(4 / 7)


def test_of_few_numbers_the_next_is_where_student_lets_it_fall():
    """(-1, -1, 1, 1): mean 0, SD 1.1547; t of 3 degrees at 95 % is 3.1824, so 3.1824 x 1.1547 x sqrt(1 + 1/4)."""
    half = 3.182446 * 1.154701 * np.sqrt(1.25)
    assert ends(np.array([-1.0, -1.0, 1.0, 1.0]), 0.95, 4) == pytest.approx((-half, half), rel=1e-5)


def test_the_arm_of_a_voxel_is_that_of_one_more_than_were_seen():
    """Errors 1 to 20 of SD 1, ceil(21 x 0.95) = 20 and ceil(21 x 0.5) = 11: not the 19th and the 10th."""
    known = fit_voxels(np.arange(1.0, 21.0), np.ones(20), SAMPLES, levels=(0.5, 0.95))
    assert known.high == pytest.approx([rank / spread(1.0, 0.0, SAMPLES, 0.0) for rank in (11, 20)])


def test_lesions_of_a_patient_who_err_alike_are_not_taken_for_as_many_patients():
    """Nine patients of twenty lesions, four fifths of the variance their own: nine in ten or fewer of new patients'
    lesions are covered where all lesions are taken for patients, and not where it is known whose they are."""
    rng = np.random.default_rng(9)

    def people(n):
        errors = np.sqrt(0.8) * np.repeat(rng.standard_normal(n), 20) + np.sqrt(0.2) * rng.standard_normal(20 * n)
        return 5 + errors, np.full(20 * n, 5.0), np.full(20 * n, 0.1), np.repeat(np.arange(n), 20)

    found = []
    for _ in range(150):
        *nine, whose = people(9)
        *new, _ = people(50)
        for patients in (whose, None):
            known = Calibration(SAMPLES, 9, "simulated", families={
                "lesion_max": fit_family(*nine, SAMPLES, levels=LEVELS, patients=patients)})  # fmt: skip
            found.append([covered(known, *new, level) for level in (0.95, 0.8)])
    told, untold = np.mean(found[::2], axis=0), np.mean(found[1::2], axis=0)
    assert told[0] == pytest.approx(0.95, abs=0.02) and told[1] > 0.8
    assert untold[0] < 0.92 and untold[1] < 0.8


def test_no_scanner_has_less_than_by_itself():
    """Numbers of a scanner whose errors are three times another's, a third of all: pooled intervals of 80 % cover far
    fewer of them; with the scanners told, as many as by itself. A scanner of three patients is not looked at."""
    rng = np.random.default_rng(4)

    def numbers(n, of):
        return 5 + of * rng.standard_normal(n), np.full(n, 5.0), np.full(n, 0.1)

    wide, narrow, few = numbers(400, 0.3), numbers(800, 0.1), numbers(30, 3.0)
    every = [np.concatenate(parts) for parts in zip(wide, narrow, few)]
    patients = np.concatenate((np.arange(400) % 20, 100 + np.arange(800) % 40, 200 + np.arange(30) % 3))
    scanners = np.repeat(["wide", "narrow", "few"], (400, 800, 30))

    def known(**more):
        return Calibration(SAMPLES, 63, "simulated", families={
            "lesion_max": fit_family(*every, SAMPLES, patients=patients, **more)})  # fmt: skip

    told, untold = (covered(known(**more), *numbers(4000, 0.3), 0.8) for more in ({"scanners": scanners}, {}))
    assert told == pytest.approx(0.8, abs=0.05) and untold < 0.7
    assert known(scanners=[""] * 1230) == known()


def test_scanners_are_told_for_the_means_of_organs_alone():
    rng = np.random.default_rng(5)
    scores = [Scores(f"p{i}", 5, {name: [(5 + e, 5.0, 0.1) for e in rng.standard_normal(30) * of]
                                  for name in ("organ_mean", "organ_max")}, scanner)
              for scanner, of in (("mCT", 0.5), ("Quadra", 0.1)) for i in range(8)]  # fmt: skip
    told, untold = fit(scores, "simulated"), fit([replace(s, scanner="") for s in scores], "simulated")
    assert told.families["organ_mean"].high[-1] > untold.families["organ_mean"].high[-1]
    assert told.families["organ_max"] == untold.families["organ_max"]


def test_spread_worked_by_hand():
    """(4 x (0.1 x 5)^2 + 3 x 0.4^2) / 7 = 0.2114."""
    assert spread(0.4, 5.0, 4, 0.1) == pytest.approx(np.sqrt(0.2114285714), rel=1e-5)


def posterior_numbers(rng, n, trust=1.0):
    """Truth x ~ N(5, 1), seen through noise of SD 0.8: the posterior is N(m, v); samples with SD `trust` sqrt(v)."""
    truth = rng.normal(5, 1, n)
    seen = truth + rng.normal(0, 0.8, n)
    v = 1 / (1 + 1 / 0.64)
    m = v * (5 + seen / 0.64)
    drawn = m + trust * np.sqrt(v) * rng.standard_normal((SAMPLES, n))
    return truth, drawn.mean(axis=0), drawn.std(axis=0, ddof=1)


def covered(calibration, truth, centre, sd, level):
    ends = [calibration.interval("lesion_max", c, s, SAMPLES, level) for c, s in zip(centre, sd)]
    return np.mean([low <= t <= high for t, (low, high) in zip(truth, ends)])


@pytest.mark.parametrize("trust, bias", [(1.0, 0.0), (0.3, 0.0), (3.0, 0.0), (1.0, 0.7)])
def test_coverage_is_nominal_whatever_the_samples_are_worth(trust, bias):
    """Right, overconfident, overcautious and biased samples: within 3 points on unseen numbers."""
    rng = np.random.default_rng(1)
    truth, centre, sd = posterior_numbers(rng, 8000, trust)
    family = fit_family(truth, centre + bias, sd, SAMPLES)
    known = Calibration(SAMPLES, 100, "simulated", families={"lesion_max": family})
    truth, centre, sd = posterior_numbers(rng, 4000, trust)
    for level in LEVELS:
        assert covered(known, truth, centre + bias, sd, level) == pytest.approx(level, abs=0.03)


def test_without_calibration_overconfident_samples_do_not_cover():
    """The reason for all this, and the test of the test above."""
    truth, centre, sd = posterior_numbers(np.random.default_rng(2), 4000, 0.3)
    ends = [uncalibrated(c, s, SAMPLES) for c, s in zip(centre, sd)]
    assert np.mean([low <= t <= high for t, (low, high) in zip(truth, ends)]) < 0.7
    truth, centre, sd = posterior_numbers(np.random.default_rng(2), 4000, 1.0)
    ends = [uncalibrated(c, s, SAMPLES) for c, s in zip(centre, sd)]
    assert np.mean([low <= t <= high for t, (low, high) in zip(truth, ends)]) == pytest.approx(0.95, abs=0.015)


def test_fewer_samples_than_in_calibration_widen_the_interval():
    known = Calibration(8, 10, "simulated", families={"lesion_max": Family(100, 0.1, (-1.0,) * 5, (1.0,) * 5)})
    widths = [np.ptp(known.interval("lesion_max", 5.0, 0.5, n)) for n in (3, 5, 8, 20)]
    assert widths[0] > widths[1] > widths[2] and widths[3] == pytest.approx(widths[2], rel=1e-6)
    assert known.interval("organ_mean", 5.0, 0.5, 8) is None


def test_a_calibration_survives_json_and_a_broken_one_is_refused():
    known = Calibration(5, 3, "simulated", families={"organ_mean": fit_family([1, 2, 3], [1, 2, 2.5], [0.1] * 3, 5)})
    assert Calibration.from_json(json.loads(json.dumps(known.to_json()))) == known
    for broken in ({}, {**known.to_json(), "levels": [0.9]}, {**known.to_json(), "more": 1}, "text"):
        with pytest.raises(ModelError):
            Calibration.from_json(broken)
    with pytest.raises(InputError):
        fit_family([1.0], [1.0], [0.1], 5)


@pytest.mark.parametrize("count", [2, 3, SAMPLES, 20])
def test_the_map_covers_after_its_factor_with_as_many_samples_as_one_likes(count):
    rng = np.random.default_rng(3)

    def voxels(samples, n=20_000):
        true_sd = rng.uniform(0.2, 2.0, n)
        drawn = 0.4 * true_sd * rng.standard_normal((samples, n))
        return true_sd * rng.standard_normal(n), drawn.std(axis=0, ddof=1)

    known = Calibration(SAMPLES, 3, "simulated", families={"voxel": fit_voxels(*voxels(SAMPLES), SAMPLES)})
    (error, sd), factor = voxels(count), voxel_factor(known, count)
    assert np.mean(np.abs(error) <= 1.96 * factor * sd) == pytest.approx(0.95, abs=0.01)
    assert factor > 1.5 and voxel_factor(None, count) is None


def test_numbers_of_samples_and_their_rows():
    geometry = Geometry((20, 18, 16), (4.0, 4.0, 4.0))
    lesions, organs = np.zeros((16, 18, 20), np.int16), np.ones((16, 18, 20), np.int16)
    lesions[4:7, 5:8, 6:9] = 1
    lesions[10:12, 10:12, 10:12] = 1
    maps = LabelMap(organs, geometry, {1: "liver"}), LabelMap(lesions, geometry, {1: "node"})
    rng, drawn = np.random.default_rng(4), Collector(Numbers(geometry, *maps))
    images = [rng.uniform(1, 2, organs.shape) + lesions * 4 for _ in range(3)]
    for image in images:
        drawn(image)
    first = lesions.astype(bool) & (np.arange(16) < 8)[:, None, None]
    want = [image[first].max() for image in images]
    centre, sd = drawn.spread()[Key("lesion", 1, "node (1)", "max")]
    assert (centre, sd) == pytest.approx((np.mean(want), np.std(want, ddof=1)))
    peaks = [peak(image, first, geometry) for image in images]
    assert drawn.spread()[Key("lesion", 1, "node (1)", "peak")][0] == pytest.approx(np.mean(peaks))
    liver = [image[lesions == 0].mean() for image in images]
    assert drawn.spread()[Key("organ", 1, "liver", "mean")][0] == pytest.approx(np.mean(liver))

    rows = interval_rows(drawn, drawn.numbers(np.mean(images, axis=0)), None, "SUV")
    assert len(rows) == 8 and not any(row["calibrated"] for row in rows)
    row = next(r for r in rows if r["name"] == "node (2)" and r["metric"] == "SUVmax")
    assert row["low95"] < row["expected"] < row["high95"] and row["denoised"] < row["expected"]
    one = Collector(drawn.numbers)
    one(images[0])
    assert one.spread() == {} and interval_rows(one, {}, None, "") == []
