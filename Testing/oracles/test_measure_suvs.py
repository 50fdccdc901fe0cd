"""SUVs, MTV, TLG, contrast and noise against closed forms and boxes counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from petdiffusion import measure
from petdiffusion.errors import Cancelled, ConditionError, GeometryError, InputError, OptionError
from petdiffusion.filters import slabs
from petdiffusion.measure import organs
from petdiffusion.measure.lesions import Threshold, _cnr, find_lesions, lesion_table, lesion_totals, split_lesions
from petdiffusion.measure.organs import coefficient_of_variation, liver_core, local_noise_percent, organ_table
from petdiffusion.measure.suvs import peak, sphere
from petdiffusion.progress import Run
from petdiffusion.volume import BQML, SUVBW, Geometry, LabelMap, Volume

RADIUS = (3 * 1000 / (4 * np.pi)) ** (1 / 3)  # of 1 cm^3, in mm


def volume(array, spacing=(2.0, 2.0, 2.0), unit=SUVBW) -> Volume:
    array = np.asarray(array, np.float32)
    return Volume(array, Geometry(array.shape[::-1], spacing), unit)


def labels(array, names=None, spacing=(2.0, 2.0, 2.0)) -> LabelMap:
    array = np.asarray(array)
    return LabelMap(array, Geometry(array.shape[::-1], spacing), names or {})


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0), (5.47, 5.47, 3.27), (20.0, 20.0, 20.0)])
def test_the_sphere_holds_one_millilitre(spacing):
    weights = sphere(spacing)
    assert weights.sum() == pytest.approx(1.0)
    assert all(n % 2 == 1 for n in weights.shape)
    assert np.array_equal(weights, weights[::-1, ::-1, ::-1])
    # A voxel wholly inside has weight voxel volume / 1000 mm^3: so the weights know the sphere's true volume.
    if max(spacing) < 4:
        centre = weights[tuple(n // 2 for n in weights.shape)]
        assert centre == pytest.approx(np.prod(spacing) / 1000.0, rel=2e-3)


def test_the_sphere_follows_the_spacing_of_each_axis():
    # 6.2 mm reach 2, 3 and 6 voxels beyond the central one's half
    assert sphere((1.0, 2.0, 4.0)).shape == (5, 7, 13)


def test_peak_of_a_known_sphere():
    """A hot ball smaller than the 1 ml sphere: peak = background + contrast x (volume ratio)."""
    ball_radius, hot, cold = 4.0, 10.0, 1.0
    step, half = 0.5, 24
    z, y, x = (np.arange(-half, half + 1) * step for _ in range(3))
    distance = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    image = np.where(distance <= ball_radius, hot, cold)
    geometry = Geometry(image.shape[::-1], (step,) * 3)
    drawn_mm3 = np.count_nonzero(distance <= ball_radius) * step**3  # the ball as its voxels make it
    found = peak(image, distance <= ball_radius, geometry)
    assert found == pytest.approx(cold + (hot - cold) * drawn_mm3 / 1000, rel=1e-3)
    assert found == pytest.approx(cold + (hot - cold) * (ball_radius / RADIUS) ** 3, rel=0.02)


def test_peak_of_a_ramp_is_its_value_at_the_best_centre():
    """The mean of a linear image over a sphere is its value at the centre, whatever the voxels' shape."""
    z, y, x = np.indices((21, 21, 21)).astype(float)
    image = 3 * x + 2 * y + z
    mask = np.zeros(image.shape, bool)
    mask[10, 10, 8:12] = True
    geometry = Geometry((21, 21, 21), (2.0, 3.0, 4.0))
    assert peak(image, mask, geometry) == pytest.approx(3 * 11 + 2 * 10 + 10)


def test_a_single_hot_voxel_is_averaged_by_its_part_of_the_sphere():
    image = np.zeros((15, 15, 15))
    image[7, 7, 7] = 100.0
    mask = image > 0
    assert peak(image, mask, Geometry((15, 15, 15), (2.0, 2.0, 2.0))) == pytest.approx(100 * 8 / 1000, rel=2e-3)


