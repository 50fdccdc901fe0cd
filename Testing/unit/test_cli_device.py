"""A device that does not exist is refused by its name before any work, by every command that has --device."""

import argparse

import pytest
from petdiffusion.cli import main
from petdiffusion.cli.app import parser
from support.scans import write_patient

COMMANDS = {
    "denoise": ("denoise", "{pet}", "--method", "csrd", "--out", "{out}"),
    "segment": ("segment", "{pet}", "--out", "{out}"),
    "dynamic": ("dynamic", "{pet}", "--method", "csrd", "--out", "{out}"),
    "batch": ("batch", "{manifest}", "--method", "csrd", "--out", "{out}"),
    "evaluate": ("evaluate", "--manifest", "{manifest}", "--methods", "csrd", "--out", "{out}"),
    "bench": ("bench", "csrd", "--quick", "--out", "{out}"),
    "calibrate": ("calibrate", "csrd-body", "--manifest", "{manifest}", "--data", "none", "--out", "{out}"),
    "train": ("train", "csrd", "--data", "{manifest}", "--steps", "1", "--out", "{out}"),
}


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A command's words; whatever work it begins is counted as a failure."""
    from petdiffusion.bench import run as bench
    from petdiffusion.training import bank
    from petdiffusion.trust import calibrate

    def works(*args, **kwargs):
        raise AssertionError("work was begun")

    for module, name in ((bench, "bench"), (bank, "load_bank"), (calibrate, "collect")):
        monkeypatch.setattr(module, name, works)
    paths = write_patient(tmp_path / "p")
    manifest = tmp_path / "cases.csv"
    manifest.write_text(f"id,pet,reference\na,{paths['pet']},{paths['reference']}\n")
    known = {"pet": paths["pet"], "manifest": str(manifest), "out": str(tmp_path / "out")}
    return lambda command: [word.format(**known) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_none_is_refused_before_any_work(words, command, tmp_path, capsys):
    assert main([*words(command), "--device", "foo"]) == 1
    assert "Device 'foo'" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["denoise", "segment", "dynamic", "bench", "calibrate", "train"])
def test_a_device_that_is_not_here_is_refused_before_any_work(words, command, tmp_path, capsys):
    """The hundredth GPU. A batch may go to machines that have it."""
    assert main([*words(command), "--device", "cuda:99"]) == 1
    said = capsys.readouterr().err
    assert "cuda:99" in said and "is not available here" in said
    assert not (tmp_path / "out").exists()


def test_every_command_with_a_device_is_tested_here():
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    assert {name for name, one in commands.items() if "--device" in one.format_help()} == set(COMMANDS)
