"""The base averaged within the MR's tissues: the filter's own image, in training and at work alike."""

import csv

import numpy as np
import pytest
import torch
from petdiffusion import denoise, read
from petdiffusion.infer.anatomical import SETTINGS, averaged
from petdiffusion.infer.residual import residual_case
from petdiffusion.methods.csrd.method import based
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.training.residual import conditions
from petdiffusion.training.settings import TrainSettings
from support.tiny_bank import write_dataset

NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4}  # fmt: skip
CHANGES = {"network": NETWORK, "base": "anatomical"}
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


def test_the_base_is_the_anatomical_filters_image(dataset):
    seen = residual_case(scan(dataset), "anatomical", 6.0)
    low = read.image(dataset / "p0" / "pet.nii.gz", "pet")
    filtered = denoise(low, method="anatomy", mr=read.image(dataset / "p0" / "ct.nii.gz", "mr"), **SETTINGS)
    np.testing.assert_allclose(seen.base, filtered.pet.array, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(seen.base, seen.white.base)


def test_without_an_mr_it_is_the_filtered_scan_as_ever(dataset):
    alone = scan(dataset, mr=False)
    assert averaged(alone, Run()) is None
    one, other = (residual_case(alone, base, 6.0) for base in ("anatomical", "filtered"))
    np.testing.assert_array_equal(one.base, other.base)
    assert torch.equal(one.conditions.images, other.conditions.images)


@pytest.mark.parametrize("mr", [True, False])
def test_inference_sees_what_training_saw(dataset, data, mr):
    patient = data.train[0]
    batch = {k: v.float()[None, None] for k, v in {**patient.images, **patient.scans[0].images}.items()}
    batch |= {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    task = Unet3dTask(changes={**CHANGES, "drop_anatomy": 0.0 if mr else 1.0})
    batch = task.without_some_anatomy(batch, torch.Generator())
    trained = conditions({**batch, "coordinates": torch.zeros(1, 3, *batch["low"].shape[2:])})
    hidden = scan(dataset, mr)
    if not mr:
        hidden = case.build(hidden.pet)
    found = residual_case(hidden, "anatomical", 6.0)
    assert (found.conditions.images[:, :4] - trained.images[:, :4]).abs().mean() < 0.03
    assert (torch.from_numpy(found.base.copy()) - task.base(batch)[0, 0]).abs().mean() < 0.02


def test_patients_with_and_without_an_mr_share_a_batch(data):
    with_mr, without = data.train
    assert set(with_mr.scans[0].images) == set(without.scans[0].images)
    found, other = (p.scans[0].images for p in (with_mr, without))
    assert not torch.equal(found["base"], found["base_alone"]) and torch.equal(other["base"], other["base_alone"])


def test_a_diffusion_on_a_regression_starts_from_the_regressions_own_base(dataset, data, tmp_path, monkeypatch):
    train(Unet3dTask(changes=CHANGES), data, SETTINGS_OF_TRAINING, tmp_path / "training")
    export(tmp_path / "training", tmp_path, "on-anatomy", FACTS)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path))
    task = CsrdTask(changes={"network": NETWORK, "base": "regression", "regression": "on-anatomy"})
    prepared = scan(dataset)
    found, spent = based(prepared, task.settings, Run())
    ours = denoise(prepared.pet, method="unet-3d", model="on-anatomy", ct=prepared.ct, mr=prepared.mr)
    np.testing.assert_allclose(found.base, ours.pet.array, atol=1e-5)
    assert spent == 2
    bank = load_bank(dataset, task.derive, SETTINGS_OF_TRAINING, Run())
    stored = bank.train[0].scans[0].images["base"].float().numpy()
    assert np.abs(stored - found.base).mean() < 0.02
