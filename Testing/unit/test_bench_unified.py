"""AMDiff's benchmark: its numbers by hand, and its tables end to end on a tiny patient with tiny models."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion import registry
from petdiffusion.bench import patients, render, unified
from petdiffusion.bench import run as running
from petdiffusion.bench.contract import Bench, Dose, Metric, Row, Table
from petdiffusion.bench.papers import paper
from petdiffusion.methods.contract import Case, Output
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from support import tiny_models
from support.scans import small_patient

GEOMETRY = Geometry((10, 10, 10), (10.0, 10.0, 10.0))


def volume(array):
    return Volume(np.asarray(array, np.float32), GEOMETRY, SUVBW)


def labels(array, names):
    return LabelMap(np.asarray(array, np.int16), GEOMETRY, names)


@pytest.fixture
def scene():
    """A liver of SUV 2 with a lesion of 4 voxels at SUV 6, in a body of SUV 1; voxels of 1 ml."""
    organs, lesions = np.zeros((10,) * 3, int), np.zeros((10,) * 3, int)
    organs[1:5, 1:5, 1:5], lesions[2, 2, 1:5] = 5, 1
    normal = np.where(lesions, 6.0, np.where(organs, 2.0, 1.0))
    rng = np.random.default_rng(0)
    low = volume(normal + 0.1 * rng.standard_normal(normal.shape))
    case = Case(low, np.ones(normal.shape, bool), 0.1)
    return case, volume(normal), labels(organs, {5: "liver"}), labels(lesions, {})


def judged(scene, image, organs, lesions):
    case, normal, true_organs, true_lesions = scene
    output = Output(volume(image), organs=labels(organs, {1: "liver"}), lesions=labels(lesions, {}))
    return unified.measured(output, case, normal, true_organs, true_lesions)


def test_a_perfect_method_has_perfect_numbers(scene):
    _, normal, organs, lesions = scene
    found = judged(scene, normal.array, organs.array // 5, lesions.array)
    assert found["Dice_lesion"] == found["Dice_liver"] == found["sensitivity"] == 1.0
    assert found["NRMSE_whole"] == found["false"] == found["made_up"] == 0
    assert found["HD95_mm_lesion"] == found["ASSD_mm_lesion"] == found["HD95_mm_liver"] == 0
    assert (found["MTV_ml"], found["TLG"], found["liver_SUVmean"]) == (4.0, 24.0, 2.0)
    assert found["Dice_spleen"] is None if "Dice_spleen" in found else True
    assert found["NRMSE_spleen"] is None and found["false_without_lesions"] is None


def test_numbers_by_hand(scene):
    """The image 1 too high everywhere, half the lesion marked."""
    _, normal, organs, lesions = scene
    half = lesions.array.copy()
    half[2, 2, 3:] = 0
    found = judged(scene, normal.array + 1, organs.array // 5, half)
    assert found["NRMSE_whole"] == pytest.approx(1 / 5) and found["Dice_lesion"] == pytest.approx(2 * 2 / 6)
    assert (found["MTV_ml"], found["MTV_ml_true"]) == (2.0, 4.0) and found["TLG"] == 14.0
    assert found["sensitivity_middle"] == 1.0 and found["sensitivity_small"] is None
    # of the true four voxels two are 10 and 20 mm off the two marked ones; six voxels in all
    assert found["HD95_mm_lesion"] == pytest.approx(18.5) and found["ASSD_mm_lesion"] == pytest.approx(30 / 6)
    none = judged(scene, normal.array, organs.array // 5, np.zeros_like(half))
    assert none["HD95_mm_lesion"] is None and none["ASSD_mm_lesion"] is None and none["Dice_lesion"] == 0


def test_what_shows_in_the_scan_is_a_false_positive_and_what_does_not_is_made_up(scene):
    case, normal, organs, lesions = scene
    marked = np.zeros_like(lesions.array)
    marked[8, 8, 8], marked[8, 2, 8], marked[8, 2, 2] = 1, 2, 3
    shows = case.pet.array.copy()
    shows[8, 8, 8] = shows[8, 2, 2] = 3.0
    case = replace(case, pet=volume(shows))
    found = judged((case, normal, organs, lesions), normal.array, organs.array // 5, marked)
    assert (found["false"], found["made_up"], found["sensitivity"]) == (3, 1, 0.0)


def test_a_mark_is_seen_against_its_surroundings_without_other_marks():
    """A faint place beside a far hotter one, 10 mm apart: the hot one is no background of the faint one."""
    low = 1 + 0.1 * np.random.default_rng(0).standard_normal((12, 12, 12))
    low[6, 6, 5], low[6, 6, 7] = 1.6, 200.0
    marked = np.zeros(low.shape, bool)
    marked[6, 6, 5] = marked[6, 6, 7] = True
    pet = Volume(low.astype(np.float32), Geometry((12, 12, 12), (5.0, 5.0, 5.0)), SUVBW)
    nothing = np.zeros_like(marked)
    assert unified.made_up(marked, nothing, Case(pet, ~nothing, 0.1)) == 0


def test_the_range_of_an_nrmse_is_that_of_the_body(scene):
    case, normal, organs, lesions = scene
    bright, body = normal.array.copy(), np.ones(normal.array.shape, bool)
    bright[9, 9, 9], body[9] = 50.0, False
    found = judged((replace(case, body=body), volume(bright), organs, lesions), bright + 1, organs.array // 5,
                   lesions.array)  # fmt: skip
    assert found["NRMSE_whole"] == pytest.approx(1 / 5) == found["NRMSE_image_liver"]


def test_lesion_free_patients_are_counted_apart(scene):
    case, normal, organs, lesions = scene
    none = labels(np.zeros_like(lesions.array), {})
    found = judged((case, normal, organs, none), normal.array, organs.array // 5, lesions.array)
    assert found["false_without_lesions"] == 1 and found["sensitivity"] is None


def test_agreement_is_of_a_line():
    cases = [{"row": "a", "MTV_ml": 2.0 * v + 1, "MTV_ml_true": v, "TLG": None} for v in (1.0, 2.0, 4.0)]
    (row,) = unified.agreements(cases, {"a": "A", "b": "B"})
    assert (row["slope"], row["intercept"], row["r_squared"], row["n"]) == pytest.approx((2, 1, 1, 3))


def test_the_papers_numbers_are_in_their_columns():
    bench = paper("amdiff")
    table4 = bench.table("table4-mct")
    assert table4.paper["w/o ResMamba"]["Dice_aorta"] == (0.701, 0.129)
    assert table4.paper["AMDiff"]["NRMSE_whole"] == (0.147, 0.097)
    assert bench.table("table2-vision").paper["3D Med-DDPM"]["NRMSE_lesion"] == (0.201, 0.084)
    seeds = [s for t in bench.tables if t.name.startswith("table2") for s in t.test_seeds(10)]
    assert len(set(seeds)) == 30 and min(seeds) >= 900_000


def test_the_tables_are_made_and_missing_ablations_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    for name in ("amdiff", "nnmamba"):
        tiny_models._write(tmp_path / "models", registry.card(name))
    one = small_patient()
    known = patients.Patient(one["pet"], one["reference"], None, None, one["labels"], one["lesions"])
    monkeypatch.setattr(patients, "load", lambda place, fraction: known)
    monkeypatch.setattr(patients, "ready", lambda job, run: tmp_path / job.name)
    rows = (Row("low", "Low"), Row("nnmamba", "nnMamba", "nnmamba", {"samples": 0}, model="nnmamba-tiny"),
            Row("amdiff", "AMDiff", "amdiff", {"samples": 0}, model="amdiff-tiny"),
            Row("less", "without revision", "amdiff", {"samples": 0}, model="amdiff-body-no-revision"))  # fmt: skip
    metrics = (Metric("NRMSE_whole", "whole", "low"), Metric("Dice_liver", "liver", "high"))
    table = Table("t", "Tiny", "body", "FDG", "mCT", 4.0, (Dose("10 %", 0.1),), rows, "amdiff", metrics=metrics,
                  judge="petdiffusion.bench.unified:measured")  # fmt: skip
    definition = Bench("tiny", "Tiny", "Nobody", (table,), settings={"NRMSE": "as said"})
    report = running.bench(definition, running.Ask(patients=3, workers=1))
    (part,) = report["tables"]
    assert set(part["skipped"]) == {"without revision"} and len(part["cases"]) == 9
    assert part["cases"][2]["model"] == "amdiff-tiny" and "MTV_ml_true" in part["cases"][2]
    page = render.page(report)
    assert "Fig. 7" in page and "as said" in page and "Not run: without revision" in page
