"""A training that stops: what was learnt is kept where it can be, and why it stopped is told in any case."""

import contextlib

import pytest
import safetensors
import safetensors.torch
from petdiffusion.errors import OutputError, TrainingError
from petdiffusion.progress import Run
from petdiffusion.training import checkpoint
from petdiffusion.training.export import export
from petdiffusion.training.log import rows_of
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from support.line import Line, Points
from test_training_export import FACTS


def settings(**changes):
    return TrainSettings(**{"steps": 2, "validate_every": 1, "precision": "32-true", **changes})


@pytest.fixture
def full(monkeypatch):
    """As safetensors says it; half of the file is there by then."""

    def save_file(tensors, path, metadata=None):
        path.write_bytes(b"half")
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", save_file)


def test_a_checkpoint_that_cannot_be_written_is_told_with_its_folder_and_what_to_do(tmp_path, full):
    with pytest.raises(OutputError) as told:
        train(Line(), Points(), settings(), tmp_path / "t")
    assert told.value.what == f"The checkpoint in {tmp_path / 't'} cannot be written"
    assert (told.value.why, told.value.remedy) == ("the disk is full", "Free some space, or write elsewhere.")
    assert not list((tmp_path / "t").glob("*checkpoint*")) and not list((tmp_path / "t").glob(".check*"))


def test_the_last_checkpoint_stands_where_the_next_one_cannot_be_written(tmp_path, request):
    train(Line(), Points(), settings(), tmp_path / "t")
    before = (tmp_path / "t" / checkpoint.STATE).read_bytes()
    request.getfixturevalue("full")
    with pytest.raises(OutputError, match="The same command then goes on from the last checkpoint"):
        train(Line(), Points(), settings(steps=4), tmp_path / "t")
    assert (tmp_path / "t" / checkpoint.STATE).read_bytes() == before
    assert checkpoint.facts_of(tmp_path / "t")["step"] == 2


class Ending(Points):
    """Points that are gone from a step on; those of the third step are no numbers."""

    def __init__(self, end=2):
        self.end = end

    def batch(self, step, rank):
        if step >= self.end:
            raise TrainingError("The scans", "are gone")
        batch = super().batch(step, rank)
        return {**batch, "y": batch["y"] * float("nan")} if step == 2 else batch


def test_a_full_disk_does_not_hide_why_a_training_stopped(tmp_path, full):
    run = Run()
    with pytest.raises(TrainingError, match="The scans: are gone"):
        train(Line(), Ending(), settings(steps=9, validate_every=9), tmp_path / "t", run)
    assert any(note.startswith("What was learnt since the last checkpoint is lost. The checkpoint in ") and
               "the disk is full" in note for note in run.warnings)  # fmt: skip


def test_what_was_learnt_before_a_training_stopped_is_kept(tmp_path):
    with pytest.raises(TrainingError, match="The scans: are gone"):
        train(Line(), Ending(), settings(steps=9), tmp_path / "t")
    assert checkpoint.facts_of(tmp_path / "t")["step"] == 2


def log_of(folder):
    """But for the seconds that it took."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows_of(folder)]


def test_the_log_of_a_stopped_training_is_that_of_an_unbroken_one(tmp_path):
    """The line after the stop is of all steps since the line before it, lost ones (here the third) too."""
    for folder, ends in ((tmp_path / "whole", (7,)), (tmp_path / "stopped", (4, 7))):
        for end in ends:
            with contextlib.suppress(TrainingError):
                train(Line(), Ending(end), settings(steps=7, validate_every=5), folder)
    assert [row["skipped"] for row in log_of(tmp_path / "whole")] == ["1", "0"]
    assert log_of(tmp_path / "stopped") == log_of(tmp_path / "whole")


def test_a_model_that_a_full_disk_has_no_room_for_is_told_as_well(tmp_path, request):
    train(Line(), Points(), settings(), tmp_path / "t")
    request.getfixturevalue("full")
    with pytest.raises(OutputError, match="cannot be written: the disk is full"):
        export(tmp_path / "t", tmp_path / "models", "line", FACTS)


def test_what_the_system_says_is_found_in_a_failed_write_of_safetensors(tmp_path):
    """No folder of that name: told by safetensors itself."""
    with pytest.raises(OutputError, match=r"os error \d+"):
        checkpoint.write({}, tmp_path / "nowhere" / "a.safetensors")
