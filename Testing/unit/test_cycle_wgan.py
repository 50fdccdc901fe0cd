"""CycleWGAN: its losses by hand, patients that are not paired, and the same images in training and at work."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import read
from petdiffusion.errors import ModelError
from petdiffusion.infer import on_frame
from petdiffusion.infer.networks import loaded
from petdiffusion.methods.cycle_wgan.config import CONFIGS
from petdiffusion.methods.cycle_wgan.network import CycleNetwork, at_work, wasserstein
from petdiffusion.methods.cycle_wgan.task import CycleTask
from petdiffusion.prepare import case
from petdiffusion.prepare.frame import evened, framed
from petdiffusion.progress import Run
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.zoo import store
from support.tiny_bank import short, write_dataset
from support.tiny_models import CARD, OWN

SMALL = {**OWN["cycle-wgan"], "critic_channels": 4}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


class Slope(torch.nn.Module):
    """A critic that says the sum of an image, times a factor: its slope is that times the root of the pixels."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, image):
        return [image * 9, (image.flatten(1).sum(1) * self.factor).reshape(-1, 1, 1, 1)]


def test_losses_of_both_sides_by_hand():
    """Means over 16 pixels: m f 16 to be made larger, (m - r) f 16 for the critic, (4 f - 1)^2 for its slope."""
    real, made, mix = torch.full((2, 1, 1, 4, 4), 0.75), torch.full((2, 1, 1, 4, 4), 0.25), torch.rand(2, 1, 1, 1)
    fooled, own, slope = (float(x.detach()) for x in wasserstein(Slope(0.5), real, made, mix))
    assert (fooled, own, slope) == pytest.approx((-2.0, -4.0, 1.0))
    assert float(wasserstein(Slope(0.25), real, made, mix)[2].detach()) == pytest.approx(0.0, abs=1e-6)


def test_the_slope_is_taken_between_the_images():
    """Of a critic whose slope is the image's length: at the mixture alone."""

    class Square(torch.nn.Module):
        def forward(self, image):
            return [image, (0.5 * image.square().flatten(1).sum(1)).reshape(-1, 1, 1, 1)]

    real, made = torch.full((1, 1, 1, 4, 4), 2.0), torch.zeros(1, 1, 1, 4, 4)
    found = [float(wasserstein(Square(), real, made, torch.tensor(m).reshape(1, 1, 1, 1))[2].detach())
             for m in (0.0, 0.25, 1.0)]  # fmt: skip
    assert found == pytest.approx([(0 - 1) ** 2, (0.5 * 4 - 1) ** 2, (2 * 4 - 1) ** 2])


def test_neither_side_is_moved_by_the_others_loss():
    torch.manual_seed(0)
    network, real = CycleNetwork(CycleTask(changes=SMALL).config), torch.randn(2, 1, 1, 16, 16)
    made = torch.randn(2, 1, 1, 16, 16, requires_grad=True)
    critic, mix = network.critics["normal"], torch.rand(2, 1, 1, 1)
    fooled, own, slope = network(real, made, mix, judged_as="normal")
    assert torch.autograd.grad(own + slope, made, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(fooled, made, retain_graph=True)[0].abs().max() > 0
    assert all(g is None for g in torch.autograd.grad(fooled, list(critic.parameters()), allow_unused=True,
                                                      retain_graph=True))  # fmt: skip
    for loss in (own, slope):
        moved = torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True, retain_graph=True)
        assert any(g is not None and g.abs().max() > 0 for g in moved)


def loss_of(task, batch, network):
    return float(task.loss(network, batch, torch.Generator().manual_seed(0)).detach())


