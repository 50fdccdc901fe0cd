"""Training: batches that depend on the step alone, exact resume, data that may not be trained on, export."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from petdiffusion.errors import ModelError, OptionError, TrainingError
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.progress import Run
from petdiffusion.training import manifest
from petdiffusion.training.average import moving_average
from petdiffusion.training.bank import load_bank
from petdiffusion.training.checkpoint import STATE
from petdiffusion.training.export import export
from petdiffusion.training.loop import Batches, train
from petdiffusion.training.origins import begin_from, name_of
from petdiffusion.training.patches import coordinates
from petdiffusion.training.residual import conditions
from petdiffusion.training.settings import TrainSettings
from safetensors.torch import load_file
from support.line import Line, Points
from support.tiny_bank import same, write_dataset

SMALL = {"network": {"channels": 8, "multipliers": (1, 2), "blocks": 1, "resample": "light", "attention": False,
                     "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 7, "vector": 4}}  # fmt: skip
FACTS = {"summary": "a test", "training_data": "made up", "data_licence": "none", "licence": "Apache-2.0",
         "tracers": ["FDG"], "voxel_mm": [4.0, 5.0], "dose_fractions": [0.1, 0.1], "intended_use": "tests",
         "limits": "all"}  # fmt: skip


def settings(**changes):
    return TrainSettings(
        **{"steps": 6, "batch": 2, "patch": 16, "validate_every": 3, "precision": "32-true", **changes}
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def bank(dataset, task, **changes):
    return load_bank(dataset, task.derive, settings(**changes), Run())


def test_a_batch_depends_on_seed_step_and_rank_alone(dataset):
    data = bank(dataset, CsrdTask(changes=SMALL))
    assert same(data.batch(5, 0), bank(dataset, CsrdTask(changes=SMALL)).batch(5, 0))
    for other in (data.batch(6, 0), data.batch(5, 1), bank(dataset, CsrdTask(changes=SMALL), seed=1).batch(5, 0)):
        assert not same(data.batch(5, 0), other)


def test_a_mirrored_patch_has_the_coordinates_of_the_mirrored_patient(dataset):
    """In a mirrored patient x of every voxel is the opposite of what it was: found by the CT's own left-right slope."""
    data = bank(dataset, CsrdTask(changes=SMALL))
    for patient in data.train:
        ramp = torch.linspace(-1, 1, patient.images["ct"].shape[2])
        patient.images["ct"] = ramp.half().expand_as(patient.images["ct"]).clone()
    signs = set()
    for step in range(10):
        batch = data.batch(step, 0)
        for ct, places in zip(batch["ct"][:, 0], batch["coordinates"]):
            sign = 1 if ct[0, 0, -1] > ct[0, 0, 0] else -1
            assert torch.allclose(ct * sign, places[2], atol=2e-3)
            signs.add(sign)
    assert signs == {1, -1}


def test_a_patch_wider_than_a_mirrored_patient_goes_on_at_its_far_end():
    """The image lies where it would lie unmirrored; what is beyond its end has coordinates beyond 1."""
    shape, corner = np.array([20, 20, 5]), np.array([4, 4, 0])
    assert torch.equal(coordinates(shape, corner, 8, True), coordinates(shape, corner, 8, False))
    assert coordinates(shape, corner, 8, True)[2, 0, 0, :5].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_validation_patients_are_never_trained_on_and_test_patients_are_refused(dataset, tmp_path):
    data = bank(dataset, CsrdTask(changes=SMALL))
    assert [p.id for p in data.train] == ["p0", "p1"] and [p.id for p in data.valid] == ["p2"]
    with pytest.raises(TrainingError, match="is a test patient"):
        bank(write_dataset(tmp_path / "with-test", ("train", "test")), CsrdTask(changes=SMALL))


def test_a_patient_cannot_be_in_two_splits(tmp_path):
    file = tmp_path / "manifest.csv"
    file.write_text("pet,reference,split\na.nii.gz,normal.nii.gz,train\nb.nii.gz,normal.nii.gz,validation\n")
    with pytest.raises(TrainingError, match=r"in several splits \(train, validation\)"):
        manifest.groups(file)


def test_a_damaged_scan_is_skipped_with_a_count_and_an_empty_set_refused(tmp_path):
    folder = write_dataset(tmp_path / "damaged", ("train", "train"))
    (folder / "p1" / "pet.nii.gz").write_bytes(b"garbage")
    run = Run()
    data = load_bank(folder, CsrdTask(changes=SMALL).derive, settings(), run)
    assert data.skipped == 1 and len(data.train) == 1 and "p1" in run.warnings[0]
    (folder / "p0" / "reference.nii.gz").write_bytes(b"garbage")
    with pytest.raises(TrainingError, match="no patient to train on"):
        load_bank(folder, CsrdTask(changes=SMALL).derive, settings(), Run())


