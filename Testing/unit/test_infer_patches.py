"""Patches: equal to the whole volume for local networks, without seams for others, in 2D and 3D, on any shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from petdiffusion.diffusion.conditions import Conditions, coordinate_images
from petdiffusion.diffusion.parameterisation import Edm, Preconditioned
from petdiffusion.diffusion.samplers import euler, pure_noise
from petdiffusion.diffusion.schedules import karras_sigmas
from petdiffusion.errors import Cancelled, ResourceError
from petdiffusion.infer.device import Policy
from petdiffusion.infer.patches import Patched, cut, is_out_of_memory
from petdiffusion.infer.plan import Cost, PatchRules, make_plan
from petdiffusion.infer.seeds import sample_generators
from petdiffusion.infer.tiles import Box, axis_shares, body_box, mirrored, offsets, tiles, whole_box
from petdiffusion.networks.unet import UNet, UNetConfig
from petdiffusion.progress import Run

CPU = Policy()
RULES = PatchRules(multiple=4, smallest=8, overlap=4, margin=0)
COST = Cost(100.0)


def patched(D, shape, rules=RULES, patch=None, batch=1, **given) -> Patched:
    """A Patched with patches of a chosen size."""
    body = given.get("body")
    plan = make_plan(shape, rules, COST, CPU, body=body, budget=10**12)
    if patch is not None:
        size = tuple(min(p, n) for p, n in zip(patch, plan.region.size))
        plan = replace(plan, patch=size, batch=batch)
    return Patched(D, plan, rules, CPU, COST, given.pop("run", Run()), **given)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pointwise(x, sigma, cond=None):
    """D of a network without neighbours, that uses all it is given."""
    out = x / (1 + sigma**2) + torch.sin(x)
    if cond is not None:
        given = cond.inputs(len(x))
        out = out + given["images"].sum(1, keepdim=True) * (1 + x)
        out = out + given["vector"].reshape(-1, 1, *[1] * (x.ndim - 2)) if "vector" in given else out
    return out


# Geometry

@pytest.mark.parametrize(("length", "patch", "overlap", "multiple"), [
    (64, 32, 8, 4), (100, 32, 8, 4), (36, 32, 8, 4), (32, 32, 8, 4), (304, 64, 16, 8), (7, 2, 1, 1)])
def test_patches_cover_an_axis_with_enough_overlap(length, patch, overlap, multiple):
    starts = offsets(length, patch, overlap, multiple)
    assert starts[0] == 0 and starts[-1] == max(0, length - patch)
    assert all(s % multiple == 0 for s in starts)
    assert all(a + patch - b >= overlap for a, b in zip(starts, starts[1:]))  # noqa: RUF007


def test_shares_add_up_to_one_and_are_smooth():
    for starts, patch in (([0, 24, 48], 32), ([0, 8, 16, 20], 16), ([0], 8), ([0, 1, 2], 2)):
        shares, total = axis_shares(starts, patch), np.zeros(starts[-1] + patch)
        for start, share in zip(starts, shares):
            assert share.min() > 0
            total[start:start + patch] += share
        np.testing.assert_allclose(total, 1, atol=1e-6)
    steps = np.abs(np.diff(axis_shares([0, 24], 32)[0]))
    assert steps.max() < 0.25 and axis_shares([0, 24], 32)[0][-1] < 0.02


def test_tiles_share_every_voxel_of_a_region():
    region, total = Box((4, 0, 8), (12, 20, 16)), np.zeros((20, 20, 24))
    for tile in tiles(region, (8, 8, 16), (4, 4, 4), (4, 4, 4)):
        shares = tile.shares[0][:, None, None] * tile.shares[1][:, None] * tile.shares[2]
        total[tile.box.inside(total.shape)] += shares
    np.testing.assert_allclose(total[4:16, :, 8:], 1, atol=1e-5)
    assert total[:4].max() == 0 and total[..., :8].max() == 0


def test_the_bodys_box_lies_on_the_lattice_and_holds_the_body():
    body = np.zeros((30, 40, 50), bool)
    body[9:12, 17, 30:33] = True
    box = body_box(body, 2, (4, 4, 4))
    assert box == Box((4, 12, 28), (12, 8, 8))
    assert body_box(np.zeros((4, 4, 4), bool), 2, (4, 4, 4)).voxels == 0
    assert whole_box((5, 8, 1), (4, 4, 4)).size == (8, 8, 4)


def test_beyond_the_end_a_volume_goes_on_like_a_mirror():
    assert mirrored(0, 8, 3).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert mirrored(0, 3, 1).tolist() == [0, 0, 0]
    volume = torch.arange(6.0).reshape(1, 1, 1, 2, 3)
    assert cut(volume, Box((0, 0, 2), (2, 2, 2)))[0, 0].tolist() == [[[2, 2], [5, 5]], [[2, 2], [5, 5]]]


# Equality with the whole volume

@pytest.mark.parametrize("shape", [(24, 20, 28), (9, 13, 17), (1, 20, 20), (3, 5, 2), (40, 8, 8)])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_pointwise_network_gives_the_same_in_patches(shape, batch):
    x, images = noise(2, 1, *shape), noise(2, 3, *shape, seed=1)
    cond = Conditions(images=images, vector=noise(2, 1, seed=2))
    sigma = torch.tensor(0.7)
    D = patched(pointwise, shape, patch=(8, 8, 12), batch=batch)
    assert torch.allclose(D(x, sigma, cond), pointwise(x, sigma, cond), atol=2e-6)


def test_new_conditions_are_seen_though_old_ones_are_kept():
    D, x = patched(pointwise, (8, 8, 8)), noise(1, 1, 8, 8, 8)
    for seed in (1, 2, 1):
        cond = Conditions(images=noise(1, 1, 8, 8, 8, seed=seed))
        for samples in (1, 2):
            got = D(x.expand(samples, -1, -1, -1, -1), torch.tensor(1.0), cond)
            assert torch.allclose(got[-1:], pointwise(x, torch.tensor(1.0), cond), atol=1e-6)


def test_a_network_with_strides_sees_the_same_lattice_in_patches():
    """Means over blocks of 4 depend on where the blocks lie: equal only if all boxes lie on the network's lattice."""
    def blocky(x, sigma, cond=None):
        return torch.nn.functional.interpolate(torch.nn.functional.avg_pool3d(x, 4), scale_factor=4)

    x = noise(1, 1, 24, 32, 40)
    body = np.zeros((24, 32, 40), bool)
    body[5:20, 9:30, 3:33] = True
    got = patched(blocky, (24, 32, 40), patch=(12, 8, 16), body=body)(x, torch.tensor(1.0))
    where = torch.from_numpy(body)
    assert torch.allclose(got[0, 0][where], blocky(x, 1)[0, 0][where], atol=1e-6)


