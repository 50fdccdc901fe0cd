"""Spach Transformer: attention within cubes by hand, cubes that reach beyond the patch, and the U-net's training."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion.errors import ModelError
from petdiffusion.infer.regression import rules_of
from petdiffusion.methods.spach.config import CONFIGS
from petdiffusion.methods.spach.network import NearAttention, Spach, SpachSize
from petdiffusion.methods.spach.task import SpachTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.loop import train
from support.tiny_bank import same, short, write_dataset
from support.tiny_models import NETWORK, SPACH

SMALL = {"network": {**SPACH, "window": 16}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def near(channels=4, heads=2, side=2) -> NearAttention:
    torch.manual_seed(0)
    layer = NearAttention(channels, heads, side)
    torch.nn.init.normal_(layer.place.tables)
    return layer


def cube(place, side):
    return [c // side for c in place]


def by_hand(layer: NearAttention, x: np.ndarray) -> np.ndarray:
    """Loops over cubes, heads and voxels; (C, z, y, x)."""
    weights = [w[:, :, 0, 0, 0].detach().numpy() for w in layer.qkv.weight.chunk(3)]
    q, k, v = (np.einsum("oi,izyx->ozyx", w, x) for w in weights)
    tables, side, each = layer.place.tables.detach().numpy(), layer.side, len(x) // layer.heads
    mixed = np.zeros_like(v)
    for here in np.ndindex(x.shape[1:]):
        seen = [there for there in np.ndindex(x.shape[1:]) if cube(there, side) == cube(here, side)]
        for head in range(layer.heads):
            c = slice(head * each, (head + 1) * each)
            scores = [q[(c, *here)] @ k[(c, *there)] / np.sqrt(each)
                      + sum(tables[a, head, here[a] - there[a] + side - 1] for a in range(3))
                      for there in seen]  # fmt: skip
            shares = np.exp(scores) / np.exp(scores).sum()
            mixed[(c, *here)] = sum(s * v[(c, *there)] for s, there in zip(shares, seen))
    return np.einsum("oi,izyx->ozyx", layer.out.weight[:, :, 0, 0, 0].detach().numpy(), mixed)


@pytest.mark.parametrize("shape, side", [((4, 2, 6), 2), ((3, 4, 5), 2), ((2, 1, 4), 3)])
def test_attention_by_hand(shape, side):
    """Also where the last cubes reach beyond the patch: nobody looks at what is not there."""
    layer, x = near(side=side), torch.randn(2, 4, *shape)
    with torch.no_grad():
        found = layer(x).numpy()
    for item in range(2):
        np.testing.assert_allclose(found[item], by_hand(layer, x[item].numpy()), atol=1e-5)


def test_voxels_of_other_cubes_are_not_seen():
    layer, x = near(), torch.randn(1, 4, 4, 4, 4)
    changed = x.clone()
    changed[..., 0, 0, 0] += 1
    with torch.no_grad():
        moved = (layer(changed) - layer(x)).abs().amax(1)[0] > 1e-6
    assert moved[:2, :2, :2].all() and moved.sum() == 8


def made() -> Spach:
    torch.manual_seed(0)
    network = Spach(SpachSize(**SMALL["network"]))
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("told", ["images", "vector"])
def test_everything_it_is_told_counts(told):
    network, given = made(), {"images": torch.randn(1, 7, 8, 8, 8), "vector": torch.randn(1, 4)}
    with torch.no_grad():
        plain = network(torch.zeros(1, 1, 8, 8, 8), **given)
        for entry in range(given[told].shape[1]):
            changed = given[told].clone()
            changed[:, entry] += 1
            assert (network(plain, **{**given, told: changed}) - plain).abs().max() > 1e-4, entry


def test_patches_at_work_are_no_larger_than_in_training():
    assert rules_of(made()).largest == 16
    assert rules_of(SpachTask().network()).largest == 48


def test_the_ct_is_never_shown(dataset):
    task = SpachTask(changes=SMALL)
    network, batch = task.network(), load_bank(dataset, task.derive, short(), Run()).batch(3, 0)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    other = {**batch, "ct": batch["ct"] + 300}
    first, second = (task.loss(network, b, torch.Generator().manual_seed(0)) for b in (batch, other))
    assert first == second and not batch["ct"].isnan().all()


def test_it_is_trained_as_the_unet_without_anatomy_is(dataset):
    ours = SpachTask(changes=SMALL)
    theirs = Unet3dTask(changes={"network": NETWORK, "drop_anatomy": 1.0})
    batches = [load_bank(dataset, task.derive, short(), Run()).batch(3, 0) for task in (ours, theirs)]
    assert same(*batches)

    def answer(x, noise, images, vector):
        return images[:, :1] * 0.5 + images[:, 2:3] + vector[:, :1, None, None, None]

    losses = [task.loss(answer, batches[0], torch.Generator().manual_seed(1)) for task in (ours, theirs)]
    assert losses[0] == losses[1] > 0


def test_the_loss_falls_and_the_image_is_better_than_the_scan(dataset, tmp_path):
    task = SpachTask(changes=SMALL)
    folder = train(task, load_bank(dataset, task.derive, short(), Run()), short(), tmp_path / "t")
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 0.5


def test_it_is_of_restormers_size():
    with torch.device("meta"):
        count = sum(p.numel() for p in SpachTask().network().parameters())
    assert count == pytest.approx(254e3, rel=0.1)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ModelError, match="near"):
        replace(SpachSize(**CONFIGS["compact"].network), near=1)
