"""What diffusion does to Gaussian data, worked out apart from the program, in the coordinates of each paper.

Data are N(MU, S^2) at every voxel. Every sampler is then linear, so its output is known at any number of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

MU, S = 0.3, 0.2


def exact_denoiser(x, sigma, cond=None):
    """E[x0 | x] for x = x0 + sigma n."""
    return (S**2 * x + sigma**2 * MU) / (S**2 + sigma**2)


def exact_network(kind):
    """The network that a model of this kind would have learnt; `level(c_noise)` is sigma."""
    def network(x_in, noise, level):
        sigma = level(noise).reshape(-1, *[1] * (x_in.ndim - 1))
        scale = torch.sqrt(S**2 + sigma**2) if kind == "edm" else torch.sqrt(1 + sigma**2)
        x = x_in * scale
        x0 = exact_denoiser(x, sigma)
        n, alpha = (x - x0) / sigma, 1 / torch.sqrt(1 + sigma**2)
        return {"epsilon": n, "sample": x0, "velocity": alpha * n - alpha * sigma * x0,
                "edm": (x0 - S**2 / (S**2 + sigma**2) * x) * torch.sqrt(S**2 + sigma**2) / (sigma * S)}[kind]

    return network


@dataclass
class Affine:
    """a z + b for a standard normal z."""

    a: float
    b: float

    def __add__(self, other):
        return Affine(self.a + other.a, self.b + other.b)

    def __rmul__(self, k):
        return Affine(k * self.a, k * self.b)


def _x0_vp(x: Affine, ab: float) -> Affine:
    """E[x0 | x_t] for x_t = sqrt(ab) x0 + sqrt(1 - ab) n, by regression of x0 on x_t."""
    gain = S**2 * math.sqrt(ab) / (ab * S**2 + 1 - ab)
    return Affine(gain * x.a, MU + gain * (x.b - math.sqrt(ab) * MU))


def _alpha_bars(sigmas):
    return [1 / (1 + s * s) for s in np.asarray(sigmas, float)]


def ddim_path(sigmas, eta=0.0, variance="small"):
    """Mean and SD after DDIM (Song et al. 2021, Eq. 12) or DDPM (Ho et al. 2020, Eq. 6, 7), in x_t coordinates."""
    bars = _alpha_bars(sigmas)
    x, added = Affine(sigmas[0] * math.sqrt(bars[0]), 0.0), 0.0
    for t, s in pairwise(bars):
        x0, z = _x0_vp(x, t), _x0_vp(Affine(math.sqrt(added), 0.0), t).a
        beta = 1 - t / s
        tilde = (1 - s) / (1 - t) * beta
        if eta is None:  # DDPM, posterior mean
            on_x0, on_x = math.sqrt(s) * beta / (1 - t), math.sqrt(t / s) * (1 - s) / (1 - t)
            noise = (tilde if variance == "small" else beta) if s < 1 else 0.0
        else:
            noise = eta**2 * tilde
            on_x = math.sqrt((1 - s - noise) / (1 - t))
            on_x0 = math.sqrt(s) - on_x * math.sqrt(t)
        x = on_x0 * x0 + on_x * x
        added = (on_x0 * z + on_x * math.sqrt(added)) ** 2 + noise
    return Affine(math.sqrt(x.a**2 + added), x.b) if added else x


def ode_path(sigmas, order, churn=0.0):
    """Mean and SD after EDM's Algorithm 2 (order 2) or its Euler form (order 1)."""
    gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    x = Affine(sigmas[0], 0.0)
    for t, s in pairwise(sigmas):
        hat = t * (1 + gamma)
        x = Affine(math.hypot(x.a, math.sqrt(hat**2 - t**2)), x.b)

        def slope(y, level):
            return (1 / level) * (y + (-1.0) * Affine(S**2 / (S**2 + level**2) * y.a, (S**2 * y.b + level**2 * MU)
                                                      / (S**2 + level**2)))

        d = slope(x, hat)
        ahead = x + (s - hat) * d
        x = x + (s - hat) * (0.5 * (d + slope(ahead, s))) if order == 2 and s > 0 else ahead
    return x


def solver_path(sigmas):
    """DPM-Solver++(2M), Algorithm 2 of Lu et al. (2022), with alpha_t and sigma_t of a variance-preserving model."""
    alpha = [math.sqrt(ab) for ab in _alpha_bars(sigmas)]
    noise = [math.sqrt(1 - a * a) for a in alpha]
    x, last, h_last = Affine(sigmas[0] * alpha[0], 0.0), None, None
    for i in range(1, len(sigmas)):
        x0 = _x0_vp(x, alpha[i - 1]**2)
        if sigmas[i] == 0:
            return x0
        h = math.log(alpha[i] / noise[i]) - math.log(alpha[i - 1] / noise[i - 1])
        D = x0 if last is None else (1 + h / h_last / 2) * x0 + (-h / h_last / 2) * last
        x = (noise[i] / noise[i - 1]) * x + (-alpha[i] * math.expm1(-h)) * D
        last, h_last = x0, h
    return (1 / alpha[-1]) * x
