"""Restormer: its blocks by hand, the same inputs in training and at work, and patches no larger than in training."""

from __future__ import annotations

import csv
import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from petdiffusion import read
from petdiffusion.diffusion.conditions import coordinate_images
from petdiffusion.errors import ModelError
from petdiffusion.infer.patches import cut
from petdiffusion.infer.regression import regress, residual_of, rules_of
from petdiffusion.infer.residual import residual_case
from petdiffusion.infer.tiles import whole_box
from petdiffusion.infer.views import mirrored
from petdiffusion.methods.restormer.network import Restormer, RestormerSize
from petdiffusion.methods.restormer.task import RestormerTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.networks.transformer import ChannelAttention, Depthwise, GatedFeedForward, alike
from petdiffusion.networks.unet import UNet, UNetConfig
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.loop import train
from petdiffusion.training.residual import conditions
from petdiffusion.zoo import store
from support.tiny_bank import same, short, write_dataset
from support.tiny_models import NETWORK, RESTORMER

SMALL = {"network": {**RESTORMER, "window": 16}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def made(**changes) -> Restormer:
    """With some weight in the last layer, which starts at zero."""
    torch.manual_seed(0)
    network = Restormer(RestormerSize(**{**SMALL["network"], **changes}))
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return network.eval()


def only_the_middle(layer: Depthwise) -> None:
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, :, 1, 1, 1] = 1


def test_cosines_of_channels_by_hand():
    q, k = torch.randn(2, 3, 4, 50), torch.randn(2, 3, 4, 50)
    found = alike(q, k)
    for b, h, i, j in np.ndindex(2, 3, 4, 4):
        x, y = q[b, h, i], k[b, h, j]
        assert float(found[b, h, i, j]) == pytest.approx(float(x @ y) / float(x.norm() * y.norm()), abs=1e-5)


def test_attention_by_hand():
    """Written as loops over heads and channels, from the paper's Eq. 1."""
    torch.manual_seed(0)
    block, x = ChannelAttention(6, 2), torch.randn(1, 6, 3, 4, 5)
    only_the_middle(block.mix)
    with torch.no_grad():
        block.temperature.copy_(torch.tensor([2.0, 0.5]).reshape(2, 1, 1))
        found = block(x)[0].flatten(1).numpy()
    weights = block.qkv.weight[:, :, 0, 0, 0].detach().numpy()
    q, k, v = np.split(weights @ x[0].flatten(1).numpy(), 3)
    mixed = np.zeros_like(v)
    for channel in range(6):
        head = range(3) if channel < 3 else range(3, 6)
        scores = [q[channel] @ k[c] / np.linalg.norm(q[channel]) / np.linalg.norm(k[c]) for c in head]
        shares = np.exp(np.array(scores) * (2.0 if channel < 3 else 0.5))
        mixed[channel] = shares / shares.sum() @ v[list(head)]
    expected = block.out.weight[:, :, 0, 0, 0].detach().numpy() @ mixed
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_gate_by_hand():
    torch.manual_seed(0)
    block, x = GatedFeedForward(4, 1.5), torch.randn(2, 4, 3, 3, 3)
    only_the_middle(block.mix)
    gate, value = torch.einsum("oi,bi...->bo...", block.into.weight[:, :, 0, 0, 0], x).chunk(2, 1)
    opened = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2 * value
    expected = torch.einsum("oi,bi...->bo...", block.out.weight[:, :, 0, 0, 0], opened)
    torch.testing.assert_close(block(x), expected)


