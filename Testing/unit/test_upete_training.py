"""uPETe learns from normal-dose scans alone: low-count images are never opened, and change nothing."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import read
from petdiffusion.cli import main
from petdiffusion.errors import TrainingError
from petdiffusion.methods.upete import parts, perturb
from petdiffusion.methods.upete.config import CONFIGS
from petdiffusion.methods.upete.task import UpeteTask
from petdiffusion.progress import Run
from petdiffusion.training.checkpoint import STATE
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from safetensors.torch import load_file
from support.tiny_bank import same, write_dataset
from support.tiny_models import LATENT

SMALL = {"network": LATENT}
FAST = {"perceptual": 0.0}


def settings(**changes):
    return TrainSettings(
        **{"steps": 2, "batch": 2, "patch": 16, "validate_every": 2, "precision": "32-true", **changes}
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETDIFFUSION_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def trained(dataset, folder, config="compact", changes=SMALL, origin=None):
    task = UpeteTask(config, changes=changes)
    train(task, task.load([dataset], settings(), Run()), settings(), folder, origin=origin)
    return load_file(folder / STATE)


def test_no_low_count_image_is_opened(dataset, monkeypatch):
    opened = []
    image = read.image
    monkeypatch.setattr(read, "image", lambda path, *a, **k: opened.append(path.name) or image(path, *a, **k))
    data = UpeteTask(changes=SMALL).load([dataset], settings(), Run())
    assert sorted(opened) == ["ct.nii.gz"] * 3 + ["reference.nii.gz"] * 3 and data.skipped == 0
    assert set(data.batch(0, 0)) == {"normal", "noise", "scale", "ct", "lesions", "own", "voxel_mm"}


def test_weights_do_not_depend_on_low_count_images(dataset, tmp_path):
    """The same data set with rubbish in place of every low-count image, then with none: the very same weights."""
    other = write_dataset(tmp_path / "other")
    for number, file in enumerate(sorted(other.glob("*/pet.*"))):
        file.write_bytes(b"rubbish") if number % 2 else file.unlink()
    assert same(trained(dataset, tmp_path / "one"), trained(other, tmp_path / "two"))


def test_test_patients_are_refused(dataset, tmp_path):
    other = shutil.copytree(dataset, tmp_path / "other")
    rows = list(csv.DictReader((other / "manifest.csv").open()))
    rows[0]["split"] = "test"
    with (other / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(TrainingError):
        UpeteTask(changes=SMALL).load([other], settings(), Run())


def test_batches_depend_on_seed_and_step_alone_and_noise_has_level_one(dataset):
    task = UpeteTask(changes=SMALL)
    data = task.load([dataset], settings(), Run())
    assert same(data.batch(3, 0), data.batch(3, 0)) and not same(data.batch(3, 0), data.batch(4, 0))
    task.calibrate(data.validation())
    c = task.settings
    assert c.normal_level > 0 and c.sigma_data > 0 and 0.5 < c.latent_noise < 4
    assert all(scan.images["noise"].float().std() > 0 for scan in data.train)


def test_the_autoencoder_comes_first_and_the_diffusion_leaves_it_alone(dataset, tmp_path):
    first = trained(dataset, tmp_path / "ae", "autoencoder", FAST)
    assert any(name.startswith("network.discriminator.") for name in first)
    moved = [n for n in first if n.startswith("network.autoencoder.kl.decoder") and first[n].abs().sum() > 0]
    assert moved
    then = trained(dataset, tmp_path / "diffusion", origin=str(tmp_path / "ae"))
    assert not any("discriminator" in name for name in then)
    for name in then:
        if name.startswith("network.autoencoder."):
            assert torch.equal(then[name], first[name.replace("network.", "average.module.", 1)]), name
    smaller = {**SMALL, "autoencoder": {"f": 2, "latent": 4, "channels": (4, 8)}}
    with pytest.raises(TrainingError):
        trained(dataset, tmp_path / "wrong", changes=smaller, origin=str(tmp_path / "ae"))


def test_half_of_a_batch_is_poisson_half_gaussian_and_the_ct_is_withheld_at_random(dataset):
    task = UpeteTask(changes={**SMALL, "drop_ct": 0.5})
    data = task.load([dataset], settings(batch=64, patch=8), Run())
    task.calibrate(data.validation())
    network, batch = task.network(), data.batch(0, 0)
    kind = task._kinds(batch["own"], range(len(batch["own"])))
    assert kind.tolist() == [parts.POISSON, parts.GAUSSIAN] * 32
    told = task._told(network, batch, kind, torch.Generator().manual_seed(0))
    there = told.images[:, -1].flatten(1)[:, 0]
    assert 16 < int(there.sum()) < 48 and torch.equal(told.vector[:, 1], kind)
    z0 = network(batch["normal"], part="encode")[0].detach()
    g = torch.full((64,), 0.2)
    z = task.noised(network, batch, z0, g, kind, torch.Generator().manual_seed(0)).detach()
    white = (z - z0)[1::2]
    assert float(white.std()) == pytest.approx(0.2 * task.settings.latent_noise, rel=0.1)
    flat = white.flatten(2)
    assert abs(float((flat[..., 1:] * flat[..., :-1]).mean() / flat.square().mean())) < 0.1, "white along x"


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 1), (3, 1), (1, 2), (2, 1)])
def test_both_noises_come_in_turn_however_small_the_batches(dataset, tmp_path, batch, accumulate):
    class Noted(UpeteTask):
        def _kinds(self, *of):
            dealt.append(super()._kinds(*of).tolist())
            return torch.tensor(dealt[-1])

        def judge(self, network, batch):
            return {"denoised": batch["normal"]}

    dealt, chosen = [], settings(steps=2, batch=batch, accumulate=accumulate)
    task = Noted(changes=SMALL)
    train(task, task.load([dataset], chosen, Run()), chosen, tmp_path / "t")
    assert len(dealt) == 2 * accumulate
    wanted = [parts.POISSON, parts.GAUSSIAN] * 6
    assert [kind for kinds in dealt for kind in kinds] == wanted[: 2 * batch * accumulate]


def test_the_command_line_trains_and_exports_a_model_that_runs(dataset, tmp_path):
    base = ["train", "upete", "--data", str(dataset), "--steps", "1", "--set", "batch=1", "--set", "patch=16",
            "--set", "precision=32-true", "--quiet"]  # fmt: skip
    small = ["--change", f"network={json.dumps(LATENT)}"]
    assert main([*base, "--config", "autoencoder", "--change", "perceptual=0.0", "--out", str(tmp_path / "ae")]) == 0
    assert main([*base, *small, "--from", str(tmp_path / "ae"), "--out", str(tmp_path / "diffusion")]) == 0
    facts = {
        name: "tests" for name in ("summary", "training_data", "data_licence", "licence", "intended_use", "limits")
    }
    facts |= {"tracers": ["FDG"], "voxel_mm": [1, 9], "dose_fractions": [0.01, 1]}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    assert main(["export", str(tmp_path / "diffusion"), "--id", "one", "--facts", str(tmp_path / "facts.json"),
                 "--out", str(tmp_path / "models")]) == 0  # fmt: skip
    out = tmp_path / "denoised"
    assert main(["denoise", str(dataset / "p0" / "pet.nii.gz"), "--method", "upete", "--model",
                 str(tmp_path / "models" / "one.safetensors"), "--option", "samples=0", "--no-report", "--quiet",
                 "--out", str(out)]) == 0  # fmt: skip
    record = json.loads((out / "record.json").read_text())
    assert record["details"]["model"] == "one" and np.isfinite(record["details"]["noise_level"])


@pytest.mark.parametrize("t", [1, 20, 120, 400])
def test_without_a_filter_no_step_rules_the_training(t):
    """A network that says nothing leaves the latent's best share of z: of its error sd^2 / (sd^2 + sigma^2) in units of
    the noise, 1 at most. As sigma F alone it would be sd^2 / sigma^2, 150 000 times as much at t = 1 as at t = 400."""
    sd, config = 1.4, replace(CONFIGS["paper"], normal_level=0.06, sigma_data=1.4, latent_noise=1.9)
    sigma = perturb.strength(torch.tensor([float(t)]), config) * config.latent_noise
    random = torch.Generator().manual_seed(0)
    z0, noise = (torch.randn(1, 8, 16, 16, 16, generator=random) for _ in range(2))
    cond = parts.told(torch.full((1, 1, 64, 64, 64), torch.nan), torch.tensor([4.0]), torch.zeros(1), 4)
    D = parts.LatentDenoiser(lambda seen, level, **_: torch.zeros_like(seen[:, :8]), config)
    error = D(sd * z0 + sigma * noise, sigma, cond) - sd * z0
    assert float((error / sigma).square().mean()) == pytest.approx(float(sd**2 / (sd**2 + sigma**2)), rel=0.05)
