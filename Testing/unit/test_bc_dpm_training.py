"""BC-DPM learns from normal-dose slices alone: low-count images are never opened, and change nothing."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from petdiffusion import read
from petdiffusion.cli import main
from petdiffusion.diffusion.schedules import sigma_of
from petdiffusion.errors import TrainingError
from petdiffusion.methods.bc_dpm.task import BcDpmTask, alpha_bar
from petdiffusion.progress import Run
from petdiffusion.training.checkpoint import STATE
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from safetensors.torch import load_file
from support.tiny_bank import same, write_dataset

SMALL = {"network": {"dims": 2, "channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light",
                     "attention": False, "dropout": 0.0, "stem": 2, "norm": "voxel", "vector": 1}}  # fmt: skip


def settings(**changes):
    return TrainSettings(
        **{"steps": 4, "batch": 2, "patch": 16, "validate_every": 2, "precision": "32-true", **changes}
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def trained(dataset, folder):
    task = BcDpmTask(changes=SMALL)
    train(task, task.load([dataset], settings(), Run()), settings(), folder)
    return load_file(folder / STATE)


def test_no_low_count_image_is_opened(dataset, monkeypatch):
    opened = []
    image = read.image
    monkeypatch.setattr(read, "image", lambda path, *a, **k: opened.append(path) or image(path, *a, **k))
    data = BcDpmTask(changes=SMALL).load([dataset], settings(), Run())
    assert [p.name for p in opened] == ["reference.nii.gz"] * 3
    assert set(data.batch(0, 0)) == {"normal", "pixel_mm"} and data.skipped == 0


def test_weights_do_not_depend_on_low_count_images(dataset, tmp_path):
    """The same data set with rubbish in place of every low-count image, then with none: the very same weights."""
    other = write_dataset(tmp_path / "other")
    for file in other.glob("*/pet.*"):
        file.write_bytes(b"rubbish")
    first = trained(dataset, tmp_path / "a")
    assert same(first, trained(other, tmp_path / "b"))
    for file in other.glob("*/pet.*"):
        file.unlink()
    assert same(first, trained(other, tmp_path / "c"))


def test_normal_dose_images_do_matter(dataset, tmp_path):
    """The test above would pass if nothing were read."""
    other, stranger = write_dataset(tmp_path / "other"), write_dataset(tmp_path / "stranger", ("train",), first=7)
    for file in stranger.glob("p0/reference.*"):
        shutil.copy(file, other / "p0")
    assert not same(trained(dataset, tmp_path / "a"), trained(other, tmp_path / "b"))


def test_batches_depend_on_seed_step_and_rank_alone(dataset):
    data, again = (BcDpmTask(changes=SMALL).load([dataset], settings(), Run()) for _ in range(2))
    assert same(data.batch(5, 0), again.batch(5, 0))
    assert not same(data.batch(5, 0), data.batch(6, 0)) and not same(data.batch(5, 0), data.batch(5, 1))
    assert data.batch(0, 0)["normal"].shape == (2, 1, 16, 16)


def test_slices_smaller_than_a_patch_are_continued_and_larger_ones_cut_whole(dataset):
    data = BcDpmTask(changes=SMALL).load([dataset], settings(patch=40), Run())
    patch = data.batch(1, 0)["normal"][0, 0]
    assert patch.shape == (40, 40) and torch.equal(patch[26:], patch[25].expand(14, 40))


def test_test_patients_are_refused_and_validation_patients_not_trained_on(dataset, tmp_path):
    data = BcDpmTask(changes=SMALL).load([dataset], settings(), Run())
    assert [p.id for p in data.train] == ["p0", "p1"] and [p.id for p in data.valid] == ["p2"]
    with pytest.raises(TrainingError, match="is a test patient"):
        BcDpmTask(changes=SMALL).load([write_dataset(tmp_path / "t", ("train", "test"))], settings(), Run())


def test_a_damaged_scan_is_skipped_and_said_and_an_empty_set_refused(tmp_path):
    folder = write_dataset(tmp_path / "damaged", ("train", "train"))
    (folder / "p1" / "reference.nii.gz").write_bytes(b"rubbish")
    run = Run()
    data = BcDpmTask(changes=SMALL).load([folder], settings(), run)
    assert data.skipped == 1 and len(data.train) == 1 and "p1" in run.warnings[0]
    (folder / "p0" / "reference.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="no patient to train on"):
        BcDpmTask(changes=SMALL).load([folder], settings(), Run())


def test_times_are_uniform_and_late_ones_more_often():
    """With late_share 0.5 and late 250 of 1000, t <= 250 has probability 0.5 + 0.5 / 4; uniform within each part."""
    task = BcDpmTask(changes={**SMALL, "late_share": 0.5, "late": 250})
    levels = sigma_of(alpha_bar(task.settings))
    sigma = task._sigmas(40_000, torch.Generator().manual_seed(0))
    t = torch.searchsorted(levels.float(), sigma * (1 - 1e-6)) + 1
    assert abs(float((t <= 250).float().mean()) - 0.625) < 0.01
    assert abs(float(t[t <= 250].float().mean()) - 125.5) < 2 and abs(float(t[t > 250].float().mean()) - 625.5) < 5
    assert int(t.min()) == 1 and int(t.max()) == 1000


def test_the_loss_of_a_perfect_network_is_the_noise_it_cannot_know(dataset):
    """L_simple of a network that always answers 0 is the mean square of standard normal noise: 1."""
    task = BcDpmTask(changes=SMALL)
    data = task.load([dataset], settings(batch=16, patch=24), Run())

    def zero(x, noise, vector=None):
        return torch.zeros_like(x)

    losses = [float(task.loss(zero, data.batch(i, 0), torch.Generator().manual_seed(i))) for i in range(8)]
    assert np.mean(losses) == pytest.approx(1.0, abs=0.02)


def test_the_command_trains_and_the_log_says_how_good_one_evaluation_is(dataset, tmp_path):
    change = json.dumps(SMALL["network"])
    assert main(["train", "bc-dpm", "--data", str(dataset), "--steps", "60", "--set", "batch=4", "--set", "patch=24",
                 "--set", "validate_every=30", "--set", "precision=32-true", "--set", "learning_rate=3e-3", "--set",
                 "warmup_steps=5", "--set", "ema_decay=0.9", "--change", f"network={change}", "--out",
                 str(tmp_path / "t"), "--quiet"]) == 0  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "t" / "log.csv").open()))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) < 1.1
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 1 and "psnr_truth" not in rows[0]
    plan = json.loads((tmp_path / "t" / "plan.json").read_text())
    assert plan["data"]["images"] == "normal-dose slices alone"
    assert plan["config"]["pixel_mm"] == [4.0, 4.0]
