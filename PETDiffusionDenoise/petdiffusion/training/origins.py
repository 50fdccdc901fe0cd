"""Where a training begins when not from nothing: the weights of a model, or the averaged ones of another training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from ..errors import TrainingError
from . import checkpoint

_AVERAGE = "average.module."


def begin_from(network: nn.Module, origin: str) -> None:
    """Put the origin's weights into the network; a network of another shape is refused.

    A network may take them in its own way (`adopt`), such as a denoiser's as a part of its own.
    """
    take = getattr(network, "adopt", network.load_state_dict)
    try:
        take({name: value.float() for name, value in _weights(origin).items()})
    except RuntimeError as error:
        raise TrainingError(
            f"Beginning with {Path(origin).name}",
            f"its weights do not fit this network ({str(error).splitlines()[-1].strip()})",
            "Choose a model with the same network configuration.",
        ) from None


def name_of(origin: str | None) -> str | None:
    """What the plan and the card say of it: a model's id, or the method of a training, but no path."""
    if origin is None:
        return None
    if not is_training(origin):
        return Path(origin).name.removesuffix(".safetensors")
    plan = json.loads((Path(origin) / "plan.json").read_text(encoding="utf-8"))
    return f"a training of {plan['method']}"


def is_training(origin: str) -> bool:
    return (Path(origin) / checkpoint.STATE).is_file()


def _weights(origin: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    from ..zoo import store

    if not is_training(origin):
        return load_file(store.find(origin).weights)
    state = load_file(Path(origin) / checkpoint.STATE)
    return {name.removeprefix(_AVERAGE): value for name, value in state.items() if name.startswith(_AVERAGE)}
