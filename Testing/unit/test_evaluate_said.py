"""`petdiffusion evaluate`: numbers stand in their unit, and the paragraph for a paper says what was done."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.evaluate import evaluate
from petdiffusion.evaluate.numbers import LOW, METRICS, Gathered
from petdiffusion.evaluate.page import _agreement_table, _cell
from petdiffusion.evaluate.run import Ask, Evaluation
from petdiffusion.evaluate.summary import agreements, metric_rows
from petdiffusion.evaluate.words import paragraph
from petdiffusion.volume import BQML, SUVBW, LabelMap
from petdiffusion.write import images, labels
from petdiffusion.write.tables import read_csv
from support.blobs import blobs


def written(folder, name, unit, factor, seed):
    """A scan with its normal dose, organs and two lesions; the row of a manifest."""
    patient = blobs((16, 20, 24), seed=seed)
    for part, volume in (("pet", patient.noisy), ("reference", patient.truth)):
        scaled = replace(volume, array=volume.array * np.float32(factor), unit=unit)
        images.write(scaled, folder / f"{name}-{part}.nii.gz")
    labels.write(patient.labels, folder / f"{name}-labels.nii.gz")
    lesions = np.where(patient.labels.array > 5, patient.labels.array - 5, 0) * (patient.labels.array < 8)
    labels.write(LabelMap(lesions.astype("int16"), patient.labels.geometry, {1: "large", 2: "small"}),
                 folder / f"{name}-lesions.nii.gz")  # fmt: skip
    return ",".join([name, *(f"{name}-{part}.nii.gz" for part in ("pet", "reference", "labels", "lesions"))])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two scans in Bq/ml of which nothing gives an SUV, and two in SUV."""
    folder = tmp_path_factory.mktemp("mixed")
    scans = (("a", BQML, 5000.0), ("b", BQML, 6000.0), ("c", SUVBW, 1.0), ("d", SUVBW, 1.1))
    rows = [written(folder, *scan, seed) for seed, scan in enumerate(scans)]
    (folder / "cases.csv").write_text("\n".join(["id,pet,reference,labels,lesions", *rows]))
    evaluate(Ask(folder / "cases.csv", ("gaussian", "median"), folder / "out"))
    return folder / "out"


def test_each_unit_has_its_own_agreement(mixed):
    lesions = [r for r in read_csv(mixed / "tables" / "lesions.csv") if r["method"] == "median"]
    assert {r["case"]: r["unit"] for r in lesions} == {"a": BQML, "b": BQML, "c": SUVBW, "d": SUVBW}
    rows = [r for r in read_csv(mixed / "tables" / "agreement.csv")
            if (r["of"], r["metric"], r["method"]) == ("lesion", "max", "median")]  # fmt: skip
    for row in rows:
        own = [r["max"] - r["max_reference"] for r in lesions if r["unit"] == row["unit"]]
        assert row["n"] == len(own) == 4 and row["bias"] == pytest.approx(np.mean(own))
    assert [r["unit"] for r in rows] == [BQML, SUVBW]


def test_the_page_calls_nothing_an_suv_that_is_none(mixed):
    page = (mixed / "report.html").read_text()
    heads = [page.index(text) for text in ("<th>bias, Bq/ml</th>", "<th>bias, SUV</th>")]
    assert page.count("<th>bias, ") == 2
    assert "Lesions, maximum (Bq/ml): regression" in page[heads[0] : heads[1]]
    assert "Lesions, SUVmax: Bland–Altman" in page[heads[1] :] and "Lesions, SUVmax" not in page[: heads[1]]
    assert "Lesion maximum, absolute error" in page and "Lesion SUVmax, absolute error" not in page
    text = (mixed / "methods.txt").read_text()
    assert "Maximum, mean and peak (" in text and "SUVmax" not in text
    assert "2 scans were measured in Bq/ml, 2 in SUV" in text


def test_scans_in_suv_alone_are_called_so():
    pairs = [{"unit": SUVBW, "method": "a", "case": "p", "max": v + 1, "max_reference": v} for v in (2.0, 4.0)]
    (row,) = agreements(Gathered(lesions=pairs), ["a"])
    assert (row["unit"], row["n"], row["bias"]) == (SUVBW, 2, 1.0)
    metric = next(m for m in METRICS if m.key == "lesion_max_percent")
    cases = [{"unit": SUVBW, "method": "a", "patient": "p", "case": "p", metric.key: 3.0}]
    assert metric_rows(cases, metric, ["a"], "a")[0]["title"] == "Lesion SUVmax, absolute error"


