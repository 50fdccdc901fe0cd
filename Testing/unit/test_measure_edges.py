"""Effective resolution: the width of edges is that of the blur put on them, whatever their height and the noise."""

import numpy as np
import petdiffusion
import pytest
from petdiffusion.infer.tissue import scan_width
from petdiffusion.measure import edges
from petdiffusion.measure.edges import FWHM, _slopes, _steepness, edge_widths
from petdiffusion.methods.contract import Case
from petdiffusion.trust import checks
from petdiffusion.trust.quality import quality_sentences, resolution
from petdiffusion.volume import SUVBW, Geometry, Volume
from petdiffusion.write.report.sections import quality_section
from scipy.ndimage import gaussian_filter

SPACING = (3.0, 2.0, 2.5)
VOXEL = np.sqrt(np.mean(np.square(SPACING)) / 12) * FWHM
"""Objects are drawn by voxels, which blurs them by a box."""


def _drawn(height=1.0):
    z, y, x = (np.arange(n) - n / 2 + 0.3 for n in (56, 80, 68))
    distance = np.sqrt((z[:, None, None] * 3) ** 2 + (y[:, None] * 2) ** 2 + (x * 2.5) ** 2)
    return height * np.clip((60 - distance) / 2.5 + 0.5, 0, 1).astype(np.float32), distance < 68


def _blurred(image, fwhm):
    return gaussian_filter(image, [fwhm / FWHM / s for s in SPACING])


@pytest.mark.parametrize("fwhm", [6.0, 8.0, 11.0])
@pytest.mark.parametrize("height", [1.0, 7.0])
def test_a_border_is_as_wide_as_its_blur(fwhm, height):
    sharp, body = _drawn(height)
    image = _blurred(sharp, fwhm)
    found = edge_widths({"image": image}, image, body, SPACING)["image"]
    assert found == pytest.approx(np.hypot(fwhm, VOXEL), abs=0.5)


def test_the_width_of_a_cases_edges_is_that_of_its_scan():
    sharp, body = _drawn()
    image = _blurred(sharp, 7.0)
    case = Case(Volume(image, Geometry(image.shape[::-1], SPACING[::-1]), SUVBW), body, 0.1)
    assert scan_width(case, image) == edge_widths({"scan": image}, image, body, SPACING)["scan"]


def test_noise_does_not_pass_for_sharpness():
    """The same edges with and without noise of a quarter of their height."""
    sharp, body = _drawn()
    image = _blurred(sharp, 7.0)
    noise = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    found = edge_widths({"clean": image, "noisy": image + 0.25 * noise}, image, body, SPACING)
    assert found["noisy"] == pytest.approx(found["clean"], abs=0.3)


def test_smoothing_adds_in_squares():
    sharp, body = _drawn()
    images = {f: _blurred(sharp, np.hypot(6.0, f)) for f in (0.0, 8.0)}
    found = edge_widths(images, images[0.0], body, SPACING)
    assert found[8.0] ** 2 - found[0.0] ** 2 == pytest.approx(64.0, abs=8.0)


def test_edges_too_sharp_to_tell_are_0():
    sharp, body = _drawn()
    steps = (sharp > 0.5).astype(np.float32)
    assert edge_widths({"image": 2 * steps - _blurred(steps, 3.0)}, steps, body, SPACING)["image"] == 0.0


def test_a_slope_that_goes_on_rising_is_no_edge():
    """Steeper than what lies behind it is not enough: an edge falls to both sides."""
    rising = np.broadcast_to(np.arange(68.0) ** 2, (30, 30, 68)).astype(np.float32)
    body = np.zeros(rising.shape, bool)
    body[..., :40] = True
    assert len(edges.edges_of(rising, body, SPACING)[0]) == 0
    rising = np.minimum(rising, 30.0**2)
    assert len(edges.edges_of(rising, body, SPACING)[0]) > 0


def test_nothing_is_said_without_edges():
    flat = np.ones((20, 20, 20), np.float32)
    assert edge_widths({"image": flat}, flat, flat > 0, SPACING) == {"image": None}
    assert edge_widths({"image": flat}, flat, flat < 0, SPACING) == {"image": None}
    assert edge_widths({"image": flat[:2]}, flat[:2], flat[:2] > 0, SPACING) == {"image": None}


