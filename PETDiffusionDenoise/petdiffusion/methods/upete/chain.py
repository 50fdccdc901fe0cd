"""The inverse process, from the scan's own step down. No more than the steps below it are run, and few of those.

At the scan's step one evaluation gives c, the mean of all that may lie behind the scan. A chain goes on from there:
with independent noises whose levels add in squares, z_s given z_t and c is a blend of both with fresh noise,

    z_s = c + (K_s / K_t)^2 (z_t - c) + sqrt(K_s^2 (1 - (K_s / K_t)^2)) zeta,

K the level of all noise, down to that of a normal-dose scan: what comes out is a likely normal-dose scan. zeta is of
the scan's kind: correlated noise of level 1 in units, where PET's noise is as strong everywhere, encoded with the scan.
It has the variance and the correlation of the sinogram's Poisson deviates, and costs no reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...diffusion.estimate import Moments
from ...diffusion.parameterisation import Denoiser
from ...filters import FWHM
from ...infer.seeds import sample_generator
from ...prepare import noise
from . import parts, perturb
from .config import UpeteConfig
from .scan import Codec
from .units import Spacing, smoothed, smoothed_by

LEAST = 0.5
"""Least strength in SDs of a normal dose's noise: nearer to it the network has learnt next to nothing of c."""


@dataclass(frozen=True)
class Start:
    """Where a scan enters: step t of strength g, and the level of all its noise."""

    t: int
    g: float
    level: float
    told: str


def start_of(level: float, fraction: float, step: int, config: UpeteConfig) -> Start:
    """From the step as given, else the fraction of a normal dose, else the noise of the scan."""
    own = config.normal_level or 1.0
    if step > 0:
        g, said = float(perturb.strength(step, config)), "as given"
    elif fraction > 0:
        g, said = own * (1 / fraction - 1) ** 0.5, f"from the fraction {fraction:g} of a normal dose"
    else:
        g, said = max(config.match * level, own) ** 2 - own**2, "from the noise of the image"
        g = g**0.5
    g = float(np.clip(g, LEAST * own, config.top * own))
    return Start(perturb.step_of(g, config), g, float((own**2 + g**2) ** 0.5), said)


def levels_of(start: Start, steps: int, config: UpeteConfig) -> list[float]:
    """Strengths of a chain's `steps` evaluations, evenly spaced in t as the paper's; the last step leads to 0."""
    return [start.g * (1 - i / steps) for i in range(steps)] + [0.0]


@dataclass(eq=False)
class Chains:
    """Runs D on the latent of a scan. `advance` counts evaluations."""

    denoiser: Denoiser
    codec: Codec
    config: UpeteConfig
    start: Start
    cond: Conditions
    z: Tensor
    kind: float
    seed: int
    evaluations: int = 0
    _fwhm: tuple[float, ...] | None = field(default=None, repr=False)

    def clean(self, z: Tensor, g: float) -> Tensor:
        self.evaluations += 1
        return self.denoiser(z, torch.tensor(self.level(g) * (self.config.latent_noise or 1.0)), self.cond)

    def level(self, g: float) -> float:
        """Of all noise at strength g."""
        return float(parts.total(g, parts.own_of(self.config.normal_level or 1.0, self.kind, self.config)))

    def sample(self, first: Tensor, strengths: Sequence[float], number: int) -> Tensor:
        """One chain; its first estimate is shared by all."""
        z, random = self.z, sample_generator(self.seed, number)
        for i, (g, lower) in enumerate(pairwise(strengths)):
            c = first if i == 0 else self.clean(z, g)
            after, part = self.level(lower), (self.level(lower) / self.level(g)) ** 2
            z = c + part * (z - c)
            if after > 0:
                z = z + after * (1 - part) ** 0.5 * self.fresh(random)
        return z

    def fresh(self, random: torch.Generator) -> Tensor:
        """zeta: noise of level 1 in the latent."""
        if self.kind == parts.GAUSSIAN:
            return torch.randn(self.z.shape, generator=random) * (self.config.latent_noise or 1.0)
        scan = self.codec.scan
        n = correlated(tuple(scan.u.shape[2:]), self.fwhm_mm, scan.case.pet.geometry.spacing, random, self.config,
                       self.codec.policy.device)  # fmt: skip
        if self.codec.has_shortcut:
            return self.codec.by_shortcut(n[None, None])
        u = scan.u + n[None, None] * self.start.level
        return (self.codec.encoded(u) - self.z) / self.start.level

    @property
    def fwhm_mm(self) -> tuple[float, ...]:
        """Of the scan's own noise."""
        if self._fwhm is None:
            scan = self.codec.scan
            u = scan.case.pet.with_array(scan.units.forward(scan.case.pet.array))
            self._fwhm = noise.measure(u, scan.case.body).fwhm_mm
        return self._fwhm


def correlated(shape: tuple[int, ...], fwhm_mm: Sequence[float], spacing_mm: Sequence[float],
               random: torch.Generator, config: UpeteConfig, device: str | torch.device = "cpu") -> Tensor:  # fmt: skip
    """White noise through a filter of `fwhm_mm`, as the scan's seems to have come, of level 1."""
    white, spacing = torch.randn(shape, generator=random), tuple(spacing_mm)
    width = float(np.mean(fwhm_mm))
    smooth = smoothed_by(white, spacing, width, device) if width > 0 else white
    return smooth / max(_level_of_white(shape, spacing, width, config), 1e-6)


def _level_of_white(shape: tuple[int, ...], spacing: Spacing, width: float, config: UpeteConfig) -> float:
    """What `level_of` finds on much white noise, smoothed: the SD of what its filter takes away, by the response to a
    point. Told beforehand, as measuring takes longer than drawing."""
    reach = [int(np.ceil(3 * (width + config.level_mm) / FWHM / step)) + 1 for step in reversed(spacing)]
    point = np.zeros([min(n, 2 * r + 1) for n, r in zip(shape, reach)], np.float32)
    point[tuple(n // 2 for n in point.shape)] = 1
    kernel = smoothed(point, spacing, width) if width > 0 else point
    return float(np.sqrt(np.square(kernel - smoothed(kernel, spacing, config.level_mm)).sum(dtype=np.float64)))


def spread_of(samples: Callable[[int], np.ndarray], count: int, watch: Callable | None) -> tuple[np.ndarray, Moments]:
    """The first of `count` sampled images, and the moments of all."""
    moments, first = Moments(), None
    for number in range(count):
        image = samples(number)
        first = image if first is None else first
        moments.add(torch.from_numpy(image))
        if watch is not None:
            watch(image)
    return first, moments
