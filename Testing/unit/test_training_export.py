"""A training becomes a model: whole, checked as the store reads it, and never over another one unasked."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from petdiffusion.cli import main
from petdiffusion.errors import ModelError, OutputError, TrainingError
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import NEEDED, POSSIBLE, export
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.zoo import store
from petdiffusion.zoo.card import ModelCard
from safetensors.torch import load_file
from support.line import Line, People
from support.tiny_bank import write_dataset
from support.tiny_models import NETWORK

FACTS = {"summary": "a test", "training_data": "made up", "data_licence": "none", "licence": "Apache-2.0",
         "tracers": ["FDG"], "voxel_mm": [4.0, 5.0], "dose_fractions": [0.1, 0.1], "intended_use": "tests",
         "limits": "all"}  # fmt: skip
SMALL = {"network": NETWORK}
ROOT = Path(__file__).parents[2]


def settings(**changes):
    return TrainSettings(**{"steps": 2, "batch": 2, "patch": 16, "precision": "32-true", **changes})


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    return train(Line(), People("ab"), settings(), tmp_path_factory.mktemp("trained") / "line")


def names(folder):
    return sorted(file.name for file in folder.glob("*")) if folder.exists() else []


def test_a_training_becomes_a_verified_model(tmp_path):
    task = CsrdTask(changes=SMALL)
    data = load_bank(write_dataset(tmp_path / "dataset"), task.derive, settings(), Run())
    path = export(train(task, data, settings(), tmp_path / "t"), tmp_path / "models", "csrd-tiny", FACTS)
    card = store.find(str(path), "csrd").card
    assert card.config["sigma_data"] == task.config["sigma_data"] > 0 and card.training["steps"] == 2
    assert card.training["data"]["training_patients"] == 2 and "psnr" in card.training["last_validation"]
    weights = load_file(path)
    assert all(w.dtype == torch.float16 for w in weights.values())
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode  # whoever may read the card may read these
    network = CsrdTask(changes=SMALL).network()
    network.load_state_dict({k: v.float() for k, v in weights.items()})
    assert names(tmp_path / "models") == ["csrd-tiny.json", "csrd-tiny.safetensors"]


@pytest.mark.parametrize(("change", "why"), [
    ({"tracers": "FDG"}, "wrong kind: tracers"), ({"voxel_mm": [4.0]}, "wrong kind: voxel_mm"),
    ({"colour": "red"}, "cannot have colour"), ({"sha256": "0" * 64}, "cannot have sha256"),
    ({"summary": None, "limits": None, "config": {}}, "lack summary, limits, and cannot have config")])
def test_facts_that_the_store_would_not_read_are_refused_before_anything_is_written(line, tmp_path, change, why):
    facts = {name: value for name, value in {**FACTS, **change}.items() if value is not None}
    with pytest.raises((ModelError, TrainingError), match=why):
        export(line, tmp_path / "models", "line", facts)
    assert not (tmp_path / "models").exists()


def test_a_fact_that_is_null_is_lacking(line, tmp_path):
    with pytest.raises(TrainingError, match="lack limits"):
        export(line, tmp_path / "models", "line", FACTS | {"limits": None})


def test_wrong_facts_are_answered_with_all_fields_and_the_template(line, tmp_path):
    with pytest.raises(TrainingError) as refused:
        export(line, tmp_path, "line", {**FACTS, "colour": "red"})
    assert all(name in str(refused.value) for name in (*NEEDED, *POSSIBLE, "Resources/examples/facts.json"))


def test_the_template_is_one_for_a_training_as_it_is(tmp_path, capsys):
    """What a card needs is in it, what is not needed is explained beside it."""
    task = Unet3dTask(changes=SMALL)
    trained = train(task, load_bank(write_dataset(tmp_path / "data"), task.derive, settings(), Run()), settings(),
                    tmp_path / "t")  # fmt: skip
    template, page = ROOT / "Resources" / "examples" / "facts.json", ROOT / "Resources" / "docs" / "training.md"
    words = ["export", str(trained), "--id", "mine", "--facts", str(template), "--out", str(tmp_path / "models")]
    assert main(words) == 0 and capsys.readouterr().out.strip().endswith("mine.safetensors")
    card = store.find(str(tmp_path / "models" / "mine.safetensors"), "unet-3d").card
    assert card.tracers == ("FDG",) and set(json.loads(template.read_text())) == {*NEEDED, "regions"}
    described = page.read_text(encoding="utf-8")
    assert [name for name in (*NEEDED, *POSSIBLE) if f"`{name}`" not in described] == []


def test_the_fields_of_facts_and_those_of_the_training_are_the_cards():
    """A new field of cards is either told by whoever exports, or by the training."""
    of_training = {"id", "method", "version", "sha256", "bytes", "schema", "config", "training"}
    assert {*NEEDED, *POSSIBLE} == {known.name for known in fields(ModelCard)} - of_training


def test_facts_that_are_no_object_are_refused(line, tmp_path):
    with pytest.raises(TrainingError, match="not a JSON object"):
        export(line, tmp_path / "models", "line", ["FDG"])


@pytest.mark.parametrize("id_", ["../escaped", "Upper", "a/b", ""])
def test_an_id_that_is_no_file_name_leaves_nothing_anywhere(line, tmp_path, id_):
    with pytest.raises(ModelError, match="Model id"):
        export(line, tmp_path / "in" / "models", id_, FACTS)
    assert not (tmp_path / "in").exists()


def test_a_part_that_names_no_weight_is_refused(line, tmp_path):
    with pytest.raises(TrainingError, match=r"Part nosuch\.: .*Names begin with bias, weight"):
        export(line, tmp_path / "models", "line", FACTS, ("weight", "nosuch."))
    assert not (tmp_path / "models").exists()
    assert set(load_file(export(line, tmp_path / "models", "line", FACTS, ("weight",)))) == {"weight"}


def test_a_model_is_replaced_only_when_that_is_asked_for(line, tmp_path):
    path = export(line, tmp_path, "line", FACTS)
    with pytest.raises(OutputError, match="exists already"):
        export(line, tmp_path, "line", {**FACTS, "summary": "another"})
    assert json.loads(path.with_suffix(".json").read_text())["summary"] == "a test"
    (tmp_path / "facts.json").write_text(json.dumps({**FACTS, "summary": "another"}))
    words = ["export", str(line), "--id", "line", "--facts", str(tmp_path / "facts.json"), "--out", str(tmp_path)]
    assert main(words) == 1 and main([*words, "--overwrite"]) == 0
    assert json.loads(path.with_suffix(".json").read_text())["summary"] == "another"


def test_a_write_that_fails_leaves_nothing(line, tmp_path, monkeypatch):
    def full(weights, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="full"):
        export(line, tmp_path / "models", "line", FACTS)
    assert not (tmp_path / "models").exists()


def test_a_training_that_was_not_judged_yet_can_be_exported(line, tmp_path):
    (line / "log.csv").rename(tmp_path / "kept.csv")
    try:
        path = export(line, tmp_path / "models", "line", FACTS)
    finally:
        (tmp_path / "kept.csv").rename(line / "log.csv")
    assert json.loads(path.with_suffix(".json").read_text())["training"]["last_validation"] == {}


def test_a_training_without_a_plan_is_refused(tmp_path):
    folder = train(Line(), People("ab"), settings(), tmp_path / "t")
    (folder / "plan.json").unlink()
    with pytest.raises(TrainingError, match=r"has no plan\.json"):
        export(folder, tmp_path / "models", "line", FACTS)


def test_the_card_says_how_many_patients_and_which_doses(tmp_path):
    data = People("ab")
    data.names |= {"fractions": [0.25, 0.1, 0.05], "presets": ["mCT", "Vision"]}
    path = export(train(Line(), data, settings(), tmp_path / "t"), tmp_path, "line", FACTS)
    assert json.loads(path.with_suffix(".json").read_text())["training"]["data"] == {
        "training_patients": 2, "validation_patients": 1, "fractions": [0.25, 0.1, 0.05], "presets": ["mCT", "Vision"]}


def test_the_card_keeps_everybody_who_was_learnt_from(tmp_path):
    train(Line(), People("a"), settings(), tmp_path / "t")
    train(Line(), People("bcd"), settings(steps=5), tmp_path / "t")
    path = export(tmp_path / "t", tmp_path, "line", FACTS)
    said = json.loads(path.with_suffix(".json").read_text())["training"]
    assert said["data"]["training_patients"] == 3 and said["steps"] == said["settings"]["steps"] == 5
    (earlier,) = said["earlier"]
    assert earlier["data"] == {"training_patients": 1, "validation_patients": 1} and earlier["until_step"] == 2
    assert earlier["settings"]["steps"] == 2
