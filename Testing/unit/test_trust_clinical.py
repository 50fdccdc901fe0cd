"""Intervals of the clinical table: truths of found lesions and organs by hand, and what a calibration makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.trust import calibrate, clinical, coverage
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume

GEOMETRY = Geometry((8, 8, 8), (10.0, 10.0, 10.0), (-5.0, 3.0, 100.0))
SD = {"SUVmean_sd": 0.5, "SUVmax_sd": 1.0, "SUVpeak_sd": 0.5, "TLG_sd": 2.0}


def truth():
    """A lesion of 4 ml and SUV 6 with a voxel of 8, one of 1 ml and SUV 3, a liver of SUV 2 around the second."""
    lesions, organs = np.zeros((8, 8, 8), np.int16), np.zeros((8, 8, 8), np.int16)
    lesions[1, 1:3, 1:3], lesions[6, 6, 6], organs[4:] = 1, 2, 1
    image = np.select([lesions == 1, lesions == 2, organs == 1], [6.0, 3.0, 2.0], 0.5).astype(np.float32)
    image[1, 1, 1] = 8.0
    return (Volume(image, GEOMETRY, SUVBW), LabelMap(organs, GEOMETRY, {1: "liver"}),
            LabelMap(lesions, GEOMETRY, {1: "lesion 1", 2: "lesion 2"}))  # fmt: skip


def lesion(voxel, volume=2.0, suv=5.0):
    x, y, z = (float(v) for v in (GEOMETRY.affine @ [*voxel[::-1], 1.0])[:3])
    return {"what": "lesion", "name": "lesion 1", "volume_ml": volume, "SUVmean": suv, "SUVmax": suv, "SUVpeak": suv,
            "TLG": volume * suv, "hottest_x_mm": x, "hottest_y_mm": y, "hottest_z_mm": z, **SD}  # fmt: skip


def total(volume):
    return {"what": "total", "name": "all lesions", "lesions": 1, "volume_ml": volume, "TLG": 10.0, "TLG_sd": 2.0}


LIVER = {"what": "organ", "name": "liver", "volume_ml": 200.0, "SUVmean": 2.2, "SUVmean_sd": 0.1}


def test_truths_are_those_of_the_true_masks():
    found = clinical.scores([lesion((1, 2, 2)), total(2.0), LIVER], *truth())
    assert found["clinical_lesion_SUVmean"] == [(pytest.approx(6.5), 5.0, 0.5)]
    assert found["clinical_lesion_SUVmax"] == [(8.0, 5.0, 1.0)]
    assert found["clinical_lesion_TLG"] == [(pytest.approx(26.0), 10.0, 2.0)]
    assert found["clinical_lesion_volume_ml"] == [(4.0, 2.0, 2.0)]
    assert found["clinical_total_volume_ml"] == [(5.0, 2.0, 2.0)]
    assert found["clinical_total_TLG"] == [(pytest.approx(29.0), 10.0, 2.0)]
    assert found["clinical_liver_SUVmean"] == [(pytest.approx(2.0), 2.2, 0.1)]
    assert found["clinical_liver_volume_ml"] == [(4 * 64.0 - 1.0, 200.0, 200.0)]


def test_a_false_positive_has_no_truth_but_counts_in_the_total():
    found = clinical.scores([lesion((3, 3, 3)), total(2.0)], *truth())
    assert set(found) == {"clinical_total_volume_ml", "clinical_total_TLG"}


def test_without_a_lesion_there_is_nothing_to_spread():
    assert clinical.scores([total(0.0)], *truth()) == {}
    assert clinical.with_intervals([total(0.0)], 5, None) == [total(0.0)]


def test_without_lesions_or_labels_given_there_is_no_truth():
    image, organs, lesions = truth()
    assert set(clinical.scores([lesion((1, 1, 1)), LIVER], image, organs, None)) == {
        "clinical_liver_SUVmean", "clinical_liver_volume_ml"}  # fmt: skip
    assert "clinical_liver_SUVmean" not in clinical.scores([LIVER], image, None, lesions)


def test_a_patient_without_lesions_has_a_total_of_nothing():
    image, organs, lesions = truth()
    none = LabelMap(np.zeros_like(lesions.array), GEOMETRY)
    found = clinical.scores([lesion((1, 1, 1)), total(2.0)], image, organs, none)
    assert found == {"clinical_total_volume_ml": [(0.0, 2.0, 2.0)], "clinical_total_TLG": [(0.0, 10.0, 2.0)]}


def test_uncalibrated_uptakes_have_the_samples_interval_and_volumes_none():
    row = clinical.with_intervals([lesion((1, 1, 1))], 5, None)[0]
    half = 2.7764451 * 0.5 * np.sqrt(1.2)
    assert (row["SUVmean_low95"], row["SUVmean_high95"]) == pytest.approx((5 - half, 5 + half))
    assert "volume_ml_low95" not in row
    columns = list(row)
    assert columns.index("SUVmean_high95") == columns.index("SUVmean") + 2
    assert clinical.with_intervals([lesion((1, 1, 1))], 1, None) == [lesion((1, 1, 1))]


def test_a_calibration_holds_for_new_lesions_and_is_not_the_samples_own():
    """Samples differ by 0.5, errors have SD 2 and a bias of 1, volumes are wrong by a quarter: 95 % must be covered."""
    rng = np.random.default_rng(4)

    def patients(n):
        return [calibrate.Scores(str(i), 5, {
            "clinical_lesion_SUVmean": [(5 + 1 + 2 * rng.standard_normal(), 5.0, 0.5)],
            "clinical_lesion_volume_ml": [(v * (1 + rng.standard_normal() / 4), v, v) for v in (1.0, 20.0)],
        }) for i in range(n)]  # fmt: skip

    known = calibrate.fit(patients(400), "simulated")
    row = clinical.with_intervals([lesion((1, 1, 1), volume=20.0)], 5, known)[0]
    assert row["SUVmean_low95"] == pytest.approx(2.1, abs=0.6) and row["SUVmean_high95"] == pytest.approx(9.9, abs=0.6)
    assert row["volume_ml_low95"] == pytest.approx(10.2, abs=1.6)
    assert row["volume_ml_high95"] == pytest.approx(29.8, abs=1.6)
    for covered in coverage.coverage(known, patients(400), (0.95,)):
        assert covered["covered_95_percent"] == pytest.approx(95, abs=3)


def test_no_interval_goes_below_nothing():
    row = clinical.with_intervals([lesion((1, 1, 1), suv=0.2)], 5, None)[0]
    assert row["SUVmean_low95"] == 0.0


def test_few_patients_give_wider_intervals_than_their_worst_error():
    """Nine patients with three scans each, errors of a patient alike: 95 % of new patients must lie inside, which they
    do not where the scans are taken for patients."""
    rng = np.random.default_rng(8)

    def patients(n):
        errors = rng.standard_normal(n)
        return [calibrate.Scores(f"{i}-{dose}", 5, {"clinical_liver_SUVmean": [(2.0 + 0.2 * e, 2.0, 0.01)]},
                                 person=f"{i}")
                for i, e in enumerate(errors) for dose in (1, 2, 3)]  # fmt: skip

    def taken_for_patients(scores):
        return [replace(one, person="") for one in scores]

    rows = []
    for _ in range(60):
        nine, new = patients(9), patients(40)
        known, apart = calibrate.fit(nine, "simulated"), calibrate.fit(taken_for_patients(nine), "simulated")
        rows.append([coverage.coverage(one, new, (0.95,))[0]["covered_95_percent"] for one in (known, apart)])
    told, untold = np.mean(rows, axis=0)
    assert known.patients == 9 and apart.patients == 27
    assert told == pytest.approx(95, abs=2.5) and untold < 93


def test_the_interval_of_few_patients_by_hand():
    """r = 1, 3: mean 2, SD root 2, t of one degree of freedom at 80 % is 3.0777."""
    scores = [calibrate.Scores(name, 5, {"clinical_total_TLG": [(truth, 10.0, 1.0)]})
              for name, truth in (("a", 11.0), ("b", 13.0))]  # fmt: skip
    family = calibrate.fit(scores, "simulated").families["clinical_total_TLG"]
    half = 3.0776835 * np.sqrt(2) * np.sqrt(1.5)
    i = (0.5, 0.68, 0.8, 0.9, 0.95).index(0.8)
    assert (family.low[i], family.high[i]) == pytest.approx((2 - half, 2 + half), rel=1e-4)
