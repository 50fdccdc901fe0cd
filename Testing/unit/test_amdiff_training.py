"""AMDiff's training: patches with labels, balanced by lesion; what is derived stays derived; from files to a model."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import read, registry
from petdiffusion.diffusion.schedules import cosine_alpha_bar, sigma_of
from petdiffusion.errors import OptionError
from petdiffusion.methods.amdiff import data, parts
from petdiffusion.methods.amdiff.config import CONFIGS
from petdiffusion.methods.amdiff.data import LabelledBank, cropped, grouped, lesion_voxels
from petdiffusion.methods.amdiff.task import AmdiffTask, DenoiserTask, NnmambaTask, mean_estimate
from petdiffusion.methods.amdiff.units import units_of
from petdiffusion.progress import Run
from petdiffusion.training.export import export
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.training.validation import score
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import labels
from support import tiny_models
from support.blobs import blobs
from support.tiny_bank import same, write_labelled

SMALL = {"network": tiny_models.NETWORK, "segmenter": tiny_models.SEGMENTER, "warm_from": 0.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two training patients, one of them without organ labels, and one for validation."""
    return write_labelled(tmp_path_factory.mktemp("labelled"), unknown=(1,))


def settings(**changes):
    return TrainSettings(**{"steps": 4, "batch": 2, "patch": 16, "precision": "32-true", **changes})


def bank(dataset, **changes) -> LabelledBank:
    return AmdiffTask(changes=SMALL).load([dataset], settings(**changes), Run())


def test_batches_depend_on_seed_step_and_rank_alone(dataset):
    one, other = bank(dataset), bank(dataset)
    assert same(one.batch(3, 0), other.batch(3, 0))
    assert not same(one.batch(3, 0), one.batch(2, 0)) and not same(one.batch(3, 0), one.batch(3, 1))


def test_the_part_done_goes_from_0_to_1(dataset):
    drawn = bank(dataset)
    assert [float(drawn.batch(step, 0)["done"][0]) for step in (0, 3)] == [0.0, 1.0]


def test_minutes_leave_the_warm_up_without_an_end(dataset):
    with pytest.raises(OptionError, match="--steps"):
        AmdiffTask(changes=SMALL).load([dataset], TrainSettings(minutes=1.0), Run())


def test_organs_come_grouped_and_unknown_ones_are_said(dataset):
    known, unknown = bank(dataset).train
    assert set(np.unique(known.patient.images["organs"])) == {0, 1} and known.known
    assert set(np.unique(unknown.patient.images["organs"])) == {255} and not unknown.known


