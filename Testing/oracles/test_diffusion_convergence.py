"""Samplers converge to the data at the order of their method, recover a mixture, and obey hooks and generators."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from oracles.diffusion_closed_forms import MU, S, exact_denoiser
from petdiffusion.diffusion.parameterisation import Counted
from petdiffusion.diffusion.samplers import SAMPLERS, evaluations_of, noisy_image, normal_like, pure_noise
from petdiffusion.diffusion.schedules import karras_sigmas, start_at

TOP, BOTTOM = 10.0, 0.05


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


def error_after(name: str, steps: int) -> float:
    """Distance from the exact solution of the probability flow ODE at the last level."""
    sigmas = karras_sigmas(steps + 1, BOTTOM, TOP)[:-1]
    x = torch.linspace(-TOP, TOP, 101, dtype=torch.float64)[None]
    exact = MU + (x - MU) * math.sqrt((S**2 + BOTTOM**2) / (S**2 + TOP**2))
    return (SAMPLERS[name](exact_denoiser, x, sigmas) - exact).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_error_falls_at_the_order_of_the_method(name, order):
    errors = [error_after(name, n) for n in (64, 128, 256, 512)]
    rates = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert rates[-1] == pytest.approx(order, abs=0.15)


def mixture_denoiser(x, sigma, cond=None):
    """E[x0 | x] for 0.3 N(-1, 0.15^2) + 0.7 N(2, 0.3^2)."""
    weights, means, sds = (torch.tensor(v, dtype=x.dtype) for v in ((0.3, 0.7), (-1.0, 2.0), (0.15, 0.3)))
    x = x[..., None]
    variance = sds**2 + sigma**2
    belief = torch.softmax(weights.log() - variance.log() / 2 - (x - means) ** 2 / (2 * variance), -1)
    return (belief * (sds**2 * x + sigma**2 * means) / variance).sum(-1)


@pytest.mark.parametrize(("name", "steps", "extra"), [
    ("ddpm", 400, {}), ("ddim", 300, {}), ("euler", 300, {}), ("heun", 40, {}), ("dpmpp_2m", 40, {}),
    ("heun", 80, {"s_churn": 20.0}), ("ddpm", 400, {"variance": "large"})])
def test_a_mixture_keeps_its_weights_means_and_widths(name, steps, extra):
    seeds = generators(1, 5)
    x = pure_noise(torch.empty(1, 20_000), 20.0, seeds)
    out = SAMPLERS[name](mixture_denoiser, x, karras_sigmas(steps, 0.01, 20.0), generators=seeds, **extra)
    low = out < 0.5
    assert low.float().mean().item() == pytest.approx(0.3, abs=0.025)
    for part, mean, sd in ((out[low], -1.0, 0.15), (out[~low], 2.0, 0.3)):
        assert part.mean().item() == pytest.approx(mean, abs=0.02)
        assert part.std().item() == pytest.approx(sd, rel=0.06)


@pytest.mark.parametrize(("name", "extra"), [("ddpm", {}), ("ddim", {"eta": 0.7}), ("euler", {"s_churn": 9.0}),
                                             ("heun", {"s_churn": 9.0}), ("dpmpp_2m", {})])
def test_a_sample_does_not_depend_on_its_batch(name, extra):
    def drawn(first: int, count: int) -> torch.Tensor:
        seeds = generators(count, first)
        x = pure_noise(torch.empty(count, 1, 6, 5, 4), 5.0, seeds)
        return SAMPLERS[name](mixture_denoiser, x, karras_sigmas(12, 0.02, 5.0), generators=seeds, **extra)

    together = drawn(0, 4)
    assert torch.equal(together, torch.cat([drawn(i, 1) for i in range(4)]))
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_evaluations_are_counted(name):
    for sigmas in (karras_sigmas(7, 0.02, 5.0), karras_sigmas(7, 0.02, 5.0)[:-1]):
        counted = Counted(exact_denoiser)
        SAMPLERS[name](counted, torch.ones(1, 3), sigmas, generators=generators(1))
        assert counted.evaluations == evaluations_of(name, sigmas)
    assert evaluations_of("heun", karras_sigmas(18, 0.02, 5.0)) == 35


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_hook_sees_every_step_and_may_change_x(name):
    sigmas, steps, seen = karras_sigmas(5, 0.02, 5.0), [], []

    def denoiser(x, sigma, cond=None):
        seen.append((float(sigma), float(x.mean())))
        return exact_denoiser(x, sigma)

    def hook(step):
        steps.append(step)
        return torch.full_like(step.x, 7.0) if step.remaining == 2 else None

    out = SAMPLERS[name](denoiser, torch.ones(1, 3), sigmas, generators=generators(1), on_step=hook)
    assert [(s.sigma, s.sigma_next) for s in steps] == list(pairwise(sigmas.tolist()))
    assert [s.remaining for s in steps] == [4, 3, 2, 1, 0]
    at_fourth_level = [mean for sigma, mean in seen if sigma == pytest.approx(sigmas[3].item())]
    assert at_fourth_level[-1] == pytest.approx(7.0)
    assert torch.equal(out, steps[-1].x)
    assert steps[0].vp_scale == pytest.approx(1 / math.sqrt(1 + sigmas[1].item() ** 2))


def test_what_a_hook_returns_last_is_the_result():
    out = SAMPLERS["euler"](exact_denoiser, torch.ones(1, 3), karras_sigmas(3, 0.1, 1.0),
                            on_step=lambda step: step.x * 0 + step.index)
    assert torch.equal(out, torch.full((1, 3), 2.0))


def test_starting_from_a_noisy_image_at_a_level():
    """Low-count data seen as x at a level: the chain from there gives the data's spread, at a part of the steps."""
    sigmas, level = karras_sigmas(40, 0.01, 20.0), 0.5
    seeds = generators(1, 8)
    image = MU + S * normal_like(torch.empty(1, 40_000), seeds)
    rest = start_at(sigmas, level)
    assert rest[0] == level and len(rest) < 30 and rest[-1] == 0
    out = SAMPLERS["heun"](exact_denoiser, noisy_image(image, level, seeds), rest)
    assert (out.mean().item(), out.std().item()) == pytest.approx((MU, S), abs=0.005)
    assert torch.corrcoef(torch.cat((out, image)))[0, 1] == pytest.approx(S / math.hypot(S, level), abs=0.02)


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m"])
def test_a_gap_above_the_levels_costs_no_spread(name):
    """One step from pure noise to where an image begins to show, as chains of slices have it, then many: the exact flow
    scales every value by the same factor. A trapezoid over the gap would leave a spread too wide, however many follow.
    """
    top = 157.0
    sigmas = torch.cat((torch.tensor([top], dtype=torch.float64), karras_sigmas(80, BOTTOM, TOP)))[:-1]
    x = torch.linspace(-top, top, 101, dtype=torch.float64)[None]
    counted = Counted(exact_denoiser)
    extra = {"widest": 5.0} if name == "heun" else {}
    found = SAMPLERS[name](counted, x, sigmas, **extra)
    exact = math.sqrt((S**2 + BOTTOM**2) / (S**2 + top**2))
    assert float((found[0, -1] - found[0, 0]) / (2 * top)) == pytest.approx(exact, rel=0.004)
    assert counted.evaluations == evaluations_of(name, sigmas, *extra.values())


def test_levels_that_do_not_fall_are_refused():
    for wrong in ([1.0, 1.0, 0.0], [0.1, 1.0], [1.0], [1.0, -0.1]):
        with pytest.raises(ValueError, match="levels"):
            SAMPLERS["euler"](exact_denoiser, torch.ones(1, 1), torch.tensor(wrong))


def test_each_image_needs_its_own_generator():
    with pytest.raises(ValueError, match="generators"):
        pure_noise(torch.empty(2, 3), 1.0, generators(1))
