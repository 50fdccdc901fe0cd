"""Schedules, parameterisations, losses and estimates against values worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from oracles.diffusion_closed_forms import MU, S, exact_denoiser, exact_network
from petdiffusion.diffusion import losses
from petdiffusion.diffusion.conditions import Conditions, coordinate_images
from petdiffusion.diffusion.estimate import Moments, draw, mean_at_once
from petdiffusion.diffusion.parameterisation import (
    Counted,
    DiscreteTime,
    Edm,
    Epsilon,
    Preconditioned,
    Residual,
    Sample,
    Velocity,
    clamped,
)
from petdiffusion.diffusion.samplers import euler, noisy_image, pure_noise
from petdiffusion.diffusion.schedules import (
    alpha_bar_of,
    cosine_alpha_bar,
    evenly_spaced_times,
    karras_sigmas,
    linear_alpha_bar,
    respaced_sigmas,
    sigma_of,
    start_at,
    time_of,
)

BARS = linear_alpha_bar()
KINDS = {"epsilon": Epsilon, "velocity": Velocity, "sample": Sample}


def seeds(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


# Schedules

def test_linear_schedule_by_hand():
    assert BARS[0].item() == pytest.approx(0.9999, abs=1e-12)
    assert BARS[1].item() == pytest.approx(0.9999 * (1 - 1e-4 - 0.0199 / 999), abs=1e-12)
    assert BARS[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)
    assert linear_alpha_bar(3, 0.1, 0.3).tolist() == pytest.approx([0.9, 0.72, 0.504])


def test_cosine_schedule_by_hand():
    bars = cosine_alpha_bar(250)
    f = [math.cos((t / 250 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, 1, 125, 249)]
    assert bars[0].item() == pytest.approx(f[1] / f[0])
    assert bars[124].item() == pytest.approx(f[2] / f[0])
    assert bars[249].item() == pytest.approx(f[3] / f[0] * 0.001)  # the last beta is cut at 0.999
    assert bars[249].item() == pytest.approx(4e-8, rel=0.1)


def test_noise_levels_and_alpha_bar_are_inverse():
    assert torch.allclose(alpha_bar_of(sigma_of(BARS)), BARS, rtol=1e-9)
    assert sigma_of(torch.tensor(0.2)).item() == pytest.approx(2.0)


def test_karras_levels_by_hand():
    sigmas = karras_sigmas(3, 1.0, 128.0, rho=7.0)
    assert sigmas.tolist() == pytest.approx([128.0, 1.5**7, 1.0, 0.0])
    assert karras_sigmas(1, 0.1, 5.0).tolist() == pytest.approx([5.0, 0.0])
    with pytest.raises(ValueError, match="levels"):
        karras_sigmas(5, 2.0, 1.0)


def test_respaced_levels_are_levels_of_the_chain():
    assert evenly_spaced_times(1000, 100)[[0, 1, -1]].tolist() == [1000, 990, 1]
    assert evenly_spaced_times(10, 10).tolist() == list(range(10, 0, -1))
    sigmas = respaced_sigmas(BARS, 100)
    assert len(sigmas) == 101 and sigmas[-1] == 0
    assert sigmas[0] == sigma_of(BARS)[999] and sigmas[99] == sigma_of(BARS)[0]
    assert (sigmas.diff() < 0).all()
    with pytest.raises(ValueError, match="steps"):
        evenly_spaced_times(10, 11)


def test_start_at_keeps_only_lower_levels():
    sigmas = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0])
    assert start_at(sigmas, 3.0).tolist() == [3.0, 2.0, 1.0, 0.0]
    assert start_at(sigmas, 2.0).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_time_of_a_level(dtype):
    sigma = sigma_of(BARS).to(dtype)
    times = torch.arange(1, 1001, dtype=dtype)
    assert torch.allclose(time_of(sigma, BARS), times, atol=0.02)
    assert torch.equal(time_of(sigma, BARS, nearest=True), times)
    between = (sigma[499] * sigma[500]).sqrt()
    assert time_of(between, BARS).item() == pytest.approx(500.5, abs=0.02)
    assert time_of(torch.tensor([1e-9, 1e9], dtype=dtype), BARS).tolist() == [1, 1000]


# Parameterisations

@pytest.mark.parametrize("kind", ["epsilon", "velocity", "sample", "edm"])
def test_adapter_of_the_exact_network_is_the_exact_denoiser(kind):
    sigma = torch.tensor([0.01, 0.3, 2.0, 90.0], dtype=torch.float64)
    scaling = Edm(S) if kind == "edm" else KINDS[kind]()
    D = Preconditioned(partial(exact_network(kind), level=lambda c: (4 * c).exp()), scaling)
    x = torch.linspace(-3, 3, 4 * 7, dtype=torch.float64).reshape(4, 1, 7)
    assert torch.allclose(D(x, sigma), exact_denoiser(x, sigma.reshape(-1, 1, 1)), atol=1e-9)


def test_edm_keeps_input_and_target_at_unit_variance():
    """The two demands that define EDM's coefficients (Karras et al. 2022, Eq. 114, 117)."""
    g = torch.Generator().manual_seed(0)
    x0, n = 0.37 * torch.randn(100_000, generator=g), torch.randn(100_000, generator=g)
    for sigma in (0.02, 0.37, 5.0):
        c = Edm(0.37)(torch.tensor(sigma))
        x = x0 + sigma * n
        assert (c.input * x).std().item() == pytest.approx(1, abs=0.01)
        assert ((x0 - c.skip * x) / c.out).std().item() == pytest.approx(1, abs=0.01)
        assert c.noise.item() == pytest.approx(math.log(sigma) / 4)


