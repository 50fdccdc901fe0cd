"""What `petdiffusion methods M` says of a method's training: configurations, their fields, settings."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from .common import table

FIRST = "compact"
"""The configuration that `train` takes by itself; of the others is said how they differ from it."""


def training_of(card: Any) -> list[str]:
    """Lines; the values as the command line takes them."""
    from ..training.settings import TrainSettings

    module, task = card.trainer.split(":")
    known = getattr(importlib.import_module(module), task).configs
    configs = {name: config.to_json() for name, config in known.items()}
    rows = [{"setting": one.name, "default": json.dumps(one.default).strip('"'), "meaning": one.metadata["help"]}
            for one in TrainSettings.listed()]  # fmt: skip
    return ["", f"Training (petdiffusion train {card.name} …)",
            "", "Configurations (--config NAME), and how they differ", *_differences(configs),
            "", f"Fields of a configuration (--change NAME=VALUE), as {FIRST} has them", *_fields(configs[FIRST]),
            "", "Settings (--set NAME=VALUE)", table(rows, len(rows))]  # fmt: skip


def _differences(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    first, lines = configs[FIRST], [f"{FIRST}  is taken where none is named"]
    for name, config in configs.items():
        if name != FIRST:
            other = [f"{field}={_value(value)}" for field, value in config.items() if value != first[field]]
            lines.append(f"{name}  {' '.join(other)}")
    return lines


def _fields(config: Mapping[str, Any]) -> list[str]:
    width = max(map(len, config))
    return [f"{name:{width}}  {_value(value)}" for name, value in config.items()]


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