TWO = (("p", "1"), ("q", "2"))


def made(keys, scans=TWO, methods=("gaussian", "median"), failed="", groups=("given",)):
    """An evaluation that found these numbers."""
    cases = [{"patient": p, "case": c, "method": m, "fraction": None, "unit": SUVBW, **dict.fromkeys(keys, 1.0)}
             for p, c in scans for m in (*methods, LOW)]  # fmt: skip
    rows = [row for metric in METRICS for row in metric_rows(cases, metric, [*methods, LOW], methods[0])]
    lost = [{"case": case, "method": methods[-1], "error": "no"} for case in failed]
    records = {method: {"options": {}, "details": {}} for method in methods}
    return Evaluation(Ask("c.csv", methods, "out"), dict.fromkeys(groups, Gathered(cases)), dict.fromkeys(groups, rows),
                      {}, {}, lost, records, {m: m for m in methods})  # fmt: skip


def test_only_what_was_measured_is_said_to_be():
    said = paragraph(made(["noise_percent", "doubts"]))
    for word in ("PSNR", "SSIM", "NRMSE", "SUV", "Wilcoxon", "averaged", "lesions", "kept apart", "failed", "TLG"):
        assert word not in said, word
    assert "bootstrap intervals" in said and "matched filters" in said
    said = paragraph(made(["PSNR_dB", "SSIM", "NRMSE", "organ_mean_percent", "regions_changed", "doubts"]))
    assert "PSNR and SSIM were computed" in said and "NRMSE is" in said and "SUVmean of organs of more" in said
    assert "SUVmax" not in said and "averaged over the organs of a scan" in said and "Holm-adjusted" in said
    said = paragraph(made(["PSNR_dB", "lesion_max_percent", "lesion_mean_percent"]))
    assert "PSNR was computed" in said and "SSIM" not in said and "SUVmax and SUVmean of lesions were" in said
    assert "averaged over the lesions of a scan" in said and "matched filters" not in said


def test_whom_the_tests_compare_and_what_was_averaged_or_kept_apart():
    said = paragraph(made(["PSNR_dB"]))
    assert "Median and the low-count scan were compared with gaussian by two-sided" in said
    said = paragraph(made(["PSNR_dB"], methods=("gaussian",), scans=(("p", "1"), ("p", "2"), ("q", "3"))))
    assert "Scans of one patient were averaged. The low-count scan was compared with gaussian" in said
    assert "Results of different kinds of data were kept apart" in paragraph(made(["PSNR_dB"], groups=("a", "b")))
    one = paragraph(made(["PSNR_dB"], scans=(("p", "1"),)))
    assert "It was denoised by" in one and "bootstrap" not in one


def test_failures_are_counted_in_good_english():
    assert "1 run failed and was left out;" in paragraph(made(["PSNR_dB"], failed="x"))
    assert "2 runs failed and were left out;" in paragraph(made(["PSNR_dB"], failed="xy"))
    alone = paragraph(made(["PSNR_dB"], methods=("gaussian",), failed="x"))
    assert "1 run failed and was left out." in alone
    unused = made(["PSNR_dB"], failed="xy")
    del unused.records["median"]  # none of its runs was finished
    assert "denoised by gaussian, with" in paragraph(unused)


def test_a_chance_is_never_0_and_on_its_side_of_the_limit():
    row = {"mean": 30.0, "p_holm": 0.0001}
    assert "p &lt;\u00a00.001 *<" in _cell(row, 2, False)
    assert "p 0.0499 *<" in _cell({**row, "p_holm": 0.0499}, 2, False)
    assert "p 0.050<" in _cell({**row, "p_holm": 0.0501}, 2, False)


def test_agreement_in_another_unit_has_digits_enough():
    row = {"of": "lesion", "metric": "max", "method": "a", "n": 9, "slope": 0.98, "r_squared": 0.99,
           "concordance": 0.97}  # fmt: skip
    for scale, said in ((1e-3, "0.00123"), (3000.0, "3\u202f690")):
        numbers = dict.fromkeys(("intercept", "bias", "limit_high"), 1.23 * scale) | {"limit_low": -1.23 * scale}
        html = _agreement_table(made(["PSNR_dB"]), [{**row, **numbers}], "a.u.")
        assert f"<td>{said}</td>" in html and f"<td>−{said} to {said}</td>" in html and "<td>0.980</td>" in html
