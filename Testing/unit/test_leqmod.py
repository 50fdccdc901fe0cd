"""LeqMod-GAN: its losses by hand, a critic that is not moved by what it judges, and what is kept of it at work."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from petdiffusion.errors import ModelError, TrainingError
from petdiffusion.infer.networks import loaded
from petdiffusion.methods.leqmod.config import CONFIGS
from petdiffusion.methods.leqmod.losses import consistency, of_lesions
from petdiffusion.methods.leqmod.network import at_work, learning
from petdiffusion.methods.leqmod.task import LeqmodTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.networks.adversary import Generator
from petdiffusion.networks.critic import judged, patch_critic
from petdiffusion.progress import Run
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.zoo import store
from support.tiny_bank import same, short, write_dataset
from support.tiny_models import CARD, NETWORK

SMALL = {"network": NETWORK, "critic_channels": 4, "windows": (5, 9), "shares": (0.8, 0.2)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    task = LeqmodTask(changes=SMALL)
    return train(task, task.load([dataset], short(), Run()), short(), tmp_path_factory.mktemp("t") / "t")


def batch_of(dataset, **changes):
    task = LeqmodTask(changes={**SMALL, "lesion_share": 1.0, **changes})
    return task, task.load([dataset], short(), Run()).batch(3, 0)


def drawn(size=11):
    torch.manual_seed(0)
    made, normal, scale = (torch.rand(2, 1, size, size, size) + 0.5 for _ in range(3))
    return made, normal, scale, torch.rand(2, 1, size, size, size) > 0.4


def test_consistency_by_hand():
    """As loops over regions, which lie half over each other."""
    made, normal, scale, inside = drawn()
    found, expected = consistency(made, normal, scale, inside, (5, 9), (0.7, 0.2)), 0.0
    for window, share in ((5, 0.7), (9, 0.2)):
        starts, total, weights = range(0, 11 - window + 1, (window + 1) // 2), 0.0, 0.0
        for item, *corner in product(range(2), starts, starts, starts):
            a, b, s, m = (x[item, 0][tuple(slice(c, c + window) for c in corner)] for x in drawn())
            weight = float(m.float().mean())
            total += weight * float((a.mean() - b.mean()).abs() + (a.max() - b.max()).abs()) / float(s.mean())
            weights += weight
        expected += share * total / weights
    assert float(found) == pytest.approx(expected, rel=1e-4) and expected > 0.01


def test_equal_images_agree_and_one_hot_voxel_is_noticed():
    made, normal, scale, inside = drawn()
    assert consistency(normal, normal, scale, inside, (5, 9), (0.8, 0.2)) == 0
    peak = normal.clone()
    peak[0, 0, 5, 5, 5] += 10
    assert consistency(peak, normal, scale, inside, (5,), (1.0,)) > 0.1
    assert consistency(made, normal, scale, torch.zeros_like(inside), (5,), (1.0,)) == 0  # all air


def test_a_region_larger_than_the_patch_is_the_patch():
    given = drawn(8)
    assert consistency(*given, (33,), (1.0,)) == consistency(*given, (8,), (1.0,)) > 0


def test_lesions_by_hand():
    squared, lesions = torch.rand(3, 1, 4, 4, 4), torch.zeros(3, 1, 4, 4, 4)
    assert of_lesions(squared, lesions) == 0
    lesions[0, 0, 0, 0] = 1
    lesions[2, 0, :2] = 1
    expected = (squared[0, 0, 0, 0].mean() + squared[2, 0, :2].mean()) / 2
    torch.testing.assert_close(of_lesions(squared, lesions), expected)


def test_neither_side_is_moved_by_the_others_loss():
    torch.manual_seed(0)
    critic, real = patch_critic(4), torch.randn(2, 1, 16, 16, 16)
    made = torch.randn(2, 1, 16, 16, 16, requires_grad=True)
    fooled, own = judged(critic, real, made)
    (gradient,) = torch.autograd.grad(fooled, made)
    assert gradient.abs().max() > 0
    assert all(g is None for g in torch.autograd.grad(judged(critic, real, made)[0], list(critic.parameters()),
                                                      allow_unused=True))  # fmt: skip
    assert torch.autograd.grad(judged(critic, real, made)[1], made, allow_unused=True) == (None,)
    own.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())


def test_losses_of_both_sides_by_hand():
    """A critic that says what it is shown: (m - 1)^2 for the maker, ((r - 1)^2 + m^2) / 2 for the critic."""

    class Says(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(()))

        def forward(self, image):
            return [image * 9, image.mean() * self.factor]

    fooled, own = judged(Says(), torch.full((1, 1, 2, 2, 2), 0.75), torch.full((1, 1, 2, 2, 2), 0.25))
    assert (float(fooled.detach()), float(own.detach())) == (0.75**2, (0.25**2 + 0.25**2) / 2)


def test_a_critic_learns_to_tell():
    torch.manual_seed(0)
    critic = patch_critic(4)
    steps = torch.optim.Adam(critic.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        real, made = torch.randn(4, 1, 16, 16, 16), 0.3 * torch.randn(4, 1, 16, 16, 16)
        loss = judged(critic, real, made)[1]
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


@pytest.mark.parametrize("part", ["squared", "adversarial", "consistency", "lesion"])
def test_every_part_of_the_loss_counts_by_its_weight(dataset, part):
    """Twice the weight adds as much again; the critic's own loss comes and goes with the adversarial part."""

    def loss(weight, **more):
        others = dict.fromkeys(("squared", "adversarial", "consistency", "lesion"), 0.0)
        task, batch = batch_of(dataset, **{**others, part: weight, **more})
        assert batch["lesions"].sum() > 0
        torch.manual_seed(0)
        network = task.network()
        torch.nn.init.normal_(network.last.weight, std=0.1)
        found = task.loss(network, batch, torch.Generator().manual_seed(0))
        found.backward()
        learns = any(p.grad is not None and p.grad.abs().max() > 0 for p in network.critic.parameters())
        assert learns == (part == "adversarial" and weight > 0)
        return float(found.detach())

    nothing, once, twice, thrice = (loss(weight) for weight in (0.0, 1.0, 2.0, 3.0))
    assert nothing == 0 < once < twice
    assert thrice - twice == pytest.approx(twice - once, rel=1e-3)
    assert part == "adversarial" or twice == pytest.approx(2 * once, rel=1e-4)