def test_the_sphere_at_the_images_edge_averages_what_is_inside():
    mask = np.zeros((9, 9, 9), bool)
    mask[0, 0, 0] = True
    assert peak(np.full((9, 9, 9), 4.0), mask, Geometry((9, 9, 9), (2.0, 2.0, 2.0))) == pytest.approx(4.0)


def test_mtv_tlg_and_suvs_of_an_exact_box():
    image = np.ones((20, 20, 20))
    image[5:10, 5:9, 5:8] = 6.0
    image[7, 7, 6] = 9.0
    mask = labels(image > 1, {1: "tumour"})
    low, reference = volume(image), volume(np.where(image > 1, 2 * image, image))
    (row,) = lesion_table({"low": low, "denoised": low, "reference": reference}, mask)
    voxels = 5 * 4 * 3
    mean = (59 * 6.0 + 9.0) / voxels
    assert (row["lesion"], row["voxels"], row["volume_ml"]) == ("tumour", voxels, pytest.approx(voxels * 0.008))
    assert row["SUVmax_low"] == 9.0 and row["SUVmean_low"] == pytest.approx(mean)
    assert row["TLG_low"] == pytest.approx(mean * voxels * 0.008)
    assert row["SUVmean_denoised_vs_low_percent"] == 0.0
    assert row["SUVmean_denoised_vs_reference_percent"] == pytest.approx(-50.0)
    # contrast 6.05 against 12.1 over a background of 1
    assert row["contrast_low"] == pytest.approx(mean) and row["contrast_reference"] == pytest.approx(2 * mean)
    assert row["contrast_recovery_percent_low"] == pytest.approx(100 * (mean - 1) / (2 * mean - 1))
    assert row["CNR_low"] is None  # a background without noise has no CNR
    assert "x_mm" not in row, "a centre, and the hottest place of the clinical table, are told apart"
    assert (row["centre_x_mm"], row["centre_y_mm"], row["centre_z_mm"]) == (12.0, 13.0, 14.0)
    assert lesion_totals({"low": low}, mask) == pytest.approx(
        {"lesions": 1, "MTV_ml": voxels * 0.008, "TLG_low": mean * voxels * 0.008}
    )


def test_a_lesion_is_said_to_lie_in_an_organ_only_if_most_of_it_does():
    """One voxel of eight in a vessel beside a node does not make it a lesion of the vessel."""
    lesions, organs = np.zeros((10, 10, 10), int), np.zeros((10, 10, 10), int)
    lesions[2:4, 2:4, 2:4], lesions[6:8, 6:8, 6:8] = 1, 2
    organs[2, 2, 2], organs[6:8, 6:8, 5:9], organs[6, 6, 6] = 3, 5, 3
    image = volume(np.where(lesions > 0, 4.0, 1.0))
    rows = lesion_table({"low": image}, labels(lesions), organs=labels(organs, {3: "aorta", 5: "liver"}))
    assert [row["organ"] for row in rows] == ["", "liver"]


def test_isocontour_volume_by_hand():
    image = np.ones((12, 12, 12))
    image[4:8, 4:8, 4:8] = 4.0
    image[5:7, 5:7, 5:7] = 10.0
    image[4, 4, 4:8] = 5.0
    (row,) = lesion_table({"low": volume(image)}, labels(image > 1), isocontour=0.41)
    assert row["MTV41_ml_low"] == pytest.approx(12 * 0.008)  # 4 < 4.1: only the core and what is half as hot


def test_cnr_by_hand():
    rng = np.random.default_rng(0)
    image = rng.normal(2.0, 0.1, (24, 24, 24))
    image[10:14, 10:14, 10:14] = 5.0
    (row,) = lesion_table({"low": volume(image)}, labels(image == 5.0))
    assert row["CNR_low"] == pytest.approx((5 - 2) / 0.1, rel=0.05)


