"""Every run is checked: in its tables, its record, its report and on disk."""

import json

import numpy as np
import petdiffusion
import pytest
from petdiffusion import registry, threads
from petdiffusion.prepare.case import build
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap, Volume
from petdiffusion.write.tables import read_csv
from support import tiny_models
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


def test_an_organ_is_judged_without_its_lesions_as_in_every_other_table(patient):
    """A lesion that a wide filter takes away is the lesion's change, not its liver's too."""
    labels = patient.labels.array
    organs = LabelMap(np.where(labels == 6, 4, labels), patient.labels.geometry, patient.labels.names)
    lesions = LabelMap((labels == 6).astype(np.int16), patient.labels.geometry, {1: "tumour"})
    made = petdiffusion.denoise(patient.noisy, "gaussian", labels=organs, lesions=lesions, fwhm_mm=14.0)
    changed = {row["organ"]: row for row in made.tables["trust"] if row["kind"] == "organ changed"}
    assert "liver" in changed and any(row["kind"] == "lesion changed" for row in made.tables["trust"])
    for row in made.tables["organs"]:
        for image in ("low", "denoised") if row["organ"] in changed else ():
            assert changed[row["organ"]][f"SUVmean_{image}"] == pytest.approx(row[f"SUVmean_{image}"], rel=1e-4)


def test_every_mean_has_the_sd_that_the_scans_noise_gives_it(patient):
    """Beside the mean that it belongs to, of every organ and lesion, by its number in the mask."""
    labels = patient.labels.array
    organs = LabelMap(np.where(labels == 6, 4, labels), patient.labels.geometry, patient.labels.names)
    lesions = LabelMap(np.where(labels == 6, 7, 0).astype(np.int16), patient.labels.geometry, {7: "tumour", 9: "other"})
    made = petdiffusion.denoise(patient.noisy, "nlm", labels=organs, lesions=lesions)
    for kind in ("organs", "lesions"):
        for row in made.tables[kind]:
            keys = list(row)
            assert keys[keys.index("SUVmean_low") + 1] == "SUVmean_noise_low"
            assert 0 < row["SUVmean_noise_low"] < 0.2 * row["SUVmean_low"]
    liver = next(row for row in made.tables["organs"] if row["organ"] == "liver")
    assert made.tables["lesions"][0]["number"] == 7
    assert made.tables["lesions"][0]["SUVmean_noise_low"] > 3 * liver["SUVmean_noise_low"], "a small region's is larger"


def test_beside_a_reference_of_a_part_each_lesion_keeps_its_number_and_its_noise(patient):
    """Of three unnamed lesions the reference shows the last two; an organ's noise is that of the part it shows."""
    array = np.zeros(patient.labels.array.shape, np.int16)
    array[6:9, 20:23, 18:22], array[20:23, 20:23, 16:20], array[30:32, 20:22, 24:26] = 1, 1, 1
    lesions = LabelMap(array, patient.labels.geometry)
    part = patient.truth.geometry
    upper = slice(12, None)
    origin = tuple((part.affine @ [0, 0, 12, 1])[:3])
    reference = Volume(patient.truth.array[upper], Geometry((*part.size[:2], part.size[2] - 12), part.spacing, origin,
                                                            part.direction), patient.truth.unit)  # fmt: skip
    whole = petdiffusion.denoise(patient.noisy, "nlm", labels=patient.labels, lesions=lesions).tables
    cut = petdiffusion.denoise(patient.noisy, "nlm", labels=patient.labels, lesions=lesions, reference=reference).tables
    noise = {row["number"]: row["SUVmean_noise_low"] for row in whole["lesions"]}
    assert [row["number"] for row in cut["lesions"]] == [2, 3] and [row["lesion"] for row in cut["lesions"]] == [
        "lesion 2", "lesion 3"]
    for row in cut["lesions"]:
        assert row["SUVmean_noise_low"] == pytest.approx(noise[row["number"]], rel=0.02)
    trunk, shown = (next(row for row in tables["organs"] if row["organ"] == "trunk") for tables in (whole, cut))
    assert shown["volume_ml"] < 0.9 * trunk["volume_ml"]
    assert shown["SUVmean_noise_low"] > 1.03 * trunk["SUVmean_noise_low"], "fewer voxels, more noise"


