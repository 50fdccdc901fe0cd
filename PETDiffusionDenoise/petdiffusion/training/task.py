"""What a method brings to be trained: a network, a loss on a batch, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import nn

Batch = Mapping[str, "torch.Tensor"]
"""Tensors [batch, channel, z, y, x] by name: low, normal, truth, ct, mr, lesions; and [batch] fraction, spacing, and
ITEM."""
ITEM = "item"
"""Number of each of a batch in the whole training, over all devices: by it a task deals out what only some items get,
so that batches of one are served in turn as well. They stay on the host, where that is decided."""


class Trained(Protocol):
    """A method's side of the training. Built as `Task(config, changes)` from the method card's `trainer`; the class
    lists its `configs` by name, for `choices.config_of` and `petdiffusion methods`. Where it learns from patches, it
    says which `sides` they may have."""

    method: str
    config: Mapping[str, Any]

    def network(self) -> nn.Module: ...

    def calibrate(self, batches: list[Batch]) -> None:
        """Measure on the data what the config leaves open (such as sigma_data), before the first step."""
        ...

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor: ...


class Judged(Trained, Protocol):
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Denoised images (and more) for one validation batch; `denoised` is compared with `normal` and `truth`."""
        ...


@runtime_checkable
class Scored(Trained, Protocol):
    """What its network gives is no image."""

    def score(self, network: nn.Module, batches: list[Batch]) -> dict[str, float]:
        """Numbers of its own for all validation batches."""
        ...


Task = Judged | Scored


def items_of(batch: Batch, count: int) -> torch.Tensor:
    """Numbers of the items; of a batch outside a training those of the first one."""
    import torch

    return batch[ITEM] if ITEM in batch else torch.arange(count)
