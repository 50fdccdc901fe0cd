"""What the report's table of doubts says: intervals that belong to the numbers beside them, and chance as chance."""

from __future__ import annotations

import re

import pytest
from petdiffusion.trust.findings import BEYOND, LOOK, LOST, ORGAN, STRUCTURE, TOTAL, Finding
from petdiffusion.write.report.trust import trust_section
from petdiffusion.write.report.views import Views
from support.report_pages import Page, patient, report

FACTS = {"checked": True, "sizes_mm": [6, 24], "output_blurred_by_mm": 0, "noise_fwhm_mm": [5.0, 5.0, 5.0],
         "noise_sd_median": 0.1, "noise_removed_percent": 50, "regions": 45_200, "region_mm": [12.0, 12.0, 12.0],
         "alarm_p": 0.01, "alarm_z": 3.93, "regions_flagged": 132, "regions_expected_by_chance": 452.0}  # fmt: skip
SPOT = Finding(LOST, 1e-6, 0.01, -6.0, 1.85, 0.77, -2.94, 0.393, -58.4, 6.0)
TOTALS = Finding(TOTAL, 0.0, 0.0, -18.0, 0.7344, 0.7258, -0.0086, 0.00047, -1.171)


@pytest.fixture(scope="module")
def case():
    return patient()


def shown(case, *findings, **facts):
    rows = [found.row(n, "SUV") for n, found in enumerate(findings, 1)]
    whole = report(case, trust_rows=rows, trust_facts={**FACTS, **facts})
    html = trust_section(whole, Views(whole))
    Page(html)
    return html


def cells(html, kind):
    """{heading: text} of the row of that kind."""
    words = [re.sub(r"<[^>]+>", " ", part).split() for part in re.findall(r"<th>(.*?)</th>", html)]
    heads = [" ".join(part) for part in words]  # split() takes unbreakable spaces too
    line = next(line for line in re.findall(r"<tr>(<td>.*?)</tr>", html) if kind in line)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<td>(.*?)</td>", line)]
    assert len(heads) == len(texts)
    return dict(zip(heads, texts))


def test_the_interval_of_a_spot_is_that_of_its_height_and_says_so(case):
    row = cells(shown(case, SPOT), LOST)
    assert (row["SUVmean scan"], row["SUVmean output"], row["Change, % (95 %)"]) == ("1.85", "0.77", "−58")
    assert row["Spot’s height (95 %)"] == "−2.94 −3.71 to −2.17"


def test_a_total_shows_the_digits_that_change_and_its_interval_in_per_cent(case):
    html = shown(case, TOTALS)
    row = cells(html, TOTAL)
    assert (row["SUVmean scan"], row["SUVmean output"]) == ("0.734", "0.726")
    assert row["Change, % (95 %)"] == "−1.2 −1.3 to −1.0" and "Spot’s height" not in html
    both = shown(case, TOTALS, SPOT)
    assert cells(both, TOTAL)["Spot’s height (95 %)"] == "" and cells(both, LOST)["Spot’s height (95 %)"] != ""


def test_what_varies_more_than_noise_is_no_change_of_a_mean(case):
    rough = Finding(STRUCTURE, 1e-9, 1e-9, 6.0, change_percent=34.0, size_mm=6.0)
    assert cells(shown(case, rough), STRUCTURE)["Change, % (95 %)"] == "+34 in variation"


def look(n=1):
    return [Finding(LOST, 0.002, 1.0, -4.2, 1.2, 0.6, -1.8, 0.3, -48.0, 6.0) for _ in range(n)]


def test_fewer_flagged_than_chance_gives_is_no_evidence(case):
    assert look()[0].weight == LOOK and TOTALS.weight == BEYOND
    html = shown(case, *look(3))
    title = re.search(r"<summary>(.*?)</summary>", html)[1]
    assert title == "132 places flagged, fewer than the 452 that chance alone gives: no evidence of a change"
    assert "fewer than 1 % of such places (|z| above 3.9)" in html and "The strongest 3 are listed" in html
    assert "<b>" not in html
    html = shown(case, Finding(ORGAN, 0.0, 0.0, -9.0, 1.0, 0.9, -0.1, 0.01, -10.0), *look())
    assert "no evidence of further changes" in html and f"<b>{ORGAN}</b>" in html and f"<b>{LOST}</b>" not in html


def test_more_flagged_than_chance_gives_is_not_called_nothing(case):
    html = shown(case, *look(), regions_flagged=600)
    assert "600 places flagged where chance alone gives 452; none of these is certain" in html
    assert "no evidence" not in html
