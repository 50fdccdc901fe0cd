"""The four GANs that uPETe compares itself with: what is each one's own by hand, and that all learn."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion.diffusion.conditions import coordinate_images
from petdiffusion.errors import ModelError
from petdiffusion.infer.networks import loaded
from petdiffusion.infer.regression import rules_of
from petdiffusion.methods.gans import config, generators
from petdiffusion.methods.gans.parts import Fusion, Layer, low_frequencies, spectral_distance
from petdiffusion.methods.gans.task import FrequencyTask, LocalityTask, RectifiedTask, TransformerTask
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.zoo import store
from scipy.ndimage import gaussian_filter
from support.tiny_bank import short, write_dataset
from support.tiny_models import CARD, NETWORK

TASKS = {"la-gan": LocalityTask, "trans-gan": TransformerTask, "df-gan": FrequencyTask, "ar-gan": RectifiedTask}
BUILT = {"la-gan": generators.locality, "trans-gan": generators.transformer, "df-gan": generators.frequency,
         "ar-gan": generators.rectified}  # fmt: skip
SMALL = {"network": {**NETWORK, "head_channels": 8}, "critic_channels": 4}
every = pytest.mark.parametrize("name", sorted(TASKS))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def prepared(name, dataset, **changes):
    """Task, a batch, and a network with some weight in the layers that start at zero."""
    task = TASKS[name](changes={**SMALL, **changes})
    torch.manual_seed(0)
    network = task.network()
    for value in network.generator.parameters():
        if not value.any():
            torch.nn.init.normal_(value, std=0.1)
    for part in network.modules():
        if isinstance(part, Fusion):
            torch.nn.init.normal_(part.weights)
    return task, load_bank([dataset], task.derive, short(), Run()).batch(3, 0), network


def loss_of(task, batch, network):
    return task.loss(network, batch, torch.Generator().manual_seed(0))


def test_weights_of_a_place_are_its_own_and_linear_between():
    """Against PyTorch's own sampling of a grid, in a part of the scan."""
    torch.manual_seed(0)
    fusion = Fusion(2, 5)
    torch.nn.init.normal_(fusion.weights)
    whole = coordinate_images((17, 9, 13))
    np.testing.assert_allclose(fusion.at(whole)[0, :, ::4, ::2, ::3].detach(), fusion.weights.detach(), atol=1e-6)
    part = whole[..., 3:11, 2:9, 5:]
    grid = part.movedim(1, -1).flip(-1)
    wanted = torch.nn.functional.grid_sample(fusion.weights[None], grid, align_corners=True)
    torch.testing.assert_close(fusion.at(part), wanted, rtol=0, atol=1e-5)


def test_fusion_begins_with_the_pet_alone():
    images, place = torch.randn(2, 3, 8, 6, 4), coordinate_images((8, 6, 4)).expand(2, -1, -1, -1, -1)
    torch.testing.assert_close(Fusion(3, 4)(images, place), images[:, :1])


@pytest.mark.parametrize("sd", [0.6, 1.0, 2.0])
def test_low_frequencies_are_a_gaussians(sd):
    image = torch.randn(2, 2, 9, 11, 13)
    truncated = np.ceil(3 * sd) / sd
    wanted = np.stack([[gaussian_filter(c.numpy().astype(float), sd, mode="nearest", truncate=truncated) for c in item]
                       for item in image])  # fmt: skip
    np.testing.assert_allclose(low_frequencies(image, sd), wanted, atol=1e-5)


def test_a_spectrum_by_hand():
    """One voxel's error is of equal modulus at all frequencies; equal images differ by nothing."""
    made, real = torch.zeros(1, 1, 4, 6, 8), torch.zeros(1, 1, 4, 6, 8)
    assert spectral_distance(made, real) == 0
    made[..., 1, 2, 3] = 5
    assert float(spectral_distance(made, real)) == pytest.approx(5 / np.sqrt(4 * 6 * 8), rel=1e-5)


def test_every_place_looks_at_all_others():
    torch.manual_seed(0)
    layer, x = Layer(8, 8), torch.randn(1, 8, 4, 4, 4)
    assert torch.equal(layer(x), x)  # nothing is added at first
    torch.nn.init.normal_(layer.attention.out.weight)
    changed = x.clone()
    changed[..., 0, 0, 0] += 1
    assert ((layer(changed) - layer(x)).abs().amax(1) > 0).all()


@every
def test_the_image_is_made_of_the_parts(name, dataset):
    _, _, network = prepared(name, dataset)
    images, vector, x = torch.randn(2, 7, 16, 16, 16), torch.randn(2, 4), torch.zeros(2, 1, 16, 16, 16)
    images[:, 4:] = coordinate_images((16, 16, 16))
    given = {"images": images, "vector": vector}
    with torch.no_grad():
        parts = network(x, torch.zeros(2), **given, parts=True)
        image = network(x, torch.zeros(2), **given)
    assert parts.shape[1] == (1 if name == "trans-gan" else 2) and image.shape[1] == 1 and image.std() > 0
    torch.testing.assert_close(image, parts.sum(1, keepdim=True) if name == "df-gan" else parts[:, -1:])


