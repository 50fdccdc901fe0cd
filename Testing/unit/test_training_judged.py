"""By whom a training is judged is told: patients for validation, or for want of them those that it learns from."""

import csv
import json

import pytest
import torch
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import export
from petdiffusion.training.log import rows_of
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.training.validation import score
from support.line import Line, People, Points
from support.tiny_bank import write_dataset
from support.tiny_models import NETWORK
from test_training_export import FACTS


def settings(**changes):
    return TrainSettings(**{"steps": 2, "batch": 2, "patch": 16, "precision": "32-true", **changes})


def judged(data, folder, **changes):
    """Warnings of a training, its log's last row, its plan, and what its card says of the training."""
    run = Run()
    train(Line(), data, settings(**changes), folder, run)
    card = export(folder, folder / "models", "line", FACTS, overwrite=True).with_suffix(".json")
    plan = json.loads((folder / "plan.json").read_text())
    return run.warnings, rows_of(folder)[-1], plan, json.loads(card.read_text())["training"]


def test_judged_on_its_own_patients_it_says_so_everywhere(tmp_path):
    (warning,), row, plan, said = judged(People("ab", ()), tmp_path / "t")
    assert "learns from" in warning and "column split" in warning and "'validation'" in warning
    assert "training_at_0" in row and "at_0" not in row
    assert plan["judged_by"].startswith("training patients")
    assert said["last_validation"] == {} and said["last_on_training_patients"]["training_at_0"] == row["training_at_0"]


@pytest.mark.parametrize("data", [People("ab"), Points()])
def test_judged_by_others_it_is_as_it_was(tmp_path, data):
    warnings, row, plan, said = judged(data, tmp_path / "t")
    assert warnings == [] and "at_0" in row and plan["judged_by"] == "validation patients"
    assert said["last_validation"] == row and "last_on_training_patients" not in said


def test_a_validation_patient_that_comes_later_judges_from_then_on(tmp_path):
    judged(People("ab", ()), tmp_path / "t")
    warnings, row, plan, said = judged(People("ab"), tmp_path / "t", steps=4)
    assert warnings == [] and row["at_0"] and row["training_at_0"] == ""
    assert "training_at_0" not in said["last_validation"] and said["last_validation"]["at_0"] == row["at_0"]
    assert plan["earlier"][0]["judged_by"].startswith("training patients")


def test_a_card_made_before_the_first_look_of_that_patient_claims_nothing(tmp_path):
    judged(People("ab", ()), tmp_path / "t")
    said = judged(People("ab"), tmp_path / "t")[-1]  # as long as before: not a step is added
    assert said["last_validation"] == {} and said["last_on_training_patients"]


def test_a_folder_from_before_goes_on_and_its_card_claims_nothing(tmp_path):
    """Its log calls numbers of training patients as if they were of others, and its plan says nothing of judges."""
    folder = tmp_path / "t"
    judged(People("ab", ()), folder)
    plan = json.loads((folder / "plan.json").read_text())
    del plan["judged_by"]
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "log.csv").write_text((folder / "log.csv").read_text().replace("training_", ""))
    path = export(folder, tmp_path, "old", FACTS)
    said = json.loads(path.with_suffix(".json").read_text())["training"]
    assert said["last_validation"] == {} and said["last_on_training_patients"]["at_0"]
    row, plan = judged(People("ab", ()), folder, steps=4)[1:3]
    assert row["training_at_0"] and row["at_0"] == "" and len(rows_of(folder)) == 2 and "earlier" in plan


def with_truth(folder, *truths):
    """The small patients' normal-dose images as their truths, where there is one."""
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "truth"])
        writer.writeheader()
        writer.writerows({**row, "truth": row["reference"] if known else ""} for row, known in zip(rows, truths))
    return folder


def scores_of(folder):
    task = Unet3dTask(changes={"network": NETWORK})
    data = load_bank(folder, task.derive, settings(), Run())
    return score(lambda batch: {"denoised": batch["low"]}, data.validation())


def test_without_a_truth_there_is_no_number_of_it(tmp_path):
    found = scores_of(write_dataset(tmp_path / "none"))
    assert "psnr" in found and "psnr_truth" not in found
    found = scores_of(with_truth(write_dataset(tmp_path / "all"), True, True, True))
    assert found["psnr_truth"] == found["psnr"]


def test_patients_with_a_truth_alone_are_held_against_it():
    """Peak 2; errors against the truth 0.02 and unknown: 10 log10(4 / 0.0004) = 40 dB, of the first alone."""
    normal = torch.ones(2, 1, 2, 2, 2)
    normal[:, 0, 0, 0, 0] = 2
    truth = torch.stack((normal[0] + 0.02, torch.full_like(normal[1], torch.nan)))
    found = score(lambda batch: {"denoised": batch["normal"]}, [{"normal": normal, "truth": truth}])
    assert found["psnr_truth"] == pytest.approx(40, abs=1e-3)
    assert found["psnr"] > 100


def test_some_truths_are_taken_as_they_are(tmp_path):
    one = scores_of(with_truth(write_dataset(tmp_path / "one", ("train", "validation", "validation")), True, True, ""))
    assert torch.isfinite(torch.tensor(one["psnr_truth"])) and one["psnr_truth"] != one["psnr"]