@pytest.mark.parametrize("task", [CsrdTask, Unet3dTask])
def test_a_stopped_training_goes_on_to_the_very_same_weights(dataset, tmp_path, task):
    def go(folder, stop_at=None):
        made = task(changes=SMALL)
        run = Run()
        if stop_at:
            steps = iter(range(stop_at))
            run.report = lambda event: (
                None if event["event"] != "progress" or next(steps, None) is not None else (run.cancelled.set())
            )
        data = bank(dataset, made)
        try:
            train(made, data, settings(), folder, run)
        except Exception as error:
            assert "Stopped" in str(error) and stop_at
        return {name: weights.clone() for name, weights in load_file(tmp_path / folder / STATE).items()}

    whole = go(tmp_path / "whole")
    broken = go(tmp_path / "broken", stop_at=3)
    assert not same(whole, broken)
    assert same(whole, go(tmp_path / "broken"))


def test_the_loss_falls_and_the_log_and_plan_explain_the_training(dataset, tmp_path):
    task = Unet3dTask(changes=SMALL)
    folder = train(
        task,
        bank(dataset, task, steps=60, validate_every=20, learning_rate=3e-3, warmup_steps=5),
        settings(steps=60, validate_every=20, learning_rate=3e-3, warmup_steps=5),
        tmp_path / "t",
    )
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_low"]) + 1
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["data"]["training_patients"] == ["p0", "p1"] and plan["settings"]["steps"] == 60


def test_another_config_or_a_finished_folder_is_refused(dataset, tmp_path):
    task = Unet3dTask(changes=SMALL)
    folder = train(task, bank(dataset, task, steps=2), settings(steps=2), tmp_path / "t")
    with pytest.raises(TrainingError, match="another config"):
        other = Unet3dTask(changes={**SMALL, "base_fwhm_mm": 9.0})
        train(other, bank(dataset, other), settings(), folder)
    with pytest.raises(TrainingError, match="holds a training already"):
        train(task, bank(dataset, task), settings(), folder, resume=False)
    (folder / STATE).write_bytes(b"garbage")
    with pytest.raises(TrainingError, match="does not fit"):
        train(task, bank(dataset, task), settings(), folder)


def test_a_loss_that_is_never_finite_ends_the_training(dataset, tmp_path):
    class Broken(Unet3dTask):
        def loss(self, network, batch, generator):
            return super().loss(network, batch, generator) * float("nan")

    task = Broken(changes=SMALL)
    with pytest.raises(TrainingError, match="not finite"):
        train(task, bank(dataset, task, steps=50), settings(steps=50), tmp_path / "t")