def test_the_noise_of_a_background_is_that_of_a_sample():
    """Of 1 and 3 the mean is 2 and the SD the root of 2: (5 - 2) / 1.414."""
    assert _cnr(5.0, np.array([1.0, 3.0])) == pytest.approx(3 / np.sqrt(2))
    assert _cnr(5.0, np.array([1.0])) is None


@pytest.mark.parametrize(("height", "said"), [(1.2, 50.0), (1.06, 50.0), (1.04, None)])
def test_contrast_recovery_of_a_faint_lesion(height, said):
    """Half of a reference's contrast is half, as long as it shows any: 5 % and more."""
    mask = np.zeros((16, 16, 16), int)
    mask[6:10, 6:10, 6:10] = 1
    low, reference = (volume(1 + (part * (height - 1)) * mask) for part in (0.5, 1.0))
    (row,) = lesion_table({"low": low, "reference": reference}, labels(mask))
    assert row["contrast_recovery_percent_low"] == (said if said is None else pytest.approx(said, rel=1e-4))


def test_the_background_leaves_out_other_lesions_and_air():
    image = np.ones((30, 30, 40))
    lesions = np.zeros(image.shape, int)
    lesions[13:17, 13:17, 10:14], lesions[13:17, 13:17, 17:21] = 1, 2
    image[lesions == 1], image[lesions == 2] = 5.0, 50.0
    image[:, :, :6] = -9.0  # air beside the body
    body = np.zeros(image.shape, bool)
    body[:, :, 6:] = True
    row = lesion_table({"low": volume(image)}, labels(lesions), body=body)[0]
    assert row["contrast_low"] == pytest.approx(5.0)


def test_every_connected_part_is_a_lesion_and_touching_labels_stay_apart():
    array = np.zeros((10, 10, 20), int)
    array[2:4, 2:4, 2:4] = 1
    array[2:6, 2:6, 10:14] = 1
    array[2:4, 2:4, 4:6] = 5
    single = split_lesions(labels(array, {1: "tumour", 5: "node"}))
    assert dict(single.names) == {1: "tumour (1)", 5: "node", 6: "tumour (2)"}  # 5 stays what the mask calls 5
    sizes = [np.count_nonzero(single.array == i) for i in (1, 6, 5)]
    assert sizes == [64, 8, 8]  # the largest part first


def test_the_parts_of_a_mask_without_names_are_lesions_by_number():
    array = np.zeros((4, 4, 12), int)
    array[1:3, 1:3, 1:3] = array[1:3, 1:3, 9] = 255
    single = split_lesions(labels(array))
    assert dict(single.names) == {1: "lesion 1", 2: "lesion 2"}
    assert [np.count_nonzero(single.array == n) for n in (1, 2)] == [8, 4]


def test_an_empty_mask_is_a_patient_without_a_lesion():
    found = measure.tables({"low": volume(np.ones((8, 8, 8)))}, None, lesions=labels(np.zeros((8, 8, 8), int)))
    assert found["lesion_totals"] == [{"lesions": 0, "MTV_ml": 0.0, "TLG_low": 0.0}] and "lesions" not in found


def test_lesions_are_named_after_the_organ_they_lie_in():
    array = np.zeros((8, 8, 8), int)
    array[2:5, 2:5, 2:5] = 1
    organs = np.zeros((8, 8, 8), int)
    organs[:4] = 3
    rows = lesion_table({"low": volume(np.ones((8, 8, 8)))}, labels(array), labels(organs, {3: "liver"}))
    assert rows[0]["organ"] == "liver"


def test_nothing_is_called_suv_that_is_not():
    one, mask = np.ones((8, 8, 8)), np.pad(np.ones((2, 2, 2), int), 3)
    for table in (
        lesion_table({"low": volume(one, unit=BQML)}, labels(mask)),
        organ_table({"low": volume(one, unit=BQML)}, labels(mask)),
    ):
        assert not any("SUV" in name for name in table[0]) and table[0]["unit"] == BQML
        assert table[0]["mean_low"] == 1.0


