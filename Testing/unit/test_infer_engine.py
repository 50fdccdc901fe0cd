"""Devices, seeds, memory plans and the engine that joins them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion import memory
from petdiffusion.diffusion.conditions import Conditions
from petdiffusion.diffusion.parameterisation import Edm, Preconditioned, Residual, clamped
from petdiffusion.diffusion.schedules import karras_sigmas, start_at
from petdiffusion.errors import Cancelled, OptionError, ResourceError
from petdiffusion.infer import device
from petdiffusion.infer.device import Policy
from petdiffusion.infer.engine import Model, Sampling, Scene, network_cost, sample_volume
from petdiffusion.infer.patches import Patched
from petdiffusion.infer.plan import STATE_VOLUMES, Cost, LiveBytes, PatchRules, make_plan, measure_cost, smaller
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


# Devices

def test_devices_are_chosen_or_refused():
    assert device.pick_device("cpu") == "cpu" and device.pick_device() in device.available_devices()
    with pytest.raises(OptionError, match="toaster"):
        device.pick_device("toaster")
    with pytest.raises(ResourceError, match="not available"):
        device.pick_device("cuda:77")


@pytest.mark.parametrize(("there", "said"), [(("cpu",), "(cpu is)"), (("mps", "cpu"), "(mps, cpu are)")])
def test_a_missing_device_is_named_beside_those_that_are_there(monkeypatch, there, said):
    monkeypatch.setattr(device, "available_devices", lambda: there)
    with pytest.raises(ResourceError) as refused:
        device.pick_device("cuda")
    assert f"is not available here {said}" in str(refused.value)


def test_what_the_doctor_is_told_is_json():
    facts = device.describe()
    assert facts["threads"] >= 1 and facts["real_cores"] >= 1 and facts["free_ram_gb"] > 0
    json.dumps(facts, allow_nan=False)


def test_bf16_needs_to_be_faster(monkeypatch):
    for times, expected in (((1.0, 0.5), True), ((1.0, 0.95), False), ((1.0, 5.0), False)):
        device.bf16_pays.cache_clear()
        monkeypatch.setattr(device, "time_small_layer", lambda times=times: times)
        assert device.bf16_pays("cpu") is expected
    device.bf16_pays.cache_clear()


def test_cores_are_those_a_container_may_use(monkeypatch):
    monkeypatch.setattr(device.psutil, "cpu_count", lambda logical=True: 64 if not logical else 128)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(device, "_cgroup_numbers", lambda name: [400_000, 100_000])
    assert device.real_cores() == 4
    monkeypatch.setattr(device, "_cgroup_numbers", lambda name: [])
    assert device.real_cores() == 16


def test_free_memory_heeds_a_containers_limit(monkeypatch):
    monkeypatch.setattr(device, "_cgroup_numbers", lambda name: {"memory.max": [1000], "memory.current": [400]}[name])
    assert device.free_memory() == 600


def test_the_allocator_is_left_alone_elsewhere(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert memory.keep_freed() is False and memory.give_back() is False


@pytest.mark.skipif(memory._glibc("malloc_trim") is None, reason="only glibc can give memory back")
def test_freed_memory_is_given_back_where_it_is_short():
    """300 MB freed below a piece that is still in use stay with the process until room is needed."""
    code = (
        "import numpy as np, psutil\n"
        "from petdiffusion import memory\n"
        "from petdiffusion.infer import device\n"
        "memory.keep_freed()\n"
        "held = lambda: psutil.Process().memory_info().rss >> 20\n"
        "pieces = [np.ones(1_250_000) for _ in range(30)]\n"
        "last = np.ones(1000)\n"
        "del pieces\n"
        "before = held()\n"
        "plenty, there = device.make_room(), held()\n"
        "device.free_memory = lambda kind='cpu': 1000 << 20\n"
        "much = device.make_room(1100 << 20)\n"
        "print(plenty, before - there, much, there - held())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    plenty, kept, much, given = said.stdout.split()
    assert (plenty, much) == ("False", "True") and int(kept) < 50 and int(given) > 200


def test_what_a_patch_costs_and_what_is_taken_besides_are_told_apart():
    """A copy of a million weights is taken whatever the patch, 3 numbers for each voxel."""

    def run_patch(size):
        weights, features = torch.zeros(1_000_000), torch.zeros(3, *size)
        return weights.sum() + features.sum()

    cost = measure_cost(run_patch, RULES, CPU)
    assert cost.bytes_besides == pytest.approx(4e6, rel=1e-3) and cost.bytes_per_voxel == pytest.approx(12, rel=1e-3)


def test_an_evaluation_keeps_nothing_for_gradients():
    """Whoever calls it: a chain would hold the features of all its evaluations."""
    layer = torch.nn.Conv3d(1, 1, 1)
    cost = Cost(100.0, 0.0, 1e-6)
    plan = make_plan((32, 32, 32), RULES, cost, CPU, budget=10**9)
    patched = Patched(lambda x, sigma, cond: layer(x), plan, RULES, CPU, cost, Run())
    found = patched(torch.zeros(1, 1, 32, 32, 32), torch.ones(()))
    assert torch.is_grad_enabled() and not found.requires_grad


def test_room_is_made_for_every_evaluation(monkeypatch):
    """In what its plan may take."""
    asked = []
    monkeypatch.setattr("petdiffusion.infer.patches.make_room", asked.append)
    plan = make_plan((32, 32, 32), RULES, Cost(100.0, 0.0, 1e-6), CPU, budget=10**9)
    patched = Patched(lambda x, sigma, cond: x, plan, RULES, CPU, Cost(100.0, 0.0, 1e-6), Run())
    for _ in range(2):
        patched(torch.zeros(1, 1, 32, 32, 32), torch.ones(()))
    assert asked == [plan.bytes] * 2 and plan.bytes > 0


def test_precision_is_lowered_only_when_asked():
    layer, x = torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 8, 8)
    with Policy(bf16=True).autocast():
        assert layer(x).dtype == torch.bfloat16
    with Policy(bf16=False).autocast():
        assert layer(x).dtype == torch.float32


# Plans

def test_the_whole_volume_where_it_fits():
    plan = make_plan((90, 128, 128), RULES, Cost(100.0), CPU, budget=10**10)
    assert plan.whole and plan.region.size == (96, 128, 128) == plan.patch and "one piece" in str(plan)


@pytest.mark.parametrize("gigabytes", [0.4, 0.8, 1.5, 3.0, 6.0])
def test_patches_that_fit_the_memory_otherwise(gigabytes):
    budget, shape = int(gigabytes * 1e9), (300, 192, 192)
    cost = Cost(200.0, 2e7, 1e-7)
    plan = make_plan(shape, RULES, cost, CPU, budget=budget)
    assert plan.bytes <= budget or plan.patch == (32, 32, 32)
    assert plan.bytes == cost.bytes(plan.batch * math.prod(plan.patch), "cpu") + STATE_VOLUMES * 4 * math.prod(shape)
    assert all(p % 8 == 0 and p >= 32 for p in plan.patch) and plan.patches >= 1
    json.dumps(plan.to_json())
    work = plan.patches * math.prod(plan.patch)
    assert plan.patch == (32, 32, 32) or work < 4.2 * math.prod(shape)
    assert plan.seconds == pytest.approx(work * 1e-7)


def test_more_memory_never_means_more_work():
    work, volumes = [], STATE_VOLUMES * 4 * 300 * 192 * 192
    for budget in (2e8, 5e8, 1e9, 2e9, 4e9, 8e9):
        plan = make_plan((300, 192, 192), RULES, Cost(200.0), CPU, budget=int(budget) + volumes)
        work.append(plan.patches * math.prod(plan.patch))
    assert work == sorted(work, reverse=True) and work[-1] < work[0]


def test_a_longest_side_and_a_body_are_kept_to():
    body = np.zeros((120, 120, 120), bool)
    body[8:112, 20:100, 60:64] = True
    plan = make_plan(body.shape, replace(RULES, largest=64), Cost(50.0), CPU, body=body, budget=10**11)
    assert max(plan.patch) <= 64 and plan.region.size == (120, 104, 24)
    assert plan.patch[2] == 24


def test_slices_go_in_batches():
    plan = make_plan((100, 128, 128), PatchRules(dims=2, multiple=8, slab=2, slab_overlap=1), Cost(100.0), CPU,
                     budget=10**11)
    assert plan.patch == (2, 128, 128) and plan.patches == 99 and plan.batch == 32


def test_volumes_leave_a_device_that_is_too_small_for_them():
    gpu, cost = Policy("cuda", bf16=True), Cost(200.0)
    large = make_plan((300, 192, 192), RULES, cost, gpu, budget=8 * 10**10)
    small = make_plan((300, 192, 192), RULES, cost, gpu, budget=10**9)
    assert (large.state, small.state) == ("cuda", "cpu") and small.bytes <= 10**9 and large.whole


def test_smaller_and_smaller_until_an_error():
    gpu, cost = Policy("cuda"), Cost(200.0)
    plan = make_plan((128, 128, 128), replace(RULES, largest=64), cost, gpu, budget=10**11)
    assert plan.batch > 1 and plan.state == "cuda"
    seen = []
    with pytest.raises(ResourceError, match="patch of"):
        for _ in range(20):
            seen.append((plan.batch, plan.state, plan.patch))
            plan = smaller(plan, RULES, cost, gpu)
    batches = [b for b, _, _ in seen]
    assert batches == sorted(batches, reverse=True) and seen[-1] == (1, "cpu", (32, 32, 32))


def test_cost_of_a_known_network():
    """One convolution 1 -> 10 in float32: per voxel 4 bytes of input, 40 of output, 40 of its sine."""
    layer = torch.nn.Conv3d(1, 10, 1)

    def run_patch(size):
        x = torch.zeros(1, 1, *size)
        torch.sin(layer(x))

    cost = measure_cost(run_patch, RULES, CPU)
    assert cost.bytes_per_voxel == pytest.approx(84, rel=0.01) and cost.seconds_per_voxel > 0
    assert cost.voxels(cost.bytes(10**6, "cpu"), "cpu") == pytest.approx(10**6, rel=1e-3)


def test_networks_of_coarse_grids_are_tried_on_smaller_patches():
    asked = []
    layer = torch.nn.Conv3d(1, 2, 1)

    def run_patch(size):
        asked.append(size)
        layer(torch.zeros(1, 1, *size))

    measure_cost(run_patch, PatchRules(multiple=4, trial=16), CPU)
    assert set(asked) == {(16,) * 3, (32,) * 3}


def test_a_patch_stays_within_what_kernels_can_count():
    """The largest tensor of ten channels: on CUDA a patch of at most 2^31 / 10 voxels, whatever the memory."""
    layer = torch.nn.Conv3d(1, 10, 1)
    cost = measure_cost(lambda size: layer(torch.zeros(1, 1, *size)), RULES, CPU)
    assert cost.elements_per_voxel == 10
    assert cost.voxels(1e15, "cuda") == (2**31 - 1) / 10 and cost.voxels(1e15, "cpu") > 1e12


def test_the_cost_is_measured_without_the_compiler():
    """Importing it takes a second of every run, and the trial runs uncompiled."""
    code = (
        "import sys, torch\n"
        "from petdiffusion.infer.device import Policy\n"
        "from petdiffusion.infer.patches import PatchRules\n"
        "from petdiffusion.infer.plan import measure_cost\n"
        "layer = torch.nn.Conv3d(1, 2, 1)\n"
        "measure_cost(lambda size: layer(torch.zeros(1, 1, *size)), PatchRules(multiple=2), Policy())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.split() == ["False"]


def test_half_precision_is_seen_in_the_cost():
    net = UNet(UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention=False))
    model, scene = Model(Preconditioned(net, Edm(0.5)), net, PatchRules(multiple=2)), Scene((64, 64, 64))
    full = network_cost(model, scene, Policy())
    half = network_cost(model, scene, Policy(bf16=True))
    assert 0.45 < half.bytes_per_voxel / full.bytes_per_voxel < 0.75


def test_chains_that_run_together_need_their_memory():
    one, four = (make_plan((64, 64, 64), RULES, Cost(100.0), CPU, samples=n, budget=10**10) for n in (1, 4))
    assert four.volumes == 4 * one.volumes and four.batch == 4 and one.batch == 1


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
