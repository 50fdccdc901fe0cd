"""The UNet in 2D and 3D, its blocks, its sizes, and what it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from petdiffusion.errors import ModelError
from petdiffusion.networks import blocks
from petdiffusion.networks.unet import COMPACT, PAPER, UNet, UNetConfig, parameter_count

SMALL = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention=False, dropout=0.0)


def awake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Gives layers that start at zero some weight, so that nothing is hidden behind them."""
    g = torch.Generator().manual_seed(seed)
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.abs().max() == 0:
            with torch.no_grad():
                weight.copy_(0.2 * torch.randn(weight.shape, generator=g))
    return net.eval()


def made(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    return awake(UNet(config))


def test_the_papers_network_has_about_41_million_parameters():
    with torch.device("meta"):
        net = UNet(replace(PAPER, condition_channels=5))
    assert 40e6 < parameter_count(net) < 43e6
    assert PAPER.multiple == 8


def test_the_compact_network_is_small_enough_to_ship():
    with torch.device("meta"):
        count = parameter_count(UNet(COMPACT))
    assert 2e6 < count < 7e6 and COMPACT.multiple == 8


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("change", [{}, {"stem": 2}, {"stem": 4}, {"resample": "light"}, {"norm": "voxel"},
                                    {"attention": True}, {"context": 6}, {"vector": 2}, {"noise": False},
                                    {"blocks": 2, "multipliers": (1, 2, 3), "resample": "light", "stem": 2},
                                    {"in_channels": 2, "out_channels": 3, "condition_channels": 4}])
def test_shapes_and_gradients(dims, change):
    config = replace(SMALL, dims=dims, **change)
    net = made(config)
    m = config.multiple
    shape = (2 * m, 3 * m, m)[:dims]
    x = torch.randn(2, config.in_channels, *shape)
    given = {"noise": torch.tensor([0.1, -0.5])} if config.noise else {}
    if config.condition_channels:
        given["images"] = torch.randn(2, config.condition_channels, *shape)
    if config.context:
        given["context"] = torch.randn(2, 5, config.context)
    if config.vector:
        given["vector"] = torch.randn(2, config.vector)
    out = net(x, **given)
    assert out.shape == (2, config.out_channels, *shape)
    out.square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


@pytest.mark.parametrize("told", ["noise", "images", "context", "vector", "x"])
def test_the_output_depends_on_everything_it_is_told(told):
    config = replace(SMALL, dims=2, condition_channels=1, context=6, vector=1)
    net = made(config)
    g = torch.Generator().manual_seed(1)
    given = {"x": torch.randn(1, 1, 8, 8, generator=g), "noise": torch.tensor([0.3]),
             "images": torch.randn(1, 1, 8, 8, generator=g), "context": torch.randn(1, 4, 6, generator=g),
             "vector": torch.tensor([[0.5]])}
    before = net(**given)
    assert not torch.allclose(before, net(**{**given, told: given[told] + 0.7}), atol=1e-4)


def test_a_new_network_says_nothing():
    """Zero output at first: EDM's D is then c_skip x, and a regression on a base the base itself."""
    x = torch.randn(1, 1, 8, 8, 8)
    assert (UNet(SMALL)(x, torch.tensor([0.1])) == 0).all()


def test_images_of_a_batch_do_not_touch():
    """In double precision: a convolution of one image may be computed otherwise than that of three."""
    net, g = made(replace(SMALL, attention=True)).double(), torch.Generator().manual_seed(2)
    x, noise = torch.randn(3, 1, 8, 8, 8, generator=g).double(), torch.tensor([0.1, 0.2, 0.3]).double()
    together = net(x, noise)
    alone = torch.cat([net(x[i:i + 1], noise[i:i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-9)


@pytest.mark.parametrize("config", [replace(SMALL, attention=True), replace(SMALL, stem=2, norm="voxel"),
                                    replace(SMALL, dims=2, context=6)])
def test_bf16_autocast_stays_close_to_float32(config):
    net, g = made(config), torch.Generator().manual_seed(3)
    x = torch.randn(1, 1, *[16] * config.dims, generator=g)
    given = {"context": torch.randn(1, 4, 6, generator=g)} if config.context else {}
    with torch.no_grad():
        full = net(x, torch.tensor([0.3]), **given)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(x, torch.tensor([0.3]), **given)
    assert (half.float() - full).square().mean().sqrt() < 0.04 * full.square().mean().sqrt()


def test_channels_last_is_the_same():
    net, x = made(replace(SMALL, dims=2, attention=True)), torch.randn(2, 1, 16, 8)
    before = net(x, torch.tensor([0.3]))
    after = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), torch.tensor([0.3]))
    assert torch.allclose(before, after, atol=1e-5)


def test_voxel_norm_makes_a_local_network():
    """A change in one corner reaches only as far as the convolutions; with GroupNorm it reaches everywhere."""
    g = torch.Generator().manual_seed(4)
    x = torch.randn(1, 1, 8, 8, 64, generator=g)
    changed = x.clone()
    changed[..., :4] += 5
    for norm, local in (("voxel", True), ("group", False)):
        net = made(replace(SMALL, norm=norm))
        far = (net(x, torch.tensor([0.1])) - net(changed, torch.tensor([0.1])))[..., 48:].abs().max()
        assert bool(far < 1e-5) is local


@pytest.mark.parametrize("shape", [(1, 24, 6, 7, 8), (3, 24, 9, 10)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norm_by_moments_is_pytorchs(shape, dtype):
    """Far from zero too, where a mean of squares would lose the variance."""
    g = torch.Generator().manual_seed(6)
    norm = blocks.normalisation("group", 24)
    torch.nn.init.normal_(norm.weight, generator=g)
    torch.nn.init.normal_(norm.bias, generator=g)
    means = 300 * torch.randn(*shape[:2], *[1] * (len(shape) - 2), generator=g)
    x = (means + torch.randn(shape, generator=g)).to(dtype)
    expected = torch.nn.functional.group_norm(x.double(), 6, norm.weight.double(), norm.bias.double(), 1e-5)
    with torch.no_grad():
        assert torch.allclose(norm.by_moments(x).double(), expected, atol=1e-4)


def test_group_norm_goes_by_moments_where_few_groups_are_large(monkeypatch):
    """On CUDA alone: said of this tensor here, which is none of it."""

    class OnCard(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(blocks, "LARGE_GROUP", 220)
    asked, norm = [], blocks.normalisation("group", 8)
    monkeypatch.setattr(norm, "by_moments", lambda x: asked.append(x.shape) or x)
    small, large = (torch.zeros(1, 8, n, 10).as_subclass(OnCard) for n in (5, 6))
    norm(large)  # a gradient is asked for
    with torch.no_grad():
        norm(torch.zeros(large.shape))
        norm(small)
        assert not asked
        norm(large)
    assert asked == [large.shape]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_group_norm_of_a_large_volume_on_a_card_is_pytorchs():
    norm = blocks.normalisation("group", 64).cuda()
    x = (5 + torch.randn(1, 64, 64, 64, 64, device="cuda")).bfloat16()
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        found = norm(x)
        expected = torch.nn.functional.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    assert x.numel() > blocks.LARGE_GROUP * norm.num_groups and found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_configurations_survive_json_and_refuse_nonsense():
    config = replace(COMPACT, vector=1)
    assert UNetConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ModelError, match="depth"):
        UNetConfig.from_json({"depth": 3})
    for wrong in ({"dims": 4}, {"stem": 3}, {"norm": "batch"}, {"blocks": 0}, {"multipliers": ()}, {"resample": "x"}):
        with pytest.raises(ModelError, match="Network configuration"):
            UNetConfig(**wrong)


# Blocks

@pytest.mark.parametrize("dims", [2, 3])
def test_space_to_depth_by_hand_and_back(dims):
    x = torch.arange(3 * 4**dims, dtype=torch.float32).reshape(1, 3, *[4] * dims)
    deep = blocks.space_to_depth(x, 2)
    assert deep.shape == (1, 3 * 2**dims, *[2] * dims)
    first_block = x[0, 0][tuple([slice(0, 2)] * dims)].flatten()
    assert torch.equal(deep[0, :2**dims][(slice(None), *[0] * dims)], first_block)
    assert torch.equal(blocks.depth_to_space(deep, 2), x)
    if dims == 2:
        assert torch.equal(blocks.depth_to_space(deep, 2), torch.nn.functional.pixel_shuffle(deep, 2))


def test_halving_is_mean_pooling():
    x = torch.randn(2, 3, 4, 6, 8)
    assert torch.allclose(blocks.half_size(x), torch.nn.functional.avg_pool3d(x, 2), atol=1e-6)
    assert torch.equal(blocks.double_size(x)[..., ::2, 1::2, ::2], x)


def test_a_block_by_hand():
    """Norm, SiLU, convolution, norm * (1 + scale) + shift, SiLU, convolution; then the sum of both ways over sqrt 2."""
    block = awake(blocks.ResidualBlock(2, 8, 8, width=4))
    x, emb = torch.randn(2, 8, 4, 4), torch.randn(2, 4)
    scale, shift = block.affine(emb)[..., None, None].chunk(2, 1)
    h = block.norm1(block.conv0(torch.nn.functional.silu(block.norm0(x)))) * (1 + scale) + shift
    h = block.conv1(torch.nn.functional.silu(h))
    assert torch.allclose(block(x, emb), (x + h) / 2**0.5, atol=1e-5)


def test_attention_is_that_of_torch():
    """Against nn.MultiheadAttention with the same weights, for self-attention and for tokens."""
    g = torch.Generator().manual_seed(5)
    for context in (0, 6):
        ours = awake(blocks.Attention(2, 8, head_channels=4, context=context))
        theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True, kdim=context or None, vdim=context or None)
        parts = (ours.query, ours.key, ours.value)
        with torch.no_grad():
            if context:
                for name, part in zip("qkv", parts):
                    getattr(theirs, f"{name}_proj_weight").copy_(part.weight)
            else:
                theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
            theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
            theirs.out_proj.weight.copy_(ours.out.weight)
            theirs.out_proj.bias.copy_(ours.out.bias)
        x = torch.randn(2, 8, 3, 4, generator=g)
        tokens = torch.randn(2, 5, 6, generator=g) if context else None
        own = ours.norm(x).flatten(2).transpose(1, 2)
        source = own if tokens is None else tokens
        expected = x + theirs(own, source, source)[0].transpose(1, 2).reshape(x.shape)
        assert torch.allclose(ours(x, tokens), expected, atol=1e-5)


def test_guided_attention_asks_the_guide_and_mixes_the_image():
    """A constant guide gives equal attention everywhere, so the mean of the values; a bias then breaks the tie."""
    g = torch.Generator().manual_seed(6)
    guided = awake(blocks.Attention(2, 8, head_channels=4, guide=3, reach=2))
    x = torch.randn(1, 8, 4, 4, generator=g)
    out = guided(x, guide=torch.ones(1, 3, 4, 4)) - x
    values = guided.value(guided.norm(x).flatten(2).transpose(1, 2))
    assert torch.allclose(out, guided.out(values.mean(1)).reshape(1, 8, 1, 1).expand_as(out), atol=1e-5)
    with torch.no_grad():
        guided.bias.tables[..., 2] = 30.0  # offset 0 along each axis: every voxel looks at itself alone
    own = guided(x, guide=torch.ones(1, 3, 4, 4)) - x
    assert torch.allclose(own, guided.out(values).transpose(1, 2).reshape(x.shape), atol=1e-4)


def test_position_bias_depends_on_the_offset_alone():
    bias = blocks.PositionBias(2, 1, reach=2)
    with torch.no_grad():
        bias.tables.copy_(torch.tensor([[[10.0, 20, 30, 40, 50]], [[1.0, 2, 3, 4, 5]]]))
    table = bias((1, 4))[0]
    assert table[0].tolist() == [33, 32, 31, 31] and table[3].tolist() == [35, 35, 34, 33]
    assert bias((2, 1))[0].tolist() == [[33, 23], [43, 33]]


def test_group_norm_groups_divide_the_channels():
    for channels in (1, 3, 8, 20, 64, 100, 256):
        groups = blocks.groups_for(channels)
        assert channels % groups == 0 and groups <= 32
    assert blocks.groups_for(256) == 32 and blocks.groups_for(64) == 16