def test_a_result_that_lost_its_edges_is_told():
    sharp, body = _drawn()
    geometry = Geometry(sharp.shape[::-1], SPACING[::-1])
    low, kept, lost = (Volume(_blurred(sharp, f), geometry, SUVBW) for f in (6.0, 6.5, 11.0))
    rows = resolution({"low": low, "denoised": kept}, body)
    assert [row["look"] for row in rows] == [False, False] and quality_sentences(rows) == []
    rows = resolution({"low": low, "denoised": lost, "reference": low}, body)
    assert [row["look"] for row in rows] == [False, True, False]
    assert "Edges are 11" in quality_sentences(rows)[0] and "smoothed away" in quality_sentences(rows)[0]


def test_every_run_tells_it():
    sharp, _ = _drawn()
    scan = Volume(_blurred(sharp, 5.0), Geometry(sharp.shape[::-1], SPACING[::-1]), SUVBW)
    noisy = scan.with_array(scan.array + 0.1 * np.random.default_rng(0).normal(size=sharp.shape).astype(np.float32))
    made = petdiffusion.denoise(noisy, "gaussian", fwhm_mm=10.0)
    rows = {row["item"]: row for row in made.tables["quality"]}
    assert rows["width of edges, denoised"]["look"] and not rows["width of edges, low"]["look"]
    assert any("Edges are" in text for text in checks(made.tables))


def test_what_lies_far_from_the_body_changes_nothing(monkeypatch):
    """Slopes and widths are read within a box around the body alone."""
    sharp, _ = _drawn()
    image, far = (np.pad(array, 24) for array in (_blurred(sharp, 7.0), sharp > 0.3))
    with monkeypatch.context() as all_of_it:
        all_of_it.setattr(edges, "AROUND_MM", 1000.0)
        found = edge_widths({"image": image}, image, far, SPACING)["image"]
    hot = image.copy()
    hot[:8], hot[:, -6:], hot[..., :4] = 50, -30, 9
    assert edge_widths({"image": hot}, hot, far, SPACING)["image"] == found


def test_steepness_by_slabs_is_that_of_the_whole():
    image = np.random.default_rng(4).normal(size=(61, 9, 12)).astype(np.float32)
    whole = np.sqrt(sum(np.square(slope) for slope in np.gradient(image, *SPACING)))
    np.testing.assert_allclose(_steepness(image, SPACING), whole, rtol=1e-6)
    places = np.argwhere(np.ones((61, 9, 12), bool)[2:-2, 2:-2, 2:-2])[::7] + 2
    wanted = np.stack(np.gradient(image.astype(float), *SPACING), axis=-1)[tuple(places.T)]
    np.testing.assert_allclose(_slopes(image, places, SPACING), wanted, rtol=1e-5, atol=1e-6)


def test_edges_that_cannot_be_told_have_no_number():
    """In a scan too sharp (or too noisy) to tell, 0 is no width; what the method makes of it still has its limit."""
    sharp, body = _drawn()
    steps = (sharp > 0.5).astype(np.float32)
    geometry = Geometry(sharp.shape[::-1], SPACING[::-1])
    scan, wide, kept = (Volume(image.astype(np.float32), geometry, SUVBW)
                        for image in (2 * steps - _blurred(steps, 3.0), _blurred(steps, 9.0), steps))  # fmt: skip
    rows = resolution({"low": scan, "denoised": wide}, body)
    assert rows[0]["item"] == "width of edges, low" and rows[0]["value"] is None and not rows[0]["look"]
    assert rows[1]["look"] and rows[1]["bound"] == pytest.approx(1.3 * 3.0)
    said = quality_sentences(rows)[0]
    assert "Edges are 9" in said and "in the scan" not in said and "0.0" not in said and "cannot be told" in said
    page = quality_section(rows)
    assert "too sharp or too noisy to tell" in page and "0.0" not in page
    assert not any(row["look"] for row in resolution({"low": wide, "denoised": scan}, body))
    assert [row["look"] for row in resolution({"low": scan, "denoised": kept}, body)] == [False, False]
