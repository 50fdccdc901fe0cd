"""A calibration holds for the options it was learnt with; of a run with others nothing is called calibrated."""

import json
import shlex

import numpy as np
import petdiffusion
import pytest
from petdiffusion import registry
from petdiffusion.cli import main
from petdiffusion.methods.contract import IMAGE, MASKS, NOTHING, SAMPLES
from petdiffusion.progress import Run
from petdiffusion.trust.conformal import LEVELS, Calibration, Family
from petdiffusion.trust.held import held, noted
from petdiffusion.volume import LabelMap
from petdiffusion.write import images, labels
from support import tiny_models
from support.blobs import blobs

FAMILY = Family(100, 0.0, (-4.0,) * len(LEVELS), (4.0,) * len(LEVELS))
FAMILIES = dict.fromkeys(("voxel", "organ_mean", "lesion_max", "clinical_lesion_SUVmax", "clinical_total_TLG"), FAMILY)


@pytest.fixture(scope="module")
def patient():
    return blobs((20, 24, 28), seed=3)


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))

    def made(method, **calibration):
        tiny_models._write(folder, registry.card(method))
        file = folder / f"{method}-tiny.json"
        known = Calibration(3, 2, "two simulated patients", families=FAMILIES).to_json()
        del known["options"]  # as on the cards of all that were calibrated before these were noted
        file.write_text(json.dumps({**json.loads(file.read_text()), "results": {"calibration": known | calibration}}))
        return file

    return made


def kept(card, known=None, **options):
    """Families that hold, and what is said."""
    run, known = Run(), known or Calibration(3, 2, "simulated", families=FAMILIES)
    found = held(known, card, card.resolve(options), "its-id", run)
    return set() if found is None else set(found.families), run.warnings


@pytest.mark.parametrize("method", [name for name, card in registry.cards().items()
                                    if "uncertainty" in card.outputs and card.needs_model])  # fmt: skip
def test_every_method_says_what_its_options_move(method):
    """Samples and image never go on as calibrated with another number of steps or one sample in the mean's place."""
    card = registry.card(method)
    moves = {option.name: option.moves for option in card.options}
    assert set(moves.values()) <= {SAMPLES, IMAGE, MASKS, NOTHING}
    assert moves["samples"] == NOTHING and moves["estimate"] == IMAGE and moves["steps"] == SAMPLES
    for other, *values in (option.acts_at for option in card.options if option.acts_at):
        assert values and [card.option(other).check(value) for value in values] == values


def test_defaults_and_another_number_of_samples_keep_everything():
    assert kept(registry.card("amdiff"), samples=20) == (set(FAMILIES), [])


@pytest.mark.parametrize("options, left", [
    ({"steps": 2}, set()), ({"sampler": "ddim"}, set()), ({"sampler": "ddim", "borders": "network"}, set()),
    ({"estimate": "sample"}, {"organ_mean", "lesion_max"}),
    *(({name: value}, {"organ_mean", "lesion_max", "voxel"}) for name, value in (
        ("threshold", 0.3), ("smallest_ml", 0.1), ("borders", "network"), ("alone", False), ("leave_out", "colon"))),
])  # fmt: skip
def test_what_an_option_moves_is_no_longer_calibrated_and_that_is_said(options, left):
    found, said = kept(registry.card("amdiff"), **options)
    assert found == left and len(said) == 1
    for name, value in options.items():
        assert f"{name} = {str(value).lower()}" in said[0] and f"--option {name}={str(value).lower()}" in said[0]
    assert "not how wrong they may be" in said[0] and "petdiffusion calibrate its-id" in said[0]


def test_without_a_clinical_table_marks_take_nothing_and_a_sample_the_map():
    known = Calibration(3, 2, "simulated", families={"voxel": FAMILY, "organ_mean": FAMILY})
    assert kept(registry.card("amdiff"), known, borders="network") == ({"voxel", "organ_mean"}, [])
    found, (said,) = kept(registry.card("csrd"), known, estimate="sample")
    assert found == {"organ_mean"} and said.startswith("The SD map is not calibrated") and "estimate = mean" in said


