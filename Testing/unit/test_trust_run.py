"""Every run is checked: in its tables, its record, its report and on disk."""

import json

import petdiffusion
import pytest
from petdiffusion.write.tables import read_csv
from support.blobs import blobs


@pytest.fixture(scope="module")
def patient():
    return blobs((40, 44, 48), relative_noise=0.3, seed=3)


def test_a_run_says_what_the_scan_does_not_support(patient, tmp_path):
    """A filter as wide as the lesion takes it away, which the report must say."""
    made = petdiffusion.denoise(patient.noisy, "gaussian", labels=patient.labels, fwhm_mm=14.0, out=tmp_path / "out")
    rows = made.tables["trust"]
    sure = [row["kind"] for row in rows if row["weight"] == "beyond chance"]
    assert "hot spot lowered" in sure or "lost hot spot" in sure
    assert read_csv(tmp_path / "out" / "tables" / "trust.csv")[0]["kind"] == rows[0]["kind"]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["trust"]["checked"] and record["trust"]["regions"] > 100
    assert any("more than the scan's noise explains" in text for text in record["check"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Does the scan support it?" in page and rows[0]["kind"] in page


def test_a_place_of_a_finding_is_that_of_the_image(patient):
    made = petdiffusion.denoise(patient.noisy, "gaussian", fwhm_mm=14.0)
    row = next(row for row in made.tables["trust"] if row["x_mm"] is not None)
    point = patient.noisy.geometry.affine @ [row["column"], row["row"], row["slice"], 1.0]
    assert [row["x_mm"], row["y_mm"], row["z_mm"]] == pytest.approx(list(point[:3]), abs=0.06)


def test_a_result_that_changes_nothing_has_nothing_to_say(patient):
    made = petdiffusion.denoise(patient.noisy, "gaussian", fwhm_mm=0.0)
    assert "trust" not in made.tables and made.record["trust"]["checked"] is False
