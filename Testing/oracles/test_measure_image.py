"""PSNR, SSIM, NRMSE against scikit-image and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from petdiffusion.errors import GeometryError, InputError, OptionError
from petdiffusion.measure.image import (
    SLICES_UNIFORM_7,
    UNIFORM_7,
    ImageSettings,
    bias,
    class_metrics,
    image_metrics,
    nrmse,
    psnr,
    rmse,
    ssim,
    ssim_map,
)
from petdiffusion.volume import Geometry, LabelMap
from scipy.ndimage import gaussian_filter
from skimage import metrics


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(1)
    reference = gaussian_filter(rng.gamma(2.0, 2.0, (24, 30, 26)), 1.5).astype(np.float32)
    return (reference + rng.normal(0, 0.4, reference.shape)).astype(np.float32), reference


def test_psnr_is_scikit_images(pair):
    image, reference = pair
    assert psnr(image, reference, 7.0) == pytest.approx(
        metrics.peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=7.0), abs=1e-9
    )


def test_psnr_by_hand():
    reference, image = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
    reference[0, 0] = 10.0
    image[0, 0] = 9.0
    # MSE = 2/4; 10 log10(100 / 0.5) = 23.0103
    assert psnr(image, reference) == pytest.approx(23.0103, abs=1e-4)
    mask = np.zeros((1, 2, 2), bool)
    mask[0, 0] = True
    # inside the mask MSE = 1
    assert psnr(image, reference, mask=mask) == pytest.approx(20.0)


def test_the_default_range_is_the_references_maximum_inside_the_mask(pair):
    image, reference = pair
    mask = np.zeros(reference.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    outside = reference.copy()
    outside[20, 20, 20] = 1000.0
    assert psnr(image, outside, mask=mask) == psnr(image, outside, float(reference[mask].max()), mask)
    assert image_metrics(image, outside, mask)["data_range"] == pytest.approx(float(reference[mask].max()))


def test_slicewise_psnr_is_the_mean_over_slices(pair):
    image, reference = pair
    each = [
        metrics.peak_signal_noise_ratio(r.astype(float), i.astype(float), data_range=7.0)
        for i, r in zip(image, reference)
    ]
    assert psnr(image, reference, 7.0, dimensions=2) == pytest.approx(np.mean(each), abs=1e-9)


def test_slices_that_are_equal_have_no_psnr_of_their_own(pair):
    image, reference = pair[0].copy(), pair[1]
    image[1:] = reference[1:]
    assert psnr(image, reference, 7.0, dimensions=2) == psnr(image[:1], reference[:1], 7.0) < np.inf


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (ImageSettings(), {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
        (UNIFORM_7, {"win_size": 7}),
    ],
)
def test_ssim_is_scikit_images(pair, settings, arguments):
    image, reference = (a.astype(float) for a in pair)
    value, full = metrics.structural_similarity(image, reference, data_range=7.0, full=True, **arguments)
    assert ssim(image, reference, 7.0, settings=settings) == pytest.approx(value, abs=1e-9)
    assert np.allclose(ssim_map(image, reference, 7.0, settings), full, atol=1e-9)
    mask = reference > np.median(reference)
    assert ssim(image, reference, 7.0, mask, settings) == pytest.approx(full[mask].mean(), abs=1e-9)


def test_a_box_around_the_mask_does_not_change_ssim(pair):
    image, reference = (a.astype(float) for a in pair)
    mask = np.zeros(reference.shape, bool)
    mask[8:12, 9:14, 9:12] = True
    whole = ssim_map(image, reference, 7.0)
    assert ssim(image, reference, 7.0, mask) == pytest.approx(whole[mask].mean(), abs=1e-12)


@pytest.mark.parametrize("settings", [ImageSettings(), UNIFORM_7, SLICES_UNIFORM_7])
def test_working_in_slabs_changes_nothing(pair, settings, monkeypatch):
    mask = pair[1] > np.median(pair[1])
    whole = [ssim(*pair, 7.0, m, settings) for m in (None, mask)]
    monkeypatch.setattr("petdiffusion.measure.image.SLAB", 5)
    assert [ssim(*pair, 7.0, m, settings) for m in (None, mask)] == pytest.approx(whole, abs=1e-12)


def test_slicewise_ssim_is_the_mean_over_slices(pair):
    image, reference = (a.astype(float) for a in pair)
    each = [metrics.structural_similarity(i, r, data_range=7.0, win_size=7) for i, r in zip(image, reference)]
    assert ssim(image, reference, 7.0, settings=SLICES_UNIFORM_7) == pytest.approx(np.mean(each), abs=1e-9)


def test_ssim_of_an_image_thinner_than_the_window(pair):
    image, reference = pair
    value = ssim(image[:1], reference[:1], 7.0)
    # Reflection makes one slice the whole of z, so 3D and 2D agree.
    assert value == pytest.approx(ssim(image[:1], reference[:1], 7.0, settings=ImageSettings(dimensions=2)), abs=1e-9)
    assert 0 < value < 1
    assert ssim(reference[:1], reference[:1], 7.0) == pytest.approx(1.0)


def test_errors_by_hand():
    reference = np.array([[[0.0, 2.0, 4.0, 10.0]]])
    image = np.array([[[1.0, 2.0, 2.0, 11.0]]])
    assert image_metrics(image, reference)["MAE"] == 1.0
    assert rmse(image, reference) == pytest.approx(np.sqrt(6 / 4))
    assert bias(image, reference) == 0.0
    assert nrmse(image, reference) == pytest.approx(np.sqrt(1.5) / 10)
    mask = np.array([[[False, True, True, False]]])
    assert nrmse(image, reference, mask) == pytest.approx(np.sqrt(2) / 2)
    assert nrmse(image, reference, mask, reference_range=10.0) == pytest.approx(np.sqrt(2) / 10)


def test_numbers_come_with_their_settings(pair):
    row = image_metrics(*pair, settings=ImageSettings(data_range=5.0))
    assert (row["data_range"], row["data_range_rule"], row["SSIM_window"]) == (
        5.0,
        "given",
        "gaussian 11, sigma 1.5, 3D",
    )
    assert row["mask_voxels"] == pair[0].size and "scipy" in row["library"] and "petdiffusion" in row["library"]
    assert row["PSNR_dB"] == pytest.approx(psnr(*pair, 5.0))
    assert row["SSIM"] == pytest.approx(ssim(*pair, 5.0))


def test_rows_hold_plain_values(pair):
    labels = LabelMap((pair[1] > np.median(pair[1])).astype(int), Geometry(pair[1].shape[::-1], (1, 1, 1)), {1: "a"})
    for row in (image_metrics(*pair), *class_metrics(*pair, labels)):
        assert {type(v) for v in row.values()} <= {str, int, float, bool, type(None)}


def test_empty_and_equal_images_have_no_psnr():
    zero = np.zeros((3, 4, 5), np.float32)
    row = image_metrics(zero, zero)
    assert row["PSNR_dB"] is None and row["SSIM"] is None and row["NRMSE"] is None and row["RMSE"] == 0
    assert psnr(zero + 1, zero + 1) == np.inf
    assert image_metrics(zero + 1, zero + 1)["PSNR_dB"] is None
    with pytest.raises(InputError, match="not positive"):
        psnr(zero, zero)


def test_per_class_numbers_are_those_of_the_class_alone(pair):
    image, reference = pair
    label = np.zeros(reference.shape, int)
    label[4:12, 4:20, 4:20] = 3
    label[14:20, 4:20, 4:20] = 7
    rows = class_metrics(image, reference, LabelMap(label, Geometry(label.shape[::-1], (1, 1, 1)), {3: "liver"}))
    assert [row["organ"] for row in rows] == ["liver", "label 7"]
    similar = ssim_map(image, reference, float(reference.max()))
    for row, value in zip(rows, (3, 7)):
        mask = label == value
        assert row["PSNR_dB"] == pytest.approx(psnr(image, reference, float(reference.max()), mask))
        assert row["NRMSE_class_range"] == pytest.approx(nrmse(image, reference, mask))
        assert row["NRMSE_image_range"] == pytest.approx(rmse(image, reference, mask) / np.ptp(reference), rel=1e-6)
        assert row["SSIM"] == pytest.approx(similar[mask].mean(), abs=1e-9)
        assert row["bias"] == pytest.approx(bias(image, reference, mask))


def test_bad_input_is_named(pair):
    image, reference = pair
    with pytest.raises(GeometryError):
        psnr(image[1:], reference)
    with pytest.raises(InputError, match="NaN"):
        psnr(np.where(image > image.max() - 1e-6, np.nan, image), reference)
    with pytest.raises(InputError, match="empty"):
        psnr(image, reference, mask=np.zeros(image.shape, bool))
    with pytest.raises(OptionError):
        ImageSettings(window="box")
    with pytest.raises(OptionError):
        ImageSettings(window_size=10)
