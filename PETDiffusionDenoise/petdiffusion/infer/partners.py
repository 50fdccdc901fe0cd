"""A network's mean and the images of filters, put together.

A network errs where a patient is unlike those of its training, and never gets finer than it learnt to be, however good
the scan is; a filter errs where it takes noise for structure, or structure for noise. The weights were learnt on
patients that no training saw (stacking, Wolpert 1992). They go by the scan's noise: the less of it, the more a filter
is worth.

A filter may raise the network's image as far as it likes and lower it by about one SD of the noise: what lies further
below is a hot spot that the filter takes for noise, and there the network, which has learnt lesions, is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import registry
from ..errors import ModelError
from ..methods.contract import Case
from ..progress import Run

LOWERED_SD = 1.0
"""Up to this many SD of the local noise a filter lowers the image by its full weight, from twice as many not at all."""
ALONE = "none"
ANATOMIES = ("mr", "ct", ALONE)
"""The first of these that a case has, and that partners are known for, decides which they are."""


@dataclass(frozen=True)
class Partner:
    """A filter, and its weight by the scan's noise: (SD over mean in the body, weight), by rising noise; straight lines
    between, as at the ends beyond."""

    filter: str
    points: Sequence[Sequence[float]]
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Partner:
        """Of a card; an error unless it is a classical filter with sound weights."""
        try:
            one = cls(**data)
            noises, weights = zip(*one.points)
            sound = list(noises) == sorted(noises) and all(0 <= weight <= 1 for weight in weights)
            sound = sound and not registry.card(one.filter).needs_model
        except (TypeError, ValueError):
            sound = False
        if not sound:
            raise ModelError(
                "A partner of the model",
                "is not a filter with points of (noise, weight from 0 to 1) by rising noise",
                "Learn it anew with Resources/training/csrd_partners.py.",
            )
        return one

    def weight(self, noise: float) -> float:
        noises, weights = zip(*self.points)
        return float(np.interp(noise, noises, weights))

    def image(self, case: Case, run: Run) -> np.ndarray:
        card = registry.card(self.filter)
        return card.load()(case, card.resolve(self.options), run).pet.array


def partners_of(case: Case, known: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Partner]:
    """Of a model's configuration, those for what this case has."""
    has = {"mr": case.mr is not None, "ct": case.ct is not None, ALONE: True}
    chosen = next((name for name in ANATOMIES if has[name] and name in known), None)
    return [] if chosen is None else [Partner.read(one) for one in known[chosen]]


@dataclass(frozen=True, eq=False)
class Beside:
    """A partner's image of this case, and what it counts."""

    image: np.ndarray
    weight: float


def filtered(case: Case, partners: Sequence[Partner], run: Run) -> list[Beside]:
    noise, share = noise_of(case), 1 / max(len(partners), 1)
    return [Beside(partner.image(case, run.part(i * share, (i + 1) * share)), partner.weight(noise))
            for i, partner in enumerate(partners)]  # fmt: skip


def added(case: Case, image: np.ndarray, scale: np.ndarray, beside: Sequence[Beside]) -> np.ndarray:
    """What the partners add to the network's image, in its unit; 0 in air. `scale` is the SD of the local noise."""
    total = sum(np.float32(one.weight) * toward(one.image, image, scale) for one in beside)
    return np.where(case.body, total, np.float32(0))


def noise_of(case: Case) -> float:
    """SD of the noise over the mean, in the body."""
    mean = float(case.pet.array[case.body].mean()) if case.body.any() else 0.0
    return case.noise / mean if mean > 0 else 0.0


def toward(filtered: np.ndarray, image: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """From the image toward the filtered one, as far as a filter is believed."""
    step = filtered - image
    return step * np.clip(2 + step / (LOWERED_SD * scale), 0, 1)
