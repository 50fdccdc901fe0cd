"""One Denoiser D(x, sigma, cond) -> x0 out of whatever a network predicts.

All parameterisations have EDM's form (Karras et al. 2022, Eq. 7), D = c_skip x + c_out F(c_in x, c_noise, cond), where
F is the network. They differ in the four coefficients only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .conditions import Conditions
from .schedules import time_of


class Denoiser(Protocol):
    """The mean of the clean images that could have given x = x0 + sigma n.

    x is (batch, channels, *space); sigma has no axis or is (batch,).
    """

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor: ...


class Coefficients(NamedTuple):
    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


Time = Callable[[Tensor], Tensor]


def quarter_log(sigma: Tensor) -> Tensor:
    """c_noise of EDM: ln(sigma) / 4."""
    return sigma.clamp(min=1e-12).log() / 4


@dataclass(frozen=True, eq=False)
class DiscreteTime:
    """c_noise of networks trained on steps t = 1..T: the step of sigma, interpolated or the nearest."""

    alpha_bar: Tensor
    nearest: bool = False

    def __call__(self, sigma: Tensor) -> Tensor:
        return time_of(sigma, self.alpha_bar, self.nearest)


@dataclass(frozen=True)
class Edm:
    """EDM preconditioning (Table 1): sigma_data is the standard deviation of what is modelled, measured."""

    sigma_data: float
    time: Time = quarter_log

    def __call__(self, sigma: Tensor) -> Coefficients:
        total = sigma.square() + self.sigma_data**2
        return Coefficients(self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), total.rsqrt(),
                            self.time(sigma))


@dataclass(frozen=True)
class Epsilon:
    """The network sees x_vp and predicts the noise n, as DDPM does."""

    time: Time = quarter_log

    def __call__(self, sigma: Tensor) -> Coefficients:
        return Coefficients(torch.ones_like(sigma), -sigma, (1 + sigma.square()).rsqrt(), self.time(sigma))


@dataclass(frozen=True)
class Velocity:
    """The network sees x_vp and predicts v = sqrt(alpha_bar) n - sqrt(1 - alpha_bar) x0."""

    time: Time = quarter_log

    def __call__(self, sigma: Tensor) -> Coefficients:
        scale = (1 + sigma.square()).rsqrt()
        return Coefficients(scale.square(), -sigma * scale, scale, self.time(sigma))


@dataclass(frozen=True)
class Sample:
    """The network sees x_vp and predicts x0 itself."""

    time: Time = quarter_log

    def __call__(self, sigma: Tensor) -> Coefficients:
        return Coefficients(torch.zeros_like(sigma), torch.ones_like(sigma), (1 + sigma.square()).rsqrt(),
                            self.time(sigma))


@dataclass(frozen=True, eq=False)
class Preconditioned:
    """The Denoiser of a network `net(x, noise, **conditions)` and a parameterisation.

    The conditions are not scaled by c_in.
    """

    net: Callable[..., Tensor]
    scaling: Callable[[Tensor], Coefficients]

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        c = self.scaling(sigma)
        inputs = cond.inputs(len(x)) if cond is not None else {}
        predicted = self.net(broadcast(c.input, x) * x, c.noise.to(x.dtype), **inputs)
        return broadcast(c.skip, x) * x + broadcast(c.out, x) * predicted.to(x.dtype)


@dataclass(frozen=True, eq=False)
class Residual:
    """The Denoiser of images out of one of residuals: image = base + sign * residual.

    sign = +1: the residual is full minus base. sign = -1: base minus full, as CSRD's paper writes it.
    """

    of_residual: Denoiser
    base: Tensor
    sign: int = 1

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise ValueError(f"sign must be +1 or -1, not {self.sign}")

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        return self.base + self.sign * self.of_residual(self.sign * (x - self.base), sigma, cond)


@dataclass(frozen=True, eq=False)
class Adjusted:
    """A Denoiser whose estimate is changed by `change(x0, x, sigma)` before a sampler sees it.

    The place for clamping (needed with a cosine schedule, where errors near t = T are amplified thousands of times) and
    for data consistency.
    """

    denoiser: Denoiser
    change: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        return self.change(self.denoiser(x, sigma, cond), x, sigma)


def clamped(denoiser: Denoiser, low: float, high: float) -> Adjusted:
    """The Denoiser with its estimates clamped to [low, high]."""
    return Adjusted(denoiser, lambda x0, x, sigma: x0.clamp(low, high))


@dataclass(eq=False)
class Counted:
    """A Denoiser that counts its evaluations (a batch of n counts n).

    `before` is called ahead of each, for progress and cancel.
    """

    denoiser: Denoiser
    before: Callable[[], None] | None = None
    evaluations: int = 0

    def __call__(self, x: Tensor, sigma: Tensor, cond: Any = None) -> Tensor:
        if self.before is not None:
            self.before()
        self.evaluations += len(x)
        return self.denoiser(x, sigma, cond)


def broadcast(value: Tensor, x: Tensor) -> Tensor:
    """A number for each image of the batch, shaped to multiply x."""
    return value.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