def moved_by(name, dataset, part):
    """Names of the generator's weights that one of its parts moves."""
    _, _, network = prepared(name, dataset)
    images = torch.randn(1, 7, 16, 16, 16)
    images[:, 4:] = coordinate_images((16, 16, 16))
    given = {"images": images, "vector": torch.randn(1, 4)}
    network(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1), **given, parts=True)[:, part].square().sum().backward()
    return {n for n, p in network.generator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_the_second_of_la_gan_sees_the_first_and_does_not_move_it(dataset):
    second = moved_by("la-gan", dataset, 1)
    assert {n.split(".")[1] for n in second} == {"1"} and "fusions.1.weights" in second
    _, _, network = prepared("la-gan", dataset)
    with torch.no_grad():
        network.generator.fusions[1].weights[3] = 1
        images = torch.randn(1, 7, 16, 16, 16)
        images[:, 4:] = coordinate_images((16, 16, 16))
        found = []
        for _ in range(2):
            found.append(network(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1), images, torch.zeros(1, 4)))
            network.generator.unets[0].last.bias += 1
    assert not torch.allclose(*found)


def test_the_second_of_ar_gan_mends_the_first(dataset):
    assert {n.split(".")[0] for n in moved_by("ar-gan", dataset, 1)} == {"coarse", "mending"}
    assert {n.split(".")[0] for n in moved_by("ar-gan", dataset, 0)} == {"coarse"}


def test_df_gan_learns_each_frequency_from_its_own(dataset):
    """A network that says the target itself as low frequencies is told of the high ones that it added."""
    task, batch, _ = prepared("df-gan", dataset, adversarial=0.0)
    target = task.target(batch)
    low = low_frequencies(target, task.settings.cut)
    assert (target - low).std() > 0.1

    def says(*parts):
        return loss_of(task, batch, lambda *a, **k: torch.cat(parts, 1))

    assert says(low, target - low) == 0 < says(target, torch.zeros_like(target))


def test_ar_gan_is_told_of_a_spectrum(dataset):
    task, batch, _ = prepared("ar-gan", dataset, adversarial=0.0, voxelwise=0.0, spectrum=2.0)
    target = task.target(batch)

    def says(image):
        return float(loss_of(task, batch, lambda *a, **k: torch.cat((torch.zeros_like(image), image), 1)))

    error = torch.randn_like(target)
    wanted = 2.0 * task.settings.unit * spectral_distance(error * task.inside(batch), torch.zeros_like(error))
    assert says(target) == 0
    assert says(target + error) == pytest.approx(float(wanted), rel=1e-4)


@every
def test_the_absolute_error_by_hand(name, dataset):
    task, batch, _ = prepared(name, dataset, adversarial=0.0, **({"spectrum": 0.0} if name == "ar-gan" else {}))
    wanted = task.wanted(task.target(batch))
    parts = 1 if name == "trans-gan" else 2
    found = loss_of(task, batch, lambda *a, **k: wanted.expand(-1, parts, -1, -1, -1) + 0.5)
    assert float(found) == pytest.approx(10 * 0.3 * 0.5 * parts * float(task.weight(batch).sqrt().mean()), rel=1e-4)


@every
def test_the_critic_learns_where_it_counts_and_only_there(name, dataset):
    for weight in (0.0, 0.1):
        task, batch, network = prepared(name, dataset, adversarial=weight)
        loss_of(task, batch, network).backward()
        learns = any(p.grad is not None and p.grad.abs().max() > 0 for p in network.critic.parameters())
        assert learns == (weight > 0)


@every
def test_only_la_gan_is_shown_the_ct(name, dataset):
    task, batch, network = prepared(name, dataset, **({"drop_anatomy": 0.0} if name == "la-gan" else {}))
    first = loss_of(task, batch, network)
    other = loss_of(task, {**batch, "ct": batch["ct"] + 300}, network)
    assert (first != other) == (name == "la-gan")


@every
def test_it_learns_and_is_the_same_at_work(name, dataset, tmp_path, monkeypatch):
    task = TASKS[name](changes=SMALL)
    trained = train(task, load_bank([dataset], task.derive, short(), Run()), short(), tmp_path / "t")
    with (trained / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 0.5
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    for end, parts in (("kept", ("generator.",)), ("all", ("",))):
        export(trained, tmp_path, end, {k: v for k, v in CARD.items() if k != "version"}, parts)
    kept, whole = (loaded(store.find(end), BUILT[name]) for end in ("kept", "all"))
    batch = load_bank([dataset], task.derive, short(), Run()).batch(0, 0)
    with torch.no_grad():
        images = [task.judge(network, batch)["denoised"] for network in (kept, whole)]
    assert torch.equal(*images) and not hasattr(kept, "critic")


def test_who_looks_at_all_of_a_patch_gets_no_larger_ones():
    """Than those it learnt from; the others as large as fit."""
    largest = {name: rules_of(BUILT[name](TASKS[name]().config)).largest for name in TASKS}
    assert largest == {"la-gan": None, "ar-gan": None, "trans-gan": 48, "df-gan": 48}


@every
def test_no_generator_has_more_than_two_unets_of_leqmods_size(name):
    with torch.device("meta"):
        generator = BUILT[name](TASKS[name]().config)
    assert sum(p.numel() for p in generator.parameters()) < (450e3 if name in ("la-gan", "ar-gan") else 250e3)


@pytest.mark.parametrize("kind, wrong, said", [
    ("LOCALITY", {"regions": 1}, "regions"), ("FREQUENCY", {"cut": 0.0}, "cut"), ("RECTIFIED", {"unit": 0.0}, "unit"),
    ("RECTIFIED", {"spectrum": -1.0}, "spectrum"), ("TRANSFORMER", {"adversarial": -1.0}, "below zero"),
])  # fmt: skip
def test_configurations_that_cannot_be_are_refused(kind, wrong, said):
    with pytest.raises(ModelError, match=said):
        replace(getattr(config, kind)["compact"], **wrong)