def test_organ_numbers_by_hand():
    image = np.zeros((4, 4, 4))
    label = np.zeros((4, 4, 4), int)
    label[0], label[1] = 2, 9
    image[0] = np.arange(16).reshape(4, 4)
    image[1] = 5.0
    rows = organ_table({"low": volume(image), "denoised": volume(image / 2)}, labels(label, {2: "liver"}))
    assert [row["organ"] for row in rows] == ["liver", "label 9"]
    assert rows[0]["SUVmean_low"] == 7.5 and rows[0]["SUVmax_low"] == 15 and rows[0]["volume_ml"] == 16 * 0.008
    assert rows[0]["SUVsd_low"] == pytest.approx(np.arange(16).std(ddof=1))
    assert rows[0]["CoV_percent_low"] == pytest.approx(100 * np.arange(16).std(ddof=1) / 7.5)
    assert rows[0]["SUVmean_denoised_vs_low_percent"] == pytest.approx(-50)
    assert rows[1]["CoV_percent_low"] == 0


def test_lesion_voxels_are_left_out_of_organs():
    image, label, lesion = np.full((4, 4, 4), 2.0), np.ones((4, 4, 4), int), np.zeros((4, 4, 4), int)
    image[0], lesion[0] = 20.0, 1
    assert organ_table({"low": volume(image)}, labels(label), labels(lesion))[0]["SUVmean_low"] == 2.0
    assert organ_table({"low": volume(image)}, labels(label))[0]["SUVmean_low"] == 6.5


def test_small_sd_on_a_large_mean_keeps_its_digits():
    rng = np.random.default_rng(0)
    image = (1e5 + rng.normal(0, 1, (20, 20, 20))).astype(np.float32)
    row = organ_table({"low": volume(image, unit=BQML)}, labels(np.ones(image.shape, int)))[0]
    assert row["sd_low"] == pytest.approx(image.astype(float).std(ddof=1), rel=1e-9)


def test_liver_noise_is_measured_away_from_edge_and_lesions():
    array = np.zeros((40, 40, 40), int)
    array[5:35, 5:35, 5:35] = 5
    organs = labels(array, {5: "liver"})
    core = liver_core(organs)
    assert core[20, 20, 20] and not core[20, 20, 9] and core[20, 20, 10]  # 10 mm are 5 voxels, the 6th is in
    lesion = np.zeros(array.shape, int)
    lesion[18:22, 18:22, 18:22] = 1
    with_lesion = liver_core(organs, labels(lesion))
    assert not with_lesion[20, 20, 24] and with_lesion[20, 20, 27]
    assert not liver_core(labels(np.pad(np.full((4, 4, 4), 5), 4), {5: "liver"})).any()
    assert coefficient_of_variation(np.array([1.0, 3.0]), np.array([True, True])) == pytest.approx(100 * np.sqrt(2) / 2)


def test_local_noise_is_the_sd_of_white_noise_over_the_mean():
    rng = np.random.default_rng(0)
    body = np.zeros((40, 40, 40), bool)
    body[5:35, 5:35, 5:35] = True
    geometry = Geometry((40, 40, 40), (2.0, 2.0, 2.0))
    image = np.where(body, 5.0 + rng.normal(0, 0.5, body.shape), 0).astype(np.float32)
    assert local_noise_percent(image, body, geometry) == pytest.approx(10.0, rel=0.03)
    # An intensity step across the body is not noise.
    step = np.where(body & (np.indices(body.shape)[2] > 20), 2 * image, image)
    assert local_noise_percent(step, body, geometry) == pytest.approx(10.0, rel=0.4)
    assert np.isnan(local_noise_percent(image, np.zeros_like(body), geometry))
    assert local_noise_percent(image[:1] * 0 + 1, body[:1] | True, Geometry((40, 40, 1), (2.0, 2.0, 2.0))) == 0