def test_a_calibration_holds_for_the_options_it_notes():
    known = Calibration(3, 2, "simulated", families=FAMILIES, options={"steps": 3, "sampler": "euler"})
    known = Calibration.from_json(json.loads(json.dumps(known.to_json())))
    assert kept(registry.card("csrd"), known, steps=3, sampler="euler") == (set(FAMILIES), [])
    found, (said,) = kept(registry.card("csrd"), known)
    assert found == set() and "(steps = 8, sampler = dpmpp_2m)" in said and "steps = 3, sampler = euler" in said


@pytest.mark.parametrize("method, learnt, options", [
    ("csrd", {}, {"churn": 5.0}), ("csrd", {"churn": 5.0}, {}), ("amdiff", {}, {"leave_out": " "}),
    ("amdiff", {"borders": "network"}, {"borders": "network", "alone": False}),
    ("upete", {"start": 100}, {"start": 100, "fraction": 0.1}),
    ("bc-dpm", {"counts": 3e5}, {"counts": 3e5, "fraction": 0.1}),
])  # fmt: skip
def test_an_option_that_does_nothing_takes_nothing(method, learnt, options):
    known = Calibration(3, 2, "simulated", families=FAMILIES, options=learnt)
    assert kept(registry.card(method), known, **options) == (set(FAMILIES), [])


@pytest.mark.parametrize("method, options", [
    ("csrd", {"churn": 5.0, "sampler": "heun"}), ("bc-dpm", {"counts": 3e5}), ("bc-dpm", {"fraction": 0.1}),
    ("upete", {"fraction": 0.1}),
])  # fmt: skip
def test_one_that_acts_takes_all_a_stated_dose_too(method, options):
    known = Calibration(3, 2, "simulated", families=FAMILIES, options={"sampler": "heun"} if method == "csrd" else {})
    found, (said,) = kept(registry.card(method), known, **options)
    assert found == set() and all(f"{name} = " in said for name in options if name != "sampler")


@pytest.mark.parametrize("method, learnt, options, asked", [
    ("amdiff", {"threshold": 0.3, "leave_out": "colon"}, {}, ""),
    ("csrd", {"steps": 3}, {"steps": 3, "sampler": "euler"}, " --option steps=3 --option sampler=euler"),
    ("csrd", {"sampler": "euler"}, {"churn": 5.0}, ""),
    ("bc-dpm", {}, {"counts": 1234567.0}, " --option counts=1234567"),
    ("amdiff", {}, {"leave_out": "colon, fat"}, " --option 'leave_out=colon, fat'"),
])  # fmt: skip
def test_the_command_that_is_given_calibrates_for_the_runs_own_options(method, learnt, options, asked):
    card, known = registry.card(method), Calibration(3, 2, "simulated", families=FAMILIES, options=learnt)
    _, (said,) = kept(card, known, **options)
    assert said.endswith(f"petdiffusion calibrate its-id{asked}.")
    words = shlex.split(asked)[1::2]
    named = card.resolve(dict(word.split("=") for word in words))
    assert kept(card, Calibration(3, 2, "s", families=FAMILIES, options=noted(card, named)), **options)[1] == []


def run_of(patient, method, **options):
    lesions = LabelMap((patient.labels.array == 6).astype("int16"), patient.labels.geometry, {1: "tumour"})
    return petdiffusion.denoise(patient.noisy, method, labels=patient.labels, lesions=lesions, samples=3,
                                model=f"{method}-tiny", **options)  # fmt: skip