@pytest.mark.parametrize("wrong", [{}, {"steps": 1, "minutes": 1}, {"steps": 0}, {"steps": 1, "batch": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError):
        TrainSettings(**wrong)


@pytest.mark.parametrize(("name", "value", "why"), [
    ("batch", "abc", "is not a whole number"), ("batch", 2.5, "is not a whole number"), ("seed", -1, "below zero"),
    ("accumulate", 1.5, "is not a whole number"), ("patch", 16.5, "is not a whole number"),
    ("devices", 0, "above zero"),
    ("seed", 10**15, "too large"), ("learning_rate", float("nan"), "too large"), ("clip", 0, "above zero"),
    ("warmup_steps", -1, "below zero"), ("ema_decay", 1.0, "below 1"), ("batch", True, "is not a whole number")])
def test_a_setting_that_no_training_could_have_is_named(name, value, why):
    with pytest.raises(OptionError, match=f"{name} = {value}: .*{why}"):
        settings(**{name: value})


def test_the_least_settings_are_possible():
    least = {"seed": 0, "warmup_steps": 0, "weight_decay": 0, "ema_decay": 0, "checkpoint_minutes": 0}
    assert settings(**least).to_json().items() >= least.items()


def test_unknown_settings_and_configs_are_refused():
    with pytest.raises(OptionError, match="colour"):
        TrainSettings.from_json({"steps": 1, "colour": 2})
    with pytest.raises(ModelError, match="Base"):
        CsrdTask(changes={"base": "magic"})


def test_a_patch_of_the_channels_is_the_channels_of_the_patch(dataset):
    """Training sees patches, inference whole volumes: a voxel must look the same to the network in both."""
    data = bank(dataset, CsrdTask(changes=SMALL))
    patient = data.train[0]
    whole = {**patient.images, **patient.scans[0].images}
    numbers = {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    cut = (slice(3, 19), slice(5, 21), slice(6, 22))

    def channels_of(images):
        batch = {k: v.float()[None, None] for k, v in images.items()}
        shape = batch["low"].shape[2:]
        return conditions({**batch, **numbers, "coordinates": torch.zeros(1, 3, *shape)}).images[0]

    part = channels_of({k: v[cut] for k, v in whole.items()})
    torch.testing.assert_close(part, channels_of(whole)[(slice(None), *cut)])


def test_inference_sees_what_training_saw(dataset):
    """The same scan through the bank and through a prepared case gives the same channels and numbers."""
    from petdiffusion import read
    from petdiffusion.infer.residual import residual_case
    from petdiffusion.prepare import case

    data = bank(dataset, CsrdTask(changes=SMALL))
    patient = data.train[0]
    images = {k: v.float()[None, None] for k, v in {**patient.images, **patient.scans[0].images}.items()}
    numbers = {k: torch.tensor([v]) for k, v in patient.scans[0].numbers.items()}
    trained = conditions({**images, **numbers, "coordinates": torch.zeros(1, 3, *images["low"].shape[2:])})
    low, ct = (read.image(dataset / "p0" / f"{n}.nii.gz", r) for n, r in (("pet", "pet"), ("ct", "ct")))
    config = CsrdTask(changes=SMALL).settings
    seen = residual_case(case.build(low, ct), config.base, config.base_fwhm_mm).conditions
    assert (seen.images[:, :4] - trained.images[:, :4]).abs().mean() < 0.02
    torch.testing.assert_close(seen.vector, trained.vector, atol=0.05, rtol=0)


def test_images_elsewhere_or_without_a_unit_are_skipped(tmp_path):
    folder = write_dataset(tmp_path / "wrong", ("train", "train", "train"))
    shifted = sitk.ReadImage(str(folder / "p0" / "pet.nii.gz"))
    shifted.SetOrigin((100.0, 0.0, 0.0))
    sitk.WriteImage(shifted, str(folder / "p0" / "pet.nii.gz"))
    (folder / "p1" / "pet.json").unlink()
    run = Run()
    data = load_bank(folder, CsrdTask(changes=SMALL).derive, settings(), run)
    assert [p.id for p in data.train] == ["p2"] and data.skipped == 2
    assert "lies elsewhere" in run.warnings[0] and "no unit" in run.warnings[1]


@pytest.mark.parametrize(("origin", "name"), [("ddpm-2.5d-body", "ddpm-2.5d-body"),
                                              ("models/csrd-9.safetensors", "csrd-9"), (None, None)])  # fmt: skip
def test_a_models_name_is_kept_whole(origin, name):
    assert name_of(origin) == name


def test_patients_of_several_data_sets_are_trained_on_together(dataset, tmp_path):
    other = write_dataset(tmp_path / "other", ("train", "validation"), first=3)
    task = CsrdTask(changes=SMALL)
    data = load_bank([dataset, other / "manifest.csv"], task.derive, settings(), Run())
    assert [p.id for p in data.train] == ["p0", "p1", "p0"] and [p.id for p in data.valid] == ["p2", "p1"]


def test_a_training_can_begin_with_the_weights_of_another_or_of_a_model(dataset, tmp_path):
    first = Unet3dTask(changes=SMALL)
    folder = train(first, bank(dataset, first, steps=2), settings(steps=2), tmp_path / "first")
    model = export(folder, tmp_path / "models", "unet-tiny", FACTS)
    task = CsrdTask(changes=SMALL)
    network = task.network()
    begin_from(network, str(folder))
    learnt = {k.removeprefix("average.module."): v for k, v in load_file(folder / STATE).items()
              if k.startswith("average.module.")}  # fmt: skip
    assert same(network.state_dict(), learnt)
    begin_from(network, str(model))
    assert same(network.state_dict(), {k: v.half().float() for k, v in learnt.items()})
    second = train(task, bank(dataset, task, steps=1), settings(steps=1), tmp_path / "second", origin=str(folder))
    assert json.loads((second / "plan.json").read_text())["begun_from"] == "a training of unet-3d"
    with pytest.raises(TrainingError, match="do not fit this network"):
        begin_from(torch.nn.Linear(2, 2), str(model))


class Counting:
    """Batches that say which they are, and who asked."""

    def __init__(self):
        self.asked = []

    def batch(self, step, rank):
        self.asked.append(step)
        return {"step": torch.tensor([step, rank])}

    def validation(self):
        return [{"step": torch.tensor([-1])}]


def test_beside_a_gpu_the_next_batch_is_made_early_and_each_comes_once_and_in_order():
    data = Counting()
    batches = Batches(data, 3, torch.device("meta"))
    for step in (4, 5, 6):
        assert batches.take(step)["step"].device.type == "meta"
    assert batches.take(9)["step"].shape == (2,)  # as after a resume: another one than was made early
    assert batches.validation()[0]["step"].device.type == "meta"
    batches.close()
    assert data.asked[:5] == [4, 5, 6, 7, 9] and set(data.asked[5:]) <= {10}


def test_on_a_cpu_no_batch_is_made_early():
    data = Counting()
    batches = Batches(data, 0, torch.device("cpu"))
    assert batches.take(2)["step"].tolist() == [2, 0] and data.asked == [2]


class Noted:
    """A tensor that says how it was moved."""

    def to(self, device, non_blocking):
        return device.type, non_blocking


@pytest.mark.parametrize(("device", "unwaited"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_cuda_copies_a_batch_while_python_goes_on(device, unwaited):
    """On `mps` torch reads the batch's memory later, when it may have been given back."""
    batches = Batches(Counting(), 0, torch.device(device))
    batches.data.batch = lambda step, rank: {"low": Noted()}
    assert batches.take(0) == {"low": (device, unwaited)}
    batches.close()


def test_what_was_learnt_is_kept_where_the_wait_for_the_last_batch_is_broken_off(tmp_path, monkeypatch):
    def impatient(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Batches, "close", impatient)
    with pytest.raises(KeyboardInterrupt):
        train(Line(), Points(), settings(), tmp_path / "line")
    assert (tmp_path / "line" / STATE).is_file()


def test_a_precision_that_the_loop_cannot_train_in_is_refused():
    with pytest.raises(OptionError, match="precision = 16-mixed: is not known"):
        settings(precision="16-mixed")


class Overflowing(CsrdTask):
    """A loss that is finite, with a gradient that is not: at steps that are told."""

    bad, step = (1,), -1

    def loss(self, network, batch, generator):
        self.step += 1
        steep = next(network.parameters()).flatten()[0]
        return super().loss(network, batch, generator) + (_Steep.apply(steep) if self.step in self.bad else 0)


class _Steep(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return torch.ones_like(x)

    @staticmethod
    def backward(context, gradient):
        return gradient * float("inf")


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(dataset, tmp_path):
    task = Overflowing(changes=SMALL)
    folder = train(task, bank(dataset, task, steps=3), settings(steps=3), tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in load_file(folder / STATE).values())


def test_a_gradient_that_stays_infinite_ends_the_training(dataset, tmp_path):
    task = Overflowing(changes=SMALL)
    task.bad = range(100)
    with pytest.raises(TrainingError, match="gradient was not finite"):
        train(task, bank(dataset, task, steps=30), settings(steps=30, validate_every=30), tmp_path / "run")


class Halves(Points):
    """Every other point in one batch, the rest in the next."""

    def batch(self, step, rank):
        return {name: value[step % 2 :: 2] for name, value in self.validation()[0].items()}

    def validation(self):
        x = torch.tensor([-1.0, 0.2, 0.5, 1.0])[:, None]
        return [{"x": x, "y": 2 * x}]


class Together(Halves):
    def batch(self, step, rank):
        return self.validation()[0]


def test_batches_that_are_put_together_in_one_step_count_as_one_batch_of_all(tmp_path):
    found = {}
    for data, accumulate in ((Halves(), 2), (Together(), 1)):
        chosen = settings(steps=2, validate_every=1, accumulate=accumulate, clip=1e6, warmup_steps=0)
        folder = train(Line(), data, chosen, tmp_path / str(accumulate))
        rows = csv.DictReader((folder / "log.csv").open())
        found[accumulate] = [float(row["loss"]) for row in rows], load_file(folder / STATE)["network.weight"]
    assert found[2][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[2][1], found[1][1])


def test_averaged_weights_forget_the_first_ones_at_the_start_and_later_by_the_decay():
    """After n networks, the next one counts 1 - min(decay, (1 + n) / (10 + n))."""
    network, by_hand, seen = torch.nn.Linear(1, 1, bias=False), 1.0, []
    average = moving_average(network, 0.4)
    for number in range(1, 13):
        with torch.no_grad():
            network.weight.fill_(float(number))
        average.update_parameters(network)
        keep = min(0.4, number / (9 + number))  # n = number - 1 were before; the first is taken as it is
        by_hand = 1.0 if number == 1 else keep * by_hand + (1 - keep) * number
        seen.append((average.module.weight.item(), by_hand))
    assert all(found == pytest.approx(wanted, rel=1e-5) for found, wanted in seen)
    assert seen[1][1] == pytest.approx(20 / 11)


def test_a_task_with_numbers_of_its_own_is_judged_by_them(tmp_path):
    train(Line(), Points(), settings(), tmp_path / "line")
    log = list(csv.DictReader((tmp_path / "line" / "log.csv").open()))
    assert [float(row["batches"]) for row in log] == [3, 3] and "at_0" in log[0] and "psnr" not in log[0]
