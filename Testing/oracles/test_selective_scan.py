"""The selective scan against its definition, and its gradient against finite differences."""

import pytest
import torch
from petdiffusion.networks import selective_scan as scan
from petdiffusion.networks.mamba import Mamba, VoxelMamba


@pytest.fixture(autouse=True, params=["walked", "joined"])
def way(request, monkeypatch):
    """As on a processor, and as on a GPU."""
    monkeypatch.setattr(scan, "launches_cost", lambda x: request.param == "joined")
    monkeypatch.setattr(scan, "FEW", 3)


def given(length, batch=2, d=3, N=4, dtype=torch.float32):
    g = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    return (normal(batch, d, length), torch.nn.functional.softplus(normal(batch, d, length)), -normal(d, N).exp(),
            normal(batch, N, length), normal(batch, N, length), normal(d))  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 17, 100, 257])
def test_any_length_is_exact(length):
    inputs = given(length)
    fast, slow = scan.selective_scan(*inputs), scan.step_by_step(*inputs)
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)


def test_a_hand_worked_sequence():
    """One channel, one state: h = 1, 1/2 + 1, 3/4 + 1, y = h + 2 u."""
    states = scan.recurrence(torch.full((3, 1), 0.5), torch.ones(3, 1))
    torch.testing.assert_close(states, torch.tensor([[1.0], [1.5], [1.75]]))
    ones = torch.ones(1, 1, 3)
    found = scan.selective_scan(ones, ones, torch.tensor([[0.5]]).log(), ones, ones, torch.tensor([2.0]))
    torch.testing.assert_close(found, torch.tensor([[[3.0, 3.5, 3.75]]]))


def test_strong_decay_keeps_its_small_terms():
    """Where sums of logarithms fail: 400 tokens that each forget all but exp(-30) of the past."""
    u, delta, A, B, C, D = given(400)
    inputs = (u, torch.full_like(delta, 30.0), torch.full_like(A, -1.0), B, C, D)
    torch.testing.assert_close(scan.selective_scan(*inputs), scan.step_by_step(*inputs), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("length", [1, 5, 12])
def test_the_gradient_is_right(length):
    g = torch.Generator().manual_seed(1)
    decay, gain = (torch.rand(length, 2, 3, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(scan.recurrence, (decay, gain))


def test_gradients_of_all_inputs_agree_with_the_definition():
    pairs = []
    for found in (scan.selective_scan, scan.step_by_step):
        inputs = [part.requires_grad_() for part in given(30)]
        found(*inputs).square().sum().backward()
        pairs.append([part.grad for part in inputs])
    for fast, slow in zip(*pairs):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-3)


def test_the_past_alone_counts():
    inputs = given(40)
    changed = [part.clone() for part in inputs]
    changed[0][..., 25:] += 1.0
    torch.testing.assert_close(scan.selective_scan(*inputs)[..., :25], scan.selective_scan(*changed)[..., :25])


def test_mamba_is_causal_and_has_the_names_of_its_model():
    torch.manual_seed(0)
    layer = Mamba(8, state=4)
    assert set(layer.state_dict()) == {"A_log", "D", "in_proj.weight", "conv1d.weight", "conv1d.bias", "x_proj.weight",
                                       "dt_proj.weight", "dt_proj.bias", "out_proj.weight"}  # fmt: skip
    x = torch.randn(1, 20, 8)
    later = x.clone()
    later[:, 12:] += 1
    torch.testing.assert_close(layer(x)[:, :12], layer(later)[:, :12])
    assert not torch.allclose(layer(x)[:, 12:], layer(later)[:, 12:])


def test_voxels_are_read_from_both_ends():
    """The mean over the readings commutes with turning space around, and every voxel sees every other."""
    torch.manual_seed(0)
    layer = VoxelMamba(8, state=4)
    x = torch.randn(1, 8, 3, 4, 5, requires_grad=True)
    turned = layer(x.flip((2, 3, 4))).flip((2, 3, 4))
    torch.testing.assert_close(layer(x), turned, rtol=1e-4, atol=1e-5)
    layer(x)[0, 0, 1, 1, 1].backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


def test_channels_a_few_at_a_time_give_the_same(monkeypatch):
    inputs = given(50)
    whole = scan.selective_scan(*inputs)
    monkeypatch.setattr(scan, "AT_ONCE", 2 * 50 * 4 * 2)  # two of the three channels
    with torch.no_grad():
        assert torch.equal(scan.selective_scan(*inputs), whole)
