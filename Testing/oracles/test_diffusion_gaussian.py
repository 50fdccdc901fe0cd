"""Every sampler with every parameterisation, on Gaussian data, against closed forms at 1000 to 10 steps."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from oracles.diffusion_closed_forms import S, ddim_path, exact_denoiser, exact_network, ode_path, solver_path
from petdiffusion.diffusion.parameterisation import (
    DiscreteTime,
    Edm,
    Epsilon,
    Preconditioned,
    Sample,
    Velocity,
    quarter_log,
)
from petdiffusion.diffusion.samplers import SAMPLERS, normal_like
from petdiffusion.diffusion.schedules import (
    evenly_spaced_times,
    karras_sigmas,
    linear_alpha_bar,
    respaced_sigmas,
    sigma_of,
)

STEPS = (1000, 100, 50, 18, 10)
BARS = linear_alpha_bar()
VOXELS = 40_000

DETERMINISTIC = {"ddim": ddim_path, "euler": partial(ode_path, order=1), "heun": partial(ode_path, order=2),
                 "dpmpp_2m": solver_path}
STOCHASTIC = {
    "ddpm": ("ddpm", {}, partial(ddim_path, eta=None)),
    "ddpm, large variance": ("ddpm", {"variance": "large"}, partial(ddim_path, eta=None, variance="large")),
    "ddim, eta 1": ("ddim", {"eta": 1.0}, partial(ddim_path, eta=1.0)),
    "ddim, eta 0.5": ("ddim", {"eta": 0.5}, partial(ddim_path, eta=0.5)),
    "euler, churn": ("euler", {"s_churn": 40.0}, partial(ode_path, order=1, churn=40.0)),
    "heun, churn": ("heun", {"s_churn": 40.0}, partial(ode_path, order=2, churn=40.0)),
}


def levels(kind: str, steps: int) -> torch.Tensor:
    return karras_sigmas(steps, 0.01, 20.0) if kind == "edm" else respaced_sigmas(BARS, steps)


def denoiser(kind: str) -> Preconditioned:
    """An adapter around the network that has learnt the data perfectly; it sees only what the adapter hands it."""
    def sigma_of_time(t):  # nothing but the papers' steps 1..T
        return sigma_of(BARS)[t.round().long() - 1]

    if kind == "edm":
        return Preconditioned(partial(exact_network("edm"), level=lambda c: (4 * c).exp()), Edm(S, quarter_log))
    scaling = {"epsilon": Epsilon, "velocity": Velocity, "sample": Sample}[kind](DiscreteTime(BARS))
    return Preconditioned(partial(exact_network(kind), level=sigma_of_time), scaling)


def start(sigmas: torch.Tensor, seed: int) -> tuple[torch.Tensor, list[torch.Generator]]:
    generators = [torch.Generator().manual_seed(seed)]
    z = normal_like(torch.empty(1, 1, VOXELS, dtype=torch.float64), generators)
    return float(sigmas[0]) * z, generators


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", ["epsilon", "velocity", "sample", "edm"])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_sampler_is_the_closed_form_voxel_by_voxel(name, kind, steps):
    sigmas = levels(kind, steps)
    x, generators = start(sigmas, 1)
    out = SAMPLERS[name](denoiser(kind), x, sigmas, generators=generators)
    want = DETERMINISTIC[name](sigmas.tolist())
    expected = want.a * x / float(sigmas[0]) + want.b
    assert torch.allclose(out, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", ["epsilon", "edm"])
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_sampler_has_the_mean_and_spread_of_the_closed_form(name, kind, steps):
    sampler, extra, path = STOCHASTIC[name]
    sigmas = levels(kind, steps)
    x, generators = start(sigmas, 2)
    out = SAMPLERS[sampler](denoiser(kind), x, sigmas, generators=generators, **extra)
    want = path(sigmas.tolist())
    assert out.mean().item() == pytest.approx(want.b, abs=5 * want.a / math.sqrt(VOXELS))
    assert out.std().item() == pytest.approx(want.a, abs=5 * want.a / math.sqrt(2 * VOXELS))


@pytest.mark.parametrize("name", ["ddpm", "ddim", "euler", "heun", "dpmpp_2m"])
def test_a_thousand_steps_give_the_data(name):
    sigmas = levels("epsilon", 1000)
    x, generators = start(sigmas, 3)
    out = SAMPLERS[name](denoiser("epsilon"), x, sigmas, generators=generators)
    assert out.mean().item() == pytest.approx(0.3, abs=0.005)
    assert out.std().item() == pytest.approx(0.2, rel=0.03)  # DDPM's small variance is 2.3 % too narrow here


def ddpm_with_the_stride_bug(D, x, times, generators):
    """A widespread mistake, in DDPM's coordinates: strided times, but every step made as if it led to t - 1."""
    for t in times.tolist():
        bar, before = float(BARS[t - 1]), float(BARS[t - 2]) if t > 1 else 1.0
        beta = 1 - bar / before
        x0 = D(x / math.sqrt(bar), torch.tensor(math.sqrt((1 - bar) / bar)))
        x = (math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - bar)
        x = x + math.sqrt((1 - before) / (1 - bar) * beta) * normal_like(x, generators)
    return x


def test_the_reduced_step_trap_is_seen_and_avoided():
    sigmas, times = respaced_sigmas(BARS, 50), evenly_spaced_times(1000, 50)
    want = ddim_path(sigmas.tolist(), eta=None)
    x, generators = start(sigmas, 4)
    right = SAMPLERS["ddpm"](exact_denoiser, x, sigmas, generators=generators)
    wrong = ddpm_with_the_stride_bug(exact_denoiser, x / float(sigmas[0]), times, generators)
    assert right.mean().item() == pytest.approx(want.b, abs=5 * want.a / math.sqrt(VOXELS))
    assert right.std().item() == pytest.approx(want.a, abs=5 * want.a / math.sqrt(2 * VOXELS))
    assert (want.b, want.a) == pytest.approx((0.3, 0.2), abs=0.06)
    assert wrong.mean().item() == pytest.approx(0.07, abs=0.03) and wrong.std().item() == pytest.approx(0.85, abs=0.05)
