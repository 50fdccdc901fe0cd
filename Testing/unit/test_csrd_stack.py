"""A regression's image and the average within the MR's tissues, put together with a weight that goes by sharpness."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion import denoise, read
from petdiffusion.errors import ModelError
from petdiffusion.infer import tissue
from petdiffusion.infer.tissue import SETTINGS, averaged, scan_width, stacked, weight_at
from petdiffusion.methods.csrd.config import CsrdConfig
from petdiffusion.methods.csrd.method import based
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.prepare import case
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.settings import TrainSettings
from petdiffusion.volume import SUVBW, Geometry, Volume
from scipy.ndimage import gaussian_filter
from support.tiny_bank import write_dataset

POINTS = ((3.0, 0.5), (5.0, 0.1))
NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4}  # fmt: skip
ON_REGRESSION = {"network": NETWORK, "base": "regression", "regression": "unet3d-body"}
SETTINGS_OF_TRAINING = TrainSettings(steps=1, batch=2, patch=16, validate_every=1, precision="32-true")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The first patient's CT serves as its MR; the others have none."""
    folder = write_dataset(tmp_path_factory.mktemp("dataset"))
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "mr"])
        writer.writeheader()
        writer.writerows({**row, "mr": "p0/ct.nii.gz" if row["id"] == "p0" else ""} for row in rows)
    return folder


def scan(dataset, mr=True):
    low, ct = (read.image(dataset / "p0" / f"{n}.nii.gz", r) for n, r in (("pet", "pet"), ("ct", "ct")))
    return case.build(low, ct, read.image(dataset / "p0" / "ct.nii.gz", "mr") if mr else None)


@pytest.mark.parametrize(("width", "weight"), [(1.0, 0.5), (3.0, 0.5), (4.0, 0.3), (4.5, 0.2), (9.0, 0.1), (None, 0.1)])
def test_weights_between_and_beyond_the_points(width, weight):
    assert weight_at(POINTS, width) == pytest.approx(weight)


def test_put_together_by_hand(dataset, monkeypatch):
    prepared = scan(dataset)
    image = prepared.pet.array * 0.5
    filtered = denoise(prepared.pet, method="anatomy", mr=prepared.mr, **SETTINGS).pet.array
    np.testing.assert_allclose(averaged(prepared, Run()), filtered, rtol=1e-5, atol=1e-5)
    for width, weight in ((3.0, 0.5), (6.0, 0.1)):
        monkeypatch.setattr(tissue, "scan_width", lambda case, guide, width=width: width)
        found = stacked(prepared, image, POINTS, Run())
        np.testing.assert_allclose(found, (1 - weight) * image + weight * filtered, atol=1e-4)


def test_nothing_changes_without_an_mr_or_without_points(dataset):
    alone, with_mr = scan(dataset, mr=False), scan(dataset)
    for prepared, points in ((alone, POINTS), (with_mr, ()), (with_mr, ((3.0, 0.04),))):
        assert stacked(prepared, prepared.pet.array, points, Run()) is prepared.pet.array


@pytest.mark.parametrize("fwhm", [4.0, 8.0])
def test_the_scans_own_sharpness_decides_not_the_guides(fwhm):
    z, y, x = (np.arange(n) - n / 2 + 0.3 for n in (60, 60, 60))
    distance = np.sqrt((z[:, None, None] * 2) ** 2 + (y[:, None] * 2) ** 2 + (x * 2) ** 2)
    sharp = np.clip((45 - distance) / 2 + 0.5, 0, 1).astype(np.float32)
    pet = Volume(gaussian_filter(sharp, fwhm / 2.3548 / 2), Geometry((60, 60, 60), (2.0, 2.0, 2.0)), SUVBW)
    found = scan_width(case.build(pet), gaussian_filter(sharp, 2.0))
    assert found == pytest.approx(np.hypot(fwhm, 2.0 * 0.68), abs=0.8)


@pytest.mark.parametrize("mr", [True, False])
def test_inference_and_training_refer_to_the_same_base(dataset, mr):
    task = CsrdTask(changes={**ON_REGRESSION, "stack": ((0.0, 0.4), (50.0, 0.4))})
    prepared = scan(dataset, mr)
    prepared = prepared if mr else case.build(prepared.pet)
    found, spent = based(prepared, task.settings, Run())
    plain, _ = based(prepared, replace(task.settings, stack=()), Run())
    wanted = plain.base + 0.4 * (averaged(prepared, Run()) - plain.base) if mr else plain.base
    np.testing.assert_allclose(found.base, wanted, atol=1e-4)
    assert spent == 2
    images = load_bank(dataset, task.derive, SETTINGS_OF_TRAINING, Run()).train[0].scans[0].images
    ours, other = (images[name].float().numpy() for name in (("base", "base_alone") if mr else ("base_alone", "base")))
    assert np.abs(ours - found.base).mean() < 0.25 * np.abs(other - found.base).mean()


@pytest.mark.parametrize("stack", [((5.0, 0.1), (3.0, 0.5)), ((3.0, 1.5),), ((3.0, -0.1),)])
def test_points_that_make_no_sense_are_refused(stack):
    with pytest.raises(ModelError, match="by rising width"):
        CsrdConfig.from_json({"stack": stack})
