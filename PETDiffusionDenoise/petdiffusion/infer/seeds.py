"""One random generator for each sample, so that sample i is the same whatever else is drawn.

Noise is drawn on the CPU over the whole volume and moved: every device starts from the same field, and all patches of a
volume see one field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The generator of sample `index` of a run with this seed."""
    state = np.random.SeedSequence(entropy=seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def sample_generators(seed: int, count: int, first: int = 0, alike: float = 0.0) -> list[torch.Generator | AlikeSlices]:
    """Generators of samples first .. first + count - 1; with `alike` above 0 neighbouring slices share their noise."""
    generators = [sample_generator(seed, first + i) for i in range(count)]
    return [AlikeSlices(g, alike) for g in generators] if alike > 0 else generators


@dataclass(frozen=True, eq=False)
class AlikeSlices:
    """Normal noise (..., z, y, x) that goes over gently from slice to slice; each slice by itself is white.

    For 2D networks: a slice's chain is what it would be alone, but what the chain makes up changes along z as slowly as
    the noise does, so that stacked slices do not flicker.
    """

    generator: torch.Generator
    slices: float
    """FWHM of the correlation along z."""

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        white = torch.randn(shape, generator=self.generator, device=self.generator.device)
        mixing = _along(shape[-3], self.slices).to(white)
        return (mixing @ white.flatten(-2)).reshape(white.shape)


def _along(count: int, fwhm: float) -> torch.Tensor:
    """Rows of unit length, so that each slice keeps variance 1 up to the borders.

    Gaussians of SD s give the correlation exp(-d^2 / 4 s^2), whose FWHM is 4 s sqrt(ln 2).
    """
    place = torch.arange(count, dtype=torch.float64)
    sd = fwhm / (4 * math.sqrt(math.log(2)))
    rows = torch.exp(-((place[:, None] - place) ** 2) / (2 * sd**2))
    return rows / rows.norm(dim=1, keepdim=True)