def test_without_its_own_parts_it_is_the_unets_loss(dataset):
    """But for the unit, and with every anatomy withheld."""
    alone = {"squared": 1.0, "adversarial": 0.0, "consistency": 0.0, "lesion": 0.0, "unit": 1.0}
    task, batch = batch_of(dataset, **alone)
    theirs = Unet3dTask(changes={"network": NETWORK, "drop_anatomy": 1.0})

    def answer(x, noise, images, vector):
        return images[:, :1] * 0.5 + images[:, 2:3]

    losses = [t.loss(answer, batch, torch.Generator().manual_seed(1)) for t in (task, theirs)]
    assert losses[0] == losses[1] > 0


def test_ct_is_never_shown(dataset):
    task, batch = batch_of(dataset, adversarial=0.0)
    network = task.network()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    other = {**batch, "ct": batch["ct"] + 300}
    first, second = (task.loss(network, b, torch.Generator().manual_seed(0)) for b in (batch, other))
    assert not batch["ct"].isnan().all() and first == second


def test_the_critic_sees_no_air(dataset):
    task, batch = batch_of(dataset)
    air = ~task.inside(batch)
    shown = task.shown(torch.ones_like(batch["low"]), batch)
    assert air.any() and shown[:, :1][air].abs().max() == 0 and (shown[:, :1][~air] == 1).all()


def test_places_with_lesions_are_seen_as_often_as_asked(dataset):
    """No lesion's centre is sought at 0, only such at 1; between them as often as asked."""

    def share(asked):
        task = LeqmodTask(changes={**SMALL, "lesion_share": asked})
        bank = task.load([dataset], short(patch=8), Run())
        return np.mean([float((bank.batch(i, 0)["lesions"] > 0).flatten(1).any(1).float().mean()) for i in range(60)])

    def judged(asked):
        task = LeqmodTask(changes={**SMALL, "lesion_share": asked})
        return task.load([dataset], short(), Run()).validation()

    assert all(same(*pair) for pair in zip(judged(0.0), judged(1.0)))  # what is judged stays the same
    never, half, always = share(0.0), share(0.5), share(1.0)
    assert never + 0.2 < always and half == pytest.approx((never + always) / 2, abs=0.15)


def test_the_loss_falls_and_the_image_is_better_than_the_scan(trained):
    with (trained / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 0.5


def test_the_critic_is_left_behind(trained, tmp_path, monkeypatch):
    """A model without it, and one with it, are the same network at work."""
    facts = {k: v for k, v in CARD.items() if k != "version"}
    for name, parts in (("kept", ("generator.",)), ("all", ("",))):
        export(trained, tmp_path, name, facts, parts)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    networks = [loaded(store.find(name), at_work) for name in ("kept", "all")]
    assert (tmp_path / "kept.safetensors").stat().st_size < (tmp_path / "all.safetensors").stat().st_size
    given = {"images": torch.randn(1, 7, 8, 8, 8), "vector": torch.randn(1, 4)}
    with torch.no_grad():
        found = [network(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1), **given) for network in networks]
    assert torch.equal(*found) and found[0].std() > 0
    assert all(isinstance(n, Generator) and not hasattr(n, "critic") for n in networks)


def test_it_may_begin_as_a_unet_or_as_its_like(trained, tmp_path):
    unet = Unet3dTask(changes={"network": NETWORK}).network()
    torch.nn.init.normal_(unet.last.weight, std=0.1)
    ours = learning({"network": NETWORK, "critic_channels": 4})
    critic = {k: v.clone() for k, v in ours.critic.state_dict().items()}
    ours.adopt(unet.state_dict())
    assert all(torch.equal(v, unet.state_dict()[k]) for k, v in ours.generator.state_dict().items())
    assert all(torch.equal(v, critic[k]) for k, v in ours.critic.state_dict().items())
    other = learning({"network": NETWORK, "critic_channels": 4})
    other.adopt(ours.state_dict())
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in other.state_dict().items())
    task = LeqmodTask(changes={**SMALL, "network": {**NETWORK, "channels": 16}})
    bank = task.load([write_dataset(tmp_path / "d")], short(steps=1), Run())
    with pytest.raises(TrainingError, match="do not fit"):
        train(task, bank, short(steps=1), tmp_path / "t", origin=str(trained))


def test_the_compact_network_is_small_enough_to_ship():
    with torch.device("meta"):
        generator = at_work(LeqmodTask().config)
    assert sum(p.numel() for p in generator.parameters()) * 2 < 0.5e6


@pytest.mark.parametrize("wrong, said", [({"windows": (5, 9)}, "as many"), ({"windows": (5, 9, 17, 32)}, "even"),
                                         ({"windows": (5, 9, 17, 65)}, "larger"), ({"lesion": -1.0}, "below zero"),
                                         ({"lesion_share": 1.5}, "lesion_share"), ({"unit": 0.0}, "unit")])  # fmt: skip
def test_configurations_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ModelError, match=said):
        replace(CONFIGS["compact"], **wrong)
