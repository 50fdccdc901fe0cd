"""`petdiffusion train` with METHOD behind options of several words."""

import pytest
from petdiffusion.cli import app


def parsed(*words):
    return app.parser().parse_args(["train", *words, "--out", "o"])


def refused(*words):
    with pytest.raises(SystemExit):
        app.main(["train", *words, "--out", "o"])


@pytest.mark.parametrize("words", [
    ("csrd", "--set", "a=1", "b=2", "--change", "c=3", "--data", "d", "--steps", "2"),
    ("--data", "d", "--steps", "2", "--set", "a=1", "b=2", "--change", "c=3", "csrd"),
    ("--change", "c=3", "--data", "d", "--steps", "2", "--set", "a=1", "csrd", "b=2"),
    ("--set", "a=1", "--steps", "2", "--change", "c=3", "--set", "b=2", "--data", "d", "csrd"),
    ("--set", "a=1", "b=2", "--change", "c=3", "--data", "d", "--steps", "2", "csrd")])  # fmt: skip
def test_the_method_may_stand_anywhere(words):
    args = parsed(*words)
    assert (args.method, args.set, args.change, args.data) == ("csrd", ["a=1", "b=2"], ["c=3"], ["d"])


def test_of_a_stream_too():
    args = parsed("--steps", "2", "--stream", "kind=brain", "fraction=0.1", "unet-3d")
    assert args.method == "unet-3d" and args.stream == ["kind=brain", "fraction=0.1"]


def test_a_folder_that_is_called_like_a_method_is_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "csrd").mkdir()
    assert parsed("unet-3d", "--data", "csrd", "--steps", "2").data == ["csrd"]
    assert parsed("--steps", "2", "--data", "csrd", "unet-3d").data == ["csrd"]
    refused("--steps", "2", "--data", "a", "csrd")
    assert "required: METHOD" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--set", "a=1", "crsd"), ("--set", "csrd"), ("--set", "a=1")])
def test_a_word_that_is_no_method_is_not_taken_for_one(words, capsys):
    refused("--data", "d", "--steps", "2", *words)
    assert "required: METHOD (it stands best before options of several words" in capsys.readouterr().err