def test_cycles_and_identities_by_hand():
    """Networks that add 2 and take away 0.5: an image comes back 1.5 too high, and is changed by 2 or 0.5."""
    task = CycleTask(changes={**SMALL, "adversarial": 0.0})
    batch = {"low": torch.randn(2, 1, 1, 16, 16), "normal": torch.randn(2, 1, 1, 16, 16)}

    def network(x, back=False):
        return x - 0.5 if back else x + 2.0

    assert loss_of(task, batch, network) == pytest.approx(10 * (1.5 + 1.5) + 5 * (2.0 + 0.5), rel=1e-5)
    alone = CycleTask(changes={**SMALL, "adversarial": 0.0, "identity": 0.0, "cycle": 1.0})
    assert loss_of(alone, batch, network) == pytest.approx(3.0, rel=1e-5)


def test_critics_learn_where_they_count():
    batch = {"low": torch.randn(2, 1, 1, 16, 16), "normal": torch.randn(2, 1, 1, 16, 16)}
    for weight in (0.0, 0.1):
        task = CycleTask(changes={**SMALL, "adversarial": weight})
        network = task.network()
        task.loss(network, batch, torch.Generator().manual_seed(0)).backward()
        learn = {kind: any(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())
                 for kind, critic in network.critics.items()}  # fmt: skip
        assert set(learn.values()) == {weight > 0}


def test_patients_are_not_paired_in_training_and_are_where_it_is_judged(dataset):
    data = CycleTask().load([dataset], short(patch=128), Run())
    assert {p.id for p in data.train} == {"p0", "p1"}

    def owner(patch, own, kind):
        """Whose low-count slice, or normal-dose slice in the unit of `own`'s scan, begins as the patch does."""
        for p in data.train:
            images = p.scans[0].image.float() if kind == "low" else own.scans[0].shown(p.normals[0])
            size = images.shape[1:]
            if any(torch.allclose(s, patch[0, 0, :size[0], :size[1]], atol=2e-2) for s in images):
                return p.id
        return None

    for training in (True, False):
        for n in range(6):
            patch = data.patch(data.train, np.random.default_rng(n), training)
            if training:
                patch = straightened(data, patch, n)
            low = owner(patch["low"], None, "low")
            own = next(p for p in data.train if p.id == low)
            assert (owner(patch["normal"], own, "normal") == low) != training


def straightened(data, patch, n):
    """Drawn again without the mirrors, which come last."""
    plain = data._mirrored
    data._mirrored = lambda rng, training: []
    try:
        return data.patch(data.train, np.random.default_rng(n), True)
    finally:
        data._mirrored = plain


def test_training_shows_what_work_shows(dataset):
    scan = case.build(read.image(dataset / "p0" / "pet.nii.gz", "pet"))
    shown = on_frame.scaled(evened(scan, framed(scan))[0])[0]
    data = CycleTask().load([dataset], short(), Run())
    one = next(p for p in data.train if p.id == "p0")
    torch.testing.assert_close(one.scans[0].image.float(), shown, rtol=1e-3, atol=1e-3)
    low = read.image(dataset / "p0" / "pet.nii.gz", "pet").array[framed(scan).box]
    torch.testing.assert_close(one.scans[0].shown(low), shown, rtol=1e-3, atol=1e-3)


def test_it_learns_and_is_the_same_at_work(dataset, tmp_path, monkeypatch):
    task = CycleTask(changes=SMALL)
    trained = train(task, task.load([dataset], short(), Run()), short(), tmp_path / "t")
    with (trained / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"])
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    for end, parts in (("kept", ("generator.",)), ("all", ("",))):
        export(trained, tmp_path, end, {k: v for k, v in CARD.items() if k != "version"}, parts)
    kept, whole = (loaded(store.find(end), at_work) for end in ("kept", "all"))
    x = torch.randn(1, 1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(kept(x), whole(x)) and not torch.equal(kept(x), x)
        alone = kept(x[:, :, 1:2])
        torch.testing.assert_close(kept(x)[:, :, 1:2], alone)  # no slice knows of another


def test_at_first_nothing_is_changed():
    network, x = CycleTask().network(), torch.randn(1, 1, 2, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(x), x) and torch.equal(network(x, back=True), x)


def test_weights_below_zero_are_refused():
    with pytest.raises(ModelError, match="below zero"):
        replace(CONFIGS["compact"], cycle=-1.0)