def test_the_gate_is_monais():
    """With the same weights, depthwise convolution included."""
    from monai.networks.blocks.cablock import FeedForward

    torch.manual_seed(0)
    ours, theirs, x = GatedFeedForward(6, 2.0), FeedForward(3, 6, 2.0, bias=False), torch.randn(2, 6, 4, 5, 6)
    for mine, other in ((ours.into, theirs.project_in), (ours.mix, theirs.dwconv), (ours.out, theirs.project_out)):
        other.conv.load_state_dict(mine.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_slices_of_a_depthwise_convolution_are_the_convolution():
    torch.manual_seed(0)
    layer, x = Depthwise(5), torch.randn(2, 5, 4, 6, 3, dtype=torch.float64)
    layer.double()
    plain = torch.nn.functional.conv3d(x, layer.weight, padding=1, groups=5)
    torch.testing.assert_close(layer.by_slices(x), plain)
    up = torch.randn_like(plain)
    found, expected = (torch.autograd.grad(y, layer.weight, up)[0] for y in (layer.by_slices(x), plain))
    torch.testing.assert_close(found, expected)


def test_a_network_gives_the_same_while_learning_and_at_work():
    """Training's convolutions go by slices, those at work do not."""
    network, images = made(), torch.randn(2, 7, 8, 12, 16)
    like, vector = torch.zeros(2, 1, 8, 12, 16), torch.randn(2, 4)
    learning = network(like, images=images, vector=vector)
    with torch.no_grad():
        torch.testing.assert_close(learning, network(like, images=images, vector=vector), atol=1e-5, rtol=1e-5)
    assert learning.shape == like.shape and learning.std() > 0


def test_one_scan_of_a_batch_is_nothing_to_another():
    network, images, vector = made(), torch.randn(2, 7, 8, 8, 8), torch.randn(2, 4)
    with torch.no_grad():
        both = network(images[:, :1], images=images, vector=vector)
        for i in range(2):
            alone = network(images[:1, :1], images=images[i:i + 1], vector=vector[i:i + 1])
            torch.testing.assert_close(both[i:i + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("told", ["images", "vector"])
def test_everything_it_is_told_counts_and_the_noisy_image_does_not(told):
    network = made()
    given = {"images": torch.randn(1, 7, 8, 8, 8), "vector": torch.randn(1, 4)}
    with torch.no_grad():
        plain = network(torch.zeros(1, 1, 8, 8, 8), **given)
        torch.testing.assert_close(network(torch.ones(1, 1, 8, 8, 8), torch.ones(1), **given), plain)
        for entry in range(given[told].shape[1]):
            changed = given[told].clone()
            changed[:, entry] += 1
            assert (network(plain, **{**given, told: changed}) - plain).abs().max() > 1e-4, entry


def test_it_looks_at_the_whole_patch_and_so_is_given_no_larger_one_than_in_training():
    network, images, vector = made(), torch.randn(1, 7, 16, 16, 64), torch.randn(1, 4)
    with torch.no_grad():
        plain = network(images[:, :1], images=images, vector=vector)
        images[..., 48:] += 2  # farther away than convolutions of this network reach
        assert (network(images[:, :1], images=images, vector=vector) - plain)[..., :8].abs().max() > 1e-4
    assert rules_of(network).largest == 16
    assert rules_of(UNet(UNetConfig.from_json(NETWORK))).largest is None


def test_patches_at_work_are_no_larger_than_in_training(dataset):
    network, sizes = made(), []
    seen = residual_case(prepared(dataset), "filtered", 6.0)
    shape = seen.base.shape
    network.register_forward_pre_hook(lambda module, given: sizes.append(given[0].shape[2:]))
    regress(network, seen.conditions, np.ones(shape, bool), Run())
    at_work = sizes[-2:]
    assert max(shape) > 16 and all(max(size) <= 16 for size in at_work)


def prepared(dataset):
    low, ct = (read.image(dataset / "p0" / f"{name}.nii.gz", kind) for name, kind in (("pet", "pet"), ("ct", "ct")))
    return case.build(low, ct)


def test_work_is_the_mean_of_two_views_of_what_training_taught(dataset):
    """A scan of one patch, as a batch of the bank and as a prepared case."""
    task, network = RestormerTask(changes={"network": {**RESTORMER, "window": 64}}), made(window=64)
    scan = prepared(dataset)
    seen = residual_case(scan, task.settings.base, task.settings.base_fwhm_mm)
    with torch.no_grad():
        at_work = regress(network, seen.conditions, np.ones(seen.base.shape, bool), Run()).image
        batch = whole(load_bank(dataset, task.derive, short(), Run()).train[0], network.config.multiple)
        other = residual_of(network, batch["low"], mirrored(conditions(batch))).flip(-1)
        taught = (task.predict(network, batch) + other)[0] / 2
    taught = taught[(..., *map(slice, seen.base.shape))]
    assert taught.std() > 1e-3 and (at_work - taught).abs().mean() < 0.05 * taught.std()


def whole(patient, multiple):
    """A scan of the bank as one patch, at its ends like a mirror."""
    images = {k: v.float()[None, None] for k, v in {**patient.images, **patient.scans[0].images}.items()}
    numbers = {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    shape = images["low"].shape[2:]
    images["coordinates"] = coordinate_images(shape)
    return {**{k: cut(v, whole_box(shape, (multiple,) * 3)) for k, v in images.items()}, **numbers}


def test_the_loss_falls_and_the_image_is_better_than_the_scan(dataset, tmp_path):
    task = RestormerTask(changes=SMALL)
    folder = train(task, load_bank(dataset, task.derive, short(), Run()), short(), tmp_path / "t")
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 0.5


def test_it_is_trained_as_the_unet_is(dataset):
    """The same batches, the same error for the same answer: only the network differs."""
    ours, theirs = RestormerTask(changes=SMALL), Unet3dTask(changes={"network": NETWORK})
    batches = [load_bank(dataset, task.derive, short(), Run()).batch(3, 0) for task in (ours, theirs)]
    assert same(*batches)

    def answer(x, noise, images, vector):
        return images[:, :1] * 0.5 + images[:, 2:3] + vector[:, :1, None, None, None]

    losses = [task.loss(answer, batches[0], torch.Generator().manual_seed(1)) for task in (ours, theirs)]
    assert losses[0] == losses[1] > 0
    assert {k: v for k, v in ours.config.items() if k != "network"} == {
        k: v for k, v in theirs.config.items() if k != "network"}  # fmt: skip


def test_its_recipe_is_the_unets(monkeypatch):
    """Patients, steps and settings; both begin from nothing. Both cards say that it was so."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "Resources" / "training"))
    commands = [" ".join(words) for words in importlib.import_module("csrd").commands("body", Path("w"), Path("s"))]
    ours, theirs = (next(c for c in commands if f" train {name} " in c) for name in ("restormer", "unet-3d"))
    assert ours == theirs.replace("unet-3d", "restormer").replace("unet3d-1", "restormer-1")
    assert "--from" not in ours
    ours, theirs = (store.find(name).card for name in ("restormer-body", "unet3d-body"))
    assert ours.training["data"] == theirs.training["data"] and ours.training_data == theirs.training_data
    told = [{k: v for k, v in card.training["settings"].items() if k != "validate_every"} for card in (ours, theirs)]
    assert told[0] == told[1] and ours.training["steps"] == theirs.training["steps"]
    low = [card.training["last_validation"]["psnr_low"] for card in (ours, theirs)]
    assert low[0] == low[1]  # of the scans themselves: they are the same


def test_it_begins_with_the_filtered_scan():
    task = RestormerTask()
    with torch.no_grad():
        images = torch.randn(1, 7, 16, 16, 16)
        assert task.network()(images[:, :1], images=images, vector=torch.zeros(1, 4)).abs().max() == 0


def test_the_compact_network_is_small_enough_to_ship():
    with torch.device("meta"):
        network = RestormerTask().network()
    assert sum(p.numel() for p in network.parameters()) * 2 < 0.54e6 and network.config.multiple == 8


@pytest.mark.parametrize("wrong, said", [({"heads": (1,)}, "as many"), ({"blocks": (0, 1)}, "below one"),
                                         ({"heads": (3, 2)}, "evenly"), ({"channels": (8, 12)}, "multiples of 8"),
                                         ({"window": 15}, "window = 15")])  # fmt: skip
def test_sizes_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ModelError, match=said):
        replace(RestormerSize(**RESTORMER), **wrong)