@pytest.mark.parametrize("thick", [1, 7, 100])
def test_local_noise_by_slabs_is_that_of_the_whole(thick, monkeypatch):
    """Noise that grows along the body, which a cube cut short would see."""
    rng = np.random.default_rng(8)
    image = (5 + rng.normal(size=(43, 30, 26)) * np.linspace(0.1, 3, 43)[:, None, None]).astype(np.float32)
    body = np.zeros(image.shape, bool)
    body[2:40, 3:28, 1:25] = True
    body[20:22, 10, 10] = False
    monkeypatch.setattr(organs, "slabs", lambda planes, halo: slabs(planes, halo, thick))
    box = image[2:40, 3:28, 1:25].astype(float)
    cubes = np.lib.stride_tricks.sliding_window_view(box, (5, 5, 7))
    whole = np.lib.stride_tricks.sliding_window_view(body[2:40, 3:28, 1:25], (5, 5, 7)).all(axis=(3, 4, 5))
    ratios = cubes.std(axis=(3, 4, 5), ddof=1)[whole] / cubes.mean(axis=(3, 4, 5))[whole]
    found = local_noise_percent(image, body, Geometry((26, 30, 43), (2.0, 3.0, 3.0)))
    assert found == pytest.approx(100 * np.median(ratios), rel=1e-4)



def test_lesions_at_or_above_a_fixed_value():
    image = np.ones((20, 20, 20))
    image[2:6, 2:6, 2:6], image[10:14, 10:14, 10:14], image[18, 18, 18] = 4.0, 8.0, 30.0
    found = find_lesions(volume(image), 4.0)
    assert dict(found.names) == {1: "region 1", 2: "region 2"}  # the single voxel is below 0.5 ml
    assert np.array_equal(found.array == 1, image == 8) and np.array_equal(found.array == 2, image == 4)


def test_lesions_by_a_part_of_their_own_maximum():
    image = np.ones((20, 20, 20))
    image[2:8, 2:8, 2:8] = 3.0
    image[4:6, 4:6, 4:6] = 10.0
    image[12:16, 12:16, 12:16] = 3.0
    found = find_lesions(volume(image), Threshold("percent", 41, floor=2.5, minimum_ml=0))
    assert np.array_equal(found.array == 1, image == 10)  # 3 < 4.1 is cut from the first, not from the second
    assert np.count_nonzero(found.array == 2) == 64


def test_lesions_above_the_liver():
    rng = np.random.default_rng(0)
    image = rng.normal(2.0, 0.1, (40, 40, 60))
    liver = np.zeros(image.shape, int)
    liver[:, :, :40] = 5
    image[18:22, 18:22, 48:52], image[4:8, 4:8, 48:52] = 3.5, 3.1
    found = find_lesions(volume(image), Threshold("liver", 1.5, minimum_ml=0.1), labels(liver, {5: "liver"}))
    assert dict(found.names) == {1: "region 1"} and found.array[20, 20, 50] == 1  # 1.5 x 2 + 0.2 = 3.2
    with pytest.raises(ConditionError):
        find_lesions(volume(image), Threshold("liver", 1.5))


def test_organs_can_be_left_out_of_the_search():
    image = np.ones((20, 20, 20))
    image[2:6, 2:6, 2:6], image[10:14, 10:14, 10:14] = 9.0, 8.0
    organs = np.zeros(image.shape, int)
    organs[:8] = 4
    found = find_lesions(volume(image), 4.0, labels(organs, {4: "brain"}), exclude=("brain",))
    assert dict(found.names) == {1: "region 1"} and found.array[11, 11, 11] == 1


