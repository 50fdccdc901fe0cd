"""Sums and extremes of many labelled regions at once; only labelled voxels are visited."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Groups:
    """The voxels of every label above 0, gathered once and used for every image."""

    label: np.ndarray

    @cached_property
    def where(self) -> np.ndarray:
        return np.flatnonzero(self.label)

    @cached_property
    def values(self) -> np.ndarray:
        """Labels that occur, in order."""
        return np.flatnonzero(self._all)

    @property
    def voxels(self) -> np.ndarray:
        return self._all[self.values]

    def mean(self, image: np.ndarray) -> np.ndarray:
        return self._sum(image.ravel()[self.where]) / self.voxels

    def sd(self, image: np.ndarray) -> np.ndarray:
        """Sample SD, in two passes: the squares of large values would lose the digits that a small SD needs."""
        inside = image.ravel()[self.where].astype(np.float64)
        means = np.zeros(len(self._all))
        means[self.values] = self._sum(inside) / self.voxels
        return np.sqrt(self._sum((inside - means[self._members]) ** 2) / np.maximum(self.voxels - 1, 1))

    def maximum(self, image: np.ndarray) -> np.ndarray:
        found = np.full(len(self._all), -np.inf)
        np.maximum.at(found, self._members, image.ravel()[self.where].astype(np.float64))
        return found[self.values]

    def minimum(self, image: np.ndarray) -> np.ndarray:
        return -self.maximum(-image)

    @cached_property
    def _members(self) -> np.ndarray:
        return self.label.ravel()[self.where]

    @cached_property
    def _all(self) -> np.ndarray:
        return np.bincount(self._members) if self.where.size else np.zeros(0, int)

    def _sum(self, inside: np.ndarray) -> np.ndarray:
        return np.bincount(self._members, inside, len(self._all))[self.values]
