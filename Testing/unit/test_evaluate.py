"""`petdiffusion evaluate`: numbers by hand, honest groups, resumption, and a page that stands alone."""

import csv
import json
import re

import numpy as np
import pytest
from petdiffusion.cli import main
from petdiffusion.errors import InputError, OptionError
from petdiffusion.evaluate import evaluate, page, plots
from petdiffusion.evaluate.numbers import LOW, METRICS, Gathered, case_numbers
from petdiffusion.evaluate.run import Ask, Evaluation
from petdiffusion.evaluate.summary import agreements, by_dose, metric_rows, per_patient
from petdiffusion.evaluate.words import told
from petdiffusion.measure.statistics import holm, wilcoxon
from petdiffusion.volume import LabelMap
from petdiffusion.write import images, labels
from petdiffusion.write.tables import read_csv
from support.blobs import blobs

BY_KEY = {metric.key: metric for metric in METRICS}


def case(method, patient, name, **values):
    return {"method": method, "patient": patient, "case": name, "fraction": None, **values}


def test_a_patient_is_the_mean_of_scans_that_every_method_has():
    rows = [case("a", "P", "P-1", PSNR_dB=30.0), case("a", "P", "P-2", PSNR_dB=40.0),
            case("a", "Q", "Q-1", PSNR_dB=20.0), case("b", "P", "P-1", PSNR_dB=31.0),
            case("b", "P", "P-2", PSNR_dB=None)]  # fmt: skip
    assert per_patient(rows, "PSNR_dB", ["a", "b"]) == {"a": {"P": 30.0}, "b": {"P": 31.0}}
    assert per_patient(rows, "PSNR_dB", ["a"]) == {"a": {"P": 35.0, "Q": 20.0}}


@pytest.fixture
def one_failed():
    """An easy scan that both methods have, at 40 and 41 dB, and a hard one at 20 dB, on which the second failed."""
    cases = [case(m, scan, scan, PSNR_dB=psnr, seconds=s, fraction=0.1) for m, scan, psnr, s in (
        ("a", "easy", 40.0, 1.0), ("a", "hard", 20.0, 9.0), ("b", "easy", 41.0, 2.0), (LOW, "easy", 30.0, None),
        (LOW, "hard", 10.0, None))]  # fmt: skip
    lesions = [{"method": row["method"], "case": row["case"], "max": 9.0 if row["case"] == "easy" else 1.0,
                "max_reference": 10.0} for row in cases for _ in range(3)]  # fmt: skip
    return Gathered(cases, lesions)


def test_dose_curve_and_agreement_rest_on_the_scans_that_all_methods_finished(one_failed):
    """The second must not gain by what it failed on."""
    found = by_dose(one_failed.cases, "PSNR_dB", ["a", "b", LOW, "none"])
    assert [(r["method"], r["patients"], r["mean"]) for r in found] == [("a", 1, 40.0), ("b", 1, 41.0), (LOW, 1, 30.0)]
    rows = agreements(one_failed, ["a", "b", "none"])
    assert [(r["method"], r["n"], r["bias"]) for r in rows] == [(m, 3, -1.0) for m in ("a", "b", LOW)]


