"""CSRD on what a regression leaves: the base is the regression's image, in training and at work alike."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import denoise, read
from petdiffusion.errors import ModelError
from petdiffusion.infer.regression import named
from petdiffusion.methods.csrd.method import based
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.training.residual import conditions
from petdiffusion.training.settings import TrainSettings
from safetensors.torch import load_file, save_file
from support.tiny_bank import write_dataset

REGRESSION = "unet3d-body"
CHANGES = {
    "network": {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
                "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4},
    "base": "regression", "regression": REGRESSION,
}  # fmt: skip
FACTS = {"summary": "a test", "training_data": "made up", "data_licence": "none", "licence": "Apache-2.0",
         "tracers": ["FDG"], "voxel_mm": [4.0, 5.0], "dose_fractions": [0.1, 0.1], "intended_use": "tests",
         "limits": "all"}  # fmt: skip
SETTINGS = TrainSettings(steps=2, batch=2, patch=16, validate_every=2, precision="32-true")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def task():
    return CsrdTask(changes=CHANGES)


@pytest.fixture(scope="module")
def data(dataset, task):
    return load_bank(dataset, task.derive, SETTINGS, Run())


@pytest.fixture(scope="module")
def model(task, data, tmp_path_factory):
    """A model whose network says that nothing is left: what remains is the regression."""
    folder = tmp_path_factory.mktemp("model")
    train(task, data, SETTINGS, folder / "training")
    path = export(folder / "training", folder, "nothing-left", FACTS)
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    from petdiffusion.zoo.store import sha256

    path.with_suffix(".json").write_text(json.dumps({**card, "sha256": sha256(path)}), encoding="utf-8")
    return path


def scan(dataset, ct=True):
    low, anatomy = (read.image(dataset / "p0" / f"{n}.nii.gz", r) for n, r in (("pet", "pet"), ("ct", "ct")))
    return low, anatomy if ct else None


@pytest.mark.parametrize("ct", [True, False])
def test_inference_sees_what_training_saw(dataset, task, data, ct):
    patient = data.train[0]
    batch = {k: v.float()[None, None] for k, v in {**patient.images, **patient.scans[0].images}.items()}
    batch |= {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    if not ct:
        hides = replace(task.settings, drop_anatomy=1.0)
        batch = type(task)(changes={**CHANGES, "drop_anatomy": hides.drop_anatomy}).without_some_anatomy(
            batch, torch.Generator()
        )
    trained = conditions({**batch, "coordinates": torch.zeros(1, 3, *batch["low"].shape[2:])})
    found, spent = based(case.build(*scan(dataset, ct)), task.settings, Run())
    assert spent == 2
    assert (found.conditions.images[:, :4] - trained.images[:, :4]).abs().mean() < 0.03
    scale = found.white.scale[None, None]
    assert (torch.from_numpy(found.base) - task.base(batch)[0, 0]).div(torch.from_numpy(scale)).abs().mean() < 0.03


def test_hiding_the_anatomy_changes_the_base(task, data):
    batch = data.batch(0, 0)
    hidden = CsrdTask(changes={**CHANGES, "drop_anatomy": 1.0}).without_some_anatomy(batch, torch.Generator())
    assert torch.equal(hidden["base"], batch["base_alone"]) and not torch.equal(batch["base"], batch["base_alone"])
    kept = CsrdTask(changes={**CHANGES, "drop_anatomy": 0.0}).without_some_anatomy(batch, torch.Generator())
    assert torch.equal(kept["base"], batch["base"])


def test_where_nothing_is_left_the_mean_is_the_regressions_image(dataset, model):
    low, ct = scan(dataset)
    ours = denoise(low, method="csrd", model=str(model), ct=ct, samples=0)
    theirs = denoise(low, method="unet-3d", model=REGRESSION, ct=ct)
    np.testing.assert_allclose(ours.pet.array, theirs.pet.array, atol=1e-4)
    assert ours.record["details"]["evaluations"] == 4


def test_another_regression_than_the_one_trained_with_is_refused():
    card = named(REGRESSION).card
    assert named(REGRESSION, card.sha256, card.config["base_fwhm_mm"]).card.id == REGRESSION
    with pytest.raises(ModelError, match="was trained with 0000"):
        named(REGRESSION, "0" * 64)
    with pytest.raises(ModelError, match=r"3\.0 mm"):
        named(REGRESSION, card.sha256, 3.0)


@pytest.mark.parametrize("wrong", [{"base": "regression", "regression": ""}, {"base": "filtered"}])
def test_base_and_regression_go_together(wrong):
    with pytest.raises(ModelError, match="do not go together"):
        CsrdTask(changes={**CHANGES, **wrong})
