"""The palette of one patient: each tissue's value in PET, CT and MR, and how cortical uptake varies over the brain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Colour
from .shapes import Points
from .template import Field, spread
from .tissues import TISSUES

# Cortical FDG relative to its mean: MNI place (mirrored), width and amount of a Gaussian bump, spread between people.
FDG_REGIONS = (
    ((8, -84, 6), (14, 18, 16), 0.20, 0.07),      # primary visual, the highest
    ((8, -52, 26), (12, 18, 16), 0.18, 0.05),     # posterior cingulate and precuneus
    ((26, 40, 30), (22, 22, 20), 0.07, 0.06),     # lateral frontal
    ((42, -22, 10), (12, 14, 9), 0.10, 0.05),     # auditory
    ((38, -20, 54), (16, 14, 16), 0.02, 0.05),    # sensorimotor
    ((44, -58, 40), (18, 20, 18), 0.03, 0.05),    # inferior parietal
    ((8, 42, 6), (12, 18, 18), -0.12, 0.05),      # anterior cingulate
    ((26, -14, -24), (14, 24, 12), -0.22, 0.05),  # mesial temporal
    ((52, -24, -16), (18, 30, 16), -0.10, 0.05),  # lateral temporal
    ((36, 16, -30), (18, 16, 14), -0.16, 0.05),   # temporal pole
)
DASB_REGIONS = (
    ((24, -8, -26), (14, 18, 12), 0.42, 0.08),    # entorhinal and parahippocampal
    ((38, 6, 0), (9, 20, 16), 0.32, 0.06),        # insula
    ((7, 32, 8), (10, 22, 20), 0.20, 0.05),       # anterior cingulate
    ((7, 16, -18), (12, 14, 10), 0.24, 0.05),     # subgenual and orbital
    ((36, 14, -32), (16, 14, 12), 0.18, 0.05),    # temporal pole
    ((8, -84, 6), (16, 18, 18), 0.06, 0.04),
    ((26, 45, 25), (26, 24, 24), -0.07, 0.03),    # dorsolateral frontal, the lowest
)
REGIONS = {"FDG": FDG_REGIONS, "DASB": DASB_REGIONS}
LEVEL = {"FDG": (8.8, 0.18), "DASB": (1.25, 0.15)}
"""SUV of cortical grey (FDG) or cerebellar grey (DASB): median and log-SD between people."""


@dataclass(frozen=True)
class Palette:
    """Values of one patient under one tracer."""

    level: float
    colours: dict[str, Colour]
    cortex: Field
    """Uptake of cerebral cortex over MNI space, relative to its mean."""

    def __getitem__(self, tissue: str) -> Colour:
        return self.colours[tissue]


def palette(tracer: str, anatomy: np.random.Generator, uptake: np.random.Generator, contrast_agent: bool) -> Palette:
    """CT and MR from the anatomy's generator, so that they do not change with the tracer."""
    median, spread_ = LEVEL[tracer]
    level = float(median * np.exp(np.clip(uptake.normal(0, spread_), -2.2 * spread_, 2.2 * spread_)))
    body = float(np.exp(uptake.normal(0, 0.12)))
    colours = {}
    for name, tissue in TISSUES.items():
        relative = tissue.fdg if tracer == "FDG" else tissue.dasb
        scale = level * np.exp(uptake.normal(0, 0.05)) if tissue.brain else body * np.exp(uptake.normal(0, 0.18))
        mr = tissue.t1 * np.exp(anatomy.normal(0, 0.025))
        if contrast_agent and name in ("blood", "mucosa", "pituitary", "choroid_plexus"):
            mr = 1.45
        colours[name] = Colour(float(relative * scale), tissue.hu + float(anatomy.normal(0, 0.015)) * abs(tissue.hu),
                               float(mr))
    return Palette(level, colours, _cortex(tracer, uptake))


def _cortex(tracer: str, rng: np.random.Generator, step: float = 4.0) -> Field:
    """Gaussian bumps, each with its own strength on either side."""
    axes = [np.arange(low, high, step, dtype=np.float32) for low, high in ((-80, 81), (-116, 81), (-60, 93))]
    x, y, z = spread(axes)
    values = np.ones((len(axes[2]), len(axes[1]), len(axes[0])), np.float32)
    for place, width, amount, spread_ in REGIONS[tracer]:
        common = rng.normal(amount, spread_)
        for side in (1, -1):
            reach = _squared((x, y, z), (side * place[0], *place[1:]), width)
            values += np.float32(common + rng.normal(0, 0.3 * spread_)) * np.exp(-0.5 * reach)
    return Field(values, tuple(float(a[0]) for a in axes), step)


def _squared(points: Points, place: tuple[float, ...], width: tuple[float, ...]) -> np.ndarray:
    return sum(np.square((p - np.float32(c)) / np.float32(w)) for p, c, w in zip(points, place, width))
