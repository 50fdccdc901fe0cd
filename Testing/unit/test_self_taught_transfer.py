"""N2V-PT: the same images in training and at work, slice by slice, from the model's parameters on, which stay."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import read
from petdiffusion.infer import on_frame
from petdiffusion.infer.networks import loaded
from petdiffusion.methods.self_taught import noise2void
from petdiffusion.methods.self_taught.transfer import built, slice_by_slice
from petdiffusion.methods.self_taught.transfer_task import TransferTask
from petdiffusion.prepare import case
from petdiffusion.prepare.frame import evened, framed
from petdiffusion.progress import Run
from petdiffusion.registry import card
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.zoo import store
from support.tiny_bank import write_dataset
from support.tiny_models import OWN, write_models

SMALL = OWN["n2v-pt"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def model(tmp_path, monkeypatch):
    write_models(tmp_path, "n2v-pt")
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    return loaded(store.find("n2v-pt-tiny"), built)


def settings(**changes):
    wanted = {"steps": 60, "batch": 4, "patch": 16, "validate_every": 20, "precision": "32-true",
              "learning_rate": 3e-3, "warmup_steps": 5}  # fmt: skip
    return TrainSettings(**{**wanted, **changes})


def prepared(dataset):
    return case.build(read.image(dataset / "p0" / "pet.nii.gz", "pet"))


def frame_of(dataset):
    scan = prepared(dataset)
    return slice_by_slice(evened(scan, framed(scan))[0])


def test_only_low_count_images_are_opened(tmp_path):
    folder = write_dataset(tmp_path)
    for path in folder.glob("*/reference.nii.gz"):
        path.unlink()
    data = TransferTask().load([folder], settings(), Run())
    assert len(data.train) == 2 and len(data.valid) == 1 and data.describe()["images"] == "low-count slices alone"


def test_training_shows_what_work_shows(dataset):
    """Every voxel of a patch that is as large as a slice."""
    shown = noise2void.shown(frame_of(dataset))
    data = TransferTask().load([dataset], settings(patch=128), Run())
    one = next(p for p in data.train if p.id == "p0")
    patch = data.patch([one], np.random.default_rng(0), training=False)
    size = shown[0].shape[2:]
    found = {name: image[0, 0, :size[0], :size[1]] for name, image in patch.items()}
    (z,) = [z for z in range(shown[0].shape[1]) if torch.allclose(shown[0][0, z], found["low"], rtol=1e-3, atol=1e-3)]
    torch.testing.assert_close(found["around"], shown[1][0, z], rtol=1e-3, atol=1e-3)
    assert torch.equal(found["body"], shown[2][0, z].float()) and found["body"].any()


def test_patches_lie_in_the_body_and_are_mirrored_in_training_alone(dataset):
    data = TransferTask().load([dataset], settings(patch=4), Run())
    assert all(data.batch(i, 0)["body"].flatten(1).any(1).all() for i in range(8))
    pairs = [[data.patch(data.train, np.random.default_rng(n), t)["low"] for t in (False, True)] for n in range(8)]
    assert any(not torch.equal(*pair) for pair in pairs)
    assert any(torch.equal(pair[0].flip(axis), pair[1]) for pair in pairs for axis in (2, 3))


def test_errors_are_counted_at_hidden_voxels_of_the_body():
    torch.manual_seed(0)
    seen, around, body = torch.randn(1, 1, 4, 8, 8), torch.randn(1, 1, 4, 8, 8), torch.zeros(1, 1, 4, 8, 8)
    body[..., :4, :] = 1
    places, hidden = noise2void.hide(seen, torch.Generator().manual_seed(5))
    counted = [tuple(int(axis[0, i]) for axis in places) for i in range(places[0].shape[1])]
    counted = [place for place in counted if body[place] > 0]
    expected = sum(float(0.5 * hidden[p] + around[p] - seen[p]) ** 2 for p in counted) / len(counted)
    found = noise2void.error(lambda x: 0.5 * x, seen, around, body, torch.Generator().manual_seed(5))
    assert 0 < len(counted) < places[0].shape[1] and float(found) == pytest.approx(expected, rel=1e-4)


def test_without_steps_the_parameters_are_taken_as_they_are(dataset, model):
    frame = frame_of(dataset)
    found = noise2void.guessed(frame, model, 0, Run())
    scan, around, _ = noise2void.shown(frame)
    expected = on_frame.restored(frame, on_frame.painted(model, scan, model.config.multiple, Run()) + around[0].numpy())
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - frame.array).max() > 0


def test_learning_begins_there_and_leaves_the_model_alone(dataset, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scan, run = prepared(dataset), card("n2v-pt").load()
    images = [run(scan, {"steps": n}, Run(model="n2v-pt-tiny")).pet.array for n in (0, 1, 20, 20)]
    assert np.array_equal(images[2], images[3])
    assert all(np.abs(image - images[0]).max() > 0 for image in images[1:3])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_slices_know_nothing_of_one_another(dataset, model):
    frame = frame_of(dataset)
    changed = frame.array.copy()
    changed[0] *= 3
    first, second = (noise2void.guessed(f, model, 0, Run()) for f in (frame, replace(frame, array=changed)))
    np.testing.assert_allclose(first[1:], second[1:], atol=1e-5)
    assert np.abs(first[0] - second[0]).max() > 1


def test_what_it_learns_lets_it_guess_more(dataset, tmp_path):
    task = TransferTask(changes=SMALL)
    folder = train(task, task.load([dataset], settings(), Run()), settings(), tmp_path / "t")
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["unguessed"]) < 0.99 * float(rows[-1]["by_surroundings"])


def test_the_compact_network_is_small_enough_to_ship():
    with torch.device("meta"):
        network = TransferTask().network()
    assert sum(p.numel() for p in network.parameters()) * 2 < 0.13e6
