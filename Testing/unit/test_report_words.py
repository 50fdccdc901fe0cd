"""How the report writes numbers: enough digits in any unit, and chances on the right side of 0.05."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.trust.findings import LOST, TOTAL, Finding
from petdiffusion.volume import ARBITRARY, BQML, Volume
from petdiffusion.write.report import case_report
from petdiffusion.write.report.result import scan_in_words
from petdiffusion.write.report.sections import Strip
from petdiffusion.write.report.words import chance, fact, summary, written
from support.report_pages import Page, patient, report

CHECKED = {"checked": True, "sizes_mm": [6, 24], "output_blurred_by_mm": 0, "noise_fwhm_mm": [5.0, 5.0, 5.0],
           "noise_sd_median": 0.1, "noise_removed_percent": 50}  # fmt: skip


def in_unit(unit, scale):
    """The test patient measured in that unit, with doubts and intervals."""
    case = patient()
    volumes = {name: Volume(v.array * np.float32(scale), v.geometry, unit) for name, v in case["volumes"].items()}
    sd = Volume(case["sd"].array * np.float32(scale), case["sd"].geometry, unit)
    spot = Finding(LOST, 1e-6, 0.01, -6.0, 1.85 * scale, 0.77 * scale, -2.94 * scale, 0.4 * scale, -58.4, 6.0,
                   place_mm=(28.0, 28.0, 80.0))
    total = Finding(TOTAL, 0.0, 0.0, -18.0, 0.7344 * scale, 0.7258 * scale, -0.0086 * scale, 0.0005 * scale, -1.17)
    interval = {"kind": "lesion", "number": 1, "name": "node", "metric": "max", "denoised": 7.0 * scale,
                "expected": 6.1 * scale, "sd": 0.4 * scale, "low95": 6.2 * scale, "high95": 8.0 * scale}  # fmt: skip
    return report({**case, "volumes": volumes, "sd": sd}, interval_rows=[interval],
                  trust_rows=[found.row(n, "") for n, found in enumerate((spot, total), 1)],
                  trust_facts={**CHECKED, "noise_sd_median": 0.1 * scale})  # fmt: skip


def cells(html):
    """Texts of the tables' cells that are numbers alone."""
    texts = (re.sub(r"<[^>]+>.*", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html))
    return [text for text in texts if re.fullmatch(r"[−+]?[\d.\u202f]+", text)]


@pytest.mark.parametrize(("unit", "scale"), [(ARBITRARY, 1e-3), (ARBITRARY, 1e-5)])
def test_small_numbers_are_not_rounded_to_nothing(unit, scale):
    whole = in_unit(unit, scale)
    html = case_report(whole)
    assert not [text for text in cells(html) if re.fullmatch(r"0\.0+", text)]
    text, row = Page(html).text, whole.lesion_rows[0]
    for column in ("max_denoised", "mean_low", "peak_reference", "TLG_low"):
        found = [v for v in re.findall(r"\d+\.\d+", text) if float(v) == pytest.approx(row[column], rel=0.01)]
        assert found, column
    assert f"SD {0.1 * scale:.7f}".rstrip("0") in text


def test_large_numbers_have_no_decimals():
    html = case_report(in_unit(BQML, 3000.0))
    for words in ("Hottest lesion peak, Bq/ml<", ">peak, Bq/ml<", ">max, Bq/ml<", ">mean, Bq/ml<"):
        assert words in html, words
    assert not [text for text in cells(html) if re.fullmatch(r"\d[\d\u202f]{3,}\.\d+", text)]
    assert not re.search(r"\de\+0\d", Page(html).text)


def test_numbers_in_suv_stay_as_readers_know_them():
    shown = written("SUV", [0.01, 2000.0])
    assert [shown(v) for v in (0.012, 7.0, 12.345, 2000.0, None)] == ["0.01", "7.00", "12.35", "2\u202f000", "–"]
    assert [written("Bq/ml", v)(v[0]) for v in ([0.0], [], [None, 3.14159]) if v] == ["0.00", "–"]
    assert [written("x", [v])(v) for v in (801.1832, 34.274, 9.5, 0.0095)] == ["801", "34.3", "9.50", "0.00950"]


@pytest.mark.parametrize(("p", "said"), [
    (None, "–"), (0.0, "<\u00a00.001"), (0.0009, "<\u00a00.001"), (0.00321, "0.003"), (0.0312, "0.031"),
    (0.0496, "0.050"), (0.04996, "0.04996"), (0.0500, "0.050"), (0.0504, "0.050"), (0.312, "0.31"), (1.0, "1.00"),
])  # fmt: skip
def test_a_chance_lies_on_the_side_of_the_limit_that_it_says(p, said):
    if said == "0.050" and p < 0.05:
        said = f"{p:.4f}"
    assert chance(p) == said
    if p is not None and p >= 0.001:
        assert (float(said) < 0.05) == (p < 0.05)


def test_facts_do_not_round_to_nothing():
    said = scan_in_words({"dose_fraction": 0.0004, "injected_dose_bq": 3.7e5, "frame_seconds": 0.4, "age_years": 0.4,
                          "weight_kg": 72.0, "uptake_minutes": 60.0})  # fmt: skip
    assert list(said.values()) == ["0.04 %", "0.37 MBq", "0.4 s", "0.4 years", "72.0 kg", "60 min"]
    assert [fact(v, 0) for v in (0.0, 0.37, 3.7, 255.2)] == ["0", "0.37", "3.7", "255"]
    low = report(patient())
    images = {name: v.with_facts(injected_dose_bq=3.7e5) for name, v in low.images.items()}
    assert "0.37 MBq" in Page(case_report(replace(low, images=images))).text


def test_noise_that_stayed_did_not_rise():
    whole = report(patient())
    rows = [{**row, "liver_CoV_percent": 12.34} for row in whole.image_rows]
    said = summary(replace(whole, image_rows=rows))
    assert "stayed at <b>12.3" in said and "rose" not in said and "fell" not in said


def test_a_change_beyond_the_axis_is_marked():
    rows = [{"SUVpeak_denoised_vs_reference_percent": v, "SUVpeak_low_vs_reference_percent": 0.0}
            for v in (140.0, -130.0, 99.0)]  # fmt: skip
    strip = Strip(report(patient()), "SUVpeak", rows)
    over, under, within = map(strip.line, rows)
    assert 'class="denoised over"' in over and 'title="+140.0' in over
    assert 'class="denoised under"' in under and "over" not in within and "under" not in within
