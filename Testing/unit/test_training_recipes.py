"""The scripts that say how the bundled models were made: every command is one that the program has, and every patient
that calibrations learn from counts once."""

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from petdiffusion import registry
from petdiffusion.bench.papers.amdiff import ABLATION
from petdiffusion.cli.app import parser
from petdiffusion.cli.train import _values as values
from petdiffusion.phantoms.splits import split_of
from petdiffusion.training.settings import TrainSettings
from petdiffusion.zoo import store
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[2] / "Resources" / "training"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return lambda name: __import__(name)


def parsed(commands):
    """What the command line makes of those of the program."""
    known = [command[3:] for command in map(list, commands) if command[1:3] == ["-m", "petdiffusion"]]
    return [parser().parse_args(words) for words in known]


def trainings_and_facts(commands):
    found = parsed(commands)
    trained = [args for args in found if "config" in vars(args)]
    for args in trained:
        module, name = registry.card(args.method).trainer.split(":")
        getattr(importlib.import_module(module), name)(args.config, values(args.change))
        TrainSettings.from_json({**values(args.set), "minutes": args.minutes, "steps": args.steps})
    facts = [Path(args.facts) for args in found if "facts" in vars(args)]
    assert facts and all(file.is_file() for file in facts)
    return trained


@pytest.mark.parametrize("f", [2, 4])
def test_upete(script, tmp_path, f):
    trained = trainings_and_facts(script("upete").commands(tmp_path, f, (20, 60)))
    assert [args.config for args in trained] == ([["autoencoder", "compact"], ["f4-autoencoder", "f4"]][f // 4])
    assert trained[1].origin == str(tmp_path / trained[0].config)


def test_ablations_are_trained_alike(script, tmp_path):
    module = script("amdiff_ablations")
    trained = trainings_and_facts(module.commands(tmp_path, module.VARIANTS, 800))
    assert len({args.config for args in trained}) == 5
    told = [{k: v for k, v in vars(args).items() if k not in ("config", "out")} for args in trained]
    assert all(one == told[0] for one in told)


def test_calibration_takes_every_patient_once(script):
    module, rows = script("calibration"), []
    for seed in ("800006", "800007", "800008", "800009"):
        rows += [{"seed": seed, "fraction": fraction, "pet": "p/low.nii.gz"} for fraction in module.FRACTIONS]
    found = module.dealt(rows)
    assert [row["fraction"] for row in found] == ["0.25", "0.1", "0.05", "0.25"]
    assert len({row["seed"] for row in found}) == len(found)
    for name, split in (("calibration", "validation"), ("check", "test")):
        for folder, _, options in module.SETS[name]:
            assert options[options.index("--split") + 1] == split == split_of(int(folder.split("-")[1]))


def test_trainings_side_by_side(script, tmp_path, monkeypatch):
    """The table's five differ in nothing but what is left out; uPETe goes on from the bundled model."""
    module, begun, made = script("together"), {}, {}
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)  # put back afterwards
    monkeypatch.setattr(module, "_files", lambda *where: [])
    monkeypatch.setattr(module.loop, "train", lambda task, data, settings, folder, run, origin=None: begun.update(
        {folder.name: (task, settings, origin)}))  # fmt: skip
    monkeypatch.setattr(module, "export", lambda folder, models, id_, facts, parts, overwrite: made.update(
        {folder.name: (id_, facts) + ((parts,) if any(parts) else ())}))  # fmt: skip
    for name in (*module.AMDIFF, *module.MASKS, *module.LATER):
        module.alone(SimpleNamespace(only=name, steps=8, minutes=1, work=tmp_path, device="cpu", channels_last=False))
        module._exported(name, tmp_path)
    table = [begun[name] for name in module.VARIANTS]
    assert {(str(settings), origin) for _, settings, origin in table} == {(str(table[0][1]), "csrd-body")}
    whole = table[0][0].config
    left_out = [{key for key in whole if task.config[key] != whole[key]} for task, _, _ in table[1:]]
    assert left_out == [{"revision"}, {"organ_regulariser"}, {"lesion_regulariser"}, {"segmenter"}]
    assert {made[name][0] for name in module.VARIANTS} == {row.model for row in ABLATION.rows} - {"amdiff-body"}
    assert all(facts["summary"] for _, facts, *_ in made.values())
    (alone, by_pet, _), (with_ct, by_both, _) = (begun[name] for name in module.MASKS)
    assert [made[name][0] for name in module.MASKS] == ["amdiff-body-organs", "amdiff-body-ct"]
    assert [made[name][1].get("needs", []) for name in module.MASKS] == [[], ["ct"]] and by_pet == by_both
    assert [len(made[name]) for name in module.MASKS] == [3, 3] and not alone.settings.sees_ct
    assert with_ct.settings.sees_ct and alone.settings.lesions_by == with_ct.settings.lesions_by == "base"
    assert replace(with_ct.settings, segmenter=alone.settings.segmenter) == alone.settings
    longer, wide = begun["upete-longer"], begun["upete-wide"]
    assert (longer[2], wide[2]) == ("upete-body", None)
    bundled = load_file(store.find("upete-body").weights)
    for task in (longer[0], wide[0]):
        network = task.network().state_dict()
        kept = {name: value.float() for name, value in bundled.items() if name.startswith(module.AUTOENCODER)}
        assert kept and all(torch.equal(network[name], value) for name, value in kept.items())
