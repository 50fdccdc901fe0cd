"""What a training can be told: configurations, their fields and settings, each known before anything is trained."""

import importlib
import json
from dataclasses import fields

import pytest
from petdiffusion import registry
from petdiffusion.cli import main
from petdiffusion.errors import OptionError
from petdiffusion.training.choices import config_of
from petdiffusion.training.settings import TrainSettings

TRAINED = [name for name, card in registry.cards().items() if card.trainer]


def task_of(method):
    module, name = registry.card(method).trainer.split(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("method", TRAINED)
def test_what_a_method_has_not_is_told_with_what_it_has(method):
    task = task_of(method)
    with pytest.raises(OptionError, match=r"Configuration 'bogus': is not one of .*compact"):
        task("bogus")
    with pytest.raises(OptionError, match=r"Field 'bogus' of the configuration: is not one of .*network"):
        task(changes={"bogus": 1})
    with pytest.raises(OptionError, match=r"Field network = 5 of the configuration: is not a JSON object"):
        task(changes={"network": 5})


@pytest.mark.parametrize(("field", "value", "kind"), [
    ("drop_anatomy", "much", "a number"), ("base", 3, "a text"), ("stack", 3, "a list"),
    ("drop_anatomy", True, "a number"), ("base", None, "a text"), ("sigma_data", "x", "a number or null")])
def test_a_field_of_another_kind_is_told(field, value, kind):
    with pytest.raises(OptionError, match=f"Field {field} = .*is not {kind}.*default"):
        task_of("csrd")(changes={field: value})
    with pytest.raises(OptionError, match=r"T = 9\.5 .*is not a whole number"):
        task_of("amdiff")(changes={"T": 9.5})


def test_the_nearest_name_is_told():
    with pytest.raises(OptionError, match=r"Did you mean 'compact'\?"):
        task_of("unet-3d")("compct")
    with pytest.raises(OptionError, match=r"Did you mean 'weight_power'\?"):
        task_of("unet-3d")(changes={"weightpower": 1})
    with pytest.raises(OptionError, match=r"'lr': is not one of batch, .*, learning_rate, .*nodes\."):
        TrainSettings.from_json({"steps": 1, "lr": 2})
    with pytest.raises(OptionError, match=r"Did you mean 'learning_rate'\?"):
        TrainSettings.from_json({"steps": 1, "learningrate": 2})


@pytest.mark.parametrize("words", [["--set", "minutes=5"], ["--set", "batch=2", "minutes=5"],
                                   ["--set", "batch=2", "patch=8", "--set", "minutes=5"]])
def test_a_length_given_as_a_setting_is_told_its_own_option(tmp_path, capsys, words):
    """Settings may be given one by one or together, as those of a stream are."""
    words = ["train", "unet-3d", "--data", str(tmp_path), "--steps", "2", *words, "--out", str(tmp_path)]
    assert main(words) == 1 and "Training setting 'minutes'" in capsys.readouterr().err


def test_what_is_open_may_be_given_or_stay_open():
    configs = task_of("csrd").configs
    assert configs["compact"].sigma_data is None
    assert config_of(configs, "compact", {"sigma_data": 0.7}).sigma_data == 0.7
    assert config_of(configs, "compact", {"sigma_data": None, "drop_anatomy": 1}).drop_anatomy == 1


@pytest.mark.parametrize("method", TRAINED)
def test_every_field_takes_the_value_that_it_has(method):
    configs = task_of(method).configs
    for name, config in configs.items():
        assert config_of(configs, name, config.to_json()).to_json() == config.to_json()


@pytest.mark.parametrize("method", TRAINED)
def test_methods_shows_configurations_fields_and_settings(method, capsys):
    assert main(["methods", method]) == 0
    text, configs = capsys.readouterr().out, task_of(method).configs
    shown = {line.split()[0] for line in text.splitlines() if line.strip()}
    said = {f.name for f in fields(TrainSettings)} - {"steps", "minutes"}
    assert said <= shown and {f.name for f in fields(configs["compact"])} <= shown
    assert all(name in text for name in configs)


def test_every_setting_has_its_word_and_its_default(capsys):
    assert all(f.metadata.get("help") for f in fields(TrainSettings))
    main(["methods", "unet-3d"])
    text = capsys.readouterr().out
    assert "learning_rate" in text and "0.001" in text and "Options" in text
    main(["methods", "gaussian"])
    assert "learning_rate" not in capsys.readouterr().out


def test_a_field_is_shown_as_it_can_be_given(capsys):
    main(["methods", "unet-3d"])
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("network "))
    value = json.loads(line.split(None, 1)[1])
    assert task_of("unet-3d")(changes={"network": value}).config["network"] == value


def test_the_help_says_where_they_are_listed(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert capsys.readouterr().out.count("petdiffusion methods METHOD") >= 1