def test_patients_of_two_data_sets_without_ids_keep_their_own_labels(dataset, tmp_path):
    """Both manifests number their rows from 0."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        shutil.copytree(dataset, folder)
        rows = list(csv.DictReader((folder / "manifest.csv").open()))
        with (folder / "manifest.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [name for name in rows[0] if name != "id"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    named = read.labels(one / "p0/organs.nii.gz")
    nothing = LabelMap(np.zeros_like(named.array), named.geometry, named.names)
    labels.write(nothing, other / "p0/organs.nii.gz", overwrite=True)
    both = AmdiffTask(changes=SMALL).load([one, other], settings(), Run()).train
    mine, others = both[0].patient, both[len(both) // 2].patient
    assert mine.id == others.id and mine.images["organs"].any() and not others.images["organs"].any()


def test_groups_are_those_of_the_paper():
    geometry = Geometry((5, 1, 1), (1.0, 1.0, 1.0))
    names = {10: "lung_upper_lobe_left", 30: "vertebrae_L2", 52: "aorta", 16: "trachea"}
    found = grouped(LabelMap(np.array([[[10, 30, 52, 16, 90]]]), geometry, names))  # 90 has no name: no organ's
    assert found.tolist() == [[[2, 3, 7, 0, 0]]]


def test_small_lesions_are_seen_as_often_as_large_ones():
    lesions = np.zeros((40, 40, 40), int)
    lesions[2, 2, 2], lesions[20:36, 20:36, 20:36] = 1, 2
    one = data.Labelled(None, lesion_voxels(lesions), True)
    rng = np.random.default_rng(0)
    centres = np.array([data._centre(one, 6, rng, 1.0) for _ in range(400)])
    assert 0.4 < (centres < 10).all(1).mean() < 0.6


def test_a_mask_without_numbers_is_taken_apart():
    lesions = np.zeros((9, 9, 9), int)
    lesions[1, 1, 1:3], lesions[6, 6, 6] = 1, 1
    assert sorted(len(v) for v in lesion_voxels(lesions)) == [1, 2]


def test_cropped_coordinates_stay_within_and_in_order():
    axis = torch.linspace(-0.4, 0.5, 5)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    for seed in range(30):
        found = cropped(grid, np.random.default_rng(seed))
        assert found.min() >= -1.001 and found.max() <= 1.001
        assert (found[0].diff(dim=0) > 0).all() and (found[2].diff(dim=2) > 0).all()


def test_brighter_patients_are_whitened_alike():
    """All uptake times f: base times f, scale times f, so what is diffused stays as it was."""
    batch = {name: torch.rand(1, 1, 4, 4, 4) + 0.5 for name in ("low", "base", "normal", "truth", "root")}
    numbers = {"level": torch.tensor([0.3]), "root_mean": torch.tensor([1.0]), "floor": torch.tensor([0.1])}
    config = CONFIGS["compact"]
    before = units_of({**batch, **numbers}, config).forward(batch["normal"])
    data._brightened(batch, numbers, 1.2)
    after = units_of({**batch, **numbers}, config).forward(batch["normal"])
    torch.testing.assert_close(before, after)
    assert float(numbers["floor"]) == pytest.approx(0.12)


def losses_of(dataset, changes, steps=1, done=1.0):
    task = AmdiffTask(changes={**SMALL, "sigma_data": 1.0, **changes})
    torch.manual_seed(0)
    network, batch = task.network(), bank(dataset).batch(1, 0)
    batch["done"] = torch.full_like(batch["done"], done)
    loss = task.loss(network, batch, torch.Generator().manual_seed(0))
    loss.backward()
    reached = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    return float(loss.detach()), reached


def test_before_e_T_only_the_denoiser_learns(dataset):
    _, early = losses_of(dataset, {"warm_from": 0.5}, done=0.4)
    _, late = losses_of(dataset, {"warm_from": 0.5}, done=0.6)
    assert early and all(name.startswith("denoiser.") for name in early)
    assert {name.split(".")[0] for name in late} == {"denoiser", "revision", "segmenter"}


def test_every_ablation_changes_the_loss(dataset):
    whole, _ = losses_of(dataset, {})
    for changes in ({"lesion_regulariser": 0.0}, {"organ_regulariser": 0.0}, {"revision": False}, {"dice": "printed"}):
        assert losses_of(dataset, changes)[0] != whole, changes


def test_the_papers_form_learns_too(dataset):
    """epsilon, L1, the image itself, P_HC at whatever step was drawn."""
    network = {**tiny_models.NETWORK, "condition_channels": 1, "vector": 0}
    loss, reached = losses_of(dataset, {"network": network, "base": "none", "predict": "epsilon", "power": 1,
                                        "mean_share": 0.0, "sigma_top": 1e9})  # fmt: skip
    assert np.isfinite(loss) and any(name.startswith("segmenter.") for name in reached)


@pytest.mark.parametrize("t", [1, 125, 250])
def test_the_papers_loss_is_eq_3_at_every_step(monkeypatch, t):
    """A network that says no noise is wrong by all of it, |epsilon| in the mean, and learns at every voxel."""
    task, noise = AmdiffTask("paper", {"warm_from": 1.0}), torch.randn(1, 1, 6, 6, 6)
    sigma, said = sigma_of(cosine_alpha_bar(250))[t - 1 : t].float(), torch.zeros_like(noise, requires_grad=True)
    monkeypatch.setattr(task, "_noised", lambda x, *_: (sigma, x + sigma * noise, torch.zeros(1, dtype=torch.bool)))
    batch = {"low": torch.zeros_like(noise), "normal": 3 * torch.rand_like(noise), "done": torch.zeros(1)}
    loss = task.loss(lambda *_, **__: said, batch, torch.Generator())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(noise.abs().mean()), rel=1e-3)
    torch.testing.assert_close(said.grad * noise.numel(), -noise.sign())


def test_the_papers_form_is_judged_where_its_answer_counts():
    """From pure noise at t = T an error of a hundredth of the noise's SD would be one of more than 10 SUV."""
    config, suv = CONFIGS["paper"], 8 * torch.rand(1, 1, 6, 6, 6)
    every, wrong = cosine_alpha_bar(config.T), 0.01 * torch.randn(suv.shape)

    def nearly_right(z, t, **_):
        bar = float(every[round(float(t)) - 1])
        return (z - bar**0.5 * (suv / 10 - 1)) / (1 - bar) ** 0.5 + wrong

    batch = {"low": suv, "normal": suv}
    found = mean_estimate(nearly_right, batch, units_of(batch, config), config)
    assert 0.01 < float((found - suv).square().mean().sqrt()) < 0.2


