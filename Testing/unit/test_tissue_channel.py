"""The average within the MR's tissues as one more image: the filter's own, in training and at work alike."""

import csv

import numpy as np
import pytest
import torch
from petdiffusion import denoise, read
from petdiffusion.errors import TrainingError
from petdiffusion.infer.residual import residual_case
from petdiffusion.infer.tissue import SETTINGS, averaged
from petdiffusion.methods.csrd.method import based
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.networks.unet import UNet, UNetConfig
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.training.origins import begin_from
from petdiffusion.training.residual import conditions
from petdiffusion.training.settings import TrainSettings
from support.tiny_bank import write_dataset

NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4}  # fmt: skip
CHANGES = {"network": NETWORK, "tissue": True}
FACTS = {"summary": "a test", "training_data": "made up", "data_licence": "none", "licence": "Apache-2.0",
         "tracers": ["FDG"], "voxel_mm": [4.0, 5.0], "dose_fractions": [0.1, 0.1], "intended_use": "tests",
         "limits": "all"}  # fmt: skip
SETTINGS_OF_TRAINING = TrainSettings(steps=1, batch=2, patch=16, validate_every=1, precision="32-true")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The first patient's CT serves as its MR; the second has none."""
    folder = write_dataset(tmp_path_factory.mktemp("dataset"))
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "mr"])
        writer.writeheader()
        writer.writerows({**row, "mr": "p0/ct.nii.gz" if row["id"] == "p0" else ""} for row in rows)
    return folder


@pytest.fixture(scope="module")
def data(dataset):
    return load_bank(dataset, Unet3dTask(changes=CHANGES).derive, SETTINGS_OF_TRAINING, Run())


def scan(dataset, mr=True):
    low = read.image(dataset / "p0" / "pet.nii.gz", "pet")
    return case.build(low, read.image(dataset / "p0" / "ct.nii.gz", "ct"),
                      read.image(dataset / "p0" / "ct.nii.gz", "mr") if mr else None)  # fmt: skip


def test_it_is_the_anatomical_filters_image(dataset):
    prepared = scan(dataset)
    filtered = denoise(prepared.pet, method="anatomy", mr=prepared.mr, **SETTINGS)
    found = averaged(prepared, Run())
    np.testing.assert_allclose(found, filtered.pet.array, rtol=1e-5, atol=1e-5)
    seen = residual_case(prepared, "filtered", 6.0, found)
    channel = (found - seen.white.base) / seen.white.scale
    np.testing.assert_allclose(seen.conditions.images[0, 4].numpy(), channel, atol=1e-4)


def test_without_an_mr_the_channel_is_empty(dataset):
    alone = scan(dataset, mr=False)
    found = averaged(alone, Run())
    assert np.isnan(found).all()
    with_channel, without = (residual_case(alone, "filtered", 6.0, t).conditions.images for t in (found, None))
    assert torch.equal(with_channel[:, :4], without) and not with_channel[:, 4].any()


@pytest.mark.parametrize("mr", [True, False])
def test_inference_sees_what_training_saw(dataset, data, mr):
    patient = data.train[0]
    batch = {k: v.float()[None, None] for k, v in {**patient.images, **patient.scans[0].images}.items()}
    batch |= {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    task = Unet3dTask(changes={**CHANGES, "drop_anatomy": 0.0 if mr else 1.0})
    batch = task.without_some_anatomy(batch, torch.Generator())
    trained = conditions({**batch, "coordinates": torch.zeros(1, 3, *batch["low"].shape[2:])})
    given = scan(dataset, mr)
    given = given if mr else case.build(given.pet)
    found = residual_case(given, "filtered", 6.0, averaged(given, Run())).conditions.images
    assert bool(found[:, 4].any()) == mr
    assert (found - trained.images[:, :5]).abs().mean() < 0.03


def test_patients_with_and_without_an_mr_share_a_batch(data):
    with_mr, without = (p.scans[0].images for p in data.train)
    assert set(with_mr) == set(without)
    assert with_mr["tissue"].isfinite().all() and without["tissue"].isnan().all()


def test_a_diffusion_on_a_regression_that_sees_tissues(dataset, data, tmp_path, monkeypatch):
    train(Unet3dTask(changes=CHANGES), data, SETTINGS_OF_TRAINING, tmp_path / "training")
    export(tmp_path / "training", tmp_path, "with-tissue", FACTS)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    prepared = scan(dataset)
    ours = denoise(prepared.pet, method="unet-3d", model="with-tissue", ct=prepared.ct, mr=prepared.mr)
    for tissue in (False, True):
        changes = {**CHANGES, "tissue": tissue, "base": "regression", "regression": "with-tissue"}
        task = CsrdTask(changes=changes)
        assert task.settings.network["condition_channels"] == 7 + tissue
        found, spent = based(prepared, task.settings, Run())
        np.testing.assert_allclose(found.base, ours.pet.array, atol=1e-5)
        assert spent == 2 and found.conditions.images.shape[1] == 4 + tissue
        images = load_bank(dataset, task.derive, SETTINGS_OF_TRAINING, Run()).train[0].scans[0].images
        assert np.abs(images["base"].float().numpy() - found.base).mean() < 0.02 and ("tissue" in images) == tissue


def test_training_begins_with_weights_that_know_no_tissues(dataset, tmp_path):
    """The widened network gives the narrow one's answer, whatever the new channel holds."""
    plain = {**CHANGES, "tissue": False}
    train(Unet3dTask(changes=plain), load_bank(dataset, Unet3dTask(changes=plain).derive, SETTINGS_OF_TRAINING, Run()),
          SETTINGS_OF_TRAINING, tmp_path / "narrow")  # fmt: skip
    narrow, wide = (UNet(UNetConfig.from_json({**NETWORK, "condition_channels": n})).eval() for n in (7, 8))
    for network in (narrow, wide):
        begin_from(network, str(tmp_path / "narrow"))
    torch.nn.init.normal_(narrow.last.weight)
    wide.last.load_state_dict(narrow.last.state_dict())
    x, images, level, numbers = (torch.randn(1, *s) for s in ((1, 8, 8, 8), (7, 8, 8, 8), (), (4,)))
    wider = torch.cat((images[:, :4], torch.randn(1, 1, 8, 8, 8), images[:, 4:]), 1)
    given, other = (net(x, level, seen, vector=numbers) for net, seen in ((narrow, images), (wide, wider)))
    torch.testing.assert_close(given, other)
    assert given.abs().max() > 0.01
    with pytest.raises(TrainingError, match="do not fit"):
        begin_from(UNet(UNetConfig.from_json({**NETWORK, "channels": 16, "condition_channels": 8})),
                   str(tmp_path / "narrow"))  # fmt: skip
