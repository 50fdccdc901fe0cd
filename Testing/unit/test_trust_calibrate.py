"""`petdiffusion calibrate`: learns on cases with a reference, goes on after a stop, and its result is used."""

import json
import shutil

import numpy as np
import petdiffusion
import pytest
from petdiffusion import read, registry
from petdiffusion.cli import main
from petdiffusion.errors import InputError
from petdiffusion.measure.statistics import wilson
from petdiffusion.progress import Run
from petdiffusion.trust import calibrate, conformal, coverage
from petdiffusion.volume import LabelMap
from petdiffusion.write import images, labels
from petdiffusion.zoo import store
from safetensors.numpy import load_file, save_file
from support import tiny_models
from support.blobs import blobs

FAMILIES = {"lesion_max", "lesion_mean", "lesion_peak", "organ_max", "organ_mean", "voxel"}
SIZED = {"lesion_small_max", "lesion_small_mean", "lesion_small_peak"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two patients, three scans."""
    folder = tmp_path_factory.mktemp("study")
    lines = ["id,pet,labels,lesions,reference"]
    for name, seed in (("a-0.1", 1), ("a-0.2", 2), ("b-0.1", 3)):
        patient = blobs((20, 24, 28), seed=seed)
        lesions = LabelMap((patient.labels.array == 6).astype("int16"), patient.labels.geometry, {1: "tumour"})
        images.write(patient.noisy, folder / f"{name}-pet.nii.gz")
        images.write(patient.truth, folder / f"{name}-truth.nii.gz")
        labels.write(patient.labels, folder / f"{name}-organs.nii.gz")
        labels.write(lesions, folder / f"{name}-lesions.nii.gz")
        lines.append(",".join([name, *(f"{name}-{part}.nii.gz" for part in ("pet", "organs", "lesions", "truth"))]))
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_models._write(folder, registry.card("csrd"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    return folder / "csrd-tiny.json"


def ask(study, out, *more):
    return main(["calibrate", "csrd-tiny", "--manifest", str(study / "cases.csv"), "--out", str(out), "--samples", "2",
                 "--data", "three simulated scans", "--quiet", *more])  # fmt: skip


def test_a_model_is_calibrated_and_later_runs_use_it(study, model, tmp_path, capsys, monkeypatch):
    assert ask(study, tmp_path / "work") == 0
    known = json.loads((tmp_path / "work" / "calibration.json").read_text())
    assert set(known["families"]) == FAMILIES and (known["samples"], known["patients"]) == (2, 2)
    assert known["families"]["lesion_max"]["n"] == 3 and known["families"]["voxel"]["n"] > 2000
    assert "lesion_max" in capsys.readouterr().out
    assert "results" not in json.loads(model.read_text())

    def refuse(*args, **settings):
        raise AssertionError("a finished case was made again")

    with monkeypatch.context() as patch:
        patch.setattr("petdiffusion.run.denoise", refuse)
        assert ask(study, tmp_path / "work", "--write") == 0
    assert json.loads(model.read_text())["results"]["calibration"] == known

    made = petdiffusion.denoise(study / "a-0.1-pet.nii.gz", "csrd", labels=study / "a-0.1-organs.nii.gz", samples=2,
                                model="csrd-tiny")  # fmt: skip
    assert made.record["uncertainty"]["calibrated_on"] == "three simulated scans"
    assert all(row["calibrated"] for row in made.tables["intervals"])
    assert made.record["uncertainty"]["sd_factor"] > 1


def test_the_column_patient_says_whose_a_scan_is(study, model, tmp_path):
    """A hospital's `case-01` and `case-02` are two people, whatever their ids have in common."""
    lines = (study / "cases.csv").read_text().splitlines()
    whose = ["patient", "p7", "p8", "p7"]
    (study / "named.csv").write_text("\n".join(f"{line},{one}" for line, one in zip(lines, whose)) + "\n")
    scores = calibrate.collect([study / "named.csv"], "csrd", {"model": "csrd-tiny", "samples": 2}, tmp_path, Run())
    assert [one.patient for one in scores] == ["p7", "p8", "p7"]


def test_ids_with_a_number_at_the_end_are_of_as_many_patients(study, model, tmp_path):
    """`sub-01` and `sub-02` are two people; `a-0.1` and `a-0.2` are one at two doses. One alone is told."""
    settings, (head, *lines) = {"model": "csrd-tiny", "samples": 2}, (study / "cases.csv").read_text().splitlines()

    def patients(*ids):
        rows = [",".join([one, line.partition(",")[2]]) for one, line in zip(ids, lines)]
        (study / "called.csv").write_text("\n".join([head, *rows]) + "\n")
        run = Run()
        scores = calibrate.collect([study / "called.csv"], "csrd", settings, tmp_path, run)
        return [one.patient for one in scores], [text for text in run.warnings if "one patient" in text]

    assert patients("sub-01", "sub-02") == (["sub-01", "sub-02"], [])
    whose, told = patients("a-0.1", "a-0.25")
    assert whose == ["a", "a"] and len(told) == 1 and "column 'patient'" in told[0]


def test_training_patients_are_told(study, model, tmp_path):
    lines, run = (study / "cases.csv").read_text().splitlines(), Run()
    splits = ["split", "validation", "Train", "train"]
    (study / "split.csv").write_text("\n".join(f"{line},{one}" for line, one in zip(lines, splits)) + "\n")
    calibrate.collect([study / "split.csv"], "csrd", {"model": "csrd-tiny", "samples": 2}, tmp_path, run)
    assert [text[:37] for text in run.warnings] == ["2 of 3 cases are training patients (c"]


def test_what_the_runs_say_is_told_with_how_many_said_it_also_of_cases_made_before(study, model, tmp_path, monkeypatch):
    """A model that is calibrated on scans that it was not made for must not pass for calibrated without a word."""
    data = json.loads(model.read_text())
    data["voxel_mm"] = [1.0, 2.0]
    model.write_text(json.dumps(data))
    settings = {"model": "csrd-tiny", "seed": 0, "device": "auto", "samples": 2}
    for _ in range(2):
        run = Run()
        calibrate.collect([study / "cases.csv"], "csrd", settings, tmp_path / "cases", run)
        told = [text for text in run.warnings if "voxels measure" in text]
        assert len(told) == 1 and told[0].startswith("3 of 3 cases: "), run.warnings
    monkeypatch.setattr(calibrate, "MOST_SAID", 0)
    calibrate.collect([study / "cases.csv"], "csrd", settings, tmp_path / "cases", run)
    assert "more notes of single cases are in cases/*.json." in run.warnings[-1]


def test_a_family_without_numbers_is_left_out():
    rows = [(1.0, 1.1, 0.1), (2.0, 1.9, 0.1)]
    scores = [calibrate.Scores(f"{name}-1", 5, {"organ_mean": rows, "voxel": []}) for name in "ab"]
    assert set(calibrate.fit(scores, "two patients").families) == {"organ_mean"}


def test_scores_are_the_truths_and_an_earlier_calibration_changes_none(study, model, tmp_path):
    given = {k: study / f"a-0.1-{v}.nii.gz" for k, v in (("labels", "organs"), ("lesions", "lesions"),
                                                        ("reference", "truth"))}  # fmt: skip

    def scores():
        made = petdiffusion.denoise(study / "a-0.1-pet.nii.gz", "csrd", samples=2, model="csrd-tiny", **given)
        return calibrate.scores_of(made, "a", made.organs), made

    before, made = scores()
    lesion = made.tables["lesions"][0]
    assert before.numbers["lesion_small_max"][0][0] == pytest.approx(lesion["SUVmax_reference"])
    assert before.numbers["organ_mean"][0][0] == pytest.approx(made.tables["organs"][0]["SUVmean_reference"], rel=1e-5)
    ask(study, tmp_path / "work", "--write")
    after, _ = scores()
    assert set(before.numbers) == {"organ_max", "organ_mean", "voxel"} | SIZED
    for family in before.numbers:
        for one, other in zip(before.numbers[family], after.numbers[family]):
            assert one == pytest.approx(other, rel=2e-5)


def test_coverage_is_checked_by_what_the_card_holds(study, model, tmp_path, capsys):
    """On the very cases that it was learnt on 95 % are covered; by intervals a hundredth as wide nearly nothing."""
    assert ask(study, tmp_path / "early", "--check") == 1
    assert "no calibration to check" in capsys.readouterr().err
    assert ask(study, tmp_path / "work", "--write") == 0
    learnt = json.loads(model.read_text())

    def covered():
        assert ask(study, tmp_path / "work", "--check") == 0
        rows = json.loads((tmp_path / "work" / "coverage.json").read_text())["coverage"]
        return {row["family"]: row["covered_95_percent"] for row in rows}

    assert set(covered()) == FAMILIES | SIZED and covered()["voxel"] == pytest.approx(95.0, abs=1.0)
    assert json.loads(model.read_text()) == learnt
    narrow = json.loads(json.dumps(learnt))
    for family in narrow["results"]["calibration"]["families"].values():
        family |= {end: [value / 100 for value in family[end]] for end in ("low", "high")}
    model.write_text(json.dumps(narrow))
    assert covered()["voxel"] < 15.0


def test_data_must_be_named_where_something_is_learnt(study, model, tmp_path, capsys):
    code = main(["calibrate", "csrd-tiny", "--manifest", str(study / "cases.csv"), "--out", str(tmp_path), "--quiet"])
    assert code == 1 and "--data" in capsys.readouterr().err


def test_other_settings_are_not_taken_for_these(study, model, tmp_path, capsys):
    ask(study, tmp_path / "work")
    assert ask(study, tmp_path / "work", "--seed", "1") == 1
    assert "another method, model, image or setting" in capsys.readouterr().err


def another_model(study, model):
    weights = model.with_suffix(".safetensors")
    save_file({name: 1.5 * values for name, values in load_file(weights).items()}, weights)
    model.write_text(json.dumps(json.loads(model.read_text()) | {"sha256": store.sha256(weights)}))


def another_card(study, model):
    card = json.loads(model.read_text())
    model.write_text(json.dumps(card | {"config": card["config"] | {"sigma_max": 10.0}}))


def another_image(study, model):
    images.write(blobs((20, 24, 28), seed=9).noisy, study / "b-0.1-truth.nii.gz", overwrite=True)


def another_sidecar(study, model):
    (study / "b-0.1-pet.json").write_text('{"Units": "SUVbw", "note": "edited"}')


def another_dose(study, model):
    lines = (study / "cases.csv").read_text().splitlines()
    (study / "cases.csv").write_text("\n".join([f"{lines[0]},dose_fraction", *(f"{line},0.1" for line in lines[1:])]))


@pytest.mark.parametrize("change, more", [
    (another_model, "--write"), (another_model, "--check"), (another_card, "--write"), (another_image, "--write"),
    (another_sidecar, "--write"), (another_dose, "--check")])  # fmt: skip
def test_scores_of_another_model_image_or_row_are_not_taken_for_these(study, model, tmp_path, capsys, change, more):
    """Under the same id, the same paths and the same settings: they would come onto the card of another model."""
    copy = shutil.copytree(study, tmp_path / "study")
    assert ask(copy, tmp_path / "work", "--write") == 0
    change(copy, model)
    before = model.read_text()
    assert ask(copy, tmp_path / "work", more) == 1
    assert "another method, model, image or setting" in capsys.readouterr().err and model.read_text() == before


def test_scores_of_an_earlier_version_are_refused_for_what_they_are(study, model, tmp_path, capsys):
    assert ask(study, tmp_path / "work") == 0
    for file in (tmp_path / "work" / "cases").iterdir():
        data = json.loads(file.read_text())
        del data["made_by"]["images_sha256"]
        file.write_text(json.dumps(data))
    assert ask(study, tmp_path / "work") != 0
    assert "is of an earlier version, which did not note" in capsys.readouterr().err


def test_a_manifest_without_references_is_refused(study, model, tmp_path):
    (tmp_path / "bare.csv").write_text(f"id,pet\na,{study / 'a-0.1-pet.nii.gz'}\n")
    with pytest.raises(InputError, match="no case with a reference"):
        calibrate.collect([tmp_path / "bare.csv"], "csrd", {}, tmp_path / "work", petdiffusion.progress.Run())


def test_sizes_of_lesions_have_intervals_of_their_own_where_there_are_enough():
    """Small lesions lose half, large ones nothing: apart, the intervals know; the few middle ones take those of all."""
    rng = np.random.default_rng(3)

    def patients(n):
        return [calibrate.Scores(f"{i}", 5, {
            "lesion_small_max": [(15 + e, 10.0, 0.5) for e in rng.standard_normal(2)],
            "lesion_large_max": [(10 + e / 2, 10.0, 0.5) for e in rng.standard_normal(2)],
            **({"lesion_middle_max": [(12.0, 10.0, 0.5)]} if i < 5 else {}),
        }) for i in range(n)]  # fmt: skip

    known = calibrate.fit(patients(60), "simulated")
    assert set(known.families) == {"lesion_small_max", "lesion_large_max", "lesion_max"}
    assert known.families["lesion_max"].n == 60 * 4 + 5
    ends = {size: known.interval(f"lesion_{size}_max", 10.0, 0.5, 5) for size in ("small", "middle", "large")}
    assert ends["large"] == pytest.approx((9, 11), abs=0.4) and ends["small"] == pytest.approx((13, 17), abs=0.8)
    assert ends["middle"] == known.interval("lesion_max", 10.0, 0.5, 5) == pytest.approx((9, 17), abs=0.8)
    rows = {row["family"]: row for row in coverage.coverage(known, patients(200))}
    for family in ("lesion_small_max", "lesion_large_max", "lesion_max"):
        assert rows[family]["covered_95_percent"] == pytest.approx(95, abs=3)
    assert rows["lesion_middle_max"]["calibrated_on"] == known.families["lesion_max"].n


def test_what_a_method_marks_itself_is_no_truth(study, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_models._write(folder, registry.card("amdiff"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    (study / "bare.csv").write_text("id,pet,reference\na,a-0.1-pet.nii.gz,a-0.1-truth.nii.gz\n")
    settings, run = {"model": "amdiff-tiny", "samples": 2}, petdiffusion.progress.Run()
    (scores,) = calibrate.collect([study / "bare.csv"], "amdiff", settings, tmp_path / "work", run)
    assert set(scores.numbers) == {"voxel"}


def test_coverage_of_left_out_patients_worked_by_hand():
    """Three patients with one number each; a left-out one lies within the two others' errors or not."""
    def one(id_, truth):
        return calibrate.Scores(id_, 2, {"organ_mean": [(truth, 10.0, 1.0), (20 - truth, 10.0, 1.0)]})

    rows = coverage.left_out([one("a", 11.0), one("b", 12.0), one("c", 20.0)], "simulated")
    assert rows[0]["n"] == 6 and rows[0]["covered_95_percent"] == pytest.approx(100 * 4 / 6)


def test_what_a_method_finds_is_calibrated_on_the_true_masks(study, tmp_path, monkeypatch, capsys):
    """AMDiff's organs are its own; the truth of an organ is that of the labels given. Then its table is calibrated."""
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_models._write(folder, registry.card("amdiff"))
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    asked = ["calibrate", "amdiff-tiny", "--manifest", str(study / "cases.csv"), "--out", str(tmp_path / "work"),
             "--samples", "2", "--data", "three simulated scans", "--quiet", "--write"]  # fmt: skip
    assert main(asked) == 0
    scores = json.loads((tmp_path / "work" / "cases" / "a-0.1.json").read_text())["numbers"]
    truth = read.image(study / "a-0.1-truth.nii.gz", "reference").array
    organs = read.labels(study / "a-0.1-organs.nii.gz")
    liver = truth[organs.mask("liver")].mean()
    assert [t for t, _, _ in scores["organ_mean"]].count(pytest.approx(liver, rel=1e-4)) == 1
    own = [name for name in scores if name.startswith("clinical_")]
    assert own, "the random network marked nothing that the labels know"
    if "clinical_liver_SUVmean" in scores:
        assert scores["clinical_liver_SUVmean"][0][0] == pytest.approx(liver, rel=1e-4)

    made = petdiffusion.denoise(study / "a-0.1-pet.nii.gz", "amdiff", samples=2, model="amdiff-tiny",
                                out=tmp_path / "out", format="nifti")  # fmt: skip
    assert made.record["uncertainty"]["clinical_calibrated"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What the method found" in page and "calibrated on three simulated scans" in page


def test_coverage_is_told_of_each_scanner_and_of_several_manifests(study, model, tmp_path, capsys):
    """`sharp` is covered by what was learnt on all; `blurred`, whose truths are shifted by a hundred, is not."""
    assert ask(study, tmp_path / "work", "--write") == 0
    head, *lines = (study / "cases.csv").read_text().splitlines()
    manifests = []
    for number, (line, scanner) in enumerate(zip(lines, ("sharp", "sharp", "blurred"))):
        manifests.append(study / f"part-{number}.csv")
        manifests[-1].write_text(f"{head},preset\n{line},{scanner}\n")
    shifted = json.loads((tmp_path / "work" / "cases" / "b-0.1.json").read_text())
    shifted["numbers"]["organ_mean"] = [[t + 100, c, sd] for t, c, sd in shifted["numbers"]["organ_mean"]]
    (tmp_path / "work" / "cases" / "b-0.1.json").write_text(json.dumps(shifted))
    asked = ["calibrate", "csrd-tiny", "--check", "--samples", "2", "--quiet", "--out", str(tmp_path / "work"),
             "--manifest", *map(str, manifests)]  # fmt: skip
    assert main(asked) == 0
    kept = json.loads((tmp_path / "work" / "coverage.json").read_text())["coverage"]
    rows = {row["scanner"]: row for row in kept if row["family"] == "organ_mean"}
    assert list(rows) == ["all", "blurred", "sharp"] and [rows[s]["patients"] for s in rows] == [2, 1, 1]
    assert rows["blurred"]["covered_95_percent"] == 0 and rows["sharp"]["covered_95_percent"] == 100
    assert rows["all"]["n"] == rows["sharp"]["n"] + rows["blurred"]["n"]
    assert rows["all"]["from_95"] < rows["all"]["covered_95_percent"] < rows["all"]["to_95"]
    assert "blurred" in capsys.readouterr().out

    assert main([*asked, str(manifests[0])]) == 1
    assert "Case a-0.1: is in two manifests" in capsys.readouterr().err


def test_the_interval_of_a_coverage_holds_for_patients_whose_numbers_err_alike():
    """Ten patients with twenty numbers each, whose errors share three quarters of their variance. Known to be covered
    by 80 %: Wilson's interval holds that in 95 % of such studies; of numbers taken for independent it does not."""
    rng = np.random.default_rng(11)

    def study(n, shared=0.75):
        own = rng.standard_normal((n, 20)) * (1 - shared) ** 0.5 + rng.standard_normal((n, 1)) * shared**0.5
        return [calibrate.Scores(f"{i}-1", 5, {"organ_mean": [(10 + e, 10.0, 1.0) for e in errors]})
                for i, errors in enumerate(own)]  # fmt: skip

    family = conformal.Family(1, 0.0, (-1.2816 * 8**0.5 / 2,), (1.2816 * 8**0.5 / 2,))
    known = conformal.Calibration(5, 1, "by construction", families={"organ_mean": family}, levels=(0.8,))
    holds = []
    for _ in range(400):
        one = study(10)
        row = coverage.coverage(known, one, (0.8,))[0]
        naive = wilson(row["covered_80_percent"] / 100, row["n"])
        holds.append([row["from_80"] <= 80 <= row["to_80"], naive[0] <= 0.8 <= naive[1]])
    told, untold = 100 * np.mean(holds, axis=0)
    assert told > 92 and untold < 85
