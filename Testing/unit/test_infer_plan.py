"""Devices, their memory, and the plans that fit it."""

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
from petdiffusion.diffusion.parameterisation import Edm, Preconditioned
from petdiffusion.errors import OptionError, ResourceError
from petdiffusion.infer import device
from petdiffusion.infer.device import Policy
from petdiffusion.infer.engine import Model, Scene, network_cost
from petdiffusion.infer.patches import Patched
from petdiffusion.infer.plan import STATE_VOLUMES, Cost, PatchRules, make_plan, measure_cost, smaller
from petdiffusion.networks.unet import UNet, UNetConfig
from petdiffusion.progress import Run

CPU, RULES = Policy(), PatchRules(multiple=8, smallest=32, overlap=16)


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
