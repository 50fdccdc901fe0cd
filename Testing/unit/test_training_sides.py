"""Sides of patches: those that a network cannot halve are refused at once, with the nearest that it can."""

import importlib
from dataclasses import replace

import pytest
import torch
from petdiffusion import registry
from petdiffusion.cli import main
from petdiffusion.errors import OptionError, ResourceError
from petdiffusion.infer import device
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.methods.unet3d.task import Unet3dTask
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.loop import _fabric, train
from petdiffusion.training.settings import TrainSettings
from petdiffusion.training.sides import Sides
from petdiffusion.training.task import Scored
from support.line import Line, Points
from support.tiny_bank import write_dataset, write_labelled
from support.tiny_models import NETWORK

TRAINABLE = [(name, config) for name, card in registry.cards().items() if card.trainer
             for config in ("compact", *(["autoencoder"] if name == "upete" else []))]  # fmt: skip
CHANGES = {"csrd": {"base": "filtered"}}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled") / "set")


def task_of(method, config):
    module, name = registry.card(method).trainer.split(":")
    return getattr(importlib.import_module(module), name)(config, CHANGES.get(method))


def loaded(task, folder, patch):
    settings, own = TrainSettings(steps=2, batch=1, patch=patch), getattr(task, "load", None)
    return own([folder], settings, Run()) if own else load_bank(folder, task.derive, settings, Run())


def learns(task, network, data):
    """At the last step, when AMDiff's segmenter learns too."""
    loss = task.loss(network, data.batch(1, 0), torch.Generator().manual_seed(0))
    loss.backward()
    return bool(torch.isfinite(loss))


@pytest.mark.parametrize(("method", "config"), TRAINABLE)
def test_the_smallest_side_that_a_task_allows_can_be_learnt_from_and_no_smaller_one(labelled, method, config):
    task = task_of(method, config)
    smallest = next(side for side in range(1, 100) if allowed(task.sides, side))
    data = loaded(task, labelled, smallest)
    task.calibrate(data.validation())
    network, judged = task.network(), data.validation()[:1]
    assert learns(task, network, data)
    assert task.score(network, judged) if isinstance(task, Scored) else "denoised" in task.judge(network, judged[0])
    sides = smallest - task.sides.multiple, smallest + task.sides.multiple // 2
    for impossible in (side for side in sides if side > 0):
        with pytest.raises((RuntimeError, ValueError)):
            learns(task, network, loaded(task, labelled, impossible))


def allowed(sides, side):
    try:
        sides.check(side)
    except OptionError:
        return False
    return True


@pytest.mark.parametrize(("sides", "patch", "why", "near"), [
    (Sides(8), 36, "is not a multiple of 8", r"Give patch=32 or patch=40\."),
    (Sides(16), 50, "is not a multiple of 16", r"Give patch=48 or patch=64\."),
    (Sides(8), 1, "is less than the smallest side", r"Give patch=8\."),
    (Sides(8, 12), 8, "is less than the smallest side .* from, 16", r"Give patch=16\."),
    (Sides(8, 12), 20, "is not a multiple of 8", r"Give patch=16 or patch=24\."),
    (Sides.judged(32), 32, "is less than the smallest side .* from, 64", r"Give patch=64\.")])  # fmt: skip
def test_an_impossible_side_is_told_with_the_nearest_possible(sides, patch, why, near):
    with pytest.raises(OptionError, match=f"patch = {patch}: {why}.*{near}"):
        sides.check(patch)


@pytest.mark.parametrize("side", [8, 24, 48])
def test_a_side_that_can_be_halved_is_taken(side):
    Sides(8).check(side)
    Sides.judged(8).check(side)


def test_an_impossible_side_is_refused_before_patients_are_loaded(tmp_path, capsys):
    words = ["train", "unet-3d", "--data", str(tmp_path / "nowhere"), "--steps", "1", "--out", str(tmp_path / "t")]
    assert main([*words, "--set", "patch=36"]) == 1
    assert "OptionError: patch = 36" in capsys.readouterr().err and not (tmp_path / "t").exists()
    task = Unet3dTask(changes={"network": NETWORK})
    with pytest.raises(OptionError, match="patch = 33"):
        train(task, None, TrainSettings(steps=1, patch=33), tmp_path / "t")


@pytest.mark.parametrize(("patch", "precision"), [(8, "32-true"), (16, "32-true"), (24, "bf16-mixed")])
def test_patches_that_a_processor_learns_wrongly_from_in_bfloat16_are_learnt_in_single_precision(
        monkeypatch, patch, precision):  # fmt: skip
    """A convolution in 3D over two voxels: its gradients were whatever lay in the memory (oneDNN)."""
    monkeypatch.setattr(device, "bf16_pays", lambda kind: True)
    task, run = Unet3dTask(changes={"network": NETWORK | {"multipliers": [1, 2, 2], "stem": 2}}), Run(device="cpu")
    assert task.sides.multiple == 8
    assert _fabric(task, TrainSettings(steps=1, patch=patch), run)._precision.precision == precision
    assert not run.warnings
    chosen = TrainSettings(steps=1, patch=patch, precision="bf16-mixed")
    assert _fabric(task, chosen, run)._precision.precision == "bf16-mixed"
    told = any(f"patches of {patch} voxels" in text and "patch=24" in text for text in run.warnings)
    assert told == (precision == "32-true")


class Failing(Line):
    error = RuntimeError("unforeseen")

    def loss(self, network, batch, generator):
        raise self.error


def test_a_training_that_fails_at_its_first_step_leaves_its_folder_free(tmp_path):
    chosen = TrainSettings(steps=2, batch=1, precision="32-true")
    with pytest.raises(RuntimeError, match="unforeseen"):
        train(Failing(), Points(), chosen, tmp_path / "t")
    train(Line(), Points(), replace(chosen, batch=2), tmp_path / "t")
    assert (tmp_path / "t" / "checkpoint.safetensors").is_file()


@pytest.mark.parametrize("error", [
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()])  # fmt: skip
def test_too_little_memory_is_told_by_what_can_be_changed(tmp_path, error):
    task, chosen = Failing(), TrainSettings(steps=2, batch=3, patch=4096, precision="32-true")
    task.error = error
    with pytest.raises(ResourceError, match="batches of 3 patches with 4096 voxels a side: is not enough"):
        train(task, Points(), chosen, tmp_path / "t")


def test_what_is_measured_before_the_first_step_may_find_too_little_memory_as_well(tmp_path):
    task = CsrdTask(changes={"network": NETWORK})
    data = load_bank(write_dataset(tmp_path / "set"), task.derive, TrainSettings(steps=1, patch=16), Run())
    data.validation = _no_memory  # as where patches of 4096 voxels a side are put together
    with pytest.raises(ResourceError, match="is not enough"):
        train(task, data, TrainSettings(steps=1, patch=16, precision="32-true"), tmp_path / "t")


def _no_memory():
    raise MemoryError
