"""The scripts that say how the bundled models were made: every command is one that the program has, and every patient
that calibrations learn from counts once."""

import importlib
from pathlib import Path

import pytest
from petdiffusion import registry
from petdiffusion.cli.app import parser
from petdiffusion.cli.train import _values as values
from petdiffusion.phantoms.splits import split_of
from petdiffusion.training.settings import TrainSettings

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
