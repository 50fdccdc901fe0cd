"""Configurations as a model's card keeps them: back from JSON as they were, and strict about what they hold."""

from __future__ import annotations

import importlib
import json

import pytest
from petdiffusion import registry
from petdiffusion.errors import ModelError


def task_of(card):
    module, name = card.trainer.split(":")
    return getattr(importlib.import_module(module), name)


CONFIGS = [
    pytest.param(config, id=f"{card.name}-{name}")
    for card in registry.cards().values() if card.trainer
    for name, config in task_of(card).configs.items()
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS)
def test_a_configuration_survives_json(config):
    text = json.dumps(config.to_json())
    again = type(config).from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text and type(again) is type(config)


@pytest.mark.parametrize("config", CONFIGS)
def test_an_entry_of_a_newer_program_is_a_named_error(config):
    with pytest.raises(ModelError, match=f"{config.NAME}: has unknown entries: newer, newest") as caught:
        type(config).from_json({**config.to_json(), "newest": 1, "newer": 2})
    assert config.NAME != "Configuration" and "newer version" in caught.value.remedy


def test_the_first_fault_is_said():
    from petdiffusion.methods.bc_dpm.config import BcDpmConfig

    with pytest.raises(ModelError, match="BC-DPM configuration: power = 2 does not lie between 0 and 1"):
        BcDpmConfig(power=2, late=0)