@pytest.mark.parametrize("slab", [1, 2, 3])
def test_slabs_of_2d_networks(slab):
    shape, seen = (7, 16, 12), []

    def flat(x, sigma, cond=None):
        seen.append((tuple(x.shape), tuple(cond.images.shape)))
        return x * 2 + cond.images[:, :slab]

    x, images = noise(2, 1, *shape), noise(1, 1, *shape, seed=3)
    rules = PatchRules(dims=2, multiple=4, slab=slab, slab_overlap=slab - 1, smallest=8, overlap=4)
    got = patched(flat, shape, rules, patch=(slab, 8, 8), batch=5)(x, torch.tensor(1.0), Conditions(images))
    assert torch.allclose(got, 2 * x + images, atol=1e-6)
    assert all(a[1:] == (slab, 8, 8) and b[1:] == (slab, 8, 8) for a, b in seen)


def test_a_single_slice_is_enough_for_a_slab_of_two():
    rules = PatchRules(dims=2, multiple=4, slab=2, slab_overlap=1)
    x = noise(1, 1, 1, 8, 8)
    assert torch.allclose(patched(lambda x, s, c=None: x + 1, (1, 8, 8), rules)(x, torch.tensor(1.0)), x + 1)


def test_each_slab_gets_its_own_text():
    shape, got = (5, 8, 8), []

    def reads(x, sigma, cond=None):
        got.extend(cond.context[:, 0, 0].tolist())
        return x + cond.context[:, 0, 0].reshape(-1, 1, 1, 1)

    texts = torch.arange(5.0).reshape(5, 1, 1)
    rules = PatchRules(dims=2, multiple=4, slab=1)
    out = patched(reads, shape, rules, batch=1)(torch.zeros(2, 1, *shape), torch.tensor(1.0),
                                               Conditions(context=texts, by_slice=True))
    assert got == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert torch.equal(out[1, 0, :, 0, 0], torch.arange(5.0))


def test_a_pair_of_slices_gets_the_text_of_its_first():
    got = []

    def reads(x, sigma, cond=None):
        got.extend(cond.context[:, 0, 0].tolist())
        return x

    rules = PatchRules(dims=2, multiple=4, slab=2)
    patched(reads, (6, 8, 8), rules, batch=1)(torch.zeros(1, 1, 6, 8, 8), torch.tensor(1.0),
                                              Conditions(context=torch.arange(6.0).reshape(6, 1, 1), by_slice=True))
    assert got == [0, 2, 4]


