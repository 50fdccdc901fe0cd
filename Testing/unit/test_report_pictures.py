"""The report's pictures: one scale, upright for every grid, outlines and numbers where the lesions are."""

from __future__ import annotations

import json
import re
from itertools import permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write.report import DENOISED, LOW, CaseReport, case_report, figures, viewer
from petdiffusion.write.report.colour import png
from petdiffusion.write.report.orient import upright
from petdiffusion.write.report.viewer import _bytes
from petdiffusion.write.report.views import Views
from petdiffusion.write.report.words import tick
from support.report_pages import Page, patient, picture, report

DIRECTIONS = [
    np.diag(signs)[list(order)] for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]

HEADING = "Best matching structures"
CHECKED = {"checked": True, "sizes_mm": [6, 24], "output_blurred_by_mm": 0, "noise_fwhm_mm": [5.0, 5.0, 5.0],
           "noise_sd_median": 0.1, "noise_removed_percent": 50}  # fmt: skip


@pytest.fixture(scope="module")
def full() -> CaseReport:
    return report(patient())


@pytest.fixture(scope="module")
def page(full) -> Page:
    return Page(case_report(full))


def test_pictures_share_one_scale_with_hot_in_black(full):
    views = Views(full)
    assert views.grey.low == 0 and views.grey.high in (2, 3, 4, 5, 7)
    shown = picture(png(np.array([[-1.0, 0.0, views.grey.high / 2, views.grey.high, 99.0]]), views.grey))
    assert shown[0, :, 0].tolist() == [255, 255, 127, 0, 0]
    for image in Page(case_report(full)).images:
        if "difference" not in image["alt"] and "−" not in image["alt"] and "SD" not in image["alt"]:
            drawn = picture(image["src"])
            assert np.array_equal(drawn[..., 0], drawn[..., 2])


def test_differences_are_white_at_zero_and_symmetrical(full):
    scale = Views(full).diverging
    assert scale.low == -scale.high
    below, zero, above = picture(png(np.array([[-99.0, 0.0, 99.0]]), scale))[0].astype(int)
    assert zero.min() >= 252 and below[2] > below[0] and above[0] > above[2]