def test_network_sees_scaled_x_the_step_and_unscaled_conditions():
    seen = {}

    def net(x, noise, **given):
        seen.update(given, x=x, noise=noise)
        return torch.zeros_like(x)

    cond = Conditions(images=torch.full((1, 2, 3), 5.0), vector=torch.ones(1, 4))
    sigma = sigma_of(BARS)[[249, 999]].float()
    x = torch.ones(2, 1, 3)
    out = Preconditioned(net, Epsilon(DiscreteTime(BARS)))(x, sigma, cond)
    assert seen["noise"].tolist() == pytest.approx([250, 1000], abs=0.02)
    assert torch.allclose(seen["x"][:, 0, 0], BARS[[249, 999]].sqrt().float())
    assert seen["images"].shape == (2, 2, 3) and (seen["images"] == 5).all() and seen["vector"].shape == (2, 4)
    assert torch.equal(out, x)  # no predicted noise: x itself
    with pytest.raises(ValueError, match="batch"):
        Conditions(images=torch.zeros(3, 1, 2)).inputs(2)


@pytest.mark.parametrize("sign", [1, -1])
def test_residual_of_either_sign(sign):
    """The data are images N(MU, S^2); their residuals against a base are Gaussian too, so D is known for both."""
    base = torch.linspace(-1, 2, 11, dtype=torch.float64)

    def of_residual(r, sigma, cond=None):
        return (S**2 * r + sigma**2 * sign * (MU - base)) / (S**2 + sigma**2)

    x = torch.linspace(-2, 2, 11, dtype=torch.float64)
    for sigma in (0.1, 1.0):
        got = Residual(of_residual, base, sign)(x, torch.tensor(sigma))
        assert torch.allclose(got, exact_denoiser(x, sigma))
    with pytest.raises(ValueError, match="sign"):
        Residual(of_residual, base, 2)


def test_clamping_limits_the_estimate():
    D = clamped(exact_denoiser, 0.0, 0.5)
    out = D(torch.tensor([-3.0, MU, 3.0]), torch.tensor(0.01))
    assert out.tolist() == pytest.approx([0.0, MU, 0.5])


