"""Training without files: streamed patients are those of a data set on disk, and come and go by the step alone."""

import json
from concurrent.futures import Future
from itertools import pairwise

import pytest
import torch
from petdiffusion.cli import main
from petdiffusion.errors import Cancelled, OptionError
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.phantoms import dataset, recipe
from petdiffusion.phantoms.splits import split_of
from petdiffusion.progress import Run
from petdiffusion.training import streamed
from petdiffusion.training.bank import load_bank
from petdiffusion.training.settings import TrainSettings
from support.cylinder import cylinder
from support.tiny_bank import same
from support.tiny_models import NETWORK

SETTINGS = TrainSettings(steps=4, batch=2, patch=8, validate_every=2, precision="32-true", seed=5)
SAID = {"kind": "brain", "tracer": "FDG,DASB", "fraction": "0.5,0.25", "patients": "3", "crops": "12", "workers": "0"}


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Cylinders in the place of people; returns the seeds that were drawn."""
    seeds = []

    def draw(kind, seed, *, spacing_mm=None, tracer="FDG", lesions=None, run=None):
        seeds.append(seed)
        return cylinder(seed, kind, tracer, size=24, slices=8)

    monkeypatch.setattr(recipe, "patient_of", draw)
    return seeds


def bank(**changes: str) -> streamed.StreamedBank:
    return streamed.open_stream({**SAID, **changes}, Unet3dTask(changes={"network": NETWORK}).derive, SETTINGS, Run())


def test_a_streamed_patient_is_the_one_of_the_data_set_on_disk(tmp_path) -> None:
    made = dataset.make(tmp_path / "set", 2, kinds=("brain",), tracers=("FDG", "DASB"), fractions=(0.5, 0.25))
    on_disk = load_bank(made["manifest"], Unet3dTask(changes={"network": NETWORK}).derive, SETTINGS, Run()).train
    streaming = bank()
    for number, one in enumerate(on_disk):
        other = streaming._patient(number)
        assert same(one.images, other.images) and len(one.scans) == len(other.scans) == 2
        assert (one.body == other.body).all() and (one.lesions == other.lesions).all()
        for a, b in zip(one.scans, other.scans):
            assert same(a.images, b.images) and a.numbers == pytest.approx(b.numbers, rel=1e-6)


def test_a_batch_depends_on_its_number_alone() -> None:
    """As after a stop: a bank that begins with batch 9 gives what one that came there step by step does."""
    going = bank()
    batches = [going.batch(step, 0) for step in range(10)]
    assert same(bank().batch(9, 0), batches[9]) and same(bank().batch(4, 0), batches[4])
    for other in (going.batch(8, 0), going.batch(9, 1), bank(first_seed="50").batch(9, 0)):
        assert not same(other, batches[9])


def test_patients_come_one_by_one_and_no_more_are_kept_than_asked_for(drawn) -> None:
    """Two patches a batch, four before the next patient comes (12 crops of each while 3 are kept)."""
    streaming = bank()
    drawn.clear()
    assert [list(streaming.window(step)) for step in (0, 1, 2, 5, 6, 9)] == [
        [0], [0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    for step in range(20):
        streaming.batch(step, 0)
        assert len(streaming._kept) <= 3
    assert drawn == list(range(10)), "each patient is drawn once"
    assert all(a.stop <= b.stop <= a.stop + 1 for a, b in pairwise(map(streaming.window, range(100))))


def test_nobody_but_training_and_validation_patients_is_drawn(drawn) -> None:
    streaming = bank(first_seed="799998", validation="3")
    assert [split_of(seed) for seed in drawn] == ["validation"] * 3
    drawn.clear()
    streaming.batch(9, 0)
    assert {split_of(seed) for seed in drawn} == {"train"}
    assert streaming.describe()["validation_patients"] == [f"brain-80000{n}" for n in range(3)]


class Elsewhere:
    """Stands for the pool: what is ordered is done when it is asked for; closed, it is forgotten."""

    def __init__(self, workers, run) -> None:
        self.workers, self.ordered, self.closed = workers, [], False

    def submit(self, function, *arguments):
        self.ordered.append(arguments[0].seed)
        future = Future()
        future.set_result((function, arguments))
        return future

    def result(self, future):
        function, arguments = future.result()
        return function(*arguments, Run())

    def close(self) -> None:
        self.closed = True


def test_other_processes_draw_ahead_and_change_nothing(monkeypatch) -> None:
    monkeypatch.setattr(streamed, "Pool", Elsewhere)
    here, ahead = bank(), bank(workers="2")
    assert all(same(here.batch(step, 0), ahead.batch(step, 0)) for step in range(8))
    assert ahead._pool.ordered == [800_000, 800_001, *range(6)], "patients 0 to 3 are used, two are on their way"
    ahead.close()
    assert ahead._pool.closed


def test_a_cancel_ends_the_drawing() -> None:
    streaming = bank()
    streaming.run.cancelled.set()
    with pytest.raises(Cancelled):
        streaming.batch(0, 0)


def test_train_streams_from_the_command_line(tmp_path) -> None:
    words = [f"{name}={value}" for name, value in SAID.items()]
    assert main(["train", "unet-3d", "--stream", *words, "--steps", "2", "--set", "batch=2", "--set", "patch=16",
                 "--set", "precision=32-true", "--change", f"network={json.dumps(NETWORK)}", "--device", "cpu",
                 "--out", str(tmp_path / "t"), "--quiet"]) == 0
    plan = json.loads((tmp_path / "t" / "plan.json").read_text())
    assert plan["data"]["source"].startswith("digital patients") and plan["data"]["tracers"] == ["FDG", "DASB"]
    assert not list(tmp_path.rglob("*.nii.gz"))


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"patients": "many"}, {"patients": "0"}, {"validation": "0"},
                                   {"fraction": "1"}, {"tracer": "X"}, {"kind": "foot"}])
def test_what_cannot_be_streamed_is_refused(wrong) -> None:
    with pytest.raises(OptionError):
        bank(**wrong)


def test_the_network_sees_whole_batches_of_both_tracers() -> None:
    batch = bank().batch(9, 0)
    assert batch["low"].shape == (2, 1, 8, 8, 8) and batch["low"].dtype == torch.float32
    assert {"base", "root", "ct", "mr", "truth", "lesions", "coordinates", "level", "fraction"} <= set(batch)
