"""Counting statistics: Poisson counts, binomial thinning, background events, scaling to a number of counts.

Everything random takes a torch.Generator. Counts are drawn where the generator lives; a CPU generator gives the same
counts on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from ..errors import PhysicsError
from .blur import gaussian_filter


def generator(seed: int, *parts: float) -> torch.Generator:
    """CPU generator that belongs to a seed and any further numbers: streams of different numbers are independent."""
    if seed < 0:
        raise PhysicsError(f"Seed {seed}", "must not be negative", "Give a whole number from 0.")
    words = np.array([seed, *parts], np.float64).view(np.uint32)
    state = np.random.SeedSequence(words.tolist()).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state & np.uint64(2**63 - 1)))


def sample_counts(expected: torch.Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> torch.Tensor:
    """Independent Poisson counts of the expected numbers; several generators serve one each along the first axis."""
    if not isinstance(generator, torch.Generator):
        return torch.stack([sample_counts(e, g) for e, g in zip(expected, generator, strict=True)])
    _check_counts(expected, "Expected counts")
    return torch.poisson(expected.to(generator.device), generator=generator).to(expected.device)


def thin(counts: torch.Tensor, fraction: float, generator: torch.Generator) -> torch.Tensor:
    """Keeps each event with probability `fraction`, as list-mode data are thinned.

    Of Poisson counts with mean m it leaves Poisson counts with mean fraction * m, independent of the events removed.
    """
    check_fraction(fraction)
    _check_counts(counts, "Counts")
    if fraction == 1:
        return counts.clone()
    drawn = counts.to(generator.device)
    return torch.binomial(drawn, torch.full_like(drawn, fraction), generator=generator).to(counts.device)


def check_fraction(fraction: float) -> None:
    if not (isinstance(fraction, Real) and math.isfinite(fraction) and 0 < fraction <= 1):
        raise PhysicsError(f"Dose fraction {fraction}", "must be above 0 and at most 1",
                           "Give for instance 0.1 for a tenth of the dose.")


def check_total(counts: float) -> None:
    if not (math.isfinite(counts) and counts > 0):
        raise PhysicsError(f"{counts} counts", "cannot make an image", "Give a positive number of expected counts.")


def _check_counts(values: torch.Tensor, what: str) -> None:
    lowest = float(values.min()) if values.numel() else 0.0
    if not lowest >= 0 or not torch.isfinite(values).all():
        raise PhysicsError(what, "hold negative, infinite or undefined values", "Give finite numbers from zero.")


def log_likelihood(counts: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Poisson log-likelihood summed over the last two axes, without the term that depends on the counts only."""
    wide = expected.double()
    return (torch.xlogy(counts.double(), wide) - wide).sum((-2, -1))


def scale_to_counts(trues: torch.Tensor, total: float, *, per_slice: bool = False) -> torch.Tensor:
    """Factor(s) that bring a sinogram [..., angles, radial] to `total` counts, in all or in each slice.

    With `per_slice`, slices without activity get the factor zero.
    """
    check_total(total)
    _check_counts(trues, "Expected trues")
    sums = trues.double().sum((-2, -1), keepdim=True)
    if not per_slice:
        sums = sums.sum()
    if float(sums.max()) <= 0:
        raise PhysicsError("Activity", "is zero everywhere, so it gives no counts", "Give an image with activity.")
    return torch.where(sums > 0, total / sums.clamp(min=1e-300), 0.0).to(trues.dtype)


@dataclass(frozen=True)
class Background:
    """Events that are not true coincidences, as fractions of the trues of each slice.

    Randoms lie evenly over the sinogram; scatter is the measured emission, blurred broadly along the profiles.
    The papers' 20 % of uniform events is `Background(randoms=0.2)`.
    """

    randoms: float = 0.0
    scatter: float = 0.0
    scatter_fwhm_mm: float = 200.0

    def __post_init__(self) -> None:
        for name in ("randoms", "scatter", "scatter_fwhm_mm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise PhysicsError(f"Background {name} = {value}", "must be zero or a positive number",
                                   "Give fractions of the true counts, for instance 0.2.")

    @property
    def fraction(self) -> float:
        """Background events per true event."""
        return self.randoms + self.scatter

    def expected(self, trues: torch.Tensor, radial_mm: float) -> torch.Tensor:
        """Expected background of expected trues [..., angles, radial]."""
        per_slice = trues.sum((-2, -1), keepdim=True)
        even = (self.randoms / (trues.shape[-2] * trues.shape[-1])) * per_slice
        if self.scatter == 0:
            return even.expand_as(trues)
        return even + self.scatter * gaussian_filter(trues, self.scatter_fwhm_mm, (radial_mm,))

    def trues_of_prompts(self, prompts: float) -> float:
        """Trues among so many events of every kind."""
        return prompts / (1 + self.fraction)