def test_counting_tells_before_each_evaluation():
    told = []
    D = Counted(exact_denoiser, before=lambda: told.append(1))
    euler(D, torch.ones(3, 1), karras_sigmas(4, 0.1, 1.0))
    assert D.evaluations == 12 and len(told) == 4


def test_coordinates_run_from_minus_one_to_one():
    images = coordinate_images((2, 3, 1))
    assert images.shape == (1, 3, 2, 3, 1)
    assert images[0, 0, :, 0, 0].tolist() == [-1, 1] and images[0, 1, 0, :, 0].tolist() == [-1, 0, 1]
    assert (images[0, 2] == 0).all()


# Losses: the exact D has error variance s^2 sigma^2 / (s^2 + sigma^2), the least there is

@pytest.mark.parametrize("sigma", [0.05, 0.3, 4.0])
@pytest.mark.parametrize(("weight", "least"), [
    (losses.edm_weight(S), lambda s: 1.0), (losses.epsilon_weight, lambda s: S**2 / (S**2 + s**2)),
    (losses.sample_weight, lambda s: S**2 * s**2 / (S**2 + s**2)),
    (losses.velocity_weight, lambda s: S**2 * (1 + s**2) / (S**2 + s**2))])
def test_least_loss_is_known(weight, least, sigma):
    g = torch.Generator().manual_seed(3)
    x0 = MU + S * torch.randn(4, 1, 20_000, generator=g)
    level = torch.full((4,), sigma)
    loss = losses.denoising_loss(exact_denoiser_batch, x0, level, g, weight)
    assert loss.item() == pytest.approx(least(sigma), rel=0.02)
    absolute = losses.denoising_loss(exact_denoiser_batch, x0, level, g, weight, power=1)
    assert absolute.item() == pytest.approx(math.sqrt(2 / math.pi * least(sigma)), rel=0.02)
    worse = losses.denoising_loss(lambda x, s, c=None: exact_denoiser_batch(x, s) + 0.1 * s[0], x0, level, g, weight)
    assert worse > loss


def exact_denoiser_batch(x, sigma, cond=None):
    return exact_denoiser(x, sigma.reshape(-1, 1, 1))


def test_epsilon_and_velocity_losses_are_errors_of_the_networks_output():
    g = torch.Generator().manual_seed(4)
    x0, sigma = torch.randn(3, 1, 50, generator=g, dtype=torch.float64), torch.tensor([0.1, 1.0, 9.0]).double()
    n = torch.randn(x0.shape, generator=torch.Generator().manual_seed(9)).double()
    s = sigma.reshape(-1, 1, 1)
    targets = {"epsilon": n, "velocity": (n - s * x0) / torch.sqrt(1 + s**2)}
    weights = {"epsilon": losses.epsilon_weight, "velocity": losses.velocity_weight}
    for kind, target in targets.items():
        D = Preconditioned(lambda x, noise: 0.3 * x + 0.2, KINDS[kind]())
        x_vp = (x0 + s * n) / torch.sqrt(1 + s**2)
        for power in (1, 2):
            direct = (0.3 * x_vp + 0.2 - target).abs().pow(power).mean()
            loss = losses.denoising_loss(D, x0, sigma, torch.Generator().manual_seed(9), weights[kind], power=power)
            assert loss.item() == pytest.approx(direct.item(), rel=1e-9)


def test_loss_counts_only_the_mask():
    x0 = torch.zeros(2, 1, 8)
    mask = torch.zeros(1, 1, 8)
    mask[..., :2] = 1

    def wrong_outside(x, sigma, cond=None):
        return torch.where(mask.bool(), 2.0, 100.0).expand_as(x)

    loss = losses.denoising_loss(wrong_outside, x0, torch.ones(2), torch.Generator(), losses.sample_weight, mask=mask)
    assert loss.item() == pytest.approx(4.0)