def test_coordinates_are_those_of_the_whole_volume():
    shape = (10, 12, 9)

    def reads(x, sigma, cond=None):
        return cond.images[:, 1:2] + 10 * cond.images[:, 2:3] + 100 * cond.images[:, 3:]

    cond = Conditions(images=torch.zeros(1, 1, *shape), coordinates=True)
    got = patched(reads, shape, patch=(8, 8, 8))(torch.zeros(1, 1, *shape), torch.tensor(1.0), cond)
    z, y, x = coordinate_images(shape)[0]
    assert torch.allclose(got[0, 0], z + 10 * y + 100 * x, atol=1e-4)


# Air

@pytest.mark.parametrize("fallback", [0.0, 3.0, "image"])
def test_air_is_not_evaluated_and_keeps_the_fallback(fallback):
    shape, voxels = (32, 32, 32), []
    body = np.zeros(shape, bool)
    body[2:6, 2:6, 2:6] = True
    body[26:30, 26:30, 26:30] = True
    rest = noise(1, 1, *shape) if fallback == "image" else fallback

    def D(x, sigma, cond=None):
        voxels.append(x.numel())
        return torch.full_like(x, 7.0)

    got = patched(D, shape, patch=(8, 8, 8), body=body, fallback=rest)(torch.zeros(1, 1, *shape), torch.tensor(1.0))
    inside = torch.from_numpy(body)
    assert torch.allclose(got[0, 0][inside], torch.tensor(7.0))
    assert sum(voxels) < 0.3 * 32**3
    far = got[0, 0, 14:18, 14:18, 14:18]
    assert torch.allclose(far, rest[0, 0, 14:18, 14:18, 14:18] if fallback == "image" else torch.tensor(float(rest)))


def test_a_volume_without_body_is_all_fallback():
    D = patched(pointwise, (8, 8, 8), body=np.zeros((8, 8, 8), bool), fallback=2.0)
    assert (D(torch.ones(1, 1, 8, 8, 8), torch.tensor(1.0)) == 2.0).all()


# Seams

def random_unet(norm: str = "group") -> UNet:
    torch.manual_seed(3)
    net = UNet(UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention=False, dropout=0.0, norm=norm,
                          condition_channels=1)).eval()
    for module in net.modules():  # zero-initialised layers would hide everything
        if isinstance(module, torch.nn.Conv3d) and module.weight.abs().max() == 0:
            torch.nn.init.kaiming_normal_(module.weight)
    return net


def border_energy(volume: torch.Tensor, starts: list[int], patch: int) -> float:
    """Energy of the gradient where patches begin or end, over that of the 12 voxels around."""
    energy = volume.diff(dim=-1).square().mean(dim=(0, 1, 2, 3))
    borders = [p - 1 for s in starts for p in (s, s + patch) if 6 < p < volume.shape[-1] - 6]
    around = [p + k for p in borders for k in range(-6, 7) if k]
    return (energy[borders].mean() / energy[around].mean()).item()


def smooth_image(shape) -> torch.Tensor:
    """Different from patch to patch, so that the statistics of GroupNorm differ too."""
    z, y, x = coordinate_images(shape)[0]
    return (2 * torch.sin(4 * x) + torch.sin(3 * y) + torch.sin(2 * z + 1))[None, None]


@pytest.mark.parametrize("what", ["mean", "sample"])
def test_no_seams_between_patches_of_a_real_network(what):
    """The gradient at patch borders has the energy of its surroundings, in one estimate and after a chain."""
    shape, patch = (24, 24, 144), (24, 24, 48)
    D, cond = Preconditioned(random_unet(), Edm(0.5)), Conditions(images=smooth_image(shape))

    def energy(D, starts) -> float:
        seeds = sample_generators(0, 1)
        with torch.no_grad():
            x = pure_noise(torch.empty(1, 1, *shape), 20.0, seeds)
            made = D(x, torch.tensor(20.0), cond) if what == "mean" else euler(D, x, karras_sigmas(4, 0.05, 20.0),
                                                                              cond=cond)
        return border_energy(made, starts, 48)

    blended = patched(D, shape, PatchRules(multiple=2, smallest=8, overlap=16), patch=patch)
    assert energy(blended, offsets(144, 48, 16, 2)) == pytest.approx(1, abs=0.06)
    if what == "mean":  # that the measure would see a seam
        hard = patched(D, shape, PatchRules(multiple=2, smallest=8, overlap=0), patch=patch)
        assert energy(hard, [0, 48, 96]) > 1.5


