"""Seeds, and the engine that joins networks, plans and samplers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion.diffusion.conditions import Conditions
from petdiffusion.diffusion.parameterisation import Edm, Preconditioned, Residual, clamped
from petdiffusion.diffusion.schedules import karras_sigmas, start_at
from petdiffusion.errors import Cancelled, OptionError
from petdiffusion.infer.device import Policy
from petdiffusion.infer.engine import Model, Sampling, Scene, sample_volume
from petdiffusion.infer.plan import STATE_VOLUMES, LiveBytes, PatchRules
from petdiffusion.infer.seeds import sample_generators
from petdiffusion.networks.unet import UNet, UNetConfig
from petdiffusion.progress import Run

CPU, RULES = Policy(), PatchRules(multiple=8, smallest=32, overlap=16)
LEVELS = tuple(karras_sigmas(5, 0.02, 20.0).tolist())


def gaussian(x, sigma, cond=None):
    """Exact D of data N(0.3, 0.2^2) plus the condition, if any."""
    mean = 0.3 if cond is None else 0.3 + cond.images
    return (0.04 * x + sigma**2 * mean) / (0.04 + sigma**2)


# Seeds

def test_a_generator_for_each_sample_and_seed():
    draws = {(seed, i): torch.randn(3, generator=g).tolist()
             for seed in (0, 1) for i, g in enumerate(sample_generators(seed, 3))}
    assert len({tuple(v) for v in draws.values()}) == 6
    assert torch.randn(3, generator=sample_generators(1, 1, first=2)[0]).tolist() == draws[1, 2]


def test_generators_stay_what_they_are():
    """A golden value: run records of earlier versions must give the same samples (torch's Mersenne Twister)."""
    assert [g.initial_seed() for g in sample_generators(0, 2)] == [4334430513956379144, 2440950710608614359]


def test_neighbouring_slices_share_noise_and_each_is_white():
    """Correlation along z falls to one half at half the FWHM, as promised; within a slice there is none."""
    noise = torch.cat([g.normal((1, 24, 64, 64)) for g in sample_generators(0, 8, alike=4.0)])
    assert noise.std((0, 2, 3)) == pytest.approx(np.ones(24), abs=0.02)  # at both borders too
    for lag, expected in ((1, 0.5 ** (1 / 4)), (2, 0.5), (4, 0.5**4)):
        assert float((noise[:, lag:] * noise[:, :-lag]).mean()) == pytest.approx(expected, abs=0.02)
    assert abs(float((noise[..., 1:] * noise[..., :-1]).mean())) < 0.01


def test_shared_noise_reaches_the_samples_and_only_when_asked():
    def drawn(**settings):
        sampling = Sampling(LEVELS, "ddpm", samples=1, estimate="sample", **settings)
        x = sample_volume(Model(gaussian), Scene((12, 16, 16)), sampling, Run(seed=3)).sample[0] - 0.3
        return float((x[1:] * x[:-1]).mean() / x.square().mean())

    assert abs(drawn()) < 0.1 < 0.7 < drawn(alike=6.0)


# The engine

def engine(sampling: Sampling, shape=(12, 16, 20), run: Run | None = None, **given):
    scene = Scene(shape, **{k: given.pop(k) for k in ("cond", "body", "fallback", "start") if k in given})
    rules = PatchRules(multiple=4, smallest=8, overlap=4, margin=0)
    model = Model(given.pop("D", gaussian), rules=rules, wrap=given.pop("wrap", None))
    return sample_volume(model, scene, sampling, run or Run(), policy=CPU, **given)


def test_one_evaluation_gives_the_mean():
    got = engine(Sampling((2000.0, 0.0)))
    assert got.evaluations == 1 and got.sd is None and got.sample is None and got.image is got.mean
    assert got.mean.shape == (1, 12, 16, 20) and torch.allclose(got.mean, torch.tensor(0.3), atol=1e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "heun", "dpmpp_2m"])
def test_mean_sample_and_sd_with_every_sampler(sampler):
    steps = 60 if sampler in ("heun", "dpmpp_2m") else 400
    sampling = Sampling(tuple(karras_sigmas(steps, 0.01, 50.0).tolist()), sampler, samples=8, batch=3)
    got = engine(sampling)
    assert got.evaluations == sampling.evaluations == 8 * (119 if sampler == "heun" else steps)
    assert got.mean.mean().item() == pytest.approx(0.3, abs=0.01) and got.mean.std() < 0.01
    assert got.sample.std().item() == pytest.approx(0.2, rel=0.06)
    assert got.sd.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.06)
    json.dumps(got.details())


def test_sample_i_depends_on_neither_number_nor_batch_nor_patches():
    sampling = Sampling(LEVELS, "ddpm", samples=1, estimate="sample")
    cond = Conditions(images=torch.randn(1, 1, 12, 16, 20, generator=torch.Generator().manual_seed(0)))
    alone = engine(sampling, cond=cond)
    more = engine(replace(sampling, samples=5, batch=2), cond=cond)
    assert torch.equal(alone.image, more.image)
    pieces = replace(alone.plan, patch=(8, 8, 8), overlap=(4, 4, 4))
    assert torch.allclose(engine(sampling, cond=cond, plan=pieces).image, alone.image, atol=1e-5)
    other = engine(sampling, cond=cond, run=Run(seed=1))
    assert not torch.allclose(other.image, alone.image)


def test_extra_arguments_reach_the_sampler():
    plain = engine(Sampling(LEVELS, "heun", samples=1, estimate="sample"))
    churned = engine(Sampling(LEVELS, "heun", samples=1, estimate="sample", extra={"s_churn": 3.0}))
    assert not torch.allclose(plain.image, churned.image)


