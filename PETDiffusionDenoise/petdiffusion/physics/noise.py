"""Noise insertion into slices: project, count, reconstruct. What BC-DPM and uPETe write as P'(Po(P(x) + r + s))."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import PhysicsError
from .geometry import ScanGeometry
from .poisson import Background, sample_counts, scale_to_counts
from .projector import Projector
from .recon import fbp, mlem

PAPER_BACKGROUND = Background(randoms=0.2)
"""BC-DPM: uniform events, 20 % of the trues."""


@torch.no_grad()
def insert_noise(slices: torch.Tensor, geometry: ScanGeometry, counts: float,
                 generator: torch.Generator | Sequence[torch.Generator], *, background: Background = PAPER_BACKGROUND,
                 iterations: int = 0, window: str = "hann") -> torch.Tensor:
    """Slices [..., ny, nx] as a scan with `counts` events of every kind in each slice would show them.

    Reconstruction is FBP with `window`, or as many ML-EM iterations as given (the paper's: 100). Values below zero
    count as zero; slices without activity come back as zero. The unit of the image is kept. With one generator for
    each along the first axis, a slice's noise does not depend on the others in the batch.
    """
    if not torch.isfinite(slices).all():
        raise PhysicsError("Slices", "hold infinite or undefined values", "Replace them before adding noise.")
    trues = Projector(geometry, slices.device).forward(slices.clamp(min=0))
    if not (trues > 0).any():
        return torch.zeros_like(slices)
    scale = scale_to_counts(trues, background.trues_of_prompts(counts), per_slice=True)
    trues = trues.mul_(scale)
    added = background.expected(trues, geometry.radial_mm)
    events = sample_counts(trues + added, generator)
    if iterations:
        return mlem(events, geometry, iterations=iterations, factors=scale, background=added).to(slices.dtype)
    return fbp(events, geometry, window=window, factors=scale, background=added).to(slices.dtype)