def test_a_local_network_is_equal_inside_patches():
    """Voxel norm and a small receptive field: with that much overlap, blended patches are the whole volume."""
    torch.manual_seed(5)
    layers = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.SiLU(),
                                 torch.nn.Conv3d(4, 1, 3, padding=1))

    def D(x, sigma, cond=None):
        with torch.no_grad():
            return layers(x)

    x = noise(1, 1, 16, 16, 64)
    D_patched = patched(D, (16, 16, 64), PatchRules(multiple=4, smallest=8, overlap=16), patch=(16, 16, 32))
    difference = (D_patched(x, torch.tensor(1.0)) - D(x, 1)).abs()[0, 0].amax(dim=(0, 1))
    assert difference.max() < 0.02 * D(x, 1).abs().max()
    touched = [p for s in offsets(64, 32, 16, 4) for p in (s - 1, s, s + 1, s + 30, s + 31, s + 32)]
    away = [i for i in range(64) if i not in touched]
    assert difference[away].max() < 1e-5


# Memory and cancel

class ShortOfMemory:
    """A Denoiser that fails like torch on patches with more voxels than fit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.failures = limit, 0

    def __call__(self, x, sigma, cond=None):
        if x.numel() > self.limit:
            self.failures += 1
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:115] DefaultCPUAllocator: can't allocate memory: 5 GB")
        return pointwise(x, sigma)


def test_running_out_of_memory_leads_to_a_smaller_plan_and_the_same_result():
    shape, run = (32, 32, 32), Run()
    D = ShortOfMemory(limit=9 * 12**3)
    Dp = patched(D, shape, patch=(32, 32, 32), run=run)
    x = noise(1, 1, *shape)
    assert torch.allclose(Dp(x, torch.tensor(0.5)), pointwise(x, torch.tensor(0.5)), atol=2e-6)
    assert D.failures == 1 and Dp.plan.patch == (16, 16, 16) and "Memory ran out" in run.warnings[0]
    Dp(x, torch.tensor(0.4))
    assert D.failures == 1  # the smaller plan is kept


@pytest.mark.parametrize("said", [
    "CUDA out of memory. Tried to allocate 5 GiB", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "GET was unable to find an engine to execute this computation"])
def test_devices_say_in_many_ways_that_memory_ran_out(said):
    assert is_out_of_memory(RuntimeError(said)) and not is_out_of_memory(RuntimeError("shape mismatch"))


def test_conditions_are_moved_once_to_where_the_volumes_are():
    """`meta` stands for a device: what is mixed with the CPU's fails there."""
    seen = []

    def D(x, sigma, cond):
        seen.append(cond.images.device.type)
        return x + cond.images[:, :1]

    Dp = patched(D, (32, 32, 32), patch=(16, 32, 32))
    Dp.plan = replace(Dp.plan, device="meta", state="meta")
    cond = Conditions(images=noise(1, 2, 32, 32, 32), coordinates=True)
    x = torch.zeros(1, 1, 32, 32, 32, device="meta")
    assert Dp(x, torch.tensor(1.0), cond).device.type == "meta"
    moved = Dp._moved[1].images
    Dp(x, torch.tensor(1.0), cond)
    assert set(seen) == {"meta"} and moved.device.type == "meta" and Dp._moved[1].images is moved


def test_below_the_smallest_patch_it_is_an_error_that_says_so():
    with pytest.raises(ResourceError, match="not enough"):
        patched(ShortOfMemory(limit=10), (32, 32, 32), patch=(32, 32, 32))(noise(1, 1, 32, 32, 32), torch.tensor(1.0))


def test_other_errors_are_passed_on():
    def broken(x, sigma, cond=None):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        patched(broken, (8, 8, 8))(noise(1, 1, 8, 8, 8), torch.tensor(1.0))


def test_a_cancel_stops_before_the_next_patch():
    run, calls = Run(), []

    def D(x, sigma, cond=None):
        calls.append(1)
        run.cancelled.set()
        return x

    with pytest.raises(Cancelled):
        patched(D, (32, 32, 32), patch=(8, 8, 8), run=run)(noise(1, 1, 32, 32, 32), torch.tensor(1.0))
    assert len(calls) == 1


def test_progress_adds_up_to_one_evaluation():
    parts = []
    patched(pointwise, (32, 32, 32), patch=(8, 16, 16), batch=4, advance=parts.append)(
        noise(1, 1, 32, 32, 32), torch.tensor(1.0))
    assert len(parts) > 3 and sum(parts) == pytest.approx(1)
