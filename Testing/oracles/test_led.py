"""Frames led by another image: exact where the two are proportional, and nothing drawn that the frame does not show."""

import numpy as np
import pytest
from petdiffusion import denoise
from petdiffusion.errors import OptionError
from petdiffusion.methods.led import spread
from petdiffusion.methods.led.fit import Fit
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write import images
from scipy.ndimage import gaussian_filter

SPACING = (4.0, 3.0, 2.0)
"""z, y, x: another along each axis."""
SHAPE = (20, 26, 36)


def scene(hot=True):
    """An even ellipsoid, with a hot spot or without."""
    z, y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    body = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 0.8).astype(np.float32)
    if hot:
        body[9:11, 12:15, 17:21] = 6.0
    return gaussian_filter(body, 1.0)


def run_led(frame, lead, fwhm_mm=9.0, pull=0.01):
    return fitted(Fit(lead, fwhm_mm, pull, SPACING), frame)


def fitted(fit, frame):
    return fit.image(*fit(frame))


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_a_frame_in_proportion_to_the_lead_is_kept_to_the_digit(factor):
    lead = scene()
    np.testing.assert_allclose(run_led(factor * lead, lead), factor * lead, atol=2e-3 * factor * lead.max())


@pytest.mark.parametrize("unit", [40000.0, 1e-6])
def test_the_leads_unit_does_not_matter(unit):
    lead, frame = scene(), scene(False)
    np.testing.assert_allclose(run_led(frame, np.float32(unit) * lead), run_led(frame, lead), atol=1e-4)


def test_a_spot_of_the_lead_that_the_frame_does_not_show_is_not_drawn():
    """The spot is six times the body in the lead: of the five that it stands out nothing comes into the frame."""
    lead, frame = scene(), scene(False)
    made = run_led(frame, lead)
    spot = (slice(9, 11), slice(12, 15), slice(17, 21))
    assert np.abs(made[spot] - frame[spot]).max() < 0.1
    assert np.abs(made[spot] * 6 - lead[spot]).max() > 1  # in proportion it would have been drawn


def test_a_spot_that_the_lead_does_not_show_keeps_its_activity():
    """It is smoothed by the width twice over, and no more: what a frame alone shows is not taken away."""
    lead, frame = scene(False), scene()
    extra = frame - lead
    kept = run_led(frame, lead) - lead
    assert kept.sum() == pytest.approx(extra.sum(), rel=0.02)
    twice = gaussian_filter(extra, [np.sqrt(2) * 9.0 / 2.3548 / s for s in SPACING])
    np.testing.assert_allclose(kept.max(), twice.max(), rtol=0.1)


@pytest.mark.parametrize("low", [-0.3, -0.1, 0.02])
def test_where_the_lead_is_negative_or_nearly_nothing_its_noise_is_not_brought_up(low):
    """As beside a hot bladder after filtered backprojection: the frame holds 3 there, the lead next to nothing."""
    noise = np.random.default_rng(3)
    lead = np.full(SHAPE, 3.0, np.float32)
    lead[8:13] = low
    lead += noise.normal(0, 0.05, SHAPE)
    frame = (3.0 + noise.normal(0, 0.15, SHAPE)).astype(np.float32)
    band = run_led(frame, lead.astype(np.float32))[9:12]
    assert np.sqrt(np.mean((band - 3.0) ** 2)) < 0.1


def test_noise_falls_as_by_a_filter_and_borders_stay():
    """Beside a Gaussian of its width: as little noise in the even part, and a third of its error at the spot."""
    lead = scene()
    frame = 0.5 * lead + np.random.default_rng(0).normal(0, 0.15, SHAPE).astype(np.float32)
    made = run_led(frame, lead)
    smooth = gaussian_filter(frame, [9.0 / 2.3548 / s for s in SPACING])
    even, spot = (slice(8, 12), slice(8, 18), slice(8, 14)), (slice(8, 12), slice(11, 16), slice(15, 23))
    def error(image, part):
        return np.sqrt(np.mean((image - 0.5 * lead)[part] ** 2))

    assert error(made, even) < 1.5 * error(smooth, even) < 0.3 * 0.15 * 1.5
    assert error(made, spot) < error(smooth, spot) / 3


