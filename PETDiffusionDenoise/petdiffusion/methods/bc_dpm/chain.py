"""Algorithm 2: the chain of the score network, steered by the scan in its last l transitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...diffusion.samplers import Step, normal_like
from ...diffusion.schedules import respaced_sigmas, sigma_of
from ...infer.engine import Model, Sampling, Scene, VolumeEstimate, sample_volume
from ...infer.patches import PatchRules
from ...infer.seeds import sample_generators
from ...networks.unet import UNet
from ...physics.poisson import generator
from ...progress import Run
from . import conditions as eq10
from .config import BcDpmConfig
from .counts import PAPER_STEPS
from .parts import alpha_bar, denoiser, told
from .units import Units

_SCAN_NOISE, _COUNTS = 101, 102
"""Streams of random numbers beside the sampler's own."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a scan is sampled, in numbers."""

    transitions: int
    """l: the last so many steps are steered."""
    balance: float
    """lambda."""
    smooth_mm: float
    """FWHM of GF."""
    resolution_mm: float
    """FWHM of P-dagger."""
    conditions: str = "both"
    start: str = "scan"
    steps: int = 100
    samples: int = 5
    estimate: str = "mean"
    axial_mm: float = 0.0
    """Neighbouring slices share their noise over this distance, and the filters reach as far (FWHM)."""
    reach: float = 0.0
    """How far up the last l steps go, in the paper's steps; 0: as far as l of `steps` do."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SliceScan:
    """Slices to be denoised (z, y, x) in activity, and what is known of them."""

    low: np.ndarray
    body: np.ndarray
    pixel_mm: tuple[float, float]
    """(y, x)"""
    slice_mm: float
    units: Units

    def filter(self, fwhm_mm: float, axial_mm: float) -> eq10.Filter:
        return eq10.gaussian(fwhm_mm, self.pixel_mm, axial_mm, self.slice_mm)


def sample(scan: SliceScan, settings: Settings, insert: eq10.Inserter, network: UNet, config: BcDpmConfig,
           run: Run, on_sample: Callable[[Tensor], None] | None = None) -> VolumeEstimate:  # fmt: skip
    """Mean, first sample and SD in network units; `on_sample` sees every sample."""
    low, scale = (torch.from_numpy(np.array(a, np.float32)) for a in (scan.low, scan.units.scale))
    smooth, resolution = (scan.filter(w, settings.axial_mm) for w in (settings.smooth_mm, settings.resolution_mm))
    alike = settings.axial_mm / scan.slice_mm
    steering = Steering(settings, low, scale, smooth, resolution, insert, run.seed, alike)
    sigmas = levels(config, settings)
    sampling = Sampling(tuple(sigmas.tolist()), "ddpm", settings.samples, settings.estimate, "samples", alike=alike)
    pixel = torch.tensor([float(np.sqrt(np.prod(scan.pixel_mm)))])
    scene = Scene(low.shape, told(pixel), scan.body, (smooth(low) / scale)[None, None],
                  (low / scale)[None] if settings.start == "scan" else None)  # fmt: skip
    model = Model(denoiser(network, config), network, PatchRules(dims=2, multiple=network.config.multiple))
    return sample_volume(model, scene, sampling, run, on_step=steering, on_sample=on_sample)


def levels(config: BcDpmConfig, settings: Settings) -> Tensor:
    """The paper's evenly spaced times, their noise in network units; from the scan on, only the last l steps of them.

    Levels above the highest that the network has seen are left out: there is nothing of an image at either.
    """
    bars = alpha_bar(config)
    found = respaced_sigmas(bars, settings.steps)
    if settings.steps < PAPER_STEPS:
        found = _reaching(found, bars, settings)
    found = (config.level_scale * found).clamp(max=float(sigma_of(bars)[-1]))
    found = torch.unique_consecutive(found)
    return found[-1 - settings.transitions :] if settings.start == "scan" else found


def _reaching(found: Tensor, bars: Tensor, settings: Settings) -> Tensor:
    """With the last l steps evenly below where the paper's chain would be steered from. The last of a few evenly
    spaced times lie far apart, the very last at the end: one step alone would go from almost no noise to none."""
    l, last = settings.transitions, len(bars)
    reach = settings.reach or PAPER_STEPS * l / settings.steps
    top = min(max(1 + (reach - 1) * (last - 1) / (PAPER_STEPS - 1), 1.0), float(last))
    steered = sigma_of(bars)[torch.linspace(top, 1 if l > 1 else top, l, dtype=torch.float64).round().long() - 1]
    return torch.cat((found[found > steered[0]], steered, found.new_zeros(1)))


@dataclass(eq=False)
class Steering:
    """Called after every step of the chain: in the last l it puts the conditions on x_{t-1} (Eq. 10).

    Both sides are taken as x / sqrt(alpha_bar), that is as the image with noise of SD sigma on it, and in activity:
    there filters and projections mean what they say, and lines of response add up to counts.
    """

    settings: Settings
    low: Tensor
    scale: Tensor
    smooth: eq10.Filter
    resolution: eq10.Filter
    insert: eq10.Inserter
    seed: int
    alike: float = 0.0
    """Slices over which neighbours share their noise."""
    _next: int = 0
    _noise: Sequence[Any] = field(default=(), repr=False)
    _counts: Sequence[torch.Generator] = field(default=(), repr=False)

    def __call__(self, step: Step) -> Tensor | None:
        if step.index == 0:
            self._begin(len(step.x), step.x.device)
        kind = self.settings.conditions
        if step.remaining >= self.settings.transitions or kind == "none":
            return None
        self._to(step.x.device)
        x = step.x * self.scale
        y = self.low + self.scale * step.sigma_next * normal_like(step.x, self._noise)  # q(y_{t-1} | y_0)
        if kind == "gaussian":
            return eq10.denoising(x, y, self.smooth) / self.scale
        second = eq10.noise_insertion(x, y, self.insert.noise(x, self._counts), self.resolution)
        if kind == "sinogram":
            return second / self.scale
        return eq10.bidirectional(eq10.denoising(x, y, self.smooth), second, self.settings.balance) / self.scale

    def _begin(self, count: int, device: torch.device) -> None:
        """The samples of a batch come in order, so each has its own streams whatever the batch."""
        first, self._next = self._next, self._next + count
        numbers = range(first, self._next)
        self._noise = sample_generators(self.seed + _SCAN_NOISE, count, first, self.alike)
        seeds = [generator(self.seed, i, _COUNTS).initial_seed() for i in numbers]
        where = device if device.type == "cuda" else "cpu"  # Apple's GPUs draw no Poisson numbers
        self._counts = [torch.Generator(where).manual_seed(seed) for seed in seeds]

    def _to(self, device: torch.device) -> None:
        """Everything where the chain's volumes are; they may leave the device when its memory runs out."""
        if self.low.device != device:
            self.low, self.scale = self.low.to(device), self.scale.to(device)
        if self.insert.sensitivity.device != device:
            self.insert = self.insert.to(device)
