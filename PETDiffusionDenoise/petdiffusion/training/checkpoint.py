"""The state of a training as safetensors and JSON: nothing is pickled, a kill in the middle loses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ..errors import OutputError, TrainingError
from ..write import moving
from ..write.staging import writing

STATE, FACTS = "checkpoint.safetensors", "checkpoint.json"


def save(
    folder: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, facts: dict[str, Any]
) -> None:
    """Write aside, then move into place. The facts carry the state's own tag, so that a pair is never mixed."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    aside = folder / f".{STATE}.partial"
    try:
        write({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, aside,
              {"facts": json.dumps(facts)})  # fmt: skip
        with writing(folder):
            moving.replace(aside, folder / STATE)
            (folder / FACTS).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    except OutputError as error:
        aside.unlink(missing_ok=True)
        again = "The same command then goes on from the last checkpoint." if (folder / STATE).exists() else ""
        raise OutputError(f"The checkpoint in {folder} cannot be written", error.why,
                          f"{error.remedy} {again}".strip()) from error  # fmt: skip


def write(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """As safetensors, which puts into words of its own what the system said of a failed write."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with writing(path):
        try:
            save_file(dict(tensors), path, metadata=metadata)
        except SafetensorError as error:
            code = int(found[1]) if (found := re.search(r"os error (\d+)", str(error))) else 0
            raise OSError(code, str(error), None, code) from error  # the last one is what Windows calls it


def facts_of(folder: Path) -> dict[str, Any]:
    """What was saved beside a state."""
    from safetensors import safe_open

    with _damage_named(), safe_open(str(folder / STATE), framework="pt") as stream:
        return json.loads(stream.metadata()["facts"])


def load(folder: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a saved state back."""
    with _damage_named():
        tensors = load_file(folder / STATE)
        network.load_state_dict(_part(tensors, "network."))
        average.load_state_dict(_part(tensors, "average."))
        _load_optimizer(optimizer, _part(tensors, "optimizer."))


@contextmanager
def _damage_named() -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OSError) as error:
        raise TrainingError(
            f"Checkpoint {STATE}", f"does not fit this training ({error})", "Start anew in another folder."
        ) from None


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value.clone()  # the file stays mapped as long as its own is kept
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