def test_a_run_with_other_steps_shows_the_samples_own_spread(models, patient, tmp_path):
    models("csrd")
    known, other = run_of(patient, "csrd"), run_of(patient, "csrd", steps=4, out=tmp_path / "out")
    rows = {row["metric"]: row["calibrated"] for row in known.tables["intervals"] if row["name"] == "liver"}
    assert rows == {"SUVmean": True, "SUVmax": False}, "of organs' maxima nothing was learnt"
    assert known.record["uncertainty"]["calibrated"] and known.record["uncertainty"]["sd_factor"] > 1
    assert not any("not calibrated" in text for text in known.warnings)
    assert other.record["uncertainty"] == {"samples": 3, "calibrated": False}
    assert not any(row["calibrated"] for row in other.tables["intervals"])
    assert any("steps = 4" in text and "steps = 8" in text for text in other.record["warnings"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "1.96 of it cover" not in page and "it is not a calibrated error" in page
    models("csrd", options={"steps": 4})
    again = run_of(patient, "csrd", steps=4)
    np.testing.assert_allclose(again.sd.array, other.sd.array * again.record["uncertainty"]["sd_factor"], rtol=1e-5)


def test_a_sample_in_the_means_place_keeps_intervals_and_loses_the_map(models, patient):
    models("csrd")
    made = run_of(patient, "csrd", estimate="sample")
    facts = made.record["uncertainty"]
    assert facts["calibrated"] and facts["sd_factor"] is None
    means = [row for row in made.tables["intervals"] if row["name"] == "liver" and row["metric"] == "SUVmean"]
    assert means and means[0]["calibrated"]


def test_marks_found_otherwise_have_no_calibrated_intervals(models, patient):
    models("amdiff")
    assert run_of(patient, "amdiff").record["uncertainty"]["clinical_calibrated"]
    other = run_of(patient, "amdiff", threshold=0.3).record["uncertainty"]
    assert not other["clinical_calibrated"] and other["sd_factor"] and other["calibrated"]


@pytest.mark.parametrize("method", ["csrd", "amdiff"])
@pytest.mark.parametrize("steps, empty", [(1, True), (2, True), (4, False)])
def test_of_steps_that_leave_no_spread_it_is_said(models, patient, method, steps, empty):
    models(method)
    made = run_of(patient, method, steps=steps)
    told = [text for text in made.warnings if "mean nothing" in text]
    assert bool(told) is empty
    if empty:
        assert f"steps = {steps}" in told[0] and "8 are usual" in told[0]
        inside = made.sd.array[patient.labels.array > 0]
        assert inside.max() < 0.1 * made.record["input"]["noise_sd"]


@pytest.mark.parametrize("method", ["csrd", "amdiff", "upete"])
def test_one_sample_beside_a_mean_is_not_drawn_and_that_is_said(models, patient, method):
    models(method)
    settings = {"model": f"{method}-tiny", "steps": 3}
    one, none = (petdiffusion.denoise(patient.noisy, method, samples=n, **settings) for n in (1, 0))
    assert one.record["evaluations"] == none.record["evaluations"] and one.sd is None
    assert [text for text in one.warnings if "One sample" in text and "5 are usual" in text]
    assert not any("One sample" in text for text in none.warnings)
    np.testing.assert_array_equal(one.pet.array, none.pet.array)


def test_calibrate_takes_options_notes_them_and_checks_with_them(models, patient, tmp_path, capsys):
    file, made = models("csrd", options={"steps": 4, "gone since": 1}), []
    for name, image in (("pet", patient.noisy), ("reference", patient.truth)):
        images.write(image, tmp_path / f"{name}.nii.gz")
    labels.write(patient.labels, tmp_path / "labels.nii.gz")
    (tmp_path / "cases.csv").write_text("id,pet,reference,labels\na,pet.nii.gz,reference.nii.gz,labels.nii.gz\n")

    def ask(out, *more):
        made.append(tmp_path / out)
        return main(["calibrate", "csrd-tiny", "--manifest", str(tmp_path / "cases.csv"), "--out", str(made[-1]),
                     "--samples", "2", "--quiet", *more])  # fmt: skip

    def drawn_with():
        return json.loads((made[-1] / "cases" / "a.json").read_text())["made_by"].get("options")

    assert ask("check", "--check") == 0 and drawn_with() == {"steps": 4}
    assert ask("new", "--data", "one", "--option", "steps=3", "--write") == 0 and drawn_with() == {"steps": 3}
    assert "not calibrated for" not in capsys.readouterr().err
    noted = json.loads(file.read_text())["results"]["calibration"]["options"]
    assert noted == {"estimate": "mean", "steps": 3, "sampler": "dpmpp_2m", "churn": 0.0}
    assert ask("plain", "--data", "one") == 0 and drawn_with() is None
    assert ask("wrong", "--data", "one", "--option", "samples=3") == 1 and "--samples N" in capsys.readouterr().err
