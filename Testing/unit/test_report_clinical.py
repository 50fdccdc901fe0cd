"""What the report says of a method's own marks, of their places, of limits, and of what is simulated."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.methods.contract import Case, Condition, MethodCard
from petdiffusion.request import Result
from petdiffusion.volume import DIGITAL_PATIENT, HU, REDUCED_DOSE, SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write.report import DENOISED, LOW, CaseReport, case_report, of_result
from petdiffusion.write.report.clinical import note
from petdiffusion.write.report.sections import quality_section, settings_section
from petdiffusion.write.report.trust import certainty_section
from petdiffusion.write.report.viewer import spot, target
from petdiffusion.write.report.views import AXES, Views
from petdiffusion.write.report.words import ml
from support.report_pages import Page, patient, report

SD = {"SUVmean_low95": 5.5, "SUVmean_high95": 6.5}


def mark(name="lesion 1", **changes):
    return {"what": "lesion", "name": name, "volume_ml": 4.0, "SUVmean": 6.0, "SUVmax": 9.0, "SUVpeak": 7.0,
            "TLG": 24.0, "hottest_x_mm": 28.0, "hottest_y_mm": 28.0, "hottest_z_mm": 80.0, **changes}  # fmt: skip


TOTAL = {"what": "total", "name": "all lesions", "lesions": 1, "volume_ml": 4.0, "TLG": 24.0}
LIVER = {"what": "organ", "name": "liver", "volume_ml": 500.0, "SUVmean": 2.25}


@pytest.fixture(scope="module")
def case():
    return patient()


def places(page: Page) -> list[dict]:
    return [json.loads(value) for _, name, value in page.attributes if name == "data-at"]


def test_a_number_outside_its_own_interval_is_spoken_of(case):
    def row(denoised, calibrated=True):
        return {"kind": "lesion", "number": 2, "name": "node", "metric": "SUVmax", "denoised": denoised,
                "expected": 6.1, "sd": 0.4, "low95": 6.2, "high95": 19.9, "calibrated": calibrated}  # fmt: skip

    def said(*rows):
        return certainty_section(replace(report(case), interval_rows=rows))

    such = "1 of 2 numbers of lesions lies outside its own interval (†), such as SUVmax 6.00 of node (6.20 to 19.90)"
    assert such in said(row(7.0), row(6.0))
    assert "1 of 1 number of organs lies outside" in said({**row(6.0), "kind": "organ"})
    for rows in ((row(7.0),), (row(6.0, calibrated=False),), (row(None),)):
        assert "own interval" not in said(*rows)


def test_a_lesion_is_named_once_beside_its_numbers(case):
    def row(number, metric):
        return {"kind": "lesion", "number": number, "name": "node", "metric": metric, "denoised": 7.0, "expected": 6.1,
                "sd": 0.4, "low95": 6.2, "high95": 19.9, "calibrated": True}  # fmt: skip

    rows = [row(1, "SUVmax"), row(1, "SUVpeak"), row(2, "SUVmax")]
    page = certainty_section(replace(report(case), interval_rows=rows))
    assert page.count('<th rowspan="2">node</th>') == page.count('<th rowspan="1">node</th>') == 1
    assert page.count("<td>SUVmax</td>") == 2 and page.count("node") == 2
    heads = "<th>Output</th><th>95 % interval</th><th>Expected</th><th>SD of samples</th>"
    unbroken = "6.20\u00a0to\u00a019.90"
    assert heads in page and f"<td>7.00</td><td>{unbroken}</td><td>6.10</td><td>0.400</td>" in page


def test_marks_are_told_from_lesions_that_were_given(case):
    given, marked = (Page(case_report(report(case, marked=own))).text for own in (False, True))
    assert "Metabolic tumour volume" in given and "that the method marked" not in given
    assert "Metabolic tumour volume" not in marked and "if each is tumour" in marked
    assert "Over 2 lesions that the method marked" in marked and "The lesions that the method marked" in marked


def test_the_table_of_marks_has_units_intervals_and_one_line_for_all(case):
    page = Page(case_report(report(case, clinical_rows=[mark(organ="hip_left", **SD), TOTAL, LIVER], marked=True)))
    text = page.text[page.text.index("What the method found") : page.text.index("Lesions before and after")]
    for words in ("TLG, SUV·ml", "hip left", "6.00 5.50 to 6.50", "All 1 4.0 24.0", "liver 500.0 2.25"):
        assert words in text, words
    assert "TLG, g" not in page.text


@pytest.mark.parametrize(("samples", "said"), [(0, True), (1, True), (2, False)])
def test_a_run_without_intervals_says_how_to_have_them(samples, said):
    """One sample has no spread."""
    assert ("Run with samples of 2 or more for intervals." in note({"samples": samples})) == said


def test_a_marks_number_outside_its_own_interval_is_spoken_of(case):
    def text(*rows):
        return Page(case_report(report(case, clinical_rows=rows, marked=True))).text

    liver = {**LIVER, "SUVmean_low95": 2.5, "SUVmean_high95": 2.9}
    said = text(mark(**SD), TOTAL, liver)
    assert ("1 of 2 numbers of lesions and organs lies outside its own interval (†), such as SUVmean 2.25 of liver "
            "(2.50 to 2.90)") in said  # fmt: skip
    large = {**LIVER, "volume_ml_low95": 507.5, "volume_ml_high95": 751.4}
    assert "such as Volume 500.0 ml of liver (507.5 to 751.4)" in text(mark(**SD), TOTAL, large)
    assert "liver 500.0 2.25 † 2.50 to 2.90" in said and "6.00 5.50 to 6.50" in said
    assert "own interval" not in text(mark(**SD), TOTAL, LIVER)


def test_no_mark_is_not_said_to_be_no_lesion(case):
    text = Page(case_report(report(case, clinical_rows=[{**TOTAL, "lesions": 0, "TLG": 0.0}]))).text
    assert "No lesion was marked, which does not exclude one." in text


def test_a_mark_beside_lesions_that_were_given_is_not_taken_for_one_of_them(case):
    rows = [mark(), TOTAL]
    assert "those of the lesions given, not these" in Page(case_report(report(case, clinical_rows=rows))).text
    assert "not these" not in Page(case_report(report(case, clinical_rows=rows, marked=True))).text


def test_marks_left_out_are_listed_with_their_reason_and_lead_to_their_place(case):
    gone = {"region": 1, "organ": "hip_left", "volume_ml": 2.5, "SUVmax": 5.0, "SUVmean": 4.0, "hottest_x_mm": 28.0,
            "hottest_y_mm": 28.0, "hottest_z_mm": 80.0, "why": "its uptake goes on <beyond> it"}  # fmt: skip
    page = Page(case_report(report(case, clinical_rows=[mark(), TOTAL], left_out_rows=[gone], marked=True)))
    text = page.text[page.text.index("What the method found") : page.text.index("Lesions before and after")]
    assert "1 mark left out, not taken for lesions" in text
    assert "hip left 2.5 5.00 its uptake goes on <beyond> it" in text
    without = Page(case_report(report(case, clinical_rows=[mark(), TOTAL], marked=True)))
    assert len(places(page)) == len(places(without)) + 1 and "left out, not taken" not in without.text


@pytest.mark.parametrize("direction", [
    (1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0),
    (0, 1, 0, -1, 0, 0, 0, 0, -1),
])  # fmt: skip
def test_a_row_leads_to_its_voxel_whatever_the_grid(direction):
    """One hot voxel anywhere: the frames that its place leads to are those that show it."""
    geometry = Geometry((9, 11, 13), (2.0, 3.0, 4.0), (-7.0, 5.0, 40.0), direction)
    array = np.full(geometry.shape, 1.0, np.float32)
    array[3, 7, 2] = 50.0
    x, y, z = (geometry.affine @ [2, 7, 3, 1])[:3]
    volume = Volume(array, geometry, SUVBW)
    views = Views(CaseReport("t", {LOW: volume, DENOISED: volume}))
    voxel = views.at({"x_mm": x, "y_mm": y, "z_mm": z})
    assert views.images[LOW][voxel] == 50.0
    own = dict(zip("kji", (3, 7, 2)))
    lines = {axis: np.abs(np.array(direction).reshape(3, 3)[:, n]) for n, axis in enumerate("ijk")}
    for plane, normal in (("axial", [0, 0, 1]), ("coronal", [0, 1, 0]), ("sagittal", [1, 0, 0])):
        through = next(axis for axis, line in lines.items() if line.tolist() == normal)
        assert views.numbers(plane)[voxel[AXES[plane]]] == own[through]
    for plane, (across, down) in spot(views, voxel).items():
        picture = views.slice_of(views.images[LOW], plane, voxel[AXES[plane]]).values
        assert picture[int(down * picture.shape[0]), int(across * picture.shape[1])] == 50.0
    assert views.at({"x_mm": x, "y_mm": y}) is None and views.at({"x_mm": 1e4, "y_mm": y, "z_mm": z}) is None


def test_doubts_and_marks_are_shown_in_the_viewer_at_a_click(case):
    doubt = {"kind": "new hot spot", "weight": "beyond chance", "x_mm": 28.0, "y_mm": 28.0, "z_mm": 80.0}
    facts = {"checked": True, "sizes_mm": [6, 24], "output_blurred_by_mm": 0, "noise_fwhm_mm": [5.0, 5.0, 5.0],
             "noise_sd_median": 0.1, "noise_removed_percent": 50}  # fmt: skip
    changed = report(case, clinical_rows=[mark(), TOTAL], trust_rows=[doubt], trust_facts=facts)
    expected = target(Views(changed), Views(changed).at(doubt))
    assert [place["frames"] for place in places(Page(case_report(changed)))] == [expected, expected]


def test_an_empty_mask_is_said(case):
    empty = LabelMap(np.zeros_like(case["lesions"].array), case["lesions"].geometry)
    page = Page(case_report(replace(report(case), lesions=empty, lesion_rows=(), lesion_totals=())))
    assert "The lesion mask given holds no lesion." in page.text


def test_quality_is_said_with_unit_limit_and_verdict():
    rows = [
        {"item": "noise in the body, low", "value": 31.08, "unit": "%", "bound_is": None, "bound": None, "look": False},
        {"item": "width of edges, denoised", "value": 5.74, "unit": "mm", "bound_is": "at most", "bound": 4.91,
         "look": True},
        {"item": "outlines of CT and PET, Dice", "value": 0.97, "unit": "", "bound_is": "at least", "bound": 0.9,
         "look": False},
        {"item": "total activity, change", "value": -1.17, "unit": "%", "bound_is": "at most, up or down", "bound": 2.0,
         "look": False},
        {"item": "shift of the PET's lung against the CT's, along the body", "value": None, "unit": "mm",
         "bound_is": "at most, up or down", "bound": 8.0, "look": False},
    ]  # fmt: skip
    text = Page(quality_section(rows)).text
    assert "Noise in the body, low-count 31.1 % –" in text
    assert "Width of edges, denoised 5.7 mm ≤ 4.9 mm look again" in text
    assert "Outlines of CT and PET, Dice 0.97 ≥ 0.90 within it" in text
    assert "Total activity, change −1.2 % ± 2.0 % within it" in text
    assert "along the body not measurable ± 8.0 mm" in text


def test_a_rows_bound_says_what_it_is():
    from petdiffusion.trust.quality import mismatch, quality

    size = Geometry((40, 40, 40), (8.0, 8.0, 8.0))
    z, y, x = np.ogrid[:40, :40, :40]
    body = ((y - 19.5) ** 2 + (x - 19.5) ** 2 < 300) & (z > -1)
    lung = ((y - 19.5) ** 2 + (x - 19.5) ** 2 + (z - 19.5) ** 2 < 100) & body
    ct = np.where(lung, -800, np.where(body, 40, -1000)).astype(np.float32)
    pet = np.where(lung, 0.4, np.where(body, 1.5, 0)).astype(np.float32)
    rows = mismatch(Volume(pet, size, SUVBW), Volume(ct, size, HU), body)
    assert [row["bound_is"] for row in rows] == ["at least", "at most", "at most, up or down"]
    assert list(rows[0]) == ["item", "value", "unit", "bound_is", "bound", "look"]
    images = dict.fromkeys(("low", "denoised"), Volume(pet, size, SUVBW))
    made = [{"image": "low", "local_noise_percent": 9.0}, {"image": "denoised", "activity_vs_low_percent": 1.0}]
    kinds = {row["item"]: row["bound_is"] for row in quality(images, body, None, made)}
    assert kinds["total activity, change"] == "at most, up or down" and kinds["noise in the body, low"] is None
    assert kinds["width of edges, denoised"] == "at most" and kinds["width of edges, low"] is None


def test_long_numbers_of_the_settings_are_rounded():
    text = Page(settings_section({"Details": {"sampling": {"sigmas": [19.999999999999993, 0.02], "extra": {}}}})).text
    assert "sigmas 20, 0.02" in text and "extra" not in text


@pytest.mark.parametrize(("simulated", "words"), [
    (DIGITAL_PATIENT, "Digital patient: anatomy, activity and scan are simulated"),
    (REDUCED_DOSE, "The reduced dose is simulated from a scan"),
])  # fmt: skip
def test_a_simulation_is_said_as_a_fact_and_not_as_a_warning(case, simulated, words):
    whole = report(case, warnings=())
    images = {name: volume.with_facts(simulated=simulated) for name, volume in whole.images.items()}
    html = case_report(replace(whole, images=images))
    assert words in html.split('class="facts"')[1].split("</p>")[0] and "Warnings of this run" not in html
    assert words not in case_report(whole)


def test_a_ct_that_the_method_does_not_look_at_is_not_said_to_be_used(case):
    v = case["volumes"]
    record = {"request": {"ct": "/a/ct.nii", "mr": "/a/mr.nii"}}
    result = Result(pet=v["denoised"], low=v["low"], record=record)
    card = MethodCard("m", "Filter", "Does things.", "a:b", conditions=(Condition("mr"),))
    text = Page(of_result(result, Case(pet=v["low"], body=case["body"], noise=0.1), card)).text
    assert "ct (not used by the method), mr" in text


def test_a_liver_that_the_method_drew_too_small_is_not_the_livers_number(case):
    """The test patient's liver is small: of a reader's labels it is a part, of a method's own it may be anything."""
    assert "The liver’s mean SUV" in Page(case_report(report(case))).text
    text = Page(case_report(report(case, drawn=True))).text
    assert "The liver’s mean SUV" not in text and "Liver SUVmean" not in text


