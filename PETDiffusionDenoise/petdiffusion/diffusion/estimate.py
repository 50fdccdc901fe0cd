"""From samples to what a reader sees: the mean image, one sample, and a map of standard deviations.

The mean of all images that fit the scan has the best PSNR, and the first evaluation from pure noise already is that
mean, since pure noise says nothing. A single sample has the right texture but twice the squared error. So the mean is
taken from the first evaluations of the chains, which are paid for anyway, and only its spread needs whole chains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .parameterisation import Counted, Denoiser
from .samplers import Generators

MEANS = ("first", "samples")


@dataclass(eq=False)
class Moments:
    """Mean and standard deviation of images that come one by one (Welford), two images of memory for any number."""

    spread: bool = True
    """False: the mean alone, in one image of memory."""
    count: int = 0
    mean: Tensor | None = None
    _squares: Tensor | None = field(default=None, repr=False)

    def add(self, image: Tensor) -> None:
        self.count += 1
        if self.mean is None:
            self.mean = image.clone()
            self._squares = torch.zeros_like(image) if self.spread else None
            return
        self._follow(image.device)
        away = image - self.mean
        self.mean.add_(away, alpha=1 / self.count)
        if self._squares is not None:
            self._squares.addcmul_(away, image - self.mean)

    def _follow(self, device: torch.device) -> None:
        """To where the images are now: they leave a device whose memory runs out."""
        if self.mean.device != device:
            self.mean = self.mean.to(device)
            self._squares = None if self._squares is None else self._squares.to(device)

    @property
    def sd(self) -> Tensor | None:
        """Standard deviation with n - 1 below; None for fewer than two images."""
        return (self._squares / (self.count - 1)).sqrt() if self.spread and self.count > 1 else None


@dataclass(frozen=True)
class Estimate:
    """Images of (channels, *space). `evaluations` counts network evaluations of one image each."""

    mean: Tensor | None
    sample: Tensor | None
    """The first sample; None if none was drawn."""
    sd: Tensor | None
    samples: int
    evaluations: int


@dataclass(eq=False)
class FirstLook:
    """Adds the estimates that a chain makes first to a mean."""

    denoiser: Denoiser
    mean: Moments
    taken: bool = False

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        x0 = self.denoiser(x, sigma, cond)
        if not self.taken:
            self.taken = True
            for image in x0:
                self.mean.add(image)
        return x0


Chain = Callable[[Denoiser, Generators], Tensor]


def draw(D: Denoiser, chain: Chain, generators: Generators, *, batch: int = 1, mean: str = "first",
         on_sample: Callable[[int, Tensor], None] | None = None) -> Estimate:
    """Runs `chain(D, generators) -> samples` for every generator, `batch` at a time, and sums up.

    `mean` says what the mean is made of: `first` evaluations (chains must start from pure noise) or `samples`.
    `on_sample(i, sample)` sees every sample. Evaluations count a batch of n as n.
    """
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {MEANS}, not '{mean}'")
    firsts, samples, sample, counted = Moments(spread=False), Moments(), None, Counted(D)
    for begin in range(0, len(generators), batch):
        group = generators[begin:begin + batch]
        images = chain(FirstLook(counted, firsts, taken=mean != "first"), group)
        for i, image in enumerate(images):
            samples.add(image)
            sample = image.clone() if sample is None else sample
            if on_sample is not None:
                on_sample(begin + i, image)
    best = firsts.mean if mean == "first" else samples.mean
    return Estimate(best, sample, samples.sd, samples.count, counted.evaluations)


def mean_at_once(D: Denoiser, start: Tensor, sigma: float, cond: Any = None) -> Estimate:
    """The mean by one evaluation from pure noise of level sigma, averaged over the batch of starts."""
    x0 = D(start, start.new_tensor(sigma), cond)
    return Estimate(x0.mean(0), None, None, 0, len(start))