def test_a_threshold_in_the_noise_is_an_error_and_rules_are_checked():
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match="noise"):
        find_lesions(volume(rng.random((60, 60, 60))), Threshold("fixed", 0.97, minimum_ml=0))
    for bad in ({"rule": "half"}, {"value": -1.0}, {"rule": "percent", "value": 120.0}):
        with pytest.raises(OptionError):
            Threshold(**bad)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(4)
    truth = np.ones((30, 32, 34))
    organs, lesions = np.zeros(truth.shape, int), np.zeros(truth.shape, int)
    organs[4:26, 4:28, 4:20] = 5
    lesions[12:16, 20:24, 24:28] = 1
    truth[organs == 5], truth[lesions == 1] = 2.0, 6.0
    volumes = {
        name: volume(truth + rng.normal(0, sd, truth.shape), (3.0, 3.0, 3.0))
        for name, sd in (("low", 0.6), ("denoised", 0.1), ("reference", 0.2))
    }
    return (
        volumes,
        np.ones(truth.shape, bool),
        labels(organs, {5: "liver"}, (3.0,) * 3),
        labels(lesions, {1: "lesion"}, (3.0,) * 3),
    )


def test_an_organ_has_one_mean_error_in_all_tables(case):
    """Without its lesions, and wherever its label lies: a lesion within it, and a rim outside of the body."""
    volumes, body, organs, _ = case
    body, lesion = body.copy(), np.zeros(body.shape, int)
    body[:8], lesion[10:14, 10:14, 8:12] = False, 1
    volumes = dict(volumes)
    volumes["denoised"] = volume(volumes["denoised"].array + 30 * (lesion > 0), (3.0, 3.0, 3.0))
    found = measure.tables(volumes, body, organs, labels(lesion, {1: "lesion"}, (3.0,) * 3))
    organ, error = found["organs"][0], found["organ_errors"][1]
    assert error["image"] == "denoised" and error["organ"] == organ["organ"] == "liver"
    assert error["voxels"] == organ["voxels"] == 22 * 24 * 16 - 64
    assert error["bias_percent"] == pytest.approx(organ["SUVmean_denoised_vs_reference_percent"], rel=1e-5)
    assert abs(error["bias_percent"]) < 1


def test_the_tables_of_a_case(case):
    found = measure.tables(*case)
    assert set(found) == {"image", "organs", "organ_errors", "lesions", "lesion_totals"}
    low, denoised, reference = found["image"]
    assert [r["image"] for r in found["image"]] == ["low", "denoised", "reference"]
    assert low["PSNR_dB"] < denoised["PSNR_dB"] and "PSNR_dB" not in reference
    assert low["liver_CoV_percent"] == pytest.approx(30, rel=0.05)
    assert denoised["liver_CoV_percent"] == pytest.approx(5, rel=0.05)
    assert abs(denoised["activity_vs_low_percent"]) < 1
    json.dumps(found, allow_nan=False)


def test_tables_without_reference_masks_or_body(case):
    volumes = {k: v for k, v in case[0].items() if k != "reference"}
    found = measure.tables(volumes, np.zeros(case[1].shape, bool))
    assert set(found) == {"image"} and all("PSNR_dB" not in row for row in found["image"])


def test_empty_images_and_masks_do_not_break_the_tables(case):
    empty = {name: v.with_array(np.zeros(v.array.shape)) for name, v in case[0].items()}
    found = measure.tables(empty, None, case[2], labels(np.zeros(case[1].shape, int), spacing=(3.0,) * 3))
    assert "lesions" not in found and found["image"][1]["SSIM"] is None
    json.dumps(found, allow_nan=False)


def test_other_grids_and_nan_are_named(case):
    volumes, body, organs, _ = case
    shifted = Volume(volumes["low"].array, Geometry(organs.geometry.size, (3.0,) * 3, (5.0, 0.0, 0.0)), SUVBW)
    with pytest.raises(GeometryError, match="denoised"):
        measure.tables({"low": volumes["low"], "denoised": shifted}, body)
    broken = volumes["low"].array.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        measure.tables({"low": volumes["low"].with_array(broken)}, body)


def test_a_cancelled_run_stops_measuring(case):
    run = Run()
    run.cancelled.set()
    with pytest.raises(Cancelled):
        measure.tables(*case, run=run)