def test_training_levels():
    g = torch.Generator().manual_seed(5)
    logs = losses.lognormal_sigmas(50_000, -0.2, 1.4, g).log()
    assert (logs.mean().item(), logs.std().item()) == pytest.approx((-0.2, 1.4), abs=0.03)
    drawn = losses.discrete_sigmas(5000, linear_alpha_bar(4), g)
    values, counts = drawn.unique(return_counts=True)
    assert torch.allclose(values.double(), sigma_of(linear_alpha_bar(4)), rtol=1e-5)
    assert counts.min() > 1100


# Estimates

def chain(D, generators):
    x = pure_noise(torch.empty(len(generators), 1, 6, 6, dtype=torch.float64), 30.0, generators)
    return euler(D, x, karras_sigmas(6, 0.01, 30.0))


def test_moments_are_those_of_numpy():
    images = [torch.randn(3, 4, generator=g) + 100 for g in seeds(7)]
    moments = Moments()
    for i, image in enumerate(images):
        moments.add(image)
        assert (moments.sd is None) == (i == 0)
    stack = np.stack([i.numpy() for i in images]).astype(np.float64)
    np.testing.assert_allclose(moments.mean, stack.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.sd, stack.std(0, ddof=1), rtol=2e-5)


def test_moments_follow_images_that_leave_a_device():
    """`meta` stands for a second device: it takes no values, but refuses to be mixed."""
    moments = Moments()
    for device in ("cpu", "cpu", "meta"):
        moments.add(torch.ones(2, 3, device=device))
    assert moments.count == 3 and moments.mean.device.type == moments.sd.device.type == "meta"


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_samples_are_summed_up_the_same_in_any_batch(batch):
    kept = {}
    estimate = draw(exact_denoiser, chain, seeds(5), batch=batch, mean="samples",
                    on_sample=lambda i, image: kept.update({i: image.clone()}))
    alone = torch.stack([chain(exact_denoiser, seeds(1, i))[0] for i in range(5)])
    assert torch.allclose(torch.stack([kept[i] for i in range(5)]), alone, atol=1e-12)
    assert torch.allclose(estimate.mean, alone.mean(0)) and torch.allclose(estimate.sd, alone.std(0))
    assert torch.equal(estimate.sample, alone[0])
    assert (estimate.samples, estimate.evaluations) == (5, 30)


def test_first_evaluations_give_the_mean_for_nothing():
    estimate = draw(exact_denoiser, chain, seeds(4))
    expected = torch.stack([exact_denoiser(pure_noise(torch.empty(1, 1, 6, 6).double(), 30.0, [g]), 30.0)[0]
                            for g in seeds(4)]).mean(0)
    assert torch.allclose(estimate.mean, expected) and estimate.evaluations == 24
    assert torch.allclose(estimate.mean, torch.full_like(estimate.mean, MU), atol=0.01)
    with pytest.raises(ValueError, match="mean"):
        draw(exact_denoiser, chain, seeds(1), mean="median")


def test_one_evaluation_from_pure_noise_is_the_posterior_mean_and_a_sample_is_3_db_worse():
    """x0 ~ N(MU, S^2) seen as y = x0 + 0.3 e: the posterior is Gaussian, its mean is known voxel by voxel."""
    g = torch.Generator().manual_seed(6)
    x0 = MU + S * torch.randn(1, 1, 20_000, generator=g, dtype=torch.float64)
    y = x0 + 0.3 * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    variance = 1 / (1 / S**2 + 1 / 0.3**2)
    centre = variance * (MU / S**2 + y / 0.3**2)

    def D(x, sigma, cond=None):
        return (variance * x + sigma**2 * centre) / (variance + sigma**2)

    once = mean_at_once(D, pure_noise(x0, 50.0, seeds(1)), 50.0)
    assert once.evaluations == 1 and torch.allclose(once.mean, centre[0], atol=3e-3)
    sample = euler(D, noisy_image(centre * 0, 50.0, seeds(1)), karras_sigmas(200, 0.005, 50.0))
    mean_error, sample_error = (once.mean - x0[0]).square().mean(), (sample - x0).square().mean()
    assert (sample_error / mean_error).item() == pytest.approx(2, rel=0.05)
