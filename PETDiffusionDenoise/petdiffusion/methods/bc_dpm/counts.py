"""The count level of a scan, and what follows from it: how long and how broadly the conditions hold.

A count level is the number of events of every kind in a slice. Where it is not given it is read from the noise: the
level at which slices of the paper's simulation (160 x 192 bins, 20 % background, 100 ML-EM iterations) are as noisy in
network units as this scan is, whatever its reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import OptionError
from ...filters import FWHM
from ...prepare.noise import Noise
from .config import BcDpmConfig

NOISE = ((1e6, 0.276), (3e5, 0.375), (1e5, 0.536))
"""Count level and `effective` noise in network units of two, on 48 slices of 4 digital validation patients that
were projected, counted and reconstructed as in the paper; patients differ by 6 %."""
TRANSITIONS = ((1e6, 5.0), (3e5, 10.0), (1e5, 15.0))
"""The paper's l, of 100 steps."""
PAPER_STEPS = 100
FEWEST = 3.0
"""l at the highest counts."""
WIDTH = ((1e6, 4.0), (3e5, 5.75), (1e5, 8.0))
"""FWHM of the Gaussian filter GF in pixels; the paper doesn't say it. Found on validation slices."""
TRUNK, ALIKE = 3600, 2.0
"""Pixels of the body in a slice of those patients; levels that differ by less than this factor are taken for equal."""
LOWEST, HIGHEST = 1e3, 1e9
LARGEST_GRAIN = 2.5
"""FWHM in pixels: what seems broader than this is structure, no noise."""


@dataclass(frozen=True)
class Level:
    """`measured` is the noise in network units where the level was read from it, None where it was given."""

    counts: float
    told: str
    measured: float | None = None


def level_of(options: Mapping[str, Any], noise: float, config: BcDpmConfig) -> Level:
    """From the option `counts`, else `fraction`, else the noise of the scan in network units."""
    if options["counts"] > 0:
        return Level(max(options["counts"], LOWEST), "as given")
    if options["fraction"] > 0:
        if config.normal_counts is None:
            raise OptionError(
                f"fraction = {options['fraction']}",
                "needs a model that knows the count level of normal-dose scans",
                "Give counts instead, or leave both out.",
            )
        return Level(max(options["fraction"] * config.normal_counts, LOWEST),
                     f"{options['fraction']:g} of the {words(config.normal_counts)} of the training scans")  # fmt: skip
    return Level(counts_of_noise(noise * config.unit / 2), "estimated from the noise of the image", noise)


def effective(noise: Noise, pixel_mm: float) -> float:
    """SD of the white noise that is as strong as this one where it matters, at low frequencies.

    Noise that a reconstruction has smoothed with a Gaussian of SD s has the power of white noise 4 pi s^2 pixels times
    as strong. The network takes noise for white; with this SD it removes of it what is not too fine.
    """
    s = min(float(np.mean(noise.fwhm_mm[1:])) / pixel_mm, LARGEST_GRAIN) / FWHM
    return noise.sd * float(np.sqrt(max(1.0, 4 * np.pi * s**2)))


def counts_of_noise(noise: float) -> float:
    """Interpolated between the measured levels; beyond them the noise goes as the inverse root of the counts."""
    counts, known = (np.log(column) for column in zip(*NOISE))
    at = np.log(max(noise, 1e-9))
    beyond = -2 * (at - np.clip(at, known.min(), known.max()))
    return float(np.clip(np.exp(np.interp(at, known, counts) + beyond), LOWEST, HIGHEST))


def interpolated(table: tuple[tuple[float, float], ...], counts: float) -> float:
    """Straight in the logarithm of the counts; beyond the table the nearer piece goes on."""
    at, known, values = np.log10(counts), np.log10([c for c, _ in table])[::-1], np.array([v for _, v in table])[::-1]
    i = int(np.clip(np.searchsorted(known, at), 1, len(known) - 1))
    return float(values[i - 1] + (at - known[i - 1]) * (values[i] - values[i - 1]) / (known[i] - known[i - 1]))


def as_in_a_trunk(counts: float, pixels: float) -> float:
    """The level at which a trunk's slice is as noisy as this one, whose body has so many pixels.

    The variance of a reconstruction goes as pixels^1.5 / counts: a limb's slice is far less noisy than a trunk's that
    holds as many events.
    """
    factor = (TRUNK / max(pixels, 1.0)) ** 1.5
    return counts if 1 / ALIKE <= factor <= ALIKE else float(np.clip(counts * factor, LOWEST, HIGHEST))


def transitions(counts: float, steps: int) -> int:
    """l for a chain of so many steps: the paper's table is for 100."""
    return int(np.clip(round(reach(counts) * steps / PAPER_STEPS), 1, steps))


def reach(counts: float) -> float:
    """How far up the steered part goes, in the paper's steps: to the level of the noise, however few steps."""
    return max(interpolated(TRANSITIONS, counts), FEWEST)


def width_mm(counts: float, pixel_mm: float) -> float:
    """FWHM of GF."""
    return pixel_mm * max(1.0, interpolated(WIDTH, counts))


def words(counts: float) -> str:
    """0.3M, 120k"""
    return f"{counts / 1e6:.2g}M" if counts >= 1e5 else f"{counts / 1e3:.2g}k"
