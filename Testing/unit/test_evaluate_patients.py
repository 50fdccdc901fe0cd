"""`petdiffusion evaluate`: whom each number rests on, what the scan does not support, and what a page may not say."""

import csv
import re
import shlex

import numpy as np
import pytest
from matplotlib.text import Text
from petdiffusion.evaluate import evaluate
from petdiffusion.evaluate.numbers import LOW, METRICS, gathered
from petdiffusion.evaluate.run import Ask, Evaluation, saved, without_folders
from petdiffusion.evaluate.words import scans_of
from petdiffusion.volume import LabelMap
from petdiffusion.write import images, labels
from petdiffusion.write.tables import read_csv, write_csv
from support.blobs import blobs

BY_KEY = {metric.key: metric for metric in METRICS}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three patients: PET, organs, two lesions and a normal-dose scan."""
    folder = tmp_path_factory.mktemp("scans")
    for seed, name in enumerate("abc"):
        patient = blobs((16, 20, 24), seed=seed)
        lesions = np.where(patient.labels.array > 5, patient.labels.array - 5, 0) * (patient.labels.array < 8)
        images.write(patient.noisy, folder / f"{name}-pet.nii.gz")
        images.write(patient.truth, folder / f"{name}-reference.nii.gz")
        labels.write(patient.labels, folder / f"{name}-labels.nii.gz")
        labels.write(LabelMap(lesions.astype("int16"), patient.labels.geometry, {1: "large", 2: "small"}),
                     folder / f"{name}-lesions.nii.gz")  # fmt: skip
    return folder


def manifest(folder, *rows):
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "pet", "labels", "lesions", "reference"], *rows])
    return folder / "cases.csv"


@pytest.fixture(scope="module")
def uneven(scans, tmp_path_factory):
    """Three patients, the third without a normal-dose scan and without masks."""
    folder = tmp_path_factory.mktemp("uneven")
    rows = [[name, *(scans / f"{name}-{part}.nii.gz" for part in ("pet", "labels", "lesions", "reference"))]
            for name in "ab"]  # fmt: skip
    file = manifest(folder, *rows, ["c", scans / "c-pet.nii.gz", "", "", ""])
    evaluate(Ask(file, ("gaussian", "median"), folder / "out", options={"gaussian": {"fwhm_mm": "12"}}))
    return folder / "out"


def shown(out):
    """The table of the page: {title: [text of each cell]}, the patients first."""
    lines = re.findall(r"<tr><th>([^<]*)(?: <small>[^<]*</small>)?</th>(.*?)</tr>", (out / "report.html").read_text())
    return {title: re.findall(r"<td[^>]*>([^<]*)", cells) for title, cells in lines if "<td" in cells}


def test_a_patient_is_what_the_manifest_calls_it(scans, tmp_path):
    """Number 0 is a patient like any other, and 001 is not 1."""
    rows = [f"{i},{scans / 'a-pet.nii.gz'},{patient},{dose}"
            for i, (patient, dose) in enumerate((("0", 0.1), ("0", 0.25), ("001", ""), ("1", "half")))]  # fmt: skip
    (tmp_path / "cases.csv").write_text("\n".join(["id,pet,patient,fraction", *rows]))
    made = evaluate(Ask(tmp_path / "cases.csv", ("median",), tmp_path / "out"))
    known = {row["case"]: (row["patient"], row["fraction"]) for row in made.groups["scans as given"].cases}
    assert known == {"0": ("0", 0.1), "1": ("0", 0.25), "2": ("001", None), "3": ("1", None)}


def test_the_manifests_dose_goes_before_the_files(tmp_path):
    images.write(blobs((16, 20, 24)).noisy.with_facts(dose_fraction=0.25), tmp_path / "pet.nii.gz")
    (tmp_path / "cases.csv").write_text("id,pet,fraction\nsaid,pet.nii.gz,0.1\nof-the-file,pet.nii.gz,\n")
    made = evaluate(Ask(tmp_path / "cases.csv", ("gaussian",), tmp_path / "out"))
    known = {row["case"]: row["fraction"] for group in made.groups.values() for row in group.cases}
    assert known == {"said": 0.1, "of-the-file": 0.25}


def test_patients_without_a_reference_are_told(uneven):
    page, text = ((uneven / name).read_text() for name in ("report.html", "methods.txt"))
    said = "of 3 patients (scans as given), of which 2 scans of 2 patients have a normal-dose scan"
    assert f"3 scans {said}" in page and f"3 low-count scans {said}" in text and f"3 low-count scans {said}" in page
    lines = shown(uneven)
    assert {lines[BY_KEY[key].title][0] for key in ("PSNR_dB", "lesion_max_percent", "TLG_percent")} == {"2"}
    assert {lines[BY_KEY[key].title][0] for key in ("noise_percent", "seconds")} == {"3"}


@pytest.mark.parametrize("numbers, said", [
    ([3, 3], ""), ([None, None], ", none with a normal-dose scan"),
    ([3, None], ", of which 1 scan of 1 patient has a normal-dose scan"),
])  # fmt: skip
def test_who_has_a_reference_in_words(numbers, said):
    rows = [{"case": f"{i}", "patient": f"{i}", "PSNR_dB": n, "noise_percent": 1.0} for i, n in enumerate(numbers)]
    assert scans_of(rows) == f"2 scans of 2 patients{said}"


def test_the_least_p_is_true_for_each_line(uneven):
    """Two patients give 0.5, doubled by Holm for two comparisons; activity has three patients and one comparison."""
    page, metrics = (uneven / "report.html").read_text(), read_csv(uneven / "tables" / "metrics.csv")
    line = r"<tr><th>([^<]*)(?: <small>[^<]*</small>)?</th>"
    found = dict(re.findall(line + r'<td>\d+<span class="p">p ≥ ([\d.]+)', page))
    wanted = {BY_KEY["PSNR_dB"].title: "1.000", BY_KEY["activity_percent"].title: "0.250"}
    assert found | wanted == found and BY_KEY["noise_percent"].title not in found
    for row in metrics:
        assert row["p_holm"] is None or row["p_holm"] >= float(found[row["title"]]) - 5e-4
    assert "p cannot be below 0.250 to 1.000 here, by line (p ≥)" in page


def test_where_some_lines_have_patients_enough_the_others_are_named():
    from petdiffusion.evaluate.page import _least_p

    rows = [{"metric": "PSNR_dB", "minimum_p": 2 / 64}, {"metric": "SSIM", "minimum_p": 2 / 16}]
    assert "where p ≥ stands beside the patients: they are too few" in _least_p(rows) and "0.0" not in _least_p(rows)


def test_lesions_and_organs_changed_are_counted_apart_from_places(tmp_path):
    kinds = [("lesion changed", "beyond chance")] * 4 + [("organ changed", "beyond chance")] * 7
    kinds += [("organ changed", "worth a look"), ("total changed", "beyond chance"),
              ("hot spot lowered", "beyond chance")]  # fmt: skip
    rows = [{"kind": kind, "weight": weight} for kind, weight in kinds]
    masks = {"lesions": [{"lesion": "one"}], "organs": [{"organ": "liver"}]}
    wanted = {"all": ({"trust": rows, **masks}, True, (1, 11)), "none": (masks, True, (0, 0)),
              "no masks": ({"trust": rows[-1:]}, True, (1, None)),
              "unchecked": (masks, False, (None, None))}  # fmt: skip
    for name, (tables, checked, counts) in wanted.items():
        folder = tmp_path / name
        (folder / "tables").mkdir(parents=True)
        for table, content in tables.items():
            write_csv(content, folder / "tables" / f"{table}.csv")
        facts = {"case": name, "patient": name, "fraction": None, "data": ""}
        record = {"trust": {"checked": checked}, "request": {"labels": "organs.nii.gz", "lesions": "lesions.nii.gz"}}
        denoised, low = gathered([(facts, "gaussian", folder, record)]).cases
        assert (denoised["doubts"], denoised["regions_changed"]) == counts, name
        assert low.get("regions_changed") is None
    assert BY_KEY["regions_changed"].title == "Lesions and organs changed beyond the noise, per scan"


def test_lesions_and_organs_changed_are_in_the_report(uneven):
    lines, metrics = shown(uneven), read_csv(uneven / "tables" / "metrics.csv")
    mean = next(r["mean"] for r in metrics if (r["metric"], r["method"]) == ("regions_changed", "gaussian"))
    trust = [r for name in "ab" for r in read_csv(uneven / f"runs/gaussian/{name}/tables/trust.csv")]
    assert mean > 0 and mean == sum("changed" in r["kind"] and r["kind"] != "total changed"
                                    and r["weight"] == "beyond chance" for r in trust) / 2  # fmt: skip
    assert float(lines[BY_KEY["regions_changed"].title][1]) == pytest.approx(mean)


def test_no_written_page_or_table_names_the_folder_of_an_original(scans, tmp_path):
    """A folder's name may be a patient's. Long paths are shortened in messages, which must not save them from it."""
    deep = tmp_path / "Smith John" / ("x" * 90) / ("y" * 90) / "Smith John"
    pet, away = scans / "c-pet.nii.gz", deep.parent.parent / "../Smith John/truth.nii.gz"
    file = manifest(tmp_path, ["fine", pet, "", "", ""], ["gone", "Smith John/none.nii.gz", "", "", ""],
                    ["deep", deep / "none.nii.gz", "", "", ""], ["half", pet, "", "", away])  # fmt: skip
    evaluate(Ask(file, ("median",), tmp_path / "out"))
    failed = {r["case"]: r["error"] for r in read_csv(tmp_path / "out" / "tables" / "failed.csv")}
    assert set(failed) == {"gone", "deep", "half"}
    assert failed["gone"] == failed["deep"] == "InputError: Path none.nii.gz: does not exist. Check the name."
    for name in ("report.html", "tables/failed.csv", "evaluation.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "none.nii.gz" in text and "truth.nii.gz" in text
        assert not any(word in text for word in ("Smith", "xxx", "yyy", str(tmp_path))), name


def test_a_table_of_an_evaluation_before_is_not_left_where_there_is_none_now(scans, tmp_path):
    fine, gone = ["fine", scans / "c-pet.nii.gz", "", "", ""], ["gone", "none.nii.gz", "", "", ""]
    tables = tmp_path / "out" / "tables"
    evaluate(Ask(manifest(tmp_path, fine, gone), ("median",), tmp_path / "out"))
    assert (tables / "failed.csv").is_file()
    evaluate(Ask(manifest(tmp_path, fine), ("median",), tmp_path / "out"))
    assert (tables / "metrics.csv").is_file() and not (tables / "failed.csv").exists()


def test_the_command_that_is_given_again_asks_the_same_without_paths():
    from petdiffusion.cli.app import parser
    from petdiffusion.cli.evaluate import _command

    def again(*more):
        asked = ["evaluate", "--manifest", "/any/my cases.csv", "--methods", "csrd, text-ddpm", "--out", "/any/out"]
        return shlex.split(_command(parser().parse_args([*asked, *more])))[1:]

    plain = ["evaluate", "--manifest", "my cases.csv", "--methods", "csrd,text-ddpm", "--out", "DIR"]
    assert again("--workers", "2", "--engine", "ray", "--address", "10.0.0.1:6379", "--quiet") == plain
    numbers = ["--baseline", "text-ddpm", "--option", "csrd.samples=2", "--seed", "3", "--unit", "Bq/ml",
               "--device", "cpu"]  # fmt: skip
    assert again(*numbers) == [*plain, *numbers]
    paths = ["--option", "text-ddpm.prompts=/some/place/p.csv", "--model", "csrd=/some/place/mine.safetensors"]
    assert again(*paths) == [*plain, "--option", "text-ddpm.prompts=p.csv", "--model", "csrd=mine.safetensors"]


def test_files_and_models_of_an_evaluation_are_told_by_their_names(tmp_path):
    from petdiffusion.evaluate.words import told_of

    assert told_of("text-ddpm", {"prompts": "/some/place/p.csv", "samples": 2}) == {"prompts": "p.csv", "samples": "2"}
    ask = Ask(tmp_path / "c.csv", ("text-ddpm",), tmp_path, models={"text-ddpm": "/some/place/m.safetensors"},
              options={"text-ddpm": {"prompts": "/some/place/p.csv"}})  # fmt: skip
    made = Evaluation(ask, {}, {}, {}, {}, [], {}, {})
    assert "/some/place" not in (text := saved(made, {})) and "p.csv" in text and "m.safetensors" in text


def test_files_in_and_beside_an_original_are_named_without_its_folder():
    error = "InputError: /data/Smith John/pet.json and /data/Smith John/ct/IM1 differ from /data/Smith John/pet.nii.gz."
    images = ("/data/Smith John/pet.nii.gz", "/data/Smith John/ct")
    assert without_folders(error, images) == "InputError: pet.json and ct/IM1 differ from pet.nii.gz."


@pytest.mark.parametrize("methods", [1, 2, 5])
def test_no_title_of_a_plot_is_cut(monkeypatch, methods):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from petdiffusion.evaluate import plots

    def measured(figure, alt):
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        (title,) = (t for t in figure.findobj(Text) if t.get_fontweight() == "bold" and t.get_text())
        box, whole = title.get_window_extent(renderer), figure.bbox
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1, title.get_text()
        (axes,) = figure.axes
        assert axes.get_window_extent(renderer).y1 <= box.y0, "the title lies in the picture"
        return alt

    monkeypatch.setattr(plots, "as_image", measured)
    names = [f"m{i}" for i in range(methods)]
    for metric in METRICS:
        values = {name: {"p": 1.0, "q": 2.0} for name in [*names, LOW]}
        plots.boxes(values, metric.title, metric.unit, {}, methods + 1)
    pairs = [{"method": "m0", "max": v, "max_reference": v + 0.1} for v in (2.0, 4.0, 8.0)]
    plots.regression(pairs, ["m0"], "max", "SUVbw", {"m0": "A method with quite a long title of its own"})
