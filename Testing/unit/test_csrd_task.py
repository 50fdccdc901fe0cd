"""CSRD's training: which levels it sees, what its mean is learnt from, and what of an error counts. By hand."""

from dataclasses import replace

import pytest
import torch
from petdiffusion.methods.csrd.task import CsrdTask

SIZE = 8


def task_of(**settings):
    task = CsrdTask(changes={"network": {"channels": 8, "multipliers": (1, 2), "blocks": 1, "condition_channels": 7,
                                         "vector": 4}, "drop_anatomy": 0.0})  # fmt: skip
    task.settings = replace(task.settings, **settings)
    return task


def drawn(task, count=20_000):
    target = torch.full((count, 1, 1, 1, 1), 0.5)
    sigma, noisy = task._noised(target, torch.Generator().manual_seed(3))
    return sigma, noisy.flatten(), target.flatten()


@pytest.mark.parametrize("sigma_data", [0.25, 2.0])
def test_levels_are_the_papers_scaled_from_its_sigma_data_to_the_residuals_own(sigma_data):
    """ln sigma ~ N(-1.2, 1.2^2) where sigma_data is 0.5: half of it halves every level."""
    sigma, noisy, target = drawn(task_of(sigma_data=sigma_data, mean_share=0.0))
    logs = (sigma / sigma_data * 0.5).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.04) and float(logs.std()) == pytest.approx(1.2, abs=0.03)
    assert float(((noisy - target) / sigma).std()) == pytest.approx(1, abs=0.03)


def test_the_means_share_is_seen_at_the_top_and_without_any_noise():
    """At work it is asked with nothing but zeros."""
    sigma, noisy, target = drawn(task_of(sigma_data=0.8, mean_share=0.4))
    top = sigma == 20.0
    assert float(top.float().mean()) == pytest.approx(0.4, abs=0.02)
    assert not noisy[top].any() and (noisy[~top] != target[~top]).all()


def batch_of(count=2):
    g = torch.Generator().manual_seed(1)
    shape = (count, 1, SIZE, SIZE, SIZE)
    images = {name: 1 + torch.rand(shape, generator=g) for name in ("low", "base", "normal", "root")}
    images["root"][..., : SIZE // 2] *= 3
    numbers = {"level": torch.tensor([0.3, 0.5]), "root_mean": torch.ones(count), "floor": torch.full((count,), 0.01),
               "voxel_mm": torch.full((count,), 4.0)}  # fmt: skip
    nothing = {kind: torch.full(shape, torch.nan) for kind in ("ct", "mr")}
    return {**images, **numbers, **nothing, "coordinates": torch.zeros(count, 3, SIZE, SIZE, SIZE)}


def test_an_error_counts_by_its_voxels_weight_and_its_level():
    """A network that says nothing, asked for the mean: the loss is w(sigma_max) of the weighted residual squared."""
    task, batch = task_of(sigma_data=0.8, mean_share=1.0), batch_of()
    residual = (batch["normal"] - batch["base"]) / (batch["root"] * batch["level"].reshape(-1, 1, 1, 1, 1))
    weight = batch["root"] / batch["root"].mean((1, 2, 3, 4), keepdim=True)  # power 0.5 of the noise's variance
    of_level = (20.0**2 + 0.8**2) / (20.0 * 0.8) ** 2
    found = task.loss(lambda x, *args, **given: torch.zeros_like(x), batch, torch.Generator().manual_seed(0))
    assert float(found) == pytest.approx(of_level * float((weight * residual.square()).mean()), rel=1e-5)
    assert float((weight * residual.square()).mean()) < 0.95 * float(residual.square().mean()), "weights would not show"