def turned(direction: np.ndarray, angle: float = 0.0) -> tuple[Volume, np.ndarray]:
    """Any grid whose one hot voxel lies to the patient's left, front and head of the middle."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    direction = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ direction
    spacing = np.abs(np.linalg.inv(direction)) @ np.array([2.0, 3.0, 5.0]) if angle == 0 else np.array([2.0, 3.0, 5.0])
    size = tuple(round(float(120 / s)) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2)
    geometry = Geometry.from_affine(size, affine)
    target = np.array([40.0, -30.0, 45.0, 1.0])  # left, front, head
    i, j, k = np.rint(np.linalg.solve(geometry.affine, target)[:3]).astype(int)
    array = np.zeros(geometry.shape, np.float32)
    array[k, j, i] = 10.0
    return Volume(array, geometry, SUVBW), array


@pytest.mark.parametrize("direction", DIRECTIONS, ids=str)
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_a_mark_appears_on_the_right_side_of_every_grid(direction, angle):
    volume, _ = turned(direction, angle)
    views = Views(CaseReport("t", {LOW: volume, DENOISED: volume}))
    expected = {"coronal": (1, -1), "sagittal": (-1, -1), "axial": (1, -1)}  # right/left of, above/below the middle
    for plane, (across, down) in expected.items():
        shown = views.projection_of(views.images[LOW], plane)
        y, x = np.unravel_index(shown.values.argmax(), shown.values.shape)
        width, height = shown.size_mm
        right = (x + 0.5) * shown.pixel_mm[1] - width / 2
        below = (y + 0.5) * shown.pixel_mm[0] - height / 2
        assert np.sign(right) == across and np.sign(below) == down, plane
        if angle == 0:
            mm = {"coronal": (40, -45), "sagittal": (-30, -45), "axial": (40, -30)}[plane]
            assert abs(right - mm[0]) <= 2.5 and abs(below - mm[1]) <= 2.5, plane
    assert upright(volume.geometry).oblique_degrees == pytest.approx(angle, abs=0.01)


def test_the_page_shows_the_mark_where_the_reader_expects_it():
    volume, _ = turned(np.diag([-1.0, -1.0, 1.0]))
    page = Page(case_report(CaseReport("t", {LOW: volume, DENOISED: volume})))
    front = picture(next(i["src"] for i in page.images if "from the front" in i["alt"]))[..., 0]
    y, x = np.unravel_index(front.argmin(), front.shape)
    assert x > 0.7 * front.shape[1] and y < 0.3 * front.shape[0]  # left of the patient is right on the page, head up
    for plane, (right, above) in {"coronal": (True, True), "sagittal": (False, True), "axial": (True, True)}.items():
        data, sheet = page.data["planes"][plane], picture(page.data["images"][0]["sheets"][plane])[..., 0]
        y, x = np.unravel_index(sheet.argmax(), sheet.shape)
        frame = (y // data["h"]) * data["columns"] + x // data["w"]
        assert (x % data["w"] > data["w"] / 2) == right and (y % data["h"] < data["h"] / 2) == above, plane
        # the head comes first in axial sheets, the front first in coronal ones, the right first in sagittal ones
        assert (frame < data["frames"] / 2) == (plane != "sagittal"), plane
    turn, sheet = page.data["planes"]["mip"], picture(page.data["images"][0]["sheets"]["mip"])[..., 0]
    first = sheet[: turn["h"], : turn["w"]]
    y, x = np.unravel_index(first.argmax(), first.shape)
    assert x > turn["w"] / 2 and y < turn["h"] / 2
    assert turn["frames"] == 36


def test_a_tilted_scan_says_so():
    volume, _ = turned(np.eye(3), 20.0)
    assert "tilted by 20°" in case_report(CaseReport("t", {LOW: volume, DENOISED: volume}))
    straight, _ = turned(np.eye(3))
    assert "tilted" not in case_report(CaseReport("t", {LOW: straight, DENOISED: straight}))


def test_pictures_keep_the_proportions_of_the_patient(full, page):
    views = Views(full)
    for image in page.images:
        if image["alt"] == "Coronal slice, Denoised":
            height, width, _ = picture(image["src"]).shape
            mm = views.slice_of(views.images[LOW], "coronal", 0).size_mm
            assert width / height == pytest.approx(mm[0] / mm[1], rel=0.02)
            assert mm[0] / mm[1] == pytest.approx(views.shape[2] * 4.0 / (views.shape[0] * 5.0))


def test_outlines_lie_on_the_lesions(full):
    views = Views(full)
    s, _, _ = views.peaks[1]
    path = views.outlines("axial", s)[1]
    points = np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    rows, columns = np.nonzero(views.lesions[s] == 1)
    assert middle == pytest.approx([(columns.mean() + 0.5) * 4, (rows.mean() + 0.5) * 4], abs=0.6)
    assert points.max(axis=0)[0] - middle[0] == pytest.approx(1.5 * 4, abs=2.5)


def test_the_viewer_goes_to_every_lesion_of_the_table(full, page):
    buttons = {value for tag, name, value in page.attributes if name == "data-lesion"}
    assert buttons == set(page.data["lesions"]) == {"1", "2"}
    views = Views(full)
    axial = page.data["lesions"]["1"]["axial"]
    assert views.shape[0] - 1 - axial == views.peaks[1][0]
    assert str(axial) in page.data["planes"]["axial"]["outlines"]


def test_the_viewer_counts_slices_as_the_file_does():
    """Of an image cut to a patient who begins at slice 8, and from the head down in the viewer."""
    volume, _ = turned(np.eye(3))
    body = np.zeros(volume.geometry.shape, bool)
    body[8:20, 10:30, 20:40] = True
    page = Page(case_report(CaseReport("t", {LOW: volume, DENOISED: volume}, body=body)))
    plane = page.data["planes"]["axial"]
    assert plane["last"] == len(volume.array) - 1 and len(plane["numbers"]) == plane["frames"]
    assert plane["numbers"] == list(range(22, 4, -1))  # 12 mm beside the patient are shown too
    assert "plane.numbers[at]" in next(s for s in page.scripts if "use strict" in s)


def test_a_close_up_says_how_long_its_bar_is(full):
    from petdiffusion.write.report.figures import close_ups

    texts = re.findall(r'<text class="length"[^>]*font-size="([\d.]+)"[^>]*>([^<]*)<', close_ups(Views(full)))
    assert len(texts) == 6 and {text for _, text in texts} == {"2 cm"}
    assert all(float(size) > 0.08 * 90 for size, _ in texts)


def test_numbers_of_lesions_do_not_cover_one_another():
    from petdiffusion.write.report.figures import _labels

    outlines = {n: f"M{10 + n * 1.2:.1f} 20L{13 + n * 1.2:.1f} 20L{13 + n * 1.2:.1f} 23Z" for n in (6, 16, 17, 7)}
    placed = _labels(outlines, 10.0, 300.0, 400.0)
    wide = {n: (0.7 * len(str(n)) + 0.2) * 10 for n in placed}
    for one, (x, y) in placed.items():
        for other, (u, v) in placed.items():
            assert one == other or x >= u + wide[other] or u >= x + wide[one] or abs(y - v) >= 10.0


def test_numbers_of_many_lesions_stay_near_them():
    """Forty in a field of 80 x 60 mm, more than fit beside one another."""
    from petdiffusion.write.report.figures import _labels

    places = np.random.default_rng(0).uniform([60, 60], [140, 120], (40, 2))
    outlines = {n: f"M{x:.1f} {y:.1f}L{x + 3:.1f} {y:.1f}Z" for n, (x, y) in enumerate(places, 1)}
    placed = _labels(outlines, 9.0, 200.0, 180.0)
    assert max(np.hypot(*(np.array(placed[n]) - places[n - 1])) for n in placed) < 55


def test_numbers_of_lesions_stay_inside_the_picture():
    """Of lesions at every border, and of more than there is room for."""
    from petdiffusion.write.report.figures import _labels

    for places in ([(2, 2), (198, 58), (100, 60), (100, 0)], [(100.0 + n, 59.0) for n in range(80)]):
        outlines = {n: f"M{x:.1f} {y:.1f}L{x + 1:.1f} {y:.1f}Z" for n, (x, y) in enumerate(places, 1)}
        placed = _labels(outlines, 9.0, 200.0, 60.0)
        assert len(placed) == len(places)
        assert all(0 <= x <= 200 - 5 and 9 <= y <= 60 for x, y in placed.values())
    assert _labels({1: "M2.0 2.0L3.0 2.0Z"}, 9.0, 200.0, 8.0) == {}


@pytest.mark.parametrize("slices", [1, 2, 4, 12])
def test_a_thin_scan_shows_only_what_has_room(slices):
    """Axial slices of 400 x 300 mm, 4 mm thick: nothing is drawn outside of the strips that the other planes are."""
    geometry = Geometry((100, 75, slices), (4.0, 4.0, 4.0))
    image, lesions = np.ones(geometry.shape, np.float32), np.zeros(geometry.shape, int)
    image[:, 30:33, 40:43], lesions[:, 30:33, 40:43] = 9.0, 1
    volume = Volume(image, geometry, SUVBW)
    whole = CaseReport("t", {LOW: volume, DENOISED: volume}, lesions=LabelMap(lesions, geometry, {1: "node"}))
    html = case_report(whole)
    assert Page(html).data["start"] == "axial"
    drawn = re.findall(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"(.*?)</svg>', html)
    for _, height, content in drawn:
        for y, size in re.findall(r'<text [^>]*y="([-\d.]+)" font-size="([\d.]+)"', content):
            assert 0.7 * float(size) <= float(y) <= float(height)
        for y in re.findall(r'class="bar" d="M[-\d.]+ ([-\d.]+)h', content):
            assert 0 < float(y) < float(height)
    assert any("2 cm" in content or "10 cm" in content for _, _, content in drawn)  # of the axial slices


def test_the_viewer_begins_in_the_plane_with_the_largest_pictures(full):
    assert Page(case_report(full)).data["start"] == "coronal"


def test_the_viewers_window_ends_where_its_sheets_do(full, page):
    """They are clipped at twice the scale: beyond it a wider window would show other values than its label says."""
    data, attributes = page.data, [(name, value) for _, name, value in page.attributes]
    at = attributes.index(("class", "window"))
    ends = {name: float(value) for name, value in attributes[at : at + 5] if name in ("min", "max", "value")}
    script = next(s for s in page.scripts if "use strict" in s)
    assert "data.top * data.headroom ** (event.target.value / 50)" in script
    assert data["headroom"] ** (ends["max"] / 50) == data["headroom"] == 2 and ends["value"] == 0
    hot = Views(full).grey.high * data["headroom"]
    assert _bytes(SimpleNamespace(images={LOW: np.array([hot, 0.99 * hot])}, grey=Views(full).grey), LOW)[0] == 255
    assert "toPrecision(2)" not in script


def test_slices_left_out_of_the_viewer_are_said(full, monkeypatch):
    assert "so large a scan" not in case_report(full)
    monkeypatch.setattr(viewer, "PIXELS_PER_SHEET", 8000)
    views = Views(full)
    counts = {plane: (len(viewer.chosen_slices(views, plane)), views.count(plane)) for plane in ("axial", "coronal")}
    text = Page(case_report(full)).text
    assert "Of so large a scan it shows " in text
    for plane, (kept, all_) in counts.items():
        assert kept < all_ and f"{kept} of {all_} {plane}" in text


def test_a_screen_reader_hears_what_the_page_says(page):
    script = next(s for s in page.scripts if "use strict" in s)
    assert 'slice.setAttribute("aria-valuetext", name)' in script
    groups = [value for tag, name, value in page.attributes if (tag, name) == ("div", "role")]
    assert groups.count("group") >= 2 + 3
    assert ("div", "aria-label", "Denoised, arrow keys change the slice") in page.attributes


def test_left_out_close_ups_are_counted_in_good_english(full, monkeypatch):
    for shown, said in ((1, "1 lesion that changed less is not"), (0, "2 lesions that changed less are not")):
        monkeypatch.setattr(figures, "CLOSE_UPS", shown)
        assert said in figures.close_ups(Views(full))


def test_ticks_of_large_and_small_scales_can_be_read():
    assert [tick(v) for v in (0, 1.75, 5000.0, 5e-5)] == ["0", "1.75", "5\u202f000", "0.00005"]
    assert [tick(v, True) for v in (-5000.0, 0.0, 0.5)] == ["−5\u202f000", "0", "+0.5"]


@pytest.mark.parametrize("direction", DIRECTIONS[::5], ids=str)
def test_maps_and_doubts_count_slices_as_the_viewer_does(direction):
    """Whichever axis of the file runs to the head, and either way."""
    volume, array = turned(direction)
    head = next(n for n in range(3) if abs(direction[2, n]) == 1)  # of the file: i, j, k
    column, place = ("column", "row", "slice")[head], np.argwhere(array)[0][::-1]
    voxel = dict(zip(("column", "row", "slice"), place.tolist()))
    x, y, z = (volume.geometry.affine @ [*place, 1])[:3]
    doubt = {"kind": "new hot spot", "weight": "beyond chance", "x_mm": x, "y_mm": y, "z_mm": z, **voxel}
    rows = [{column: n, "match_1": f"structure {n}", "score_1": 0.5} for n in range(volume.geometry.size[head])]
    maps, tables = {HEADING: volume}, {HEADING: rows}
    whole = CaseReport("t", {LOW: volume, DENOISED: volume}, maps=maps, trust_facts=CHECKED, other_tables=tables,
                       trust_rows=[doubt])  # fmt: skip
    html = case_report(whole)
    page, views = Page(html), Views(whole)
    shown = page.data["planes"]["axial"]
    frame = json.loads(next(value for _, name, value in page.attributes if name == "data-at"))["frames"]["axial"]
    assert f"<td>{shown['numbers'][frame]}</td>" in html and shown["numbers"][frame] == voxel[column]
    captions = re.findall(r"Slice (\d+): structure (\d+) 0.50", page.text)
    assert len(captions) == 5 and all(one == other for one, other in captions)
    plates = [image for image in page.images if image["alt"].startswith("Axial slice ")]
    for image in plates:
        number = int(image["alt"].split()[-1])
        index = views.numbers("axial").tolist().index(number)
        assert image["src"] == png(views.slice_of(views.images[DENOISED], "axial", index).square(), views.grey)
    part = html[html.index(f">{HEADING}<") :]
    assert '<i class="l">R</i>' in part and "match, part of" in part and 'class="bar"' in part