def test_axes_are_taken_as_they_lie():
    lead, frame = scene(), scene() + np.random.default_rng(1).normal(0, 0.1, SHAPE).astype(np.float32)
    turned = fitted(Fit(lead.transpose(2, 0, 1), 9.0, 0.01, (2.0, 4.0, 3.0)), frame.transpose(2, 0, 1))
    np.testing.assert_allclose(turned, run_led(frame, lead).transpose(2, 0, 1), atol=1e-4)


def test_the_lead_is_brought_onto_the_scans_grid_and_one_of_elsewhere_is_refused(tmp_path):
    frame = Volume(scene(), Geometry(SHAPE[::-1], SPACING[::-1]), SUVBW)
    images.write(frame.with_array(2 * frame.array), tmp_path / "lead.nii.gz")
    made = denoise(frame, "led", lead=str(tmp_path / "lead.nii.gz"))
    np.testing.assert_allclose(made.pet.array, frame.array, atol=0.02)
    for away in (30.0, 4.0):  # of the second a twentieth is missing
        image = Volume(scene(), Geometry(SHAPE[::-1], SPACING[::-1], (away, 0.0, 0.0)), SUVBW)
        images.write(image, tmp_path / "away.nii.gz", overwrite=True)
        with pytest.raises(OptionError, match="field of view"):
            denoise(frame, "led", lead=str(tmp_path / "away.nii.gz"))


def noisy(frame, generator):
    """SD proportional to the root of activity, correlated over 5 mm, as of a PET."""
    noise = gaussian_filter(generator.standard_normal(SHAPE), [5.0 / 2.3548 / s for s in SPACING])
    return (frame + 0.25 * np.sqrt(frame + 0.1) * noise / noise.std()).astype(np.float32)


def test_the_sd_map_is_what_scans_repeated_show():
    """Led thirty times with other noise, the frames differ as the SD map of each of them says, place by place."""
    lead, frame, generator = scene(), 0.5 * scene(), np.random.default_rng(5)
    fit, body = Fit(lead, 9.0, 0.01, SPACING), scene(False) > 0.5
    geometry, told, made = Geometry(SHAPE[::-1], SPACING[::-1]), [], []
    for number in range(30):
        scan = Volume(noisy(frame, generator), geometry, SUVBW)
        image = fitted(fit, scan.array)
        made.append(image)
        if number < 6:
            told.append(spread.of_noise(scan, body, image, fit, 4, Run(seed=number)))
    true, found = np.std(made, axis=0, ddof=1), np.mean(told, axis=0)
    middle, rim = body & (lead < 1.2), lead > 2.0
    for part in (middle, rim):
        assert np.sqrt(np.mean(found[part] ** 2)) == pytest.approx(np.sqrt(np.mean(true[part] ** 2)), rel=0.2)


def test_what_the_lead_is_unsure_of_counts_by_the_slope(tmp_path):
    frame = Volume(noisy(0.5 * scene(), np.random.default_rng(6)), Geometry(SHAPE[::-1], SPACING[::-1]), SUVBW)
    for name, array in (("lead", scene()), ("sd", 0.2 + 1e-4 * scene())):
        images.write(frame.with_array(array), tmp_path / f"{name}.nii.gz")
    body = LabelMap((scene(False) > 0.5).astype(np.int16), frame.geometry, {1: "body"})
    given = {"lead": str(tmp_path / "lead.nii.gz"), "labels": body}
    sure = denoise(frame, "led", **given)
    unsure = denoise(frame, "led", lead_sd=str(tmp_path / "sd.nii.gz"), **given)
    np.testing.assert_array_equal(sure.pet.array, unsure.pet.array)
    inside = body.array > 0
    added = np.sqrt(unsure.sd.array[inside] ** 2 - sure.sd.array[inside] ** 2)
    assert np.median(added) == pytest.approx(0.5 * 0.2, rel=0.1), "the frame has half of the lead's activity"
    assert "intervals" not in sure.tables, "a mean's error is not its noise alone"
    assert denoise(frame, "led", samples=0, **given).sd is None


def test_the_report_says_what_the_sd_map_is_of(tmp_path):
    frame = Volume(noisy(scene(), np.random.default_rng(7)), Geometry(SHAPE[::-1], SPACING[::-1]), SUVBW)
    denoise(frame, "led", out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The SD is what the method expects of the scan’s noise; other errors are not in it." in page
    assert "own samples differ" not in page
