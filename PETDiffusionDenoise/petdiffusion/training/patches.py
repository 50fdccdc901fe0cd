"""Patches of images: drawn from patients, continued beyond the volume's edge, and put together into batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from .manifest import described
from .settings import TrainSettings
from .task import Batch

P = TypeVar("P")


@dataclass
class Drawn(ABC, Generic[P]):
    """Batches of patches of patients. Those of a step depend on (seed, step, rank) alone."""

    train: list[P]
    valid: list[P]
    settings: TrainSettings
    source: str
    skipped: int = 0
    people: Mapping[str, Any] = field(default_factory=dict)
    _fixed: list[Batch] | None = None

    FIXED = (6, 2)
    """Batches for validation, and patches in each."""

    @abstractmethod
    def patch(self, people: list[P], rng: np.random.Generator, training: bool) -> Mapping[str, Tensor]:
        """One, somewhere in one of the people; mirrored at random in training alone."""

    def batch(self, step: int, rank: int) -> Batch:
        rng = np.random.default_rng((self.settings.seed, step, rank))
        return collate([self.patch(self.train, rng, True) for _ in range(self.settings.batch)])

    def validation(self) -> list[Batch]:
        """The same patches at every call."""
        if self._fixed is None:
            rng, people, (count, each) = np.random.default_rng(20), self.valid or self.train, self.FIXED
            self._fixed = [collate([self.patch(people, rng, False) for _ in range(each)]) for _ in range(count)]
        return self._fixed

    def describe(self) -> dict[str, Any]:
        return described(self)


def continued(image: Tensor, shape: Sequence[int]) -> Tensor:
    """(z, y, x) of this shape: what is missing at the far ends is the edge repeated, which is air."""
    z, y, x = (int(wanted - n) for wanted, n in zip(shape, image.shape))
    if not (z or y or x):
        return image
    return torch.nn.functional.pad(image[None, None], [0, x, 0, y, 0, z], mode="replicate")[0, 0]


def fitted(image: Tensor, size: int, mirrored: bool) -> Tensor:
    """(1, size, size, size) of a cube that may end early, mirrored left to right or not."""
    return continued(image.flip(2) if mirrored else image, (size, size, size))[None]


def coordinates(shape: np.ndarray, corner: np.ndarray, size: int, mirrored: bool) -> Tensor:
    """z, y, x in [-1, 1] over the whole volume, as the engine makes them at inference."""
    start = corner.copy()
    if mirrored:  # where the patch lies in the mirrored patient; one that ends early goes on at its far end there too
        start[2] = max(shape[2] - corner[2] - size, 0)
    axes = [
        torch.from_numpy((2 * (c + np.arange(size)) / max(n - 1, 1) - 1).astype(np.float32))
        for n, c in zip(shape, start)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def collate(patches: Sequence[Mapping[str, Tensor]]) -> Batch:
    return {name: torch.stack([p[name] for p in patches]) for name in patches[0]}