def test_a_result_that_changes_nothing_has_nothing_to_say(patient):
    made = petdiffusion.denoise(patient.noisy, "gaussian", labels=patient.labels, fwhm_mm=0.0)
    assert "SUVmean_noise_low" not in made.tables["organs"][0], "what was not taken away tells no noise"
    assert "trust" not in made.tables and made.record["trust"]["checked"] is False


def test_the_number_of_threads_changes_no_finding(patient, monkeypatch):
    found = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "workers", lambda count=count: count)
        made = petdiffusion.denoise(patient.noisy, "gaussian", labels=patient.labels, fwhm_mm=14.0)
        found.append(made.tables["trust"])
    assert found[0] == found[1] and len(found[0]) > 1


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_models._write(folder, registry.card("csrd"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    return folder


def calibrated(folder, factor):
    """The tiny CSRD with a calibration whose intervals are `factor` spreads wide on either side."""
    ends = {"n": 100, "relative": 0.0, "low": [-factor] * 5, "high": [factor] * 5}
    families = dict.fromkeys(("voxel", "lesion_max", "organ_mean"), ends)
    path = folder / "csrd-tiny.json"
    card = json.loads(path.read_text())
    known = {"samples": 3, "patients": 2, "data": "two simulated patients", "truth": "normal-dose scan",
             "families": families, "levels": [0.5, 0.68, 0.8, 0.9, 0.95], "options": {"steps": 4}}  # fmt: skip
    path.write_text(json.dumps({**card, "results": {"calibration": known}}))


def drawn(patient, tmp_path, **settings):
    lesions = LabelMap((patient.labels.array == 6).astype("int16"), patient.labels.geometry, {1: "tumour"})
    return petdiffusion.denoise(patient.noisy, "csrd", labels=patient.labels, lesions=lesions, samples=3, steps=4,
                                model="csrd-tiny", seed=5, **settings)  # fmt: skip


def test_every_number_of_a_sampling_method_has_an_interval(tiny, tmp_path):
    patient = blobs((24, 28, 32), seed=3)
    plain = drawn(patient, tmp_path)
    row = next(r for r in plain.tables["intervals"] if r["name"] == "tumour" and r["metric"] == "SUVmax")
    assert row["low95"] < row["expected"] < row["high95"] and row["samples"] == 3 and row["calibrated"] is False
    lesion = next(r for r in plain.tables["lesions"] if r["lesion"] == "tumour")
    assert row["denoised"] == pytest.approx(lesion["SUVmax_denoised"])
    assert plain.record["uncertainty"] == {"samples": 3, "calibrated": False}

    calibrated(tiny, 4.0)
    known = drawn(patient, tmp_path, out=tmp_path / "out")
    same = next(r for r in known.tables["intervals"] if r["name"] == "tumour" and r["metric"] == "SUVmax")
    spread = row["sd"] * (2 / 6) ** 0.5
    assert same["calibrated"] and same["high95"] == pytest.approx(row["expected"] + 4 * spread, rel=1e-4)
    assert (known.sd.array.max() / plain.sd.array.max()) == pytest.approx(4 / 1.96 * (2 / 6) ** 0.5, rel=1e-4)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "calibrated on two simulated patients" in page and "tumour" in page
    assert (tmp_path / "out" / "tables" / "intervals.csv").exists()


def test_one_sample_gives_no_interval_and_says_so(tiny, tmp_path):
    patient = blobs((24, 28, 32), seed=3)
    made = petdiffusion.denoise(patient.noisy, "csrd", labels=patient.labels, samples=1, steps=2, model="csrd-tiny")
    assert "intervals" not in made.tables and made.record["uncertainty"] == {"samples": 0}
    assert any("One sample gives no uncertainty map" in text for text in made.warnings)


def test_the_hook_is_gone_after_the_run_and_sees_images_in_suv(tiny):
    patient, run, seen = blobs((24, 28, 32), seed=3), Run(), []
    run.on_sample = seen.append
    petdiffusion.denoise(patient.noisy, "csrd", samples=2, steps=2, model="csrd-tiny", run=run)
    assert seen == [] and run.on_sample == seen.append
    case = build(patient.noisy)
    run.model = "csrd-tiny"
    card = registry.card("csrd")
    output = card.load()(case, card.resolve({"samples": 2, "steps": 2}), run)
    assert len(seen) == 2 and seen[0].shape == patient.noisy.array.shape
    np.testing.assert_allclose(np.std(seen, axis=0, ddof=1), output.sd.array, atol=1e-5)
