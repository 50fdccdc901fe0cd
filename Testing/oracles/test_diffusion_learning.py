"""Network, loss, parameterisation and sampler together: a model is trained on data whose posterior is known."""

from __future__ import annotations

import pytest
import torch
from petdiffusion.diffusion.losses import denoising_loss, edm_weight, lognormal_sigmas
from petdiffusion.diffusion.parameterisation import Edm, Preconditioned
from petdiffusion.diffusion.samplers import dpmpp_2m, pure_noise
from petdiffusion.diffusion.schedules import karras_sigmas
from petdiffusion.networks.unet import UNet, UNetConfig

S = 0.2


@pytest.mark.slow
def test_a_network_learns_flat_images_and_samples_them():
    """Images of one value v ~ N(0, S^2): 256 voxels tell v to sigma / 16, so the mean is all but noise-free."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    net = UNet(UNetConfig(dims=2, channels=16, multipliers=(1, 2), blocks=1, resample="light", attention=False,
                          dropout=0.0))
    D, adam = Preconditioned(net, Edm(S)), torch.optim.AdamW(net.parameters(), 2e-3)
    for _ in range(600):
        x0 = (S * torch.randn(32, 1, 1, 1, generator=g)).expand(32, 1, 16, 16).contiguous()
        loss = denoising_loss(D, x0, lognormal_sigmas(32, -1.5, 1.2, g), g, edm_weight(S))
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        v = S * torch.randn(64, 1, 1, 1, generator=g)
        sigma = torch.full((64,), 0.5)
        noisy = v + 0.5 * torch.randn(64, 1, 16, 16, generator=g)
        told = 0.5 / 16
        exact = noisy.mean((2, 3), keepdim=True) * S**2 / (S**2 + told**2)
        off = (D(noisy, sigma) - exact).square().mean().sqrt()
        seeds = [torch.Generator().manual_seed(i) for i in range(200)]
        samples = dpmpp_2m(D, pure_noise(torch.empty(200, 1, 16, 16), 5.0, seeds), karras_sigmas(12, 0.02, 5.0))
    assert off < 0.25 * S  # the noise itself is 2.5 S
    assert samples.std((2, 3)).mean() < 0.25 * S  # flat
    assert samples.mean((2, 3)).std().item() == pytest.approx(S, rel=0.3)  # and spread like the data