def test_a_start_from_an_image():
    image = torch.linspace(0, 1, 20).expand(1, 12, 16, 20)
    levels = tuple(start_at(torch.tensor(LEVELS), 0.05).tolist())
    got = engine(Sampling(levels, samples=3, mean="samples", estimate="sample"), start=image)
    assert torch.corrcoef(torch.stack((got.sample.flatten(), image.flatten())))[0, 1] > 0.95
    with pytest.raises(OptionError, match="pure noise"):
        engine(Sampling(levels, samples=3), start=image)


def test_a_hook_acts_on_the_whole_volume():
    def hook(step):
        return step.x.clamp(max=0.25) if step.remaining == 0 else None

    got = engine(Sampling(LEVELS, samples=1, estimate="sample"), on_step=hook)
    assert got.image.max().item() == pytest.approx(0.25)


def test_residuals_and_limits_wrap_the_whole_volume():
    base = torch.randn(1, 1, 12, 16, 20, generator=torch.Generator().manual_seed(1))
    body = np.zeros((12, 16, 20), bool)
    body[4:8, 4:8, 4:8] = True
    got = engine(Sampling((500.0, 0.0)), wrap=lambda D: clamped(Residual(D, base, sign=-1), -1.0, 1.0), body=body,
                 D=lambda x, sigma, cond=None: torch.full_like(x, 0.1))
    inside = (base[0] - 0.1).clamp(-1, 1)[0, 4:8, 4:8, 4:8]
    assert torch.allclose(got.mean[0, 4:8, 4:8, 4:8], inside, atol=1e-6)
    assert torch.allclose(got.mean[0, 0], base[0, 0, 0].clamp(-1, 1), atol=1e-6)  # air: the base


def test_progress_is_even_and_a_cancel_acts_within_one_evaluation():
    told = []
    run = Run(report=lambda event: told.append(event["fraction"]) if event["event"] == "progress" else None)
    engine(Sampling(LEVELS, "heun", samples=2), run=run)
    assert told == pytest.approx([i / 18 for i in range(19)], abs=1e-3)
    run, calls = Run(), []

    def stopping(x, sigma, cond=None):
        calls.append(float(sigma))
        if float(sigma) < 1:
            run.cancelled.set()
        return gaussian(x, sigma)

    with pytest.raises(Cancelled):
        engine(Sampling(LEVELS, samples=2), run=run, D=stopping)
    assert sum(sigma < 1 for sigma in calls) == 1


def test_a_real_network_end_to_end_with_conditions_and_coordinates():
    torch.manual_seed(0)
    net = UNet(UNetConfig(channels=8, multipliers=(1, 2), blocks=1, resample="light", stem=2, attention=False,
                          condition_channels=4, vector=1))
    cond = Conditions(torch.randn(1, 1, 10, 18, 11), vector=torch.ones(1, 1), coordinates=True)
    model = Model(Preconditioned(net, Edm(0.3)), net, PatchRules(multiple=net.config.multiple))
    scene = Scene((10, 18, 11), cond)
    got = sample_volume(model, scene, Sampling(LEVELS, samples=2, batch=2), Run(device="cpu"))
    assert got.mean.shape == (1, 10, 18, 11) and all(torch.isfinite(v).all() for v in (got.mean, got.sample, got.sd))
    again = sample_volume(model, scene, Sampling(LEVELS, samples=2, batch=2), Run(device="cpu"))
    assert torch.equal(got.sample, again.sample)


def test_a_compiled_network_is_really_compiled_and_gives_the_same(monkeypatch):
    """Watching the network's memory once made the compiler skip it for good."""
    from torch._dynamo.utils import counters

    monkeypatch.setattr(UNet, "compile", lambda net: torch.nn.Module.compile(net, backend="eager"))
    torch.manual_seed(0)
    net = UNet(UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention=False))
    torch.nn.init.normal_(net.last.weight)
    model, scene = Model(Preconditioned(net, Edm(0.3)), net, PatchRules(multiple=2)), Scene((16, 16, 16))
    plain = sample_volume(model, scene, Sampling((5.0, 0.0)), Run(), policy=Policy())
    counters.clear()
    compiled = sample_volume(model, scene, Sampling((5.0, 0.0)), Run(), policy=Policy(compile=True))
    assert counters["frames"]["ok"] >= 1
    assert torch.allclose(plain.mean, compiled.mean, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "heun", "dpmpp_2m"])
def test_memory_is_as_planned_and_does_not_grow_with_steps_or_samples(sampler):
    def peak(steps: int, samples: int, batch: int = 1) -> float:
        levels = tuple(karras_sigmas(steps, 0.02, 20.0).tolist())
        with LiveBytes() as live:
            engine(Sampling(levels, sampler, samples, batch=batch), shape=(64, 64, 64),
                   D=lambda x, sigma, cond=None: x * 0.9)
        return max(live.history) / (4 * 64**3)

    few = peak(4, 3)
    assert few <= STATE_VOLUMES + 0.01
    assert max(peak(20, 3), peak(4, 9)) <= few + 0.01
    assert peak(4, 4, batch=2) <= 2 * STATE_VOLUMES + 0.01


@pytest.mark.parametrize("wrong", [{"sampler": "magic"}, {"mean": "median"}, {"estimate": "best"}, {"batch": 0},
                                   {"estimate": "sample", "samples": 0}, {"mean": "samples", "samples": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(OptionError):
        Sampling(LEVELS, **wrong)


def test_settings_survive_json():
    sampling = Sampling(LEVELS, "ddim", 3, extra={"eta": 0.5})
    assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling
    with pytest.raises(OptionError, match="stepz"):
        Sampling.from_json({"sigmas": LEVELS, "stepz": 3})
