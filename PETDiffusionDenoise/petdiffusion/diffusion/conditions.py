"""What a network is told beside the noisy image and its level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditions:
    """Images are concatenated to the input; context tokens and numbers enter as the network says.

    The first axis of each is the batch, or 1 for all. `by_slice` says that `context` has one row for each slice of the
    volume instead (a text for each slice, in 2D methods). `coordinates` adds z, y, x in [-1, 1] over the whole volume
    as further images; they are made for each patch when it is cut, and are not stored.
    """

    images: Tensor | None = None
    context: Tensor | None = None
    vector: Tensor | None = None
    coordinates: bool = False
    by_slice: bool = False

    def inputs(self, batch: int) -> dict[str, Tensor]:
        """Keyword arguments of a network for a batch of this size."""
        given = {"images": self.images, "context": self.context, "vector": self.vector}
        return {name: _repeated(value, batch) for name, value in given.items() if value is not None}

    def rows(self, begin: int, end: int) -> Conditions:
        """Those of a part of the batch."""
        return self._each(lambda value: value if len(value) == 1 else value[begin:end])

    def to(self, device: torch.device | str) -> Conditions:
        return self._each(lambda value: value.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditions:
        return replace(self, **{name: change(value) for name in ("images", "context", "vector")
                                if (value := getattr(self, name)) is not None})


def _repeated(value: Tensor, batch: int) -> Tensor:
    if len(value) not in (1, batch):
        raise ValueError(f"conditions for {len(value)} images do not fit a batch of {batch}")
    return value.expand(batch, *value.shape[1:])


def coordinate_axis(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions in [-1, 1] along an axis of the whole volume; 0 for a single voxel."""
    return torch.linspace(-1, 1, size, device=device) if size > 1 else torch.zeros(1, device=device)


def coordinate_images(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """(1, dims, *shape): the coordinates as images, for training on patches cut from them."""
    grids = torch.meshgrid(*[coordinate_axis(n, device) for n in shape], indexing="ij")
    return torch.stack(grids)[None]
