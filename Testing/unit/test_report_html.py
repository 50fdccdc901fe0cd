"""The report: complete in one file, safe against the texts given to it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion import measure
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.methods.contract import Case, MethodCard
from petdiffusion.request import Result
from petdiffusion.volume import ARBITRARY, BQML, SUVBW, Geometry, LabelMap, Volume
from petdiffusion.write.report import DENOISED, LOW, REFERENCE, SD, CaseReport, case_report, of_result
from petdiffusion.write.report.words import lesion_name
from support.report_pages import Page, patient, picture, report

EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture(scope="module")
def case() -> dict:
    return patient()


@pytest.fixture(scope="module")
def full(case) -> CaseReport:
    return report(case)


@pytest.fixture(scope="module")
def page(full) -> Page:
    return Page(case_report(full))


def test_nothing_is_fetched_from_outside(full, page):
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "poster", "data", "background", "xlink:href"):
            assert value.startswith("data:image/"), (tag, name, value[:60])
        if name == "style":
            assert "url(" not in value
    assert not any(tag in ("link", "iframe", "object", "embed", "base", "form") for tag, _, _ in page.attributes)
    html = case_report(full)
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(|fetch\(|XMLHttp|WebSocket|import\(", html)
    assert (
        "meta",
        "content",
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ) in page.attributes


def test_the_numbers_given_are_in_it(full, page):
    low, denoised, reference = full.image_rows
    for value in (
        low["liver_CoV_percent"],
        denoised["liver_CoV_percent"],
        reference["liver_CoV_percent"],
        denoised["PSNR_dB"],
    ):
        assert f"{value:.1f}" in page.text
    for row in full.lesion_rows:
        for metric in ("SUVmax", "SUVpeak", "SUVmean"):
            for image in ("low", "denoised", "reference"):
                assert f"{row[f'{metric}_{image}']:.2f}" in page.text
    assert f"{full.organ_rows[0]['SUVmean_denoised']:.2f}" in page.text
    assert f"{full.lesion_totals[0]['MTV_ml']:.1f} ml" in page.text
    for text in (
        "Watch out.",
        "4321",
        "Some method",
        "research use only",
        "FDG",
        "200 MBq",
        "5 % of the normal dose",
        "gaussian 11, sigma 1.5, 3D",
        "scipy",
        "Prompts",
    ):
        assert text in page.text


def test_texts_cannot_become_markup(case):
    names = LabelMap(case["lesions"].array, case["lesions"].geometry, {1: EVIL, 2: EVIL})
    organs = LabelMap(case["organs"].array, case["organs"].geometry, {5: EVIL})
    evil = report(
        {**case, "lesions": names, "organs": organs},
        title=EVIL,
        method=EVIL,
        warnings=[EVIL],
        settings={EVIL: {EVIL: EVIL, "list": [EVIL], "map": {EVIL: EVIL}}},
        other_tables={EVIL: [{EVIL: EVIL}]},
    )
    evil = replace(
        evil,
        images={n: v.with_facts(tracer=EVIL, scanner=EVIL) for n, v in evil.images.items()},
        image_rows=[{**row, "library": EVIL, "SSIM_window": EVIL} for row in evil.image_rows],
    )
    html = case_report(evil)
    page = Page(html)
    assert html.count("<script") == 2 and "<script>alert" not in html
    assert page.text.count("<script>alert('x')</script>\"&") >= 10  # shown as text, and not lost
    assert not any("alert" in script for script in page.scripts)


def test_script_data_cannot_end_the_script(full, monkeypatch):
    monkeypatch.setattr(CaseReport, "quantity", property(lambda _: "</script><b>"))
    assert Page(case_report(full)).data["quantity"] == "</script><b>"


def test_the_same_case_gives_the_same_file(full):
    assert case_report(full) == case_report(full)


def test_two_images_alone_are_enough(case):
    v = case["volumes"]
    bare = Page(case_report(CaseReport("t", {LOW: v["low"], DENOISED: v["denoised"]})))
    assert "Lesions" not in bare.text and "Organs" not in bare.text and "Normal dose" not in bare.text
    assert "The difference shows what was removed" in bare.text
    assert "research use only" in bare.text


def test_words_for_a_normal_dose_are_left_out_where_there_is_none(case, full, page):
    assert "Norm.: normal dose" in page.text and "The first difference shows" in page.text
    v = {name: case["volumes"][name] for name in ("low", "denoised")}
    rows = measure.tables(v, case["body"], case["organs"], case["lesions"])
    alone = replace(full, images={LOW: v["low"], DENOISED: v["denoised"]}, image_rows=rows["image"],
                    organ_rows=rows["organs"], lesion_rows=rows["lesions"])  # fmt: skip
    text = Page(case_report(alone)).text
    assert "Den.: denoised" in text and "Norm." not in text and "first difference" not in text


def test_the_peak_is_described_as_it_is_measured(page):
    """The highest mean in a sphere (`measure.suvs.peak`), not the mean of the hottest voxels."""
    assert "the highest mean in a sphere of 1 ml centred in the lesion" in page.text
    assert "hottest 1 ml" not in page.text


def test_large_differences_are_pointed_out(full, case):
    calm = Page(case_report(replace(full, organ_rows=(), lesion_rows=(), lesion_totals=())))
    assert "Check before relying" not in calm.text
    rows = [{**r, "SUVpeak_denoised_vs_reference_percent": -31.26} for r in full.lesion_rows]
    loud = Page(case_report(replace(full, lesion_rows=rows)))
    assert "Check before relying" in loud.text and "−31.3" in loud.text


def test_other_units_are_not_called_suv(case):
    v = {name: Volume(volume.array * 5000, volume.geometry, BQML) for name, volume in case["volumes"].items()}
    sd = Volume(case["sd"].array * 5000, case["sd"].geometry, BQML)
    text = Page(case_report(report({**case, "volumes": v, "sd": sd}))).text
    assert "SUV" not in text and "Bq/ml" in text


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (1, 1, 1), (3, 200, 2)])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_thin_empty_and_constant_images(shape, value):
    volume = Volume(np.full(shape, value, np.float32), Geometry(shape[::-1], (1.0, 1.0, 1.0)), ARBITRARY)
    rows = measure.tables({"low": volume, "denoised": volume}, None)
    page = Page(case_report(CaseReport("t", {LOW: volume, DENOISED: volume}, image_rows=rows["image"])))
    assert "nan" not in page.text.lower().split() and "inf" not in page.text.lower().split()


def test_what_does_not_fit_together_is_refused(case):
    v = case["volumes"]
    other = Volume(v["low"].array, Geometry(v["low"].geometry.size, (4.0, 4.0, 5.0), (9.0, 0.0, 0.0)), SUVBW)
    with pytest.raises(GeometryError):
        CaseReport("t", {LOW: v["low"], DENOISED: other})
    with pytest.raises(InputError, match="Denoised"):
        CaseReport("t", {LOW: v["low"]})
    with pytest.raises(InputError, match="units"):
        CaseReport("t", {LOW: v["low"], DENOISED: v["low"].with_array(v["low"].array, BQML)})
    with pytest.raises(InputError, match="Before"):
        CaseReport("t", {LOW: v["low"], DENOISED: v["low"], "Before": v["low"]})


def test_the_page_stays_small():
    """A whole body with noise in every voxel, the worst that compression meets."""
    geometry = Geometry((192, 192, 300), (2.6, 2.6, 3.27))
    rng = np.random.default_rng(0)
    body = np.zeros(geometry.shape, bool)
    body[:, 50:140, 20:170] = True
    image = np.where(body, 2 + rng.standard_normal(geometry.shape, dtype=np.float32), 0)
    volume = Volume(image, geometry, SUVBW)
    page = case_report(CaseReport("t", {LOW: volume, DENOISED: volume, REFERENCE: volume, SD: volume}, body=body))
    assert len(page) < 15e6


def test_a_result_becomes_a_report_in_the_unit_of_its_numbers(case):
    """The images come back in Bq/ml, the numbers are SUV: the report converts the pictures and names no folder."""
    v, factor = case["volumes"], 0.002

    def raw(volume):
        return Volume(volume.array / factor, volume.geometry, BQML, volume.facts)

    rows = measure.tables(v, case["body"], case["organs"], case["lesions"])
    record = {
        "version": "9.9",
        "request": {
            "seed": 7,
            "pet": "/scans/someone/Jane_Doe.nii",
            "ct": "/scans/ct.nii",
            "model": "/scans/someone/models/best.safetensors",
        },
        "options": {"steps": 18},
        "details": {"weights": "C:\\Users\\someone\\w.safetensors"},
        "seconds": {"denoise": 1.25},
        "versions": {"python": "3.11"},
        "input": {"facts": {"tracer": "FDG"}},
    }
    result = Result(
        pet=raw(v["denoised"]),
        low=raw(v["low"]),
        sd=raw(case["sd"]),
        organs=case["organs"],
        lesions=case["lesions"],
        reference=v["reference"],
        tables={**rows, "tuning": [{"fwhm": 4.5}]},
        record=record,
        warnings=("Mind the gap.",),
    )
    given = Case(pet=v["low"], body=case["body"], noise=0.1)
    card = MethodCard("m", "Fine method", "Does things.", "a:b", paper="Someone 2024")
    html = of_result(result, given, card)
    page = Page(html)
    for text in (
        "Fine method",
        "Someone 2024",
        "Mind the gap.",
        "best.safetensors",
        "w.safetensors",
        "steps",
        "18",
        "Settings tried",
        "4.5",
        "1.2 s",
    ):
        assert text in page.text, text
    assert "someone" not in html.replace("Someone", "") and "Jane" not in html and "organ errors" not in page.text
    shown = picture(next(i["src"] for i in page.images if i["alt"] == "Coronal slice, Denoised"))
    direct = picture(
        next(i["src"] for i in Page(case_report(report(case))).images if i["alt"] == "Coronal slice, Denoised")
    )
    assert np.abs(shown.astype(int) - direct).max() <= 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("lesion 1 (hip_right)", "hip right"), ("tumour (2)", "tumour (2)"), ("lesion 12", "lesion 12"), ("lesion 1", "")],
)
def test_a_lesions_name_does_not_repeat_its_number(name, shown):
    assert lesion_name({"lesion": name, "number": 1}) == shown


def test_facts_are_said_as_a_reader_says_them():
    from petdiffusion.write.report.result import scan_in_words

    said = scan_in_words({"tracer": "FDG", "half_life_s": 6586.2, "injected_dose_bq": 255177360, "dose_fraction": 0.1,
                          "suv_factor": 0.000434878, "source": "/scans/name"})  # fmt: skip
    assert said == {"tracer": "FDG", "half-life": "109.8 min", "injected dose": "255 MBq",
                    "part of the normal dose": "10.0 %", "SUV per kBq/ml": "0.4349"}  # fmt: skip


def test_print_keeps_lesion_numbers_and_folded_tables(case):
    """Only the buttons that say "show" are for the screen alone."""
    doubt = {"kind": "new hot spot", "weight": "beyond chance", "x_mm": 28.0, "y_mm": 28.0, "z_mm": 80.0}
    checked = {"checked": True, "sizes_mm": [6, 24], "output_blurred_by_mm": 0, "noise_fwhm_mm": [5.0] * 3,
               "noise_sd_median": 0.1, "noise_removed_percent": 50}  # fmt: skip
    html = case_report(report(case, trust_rows=[doubt], trust_facts=checked))
    printed = html[html.index("@media print") : html.index("</style>")]
    hidden = [rule.split("{")[0] for rule in re.findall(r"[^{}]+\{[^}]*display: none[^}]*\}", printed)]
    assert len(hidden) == 1 and [name.strip() for name in hidden[0].split(",")] == ["#browse", ".go.show"]
    buttons = dict(re.findall(r'<button type="button" class="(go[^"]*)"[^>]*>(\w+)<', html))
    assert buttons["go show"] == "show" and buttons["go"] in ("1", "2")
    assert "details::details-content { content-visibility: visible !important" in printed


def test_a_browsers_forced_dark_mode_leaves_the_page_alone(full):
    """It would turn the colour bars black and leave the pictures as they are."""
    assert re.search(r":root \{\s*color-scheme: only light;", case_report(full))


def test_long_names_can_be_read_whole(case):
    names = LabelMap(case["lesions"].array, case["lesions"].geometry, {1: "x" * 90, 2: "bone"})
    html = case_report(report({**case, "lesions": names}))
    assert f'<h4 title="1 {"x" * 90}' in html
    assert re.search(r":where\(\.numbers\) tbody th \{[^}]*white-space: normal[^}]*max-width", html)