@pytest.mark.parametrize(("batch", "accumulate", "steps", "means"), [
    (1, 1, 8, [1, 1, 1, 0, 1, 1, 1, 0]), (2, 1, 4, [2, 1, 2, 1]), (4, 1, 3, [3, 3, 3]), (8, 1, 1, [6]),
    (1, 4, 2, [1, 1, 1, 0, 1, 1, 1, 0])])
def test_a_quarter_of_the_patches_is_diffused_however_small_the_batches(
    dataset, tmp_path, monkeypatch, batch, accumulate, steps, means
):
    trust, told = parts.trust, []
    monkeypatch.setattr(parts, "trust", lambda sigma, alone, c: told.append(alone.tolist()) or trust(sigma, alone, c))
    chosen = settings(steps=steps, batch=batch, accumulate=accumulate, validate_every=100)
    job = DenoiserTask(changes={"network": tiny_models.NETWORK, "sigma_data": 1.0})
    patients = job.load([dataset], chosen, Run())
    patients.validation(1)
    train(job, patients, chosen, tmp_path / "t", Run(device="cpu"))
    assert [sum(alone) for alone in told] == means
    assert all(sorted(alone, reverse=True) == alone for alone in told), "the first ones of a batch"


@pytest.mark.parametrize("task", [AmdiffTask, DenoiserTask, NnmambaTask])
def test_from_files_to_a_model_that_runs(dataset, tmp_path, monkeypatch, task):
    changes = {k: v for k, v in SMALL.items() if task is not DenoiserTask or k != "segmenter"}
    job = task(changes=changes)
    patients = job.load([dataset], settings(steps=2, validate_every=2), Run())
    patients.validation(1)
    train(job, patients, settings(steps=2, validate_every=2), tmp_path / "t", Run(device="cpu"))
    log = next(csv.DictReader((tmp_path / "t" / "log.csv").open()))
    assert ("dice_organs" in log) == (task is not DenoiserTask)
    facts = {k: v for k, v in tiny_models.CARD.items() if k != "version"}
    export(tmp_path / "t", tmp_path / "models", "one", facts)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "models"))
    card = registry.card(job.method)
    output = card.load()(blobs().case(), card.resolve({"samples": 0}), Run(model="one"))
    assert (output.organs is not None) == (task is not DenoiserTask)


def test_dice_in_the_log_is_dice():
    def judge(batch):
        return {"denoised": batch["normal"], "overlap_organs": torch.tensor([[3.0, 4, 5], [0, 0, 0], [1, 2, 2]])}

    batch = {"normal": torch.rand(1, 1, 4, 4, 4)}
    assert score(judge, [batch, batch])["dice_organs"] == pytest.approx((6 / 9 + 2 / 4) / 2)


def test_changes_reach_the_config():
    assert AmdiffTask(changes={"revision": False}).settings == replace(CONFIGS["compact"], revision=False)