def test_plots_rest_on_the_scans_that_all_methods_finished(one_failed, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(plots, "against_time", lambda points, *_: seen.update(points) or "")
    monkeypatch.setattr(plots, "regression", lambda pairs, methods, metric, *_: seen.update({metric: pairs}) or [])
    made = Evaluation(Ask(tmp_path, ("a", "b"), tmp_path), {"d": one_failed}, {}, {}, {"d": []}, [], {}, {})
    page._curves(made, "d")
    page._agreement_plots(made, "d", "SUVbw")
    assert seen["a"] == (1.0, 40.0) and seen["b"] == (2.0, 41.0)
    assert len(seen["max"]) == 9 and {row["case"] for row in seen["max"]} == {"easy"}


def test_a_dose_curve_is_of_patients_not_of_scans():
    rows = [case("a", p, name, PSNR_dB=v, fraction=0.1) for p, name, v in (("P", "1", 30.0), ("P", "2", 32.0),
                                                                           ("Q", "3", 41.0))]  # fmt: skip
    assert [(r["mean"], r["patients"]) for r in by_dose(rows, "PSNR_dB", ["a"])] == [(36.0, 2)]
    assert by_dose(rows, "SSIM", ["a"]) == [] and per_patient(rows, "SSIM", []) == {}  # no scan has a reference


def test_tests_are_those_of_the_patients_against_the_baseline():
    rng = np.random.default_rng(0)
    values = {m: rng.normal(30 + i, 1, 8) for i, m in enumerate(("a", "b", LOW))}
    rows = [case(m, f"p{i}", f"p{i}", PSNR_dB=float(v)) for m, vs in values.items() for i, v in enumerate(vs)]
    told = {r["method"]: r for r in metric_rows(rows, BY_KEY["PSNR_dB"], ["a", "b", LOW], "a")}
    raw = [wilcoxon(values[m], values["a"]).p for m in ("b", LOW)]
    assert [told[m]["p_holm"] for m in ("b", LOW)] == pytest.approx(list(holm(raw)))
    assert told["a"]["mean"] == pytest.approx(values["a"].mean()) and "p" not in told["a"]
    assert told["b"]["ci_low"] < told["b"]["mean"] < told["b"]["ci_high"] and told["b"]["patients"] == 8


def test_numbers_of_a_case_worked_by_hand():
    tables = {
        "image": [{"image": "denoised", "PSNR_dB": 33.0, "activity_vs_low_percent": -1.5, "local_noise_percent": 9.0}],
        "organs": [{"volume_ml": 9.0, "SUVmean_low": 1, "SUVmean_denoised_vs_reference_percent": -4.0},
                   {"volume_ml": 9.0, "SUVmean_low": 1, "SUVmean_denoised_vs_reference_percent": 2.0},
                   {"volume_ml": 1.0, "SUVmean_low": 1, "SUVmean_denoised_vs_reference_percent": 90.0}],
        "lesions": [{"SUVmax_low": 1, "SUVmax_denoised_vs_reference_percent": -10.0,
                     "contrast_recovery_percent_denoised": 80.0}],
        "lesion_totals": [{"TLG_denoised": 45.0, "TLG_reference": 50.0}],
    }  # fmt: skip
    found = case_numbers(tables, "denoised")
    want = {"PSNR_dB": 33.0, "activity_percent": 1.5, "noise_percent": 9.0, "organ_mean_percent": 3.0,
            "lesion_max_percent": 10.0, "recovery_percent": 80.0, "TLG_percent": 10.0,
            "lesion_peak_percent": None}  # fmt: skip
    assert {k: found[k] for k in want} == want


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three simulated scans of two patients, and one that is called real."""
    folder = tmp_path_factory.mktemp("study")
    lines = ["id,pet,labels,lesions,reference,fraction,kind"]
    for name, seed, kind in (("a-0.1", 1, "body"), ("a-0.25", 2, "body"), ("b-0.1", 3, "body"), ("real", 4, "")):
        patient = blobs((16, 20, 24), seed=seed)
        lesions = np.where(patient.labels.array == 6, 1, np.where(patient.labels.array == 7, 2, 0)).astype("int16")
        images.write(patient.noisy, folder / f"{name}-pet.nii.gz")
        images.write(patient.truth, folder / f"{name}-truth.nii.gz")
        labels.write(patient.labels, folder / f"{name}-organs.nii.gz")
        labels.write(LabelMap(lesions, patient.labels.geometry, {1: "<b>large", 2: "small"}),
                     folder / f"{name}-lesions.nii.gz")  # fmt: skip
        dose = name.partition("-")[2]
        parts = (f"{name}-{part}.nii.gz" for part in ("pet", "organs", "lesions", "truth"))
        lines.append(",".join([name, *parts, dose, kind]))
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "out"
    code = main(["evaluate", "--manifest", str(study / "cases.csv"), "--methods", "gaussian,median", "--out", str(out),
                 "--option", "gaussian.fwhm_mm=5", "--quiet"])  # fmt: skip
    assert code == 0
    return out


def test_everything_is_written_and_simulated_and_real_are_apart(done):
    told = json.loads((done / "evaluation.json").read_text())
    assert set(told["metrics"]) == {"digital patients (simulated)", "scans as given"} and told["failed"] == []
    metrics = read_csv(done / "tables" / "metrics.csv")
    row = next(r for r in metrics if (r["metric"], r["method"]) == ("PSNR_dB", "gaussian") and "simulated" in r["data"])
    cases = [r for r in read_csv(done / "tables" / "cases.csv") if r["method"] == "gaussian" and r["case"] != "real"]
    a, b = ([r["PSNR_dB"] for r in cases if r["patient"] == p] for p in "ab")
    assert row["patients"] == 2 and row["mean"] == pytest.approx((np.mean(a) + np.mean(b)) / 2)
    of_run = read_csv(done / "runs" / "gaussian" / "b-0.1" / "tables" / "image.csv")
    assert b == [r["PSNR_dB"] for r in of_run if r["image"] == "denoised"]
    lows = [r for r in read_csv(done / "tables" / "cases.csv") if r["method"] == LOW]
    assert len(lows) == 4 and all(r["seconds"] is None for r in lows)


def test_agreement_is_that_of_all_lesions(done):
    lesions = [r for r in read_csv(done / "tables" / "lesions.csv") if r["method"] == "median" and r["case"] != "real"]
    row = next(r for r in read_csv(done / "tables" / "agreement.csv")
               if (r["of"], r["metric"], r["method"]) == ("lesion", "max", "median")
               and "simulated" in r["data"])  # fmt: skip
    assert row["n"] == len(lesions) == 6
    assert row["bias"] == pytest.approx(np.mean([r["max"] - r["max_reference"] for r in lesions]))


def test_the_page_stands_alone_and_escapes_what_it_is_given(done):
    page = (done / "report.html").read_text()
    assert len(page) < 15e6 and page.count("<img alt=") >= 8
    outside = [u for u in re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page) if not u.startswith("#")]
    assert all(u.startswith("data:image/svg+xml") for u in outside) and "@import" not in page and "<script" not in page
    assert "<b>large" not in page and "Bland–Altman" in page
    text = (done / "methods.txt").read_text()
    assert "fwhm_mm 5.0" in text and "Wilcoxon" in text and "3 low-count scans of 2 patients at 10 %, 25 %" in text
    assert "petdiffusion evaluate --manifest cases.csv --methods gaussian,median" in page


def test_settings_are_told_as_a_paper_would():
    given = {"samples": 5, "threshold": None, "leave_out": "", "alone": True, "masks_only": False, "churn": 0.0}
    assert told(given) == {"samples": "5", "alone": "yes", "masks_only": "no", "churn": "0.0"}


def shown(done):
    """The first table of the page, as {line: [(text, bold)] by column}."""
    page = (done / "report.html").read_text()
    heads = re.findall(r"<th>([^<]*)</th>", re.search(r"<thead>(.*?)</thead>", page)[1])[1:]
    lines = {}
    for name, cells in re.findall(r"<tr><th>([^<]*)(?: <small>[^<]*</small>)?</th>(.*?)</tr>", page):
        found = re.findall(r"<td( class=best)?>([^<]*)", cells)
        lines.setdefault(name, dict(zip(heads, [(text, bool(best)) for best, text in found])))
    return lines


def test_the_best_of_a_line_may_be_the_scan_as_it_is(done):
    """A filter of 5 mm takes more of small lesions than noise does: bold must not say that it is the best there is."""
    lines, metrics = shown(done), read_csv(done / "tables" / "metrics.csv")
    for metric in METRICS:
        rows = {r["method"]: r["mean"] for r in metrics if r["metric"] == metric.key and "simulated" in r["data"]}
        bold = {name for name, (_, best) in lines[metric.title].items() if best}
        if metric.tested:
            best = (max if metric.higher_is_better else min)(rows.values())
            titles = {"gaussian": "Gaussian filter", "median": "Median filter", LOW: LOW}
            assert bold == {titles[m] for m, mean in rows.items() if mean == best}, metric.key
        else:
            assert not bold
    assert "Bold: best of its line, the low-count scan included" in (done / "report.html").read_text()


def test_doses_taken_together_are_named_and_shown_apart(done):
    page = (done / "report.html").read_text()
    assert page.count("mean over doses 10\u00a0%, 25\u00a0% (each by itself below)") == 1
    assert page.count("<summary>At 10\u00a0% of the normal dose alone") == 1
    rows = [r for r in read_csv(done / "tables" / "metrics_by_dose.csv")
            if (r["metric"], r["method"], r["fraction"]) == ("PSNR_dB", "median", 0.25)]  # fmt: skip
    (case,) = [r for r in read_csv(done / "tables" / "cases.csv") if (r["case"], r["method"]) == ("a-0.25", "median")]
    assert [(r["patients"], r["mean"]) for r in rows] == [(1, case["PSNR_dB"])]


def test_the_least_p_that_can_be_reached_is_told(done):
    """Two patients: p is 0.5 at least for a pair, and Holm doubles it for two comparisons; activity has one alone."""
    from petdiffusion.evaluate.page import _least_p

    assert "With so few patients p cannot be below 0.500 to 1.000 here, by line" in (done / "report.html").read_text()
    six = [{"metric": "PSNR_dB", "minimum_p": 2 / 64}]
    assert _least_p(six) == "" and "0.062 here" in _least_p(six * 2)


def test_plots_of_agreement_share_their_axes(monkeypatch):
    """A picture for each method; the method with the small values is drawn on the scale of the other."""
    from petdiffusion.evaluate import plots

    def limits(figure, alt):
        (axes,) = figure.axes
        seen.append((axes.get_xlim(), axes.get_ylim(), axes.get_ylabel(), [line.get_xydata() for line in axes.lines],
                     axes.collections[0].get_offsets()))  # fmt: skip
        return alt

    monkeypatch.setattr(plots, "as_image", limits)
    pairs = [{"method": m, "max": factor * v + 1, "max_reference": v}
             for m, factor in (("a", 0.5), ("b", 2.0)) for v in (2.0, 4.0, 8.0)]  # fmt: skip
    for draw in (plots.regression, plots.bland_altman):
        seen = []
        alts = draw(pairs, ["a", "b", "c"], "max", "SUVbw", {"a": "First"})
        assert len(alts) == 2 and alts[0].startswith("First: ")
        assert seen[0][:2] == seen[1][:2] and seen[0][0][1] > 8
        if draw is plots.regression:
            assert np.allclose(seen[0][3][1], [[2.0, 2.0], [8.0, 5.0]])  # the fit, over what was measured
            assert np.allclose(seen[0][4], [[2, 2], [4, 3], [8, 5]])  # the normal dose to the right
        else:
            assert seen[0][2] == "SUV, method − normal"
            assert seen[0][1][1] >= 9 + 1e-9  # the largest difference, 2 x 8 + 1 - 8
            assert np.allclose(seen[0][4], [[2, 0], [3.5, -1], [6.5, -3]])  # the mean of both, and method − normal
    assert plots.regression(pairs[:2], ["a"], "max", "SUVbw", {}) == []


def test_what_is_done_is_not_done_again_and_a_new_method_joins(study, done, monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("done again")

    before = {p: p.stat().st_mtime_ns for p in done.rglob("record.json")}
    ask = Ask(study / "cases.csv", ("gaussian", "median"), done, options={"gaussian": {"fwhm_mm": "5"}})
    with monkeypatch.context() as patch:
        patch.setattr("petdiffusion.run.denoise", refuse)
        first = (done / "tables" / "metrics.csv").read_text()
        evaluate(ask)
        assert (done / "tables" / "metrics.csv").read_text() == first
    assert {p: p.stat().st_mtime_ns for p in done.rglob("record.json")} == before


def test_a_method_that_is_wholly_refused_leaves_the_report_as_it_was(study, tmp_path, capsys):
    out, cases = tmp_path / "out", tmp_path / "cases.csv"
    cases.write_text(f"id,pet\nx,{study / 'real-pet.nii.gz'}\ny,{study / 'a-0.1-pet.nii.gz'}\n")
    words = ["evaluate", "--manifest", str(cases), "--methods", "gaussian,median", "--out", str(out)]
    assert main([*words, "--option", "gaussian.fwhm_mm=5"]) == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and "runs" not in p.parts}
    assert len(before) > 4
    capsys.readouterr()
    assert main([*words, "--option", "gaussian.fwhm_mm=7"]) == 1
    assert {p: p.read_bytes() for p in before} == before
    said = capsys.readouterr().err
    assert "Method 'gaussian'" in said and "so the report is left as it was" in said
    assert "petdiffusion evaluate --overwrite" in said and "batch --overwrite" not in said
    assert main([*words, "--option", "gaussian.fwhm_mm=7", "--overwrite"]) == 0
    assert json.loads((out / "runs" / "gaussian" / "x" / "record.json").read_text())["options"]["fwhm_mm"] == 7


def test_a_failed_case_is_told_and_the_rest_goes_on(study, tmp_path):
    rows = list(csv.reader((study / "cases.csv").open()))
    broken = [rows[0], *([str(study / c) if c.endswith(".gz") else c for c in row] for row in rows[1:3])]
    broken.append(["broken", str(tmp_path / "none.nii.gz"), "", "", "", "", "body"])
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(broken)
    made = evaluate(Ask(tmp_path / "cases.csv", ("median",), tmp_path / "out"))
    assert [(r["case"], r["method"]) for r in made.failed] == [("broken", "median")]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 run failed and was left out" in page and "broken (Median filter): " in page


@pytest.mark.parametrize("wrong, error", [({"methods": ()}, OptionError), ({"baseline": "nlm"}, OptionError),
                                          ({"options": {"nlm": {}}}, OptionError),
                                          ({"options": {"median": {"sise": "3"}}}, OptionError)])  # fmt: skip
def test_wrong_questions_are_refused_before_any_work(study, tmp_path, wrong, error):
    with pytest.raises(error):
        evaluate(Ask(**{"manifest": study / "cases.csv", "methods": ("median",), "out": tmp_path / "out", **wrong}))
    assert not (tmp_path / "out").exists()


def test_scans_without_a_reference_still_give_noise_and_doubts(study, tmp_path):
    (tmp_path / "cases.csv").write_text(f"id,pet\nx,{study / 'real-pet.nii.gz'}\ny,{study / 'a-0.1-pet.nii.gz'}\n")
    made = evaluate(Ask(tmp_path / "cases.csv", ("gaussian", "median"), tmp_path / "out"))
    told = {r["metric"] for r in made.metrics["scans as given"]}
    assert "noise_percent" in told and "PSNR_dB" not in told
    assert agreements(made.groups["scans as given"], ["median"]) == []
    with pytest.raises(InputError):
        evaluate(Ask(tmp_path / "none.csv", ("median",), tmp_path / "out"))
