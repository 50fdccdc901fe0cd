"""Every filter with its defaults improves a noisy PET, in any unit, and keeps what a reader looks at."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.errors import ConditionError
from petdiffusion.prepare.frame import AIR_FWHM_MM, filtered, smooth
from petdiffusion.progress import Run
from support.blobs import blobs, psnr

CLASSICAL = [name for name, card in registry.cards().items() if card.family == "classical" and name != "led"]
"""What is led by another image is no filter without it: `test_led.py`."""
LEAST_GAIN = {"gaussian": 3.5, "median": 3.0, "bilateral": 5.0, "nlm": 6.5, "tv": 6.0, "bm3d": 4.0, "bm4d": 6.0,
              "guided": 4.5, "anatomy": 6.0}
"""dB at 30 % noise; every filter that looks at the image must beat the Gaussian."""
SMALL = blobs(relative_noise=0.3)
PATIENT = blobs((40, 52, 64), (4.0, 4.0, 4.0), relative_noise=0.3, arms=True)


def run(name, case, **options):
    card = registry.card(name)
    return card.load()(case, card.resolve(options), Run()).pet.array


def test_every_filter_is_listed():
    assert set(LEAST_GAIN) == set(CLASSICAL)


@pytest.mark.parametrize("name", CLASSICAL)
def test_gain_over_the_noisy_image(name):
    before = psnr(PATIENT.noisy.array, PATIENT.truth.array, PATIENT.body)
    after = psnr(run(name, PATIENT.case()), PATIENT.truth.array, PATIENT.body)
    assert after - before > LEAST_GAIN[name]


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("relative_noise, least", [(0.1, -0.5), (0.8, 3.5)])
def test_defaults_follow_the_dose(name, relative_noise, least):
    """At a high dose nothing is spoilt, at a very low one much is gained, with the same defaults."""
    patient = blobs((30, 40, 48), (4.0, 4.0, 4.0), relative_noise=relative_noise)
    before = psnr(patient.noisy.array, patient.truth.array, patient.body)
    result = psnr(run(name, patient.case()), patient.truth.array, patient.body)
    if name in ("gaussian", "median") and relative_noise < 0.2:
        least = -4.0  # these two do not ask how noisy the image is
    assert result - before > least


@pytest.mark.parametrize("name", CLASSICAL)
def test_large_lesion_keeps_its_activity(name):
    lesion = PATIENT.labels.array == 6
    result = run(name, PATIENT.case())
    assert result[lesion].mean() / PATIENT.truth.array[lesion].mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("name", CLASSICAL)
def test_lesion_that_anatomy_does_not_show_stays(name):
    patient = blobs((40, 52, 64), (4.0, 4.0, 4.0), relative_noise=0.2)
    flat = {k: v.with_array(np.where(patient.body, 40.0, -1000.0)) for k, v in
            (("ct", patient.ct), ("mr", patient.mr))}
    lesion = patient.labels.array == 6
    result = run(name, patient.case(**flat))
    assert result[lesion].mean() / patient.truth.array[lesion].mean() > 0.8


def test_anatomical_filter_needs_ct_or_mr():
    case = PATIENT.case(ct=None, mr=None)
    with pytest.raises(ConditionError, match="CT or MR is missing"):
        run("anatomy", case)
    for name in ("anatomy", "guided"):
        with pytest.raises(ConditionError, match="MR is missing"):
            run(name, PATIENT.case(mr=None), guide="mr")
        with pytest.raises(ConditionError, match="CT is missing"):
            run(name, PATIENT.case(ct=None), guide="ct")


@pytest.mark.parametrize("name", ["anatomy", "guided"])
def test_guide_is_the_one_chosen(name):
    """auto: MR before CT."""
    case = SMALL.case()
    by_ct, by_mr = (run(name, case, guide=g) for g in ("ct", "mr"))
    assert np.abs(by_ct - by_mr).max() > 0.05
    np.testing.assert_array_equal(run(name, case), by_mr)
    np.testing.assert_array_equal(run(name, replace(case, mr=None)), by_ct)
    np.testing.assert_array_equal(run(name, replace(case, mr=None), guide="ct"), by_ct)


def test_far_air_is_smoothed_and_no_seam_shows():
    """Beyond the body's box the image is only smoothed, and fades into the box within its margin."""
    patient = blobs((24, 60, 80), (4.0, 4.0, 4.0), relative_noise=0.3)
    body = np.zeros_like(patient.body)
    body[:, 20:40, 30:50] = True
    case = patient.case(body=body)
    result = filtered(case, Run(), lambda frame: frame.array + 1.0).pet.array
    smoothed = smooth(case.pet.array, AIR_FWHM_MM, (4.0, 4.0, 4.0))
    np.testing.assert_allclose(result[:, :15], smoothed[:, :15], atol=1e-5)
    np.testing.assert_allclose(result[body], case.pet.array[body] + 1.0, atol=1e-5)
    flat = case.pet.with_array(np.zeros(case.pet.array.shape))
    fade = filtered(replace(case, pet=flat), Run(), lambda frame: frame.array + 1.0).pet.array
    assert np.abs(np.diff(fade, axis=1)).max() <= 0.67 and np.abs(np.diff(fade, axis=2)).max() <= 0.67


def test_stabilising_around_a_filter_that_does_nothing_gives_the_image_back():
    case = PATIENT.case(body=np.ones_like(PATIENT.body))
    result = filtered(case, Run(), lambda frame: frame.array, stabilise=True).pet.array
    np.testing.assert_allclose(result, case.pet.array, atol=1e-4)


def test_stabilised_noise_is_even_and_of_sd_1():
    frames = []

    def core(frame):
        frames.append(frame)
        return frame.array

    patients = [blobs((40, 52, 64), (4.0, 4.0, 4.0), seed=seed, relative_noise=0.2) for seed in (0, 1)]
    for patient in patients:
        filtered(patient.case(), Run(), core, stabilise=True)
    assert [f.noise for f in frames] == [1.0, 1.0]
    difference = (frames[0].array - frames[1].array) / np.sqrt(2)
    raw = (patients[0].noisy.array - patients[1].noisy.array) / np.sqrt(2)
    labels = patients[0].labels.array
    organs = (1, 4, 5)
    assert [difference[labels[frames[0].box] == o].std() for o in organs] == pytest.approx([1.0] * 3, abs=0.3)
    assert raw[labels == 5].std() > 1.7 * raw[labels == 1].std()


@pytest.mark.parametrize("name", ["tv", "nlm"])
def test_averaging_under_the_root_does_not_lower_the_activity(name):
    patient = blobs((40, 52, 64), (4.0, 4.0, 4.0), relative_noise=0.8)
    liver = patient.labels.array == 4
    inner = liver & (smooth(liver.astype(np.float32), 12.0, (4.0,) * 3) > 0.98)
    result = run(name, patient.case(), stabilise=True)
    assert result[inner].mean() / patient.noisy.array[inner].mean() == pytest.approx(1.0, abs=0.05)
