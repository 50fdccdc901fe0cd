"""A model's network out of its file: filled, kept, and refused where the file does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from petdiffusion.errors import ModelError
from petdiffusion.infer.networks import loaded
from petdiffusion.zoo.card import ModelCard
from petdiffusion.zoo.store import Model
from safetensors.torch import save_file
from torch import nn


def line(config: Mapping[str, Any]) -> nn.Module:
    return nn.Linear(config["width"], 1)


def doubled(config: Mapping[str, Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(config["width"], 1), nn.Linear(config["width"], 1))


@pytest.fixture
def model(tmp_path) -> Model:
    weights = tmp_path / "line.safetensors"
    save_file({"weight": torch.tensor([[1.0, 2.0]]).half(), "bias": torch.tensor([3.0]).half()}, weights)
    card = ModelCard("line", "none", "1", "0" * 64, 1, "", "", "", "", (), (1.0, 1.0), (0.1, 1.0), "", "",
                     config={"width": 2})  # fmt: skip
    return Model(card, weights, bundled=False)


def test_half_precision_in_the_file_is_float32_at_work(model):
    network = loaded(model, line)
    assert network.weight.dtype == torch.float32 and not network.training
    assert network(torch.tensor([10.0, 100.0])).item() == 10 + 200 + 3


def test_the_next_run_finds_the_same_network_and_another_file_is_another(model):
    assert loaded(model, line) is loaded(model, line)
    other = replace(model, card=replace(model.card, sha256="1" * 64))
    assert loaded(other, line) is not loaded(model, line)


@pytest.mark.parametrize(("build", "width"), [(line, 3), (doubled, 2)])
def test_weights_that_do_not_fit_are_a_named_error(model, build, width):
    wrong = replace(model, card=replace(model.card, config={"width": width}))
    with pytest.raises(ModelError, match="The weights: do not fit its configuration"):
        loaded(wrong, build, "The weights")


def test_weights_that_are_cut_short_are_a_named_error(model):
    """Their card may know no better: it was written beside the damaged file."""
    model.weights.write_bytes(model.weights.read_bytes()[:-3])
    with pytest.raises(ModelError, match="The weights: cannot be read"):
        loaded(model, line, "The weights")
