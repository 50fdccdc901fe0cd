"""Side by side with the schedulers of diffusers, where both have the same method: same noise, same network, same x."""

from __future__ import annotations

import pytest
import torch
from oracles.diffusion_closed_forms import exact_denoiser
from petdiffusion.diffusion.samplers import ddim, ddpm_ancestral, dpmpp_2m, euler, heun, pure_noise
from petdiffusion.diffusion.schedules import alpha_bar_of, cosine_alpha_bar, linear_alpha_bar, sigma_of

schedulers = pytest.importorskip("diffusers")

BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
BARS = linear_alpha_bar()


def vp_noise_of(x_vp, sigma):
    """What an epsilon-network says of x_vp."""
    x = x_vp * (1 + sigma**2) ** 0.5
    return (x - exact_denoiser(x, sigma)) / sigma


def start(sigma: float):
    generators = [torch.Generator().manual_seed(11)]
    return pure_noise(torch.empty(1, 1, 8, 8, 8), sigma, generators), generators


def curved(x, sigma, cond=None):
    """Not the answer for any Gaussian: a nonlinear D, so that agreement is not luck."""
    return exact_denoiser(x, sigma) + 0.1 * torch.sin(3 * x / (1 + sigma))


def test_betas_are_those_of_diffusers():
    theirs = schedulers.DDPMScheduler(**BETAS).alphas_cumprod.double()
    assert torch.allclose(BARS, theirs, rtol=2e-4)
    cosine = schedulers.DDPMScheduler(250, beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    assert torch.allclose(cosine_alpha_bar(250), cosine, rtol=2e-3)


@pytest.mark.parametrize("steps", [1000, 50, 10])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(steps, variance):
    scheduler = schedulers.DDPMScheduler(**BETAS, clip_sample=False, variance_type=f"fixed_{variance}",
                                         timestep_spacing="leading")  # "trailing" adds noise after the last step
    scheduler.set_timesteps(steps)
    sigmas = torch.cat((sigma_of(BARS)[scheduler.timesteps], torch.zeros(1, dtype=torch.float64)))
    x, generators = start(float(sigmas[0]))
    theirs, theirs_generator = x * alpha_bar_of(sigmas[0]).sqrt().float(), torch.Generator().manual_seed(11)
    torch.randn(1, 1, 8, 8, 8, generator=theirs_generator)  # the draw of the start
    for t, sigma in zip(scheduler.timesteps, sigmas):
        output = vp_noise_of(theirs, sigma.float())
        theirs = scheduler.step(output, t, theirs, generator=theirs_generator).prev_sample
    ours = ddpm_ancestral(exact_denoiser, x, sigmas, generators=generators, variance=variance)
    assert torch.allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize(("steps", "eta"), [(100, 0.0), (20, 0.0), (20, 1.0)])
def test_ddim(steps, eta):
    scheduler = schedulers.DDIMScheduler(**BETAS, clip_sample=False)
    scheduler.set_timesteps(steps)
    sigmas = torch.cat((sigma_of(BARS)[scheduler.timesteps], torch.zeros(1, dtype=torch.float64)))
    x, generators = start(float(sigmas[0]))
    theirs, theirs_generator = x * alpha_bar_of(sigmas[0]).sqrt().float(), torch.Generator().manual_seed(11)
    torch.randn(1, 1, 8, 8, 8, generator=theirs_generator)
    for t, sigma in zip(scheduler.timesteps, sigmas):
        output = vp_noise_of(theirs, sigma.float())
        theirs = scheduler.step(output, t, theirs, eta=eta, generator=theirs_generator).prev_sample
    assert torch.allclose(ddim(exact_denoiser, x, sigmas, generators=generators, eta=eta), theirs, atol=2e-3)


@pytest.mark.parametrize("ours", [euler, heun])
def test_euler_and_heun(ours):
    kind = schedulers.EulerDiscreteScheduler if ours is euler else schedulers.HeunDiscreteScheduler
    scheduler = kind(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(18)
    sigmas = torch.as_tensor(scheduler.sigmas).double().unique().flip(0)
    x, _ = start(float(sigmas[0]))
    theirs, level = x.clone(), list(scheduler.sigmas)
    for i, t in enumerate(scheduler.timesteps):
        sigma = level[i]
        scheduler.scale_model_input(theirs, t)
        theirs = scheduler.step((theirs - curved(theirs, sigma)) / sigma, t, theirs).prev_sample
    assert torch.allclose(ours(curved, x, sigmas), theirs, atol=1e-3)


def test_edm_euler_with_churn():
    """EDM's scheduler draws its noise at every step, also where there is no churn; so churn everywhere."""
    scheduler = schedulers.EDMEulerScheduler(sigma_min=0.02, sigma_max=10.0, sigma_data=0.5)
    scheduler.set_timesteps(20)
    sigmas = scheduler.sigmas.double()
    x, generators = start(float(sigmas[0]))
    theirs, theirs_generator = x.clone(), torch.Generator().manual_seed(11)
    torch.randn(1, 1, 8, 8, 8, generator=theirs_generator)
    gamma = min(4.0 / 20, 2**0.5 - 1)
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[i]) * (1 + gamma)
        # their step adds the noise itself and asks for F at x before it, so the noise is looked up first
        eps = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().set_state(theirs_generator.get_state()))
        noisy = theirs + eps * 1.003 * (sigma**2 - float(scheduler.sigmas[i]) ** 2) ** 0.5
        scheduler.scale_model_input(theirs, t)
        skip = 0.5**2 / (sigma**2 + 0.5**2)
        out = sigma * 0.5 / (sigma**2 + 0.5**2) ** 0.5
        output = (curved(noisy, sigma) - skip * noisy) / out
        theirs = scheduler.step(output, t, theirs, s_churn=4.0, s_noise=1.003, generator=theirs_generator).prev_sample
    ours = euler(curved, x, sigmas, generators=generators, s_churn=4.0, s_noise=1.003)
    assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("steps", [6, 18])
def test_dpm_solver(steps):
    scheduler = schedulers.DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True, final_sigmas_type="zero")
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.double()
    x, _ = start(float(sigmas[0]))
    theirs = x * alpha_bar_of(sigmas[0]).sqrt().float()
    for i, t in enumerate(scheduler.timesteps):
        sigma = sigmas[i].float()
        full = theirs * (1 + sigma**2).sqrt()
        theirs = scheduler.step((full - curved(full, sigma)) / sigma, t, theirs).prev_sample
    assert torch.allclose(dpmpp_2m(curved, x, sigmas), theirs, atol=1e-3)
