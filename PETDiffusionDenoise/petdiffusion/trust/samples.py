"""The numbers of every sample as it comes: lesions and organs, kept as a few floats; the images are let go."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..measure.checks import bounding_box
from ..measure.groups import Groups
from ..measure.lesions import split_lesions
from ..measure.organs import without_lesions
from ..measure.suvs import uptake
from ..volume import Geometry, LabelMap
from .conformal import size_of

LESION, ORGAN = "lesion", "organ"
LEAST_ORGAN_ML = 1.0


@dataclass(frozen=True, order=True)
class Key:
    """Which number: `lesion 2, max`. `metric` is mean, max or peak."""

    kind: str
    number: int
    name: str
    metric: str
    size: str = field(default="", compare=False)
    """Of a lesion: small, middle or large."""

    @property
    def family(self) -> str:
        """Numbers of one family are calibrated together."""
        return "_".join(filter(None, (self.kind, self.size, self.metric)))


class Numbers:
    """Measures images of one grid in the same regions: `numbers(image) -> {Key: value}`."""

    def __init__(self, geometry: Geometry, organs: LabelMap | None = None, lesions: LabelMap | None = None) -> None:
        self.geometry = geometry
        self._lesions = [] if lesions is None or not lesions.array.any() else _cut(split_lesions(lesions))
        self._organ_names, self._groups = {}, None
        if organs is not None and organs.array.any():
            self._organ_names, self._groups = organs.present(), Groups(without_lesions(organs, lesions).array)

    def __call__(self, image: np.ndarray) -> dict[Key, float]:
        found: dict[Key, float] = {}
        for number, name, box, mask in self._lesions:
            value, size = uptake(image[box], mask, self.geometry), size_of(mask.sum() * self.geometry.voxel_ml)
            for metric, one in (("mean", value.mean), ("max", value.maximum), ("peak", value.peak)):
                found[Key(LESION, number, name, metric, size)] = one
        if self._groups is not None:
            mean, top = self._groups.mean(image), self._groups.maximum(image)
            large = self._groups.voxels * self.geometry.voxel_ml >= LEAST_ORGAN_ML
            for i, value in enumerate(self._groups.values):
                if large[i]:
                    name = self._organ_names.get(int(value), f"label {value}")
                    found[Key(ORGAN, int(value), name, "mean")] = float(mean[i])
                    found[Key(ORGAN, int(value), name, "max")] = float(top[i])
        return found


def _cut(lesions: LabelMap) -> list[tuple[int, str, tuple[slice, ...], np.ndarray]]:
    """Each lesion with room around it for the sphere of its peak."""
    room = tuple(int(np.ceil(7.0 / step)) + 1 for step in lesions.geometry.spacing[::-1])
    found = []
    for value, name in lesions.present().items():
        mask = lesions.array == value
        box = bounding_box(mask, room)
        found.append((value, name, box, mask[box]))
    return found


@dataclass
class Collector:
    """Given to `Run.on_sample`."""

    numbers: Numbers
    drawn: list[dict[Key, float]] = field(default_factory=list)

    def __call__(self, image: np.ndarray) -> None:
        self.drawn.append(self.numbers(image))

    @property
    def count(self) -> int:
        return len(self.drawn)

    def spread(self) -> dict[Key, tuple[float, float]]:
        """Mean and SD (n - 1) of every number over the samples; nothing for fewer than two."""
        if self.count < 2:
            return {}
        return {
            key: (float(np.mean(values)), float(np.std(values, ddof=1)))
            for key in self.drawn[0]
            if (values := [one[key] for one in self.drawn])
        }