def test_cold_lesions_have_no_metabolic_tumour_volume(case):
    whole = report(case)
    rows = [{**row, "contrast_reference": 0.7} for row in whole.lesion_rows]
    text = Page(case_report(replace(whole, lesion_rows=rows))).text
    assert "in 2 lesions, 2 colder than the surroundings" in text
    assert "Total lesion glycolysis," not in text and "Hottest lesion" not in text


def test_one_cold_lesion_among_hot_ones_is_named_and_its_part_in_the_totals_told(case):
    whole = report(case)
    rows = [{**row, "contrast_reference": 0.7 if row["number"] == 2 else 3.0} for row in whole.lesion_rows]
    text = Page(case_report(replace(whole, lesion_rows=rows))).text
    assert "in 2 lesions, 1 colder than the surroundings" in text and "Total lesion glycolysis," in text
    assert "1 of 2 lesions is colder than the surroundings (2)" in text and "count these too" in text
    hot = [{**row, "contrast_reference": 3.0} for row in whole.lesion_rows]
    assert "colder" not in Page(case_report(replace(whole, lesion_rows=hot))).text


def test_a_small_lesion_has_a_volume():
    assert [ml(v) for v in (0.024, 0.256, 1.0, 12.34, None)] == ["0.02", "0.26", "1.0", "12.3", "–"]
