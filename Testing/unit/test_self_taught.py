"""Methods that learn on the scan itself: what they hide, add and stop at, and that noise goes from a known image."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from petdiffusion.filters import gaussian
from petdiffusion.infer import on_frame
from petdiffusion.infer.device import Policy
from petdiffusion.methods.self_taught import deep_prior, guided_decoder, lesson, noise2void, noisier2noise, painting
from petdiffusion.prepare.frame import Frame
from petdiffusion.progress import Run

SPACING = (4.0, 4.0, 4.0)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def frame_of(array, noise=1.0):
    array = np.asarray(array, np.float32)
    return Frame(array, noise, SPACING, np.ones(array.shape, bool), (slice(None),) * 3)


def hills(shape=(20, 28, 28), height=12.0):
    """A smooth image that patches of it have in common."""
    z, y, x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    return (height * (1 + np.sin(z / 4) * np.sin(y / 5) * np.cos(x / 5))).astype(np.float32)


def rms(array):
    return float(np.sqrt(np.mean(np.square(array))))


# ---- Noise2Void ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 12, 16), (6, 7, 9)])
def test_one_voxel_of_each_cell_is_hidden_and_nothing_else_changes(shape):
    images = torch.arange(2 * np.prod(shape), dtype=torch.float32).reshape(2, 1, *shape)
    places, hidden = noise2void.hide(images, random())
    changed = hidden != images
    assert changed[places].all() and changed.sum() == places[0].numel()
    number, _, *place = (index.flatten() for index in places)
    cells = torch.stack((number, *(p // noise2void.CELL for p in place))).unique(dim=1)
    assert cells.shape[1] == 2 * np.prod([-(-n // noise2void.CELL) for n in shape])


def test_a_hidden_voxel_gets_the_value_of_one_nearby():
    """Values are positions, so what stands there tells where it is from."""
    shape = (16, 16, 16)
    images = torch.arange(16**3, dtype=torch.float32).reshape(1, 1, *shape)
    places, hidden = noise2void.hide(images, random())
    source = np.stack(np.unravel_index(hidden[places].numpy().astype(int), shape))
    distance = np.abs(source - np.stack([p.numpy() for p in places[2:]]))
    assert distance.min() >= 1 and distance.max() <= noise2void.REACH


def test_a_voxel_has_no_part_in_its_own_surroundings():
    array = hills()
    moved, middle = array.copy(), (10, 14, 14)
    moved[middle] += 100.0
    before, after = (noise2void.surroundings(frame_of(a)) for a in (array, moved))
    assert abs(after[middle] - before[middle]) < 1e-3
    assert after[10, 14, 15] - before[10, 14, 15] > 1.0
    flat = noise2void.surroundings(frame_of(np.full((9, 9, 9), 3.0)))
    np.testing.assert_allclose(flat, 3.0, rtol=1e-5)


# ---- Noisier2Noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("added", [0.5, 1.0, 2.0])
def test_moran_s_equation_on_exact_gaussians(added):
    """x ~ N(0, s^2), y = x + N(0, 1), z = y + N(0, a^2): both expectations are multiples of z."""
    z, s2 = np.linspace(-3, 3, 7, dtype=np.float32), 2.5
    of_y = z * (s2 + 1) / (s2 + 1 + added**2)
    np.testing.assert_allclose(noisier2noise.corrected(of_y, z, added), z * s2 / (s2 + 1 + added**2), rtol=1e-5)


def test_added_noise_has_sd_1_and_the_correlation_of_the_scan():
    widths, shape = (0.0, 5.0, 8.0), (1, 1, 48, 64, 64)
    found = noisier2noise.noise(shape, widths, SPACING, random())[0, 0].numpy()
    assert found.shape == shape[2:] and found.std() == pytest.approx(1.0, abs=0.03)
    for axis, width in enumerate(widths):
        one, other = np.moveaxis(found, axis, 0)[:-1], np.moveaxis(found, axis, 0)[1:]
        sigma = width / 2.3548
        wanted = np.exp(-((4.0 / sigma) ** 2) / 4) if width else 0.0
        assert np.mean(one * other) == pytest.approx(wanted, abs=0.04), f"axis {axis}"


def test_blurred_is_the_filter_of_the_house():
    image = np.random.default_rng(0).normal(size=(20, 24, 28)).astype(np.float32)
    ours = noisier2noise.blurred(torch.from_numpy(image)[None, None], (6.0, 4.0, 3.0))[0, 0].numpy()
    np.testing.assert_allclose(ours, gaussian(image, 6.0, (6.0, 4.0, 3.0)), atol=2e-2)


# ---- what they do to a known image --------------------------------------------------------------------------------


def noisier(corrected):
    def learnt(frame, steps):
        options = {"added": 1.0, "corrected": corrected, "steps": steps}
        return noisier2noise._learnt(frame, (0.0, 0.0, 0.0), options, Run())

    return learnt


def void(frame, steps):
    return noise2void.guessed(frame, lesson.unet(frame, Run()), steps, Run())


def white(shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Copy(torch.nn.Module):
    """A network with one number: how much of what it is shown it hands on. Its best value is known."""

    config = SimpleNamespace(multiple=4)

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        return self.share * x


@pytest.mark.parametrize(("learnt", "slope"), [(void, 0.0), (noisier(False), 0.5), (noisier(True), 0.0)],
                         ids=["noise2void", "noisier2noise", "corrected"])  # fmt: skip
def test_a_network_that_can_copy_learns_to_copy_as_much_as_theory_says(learnt, slope, monkeypatch):
    """Of white noise Noise2Void keeps nothing; Noisier2Noise half, as E[y | z] = z / 2; its equation takes that off."""
    monkeypatch.setattr(lesson, "unet", lambda frame, run: Copy())
    scan = white((24, 28, 28))
    result = learnt(frame_of(scan), 500)
    assert np.mean(result * scan) / np.mean(scan * scan) == pytest.approx(slope, abs=0.08)


@pytest.mark.parametrize("learnt", [void, noisier(False)], ids=["noise2void", "noisier2noise"])
def test_learning_takes_noise_off_and_keeps_the_image(learnt):
    truth = hills(height=30.0)
    before, after = (rms(learnt(frame_of(truth + white(truth.shape)), steps) - truth) for steps in (1, 60))
    assert after < 0.5 and after < 0.9 * before


def test_a_painted_image_takes_its_borders_from_the_guide():
    """Two levels with a sharp border that the guide shows: the noise of the fit lies below the scan's."""
    border = np.zeros((16, 24, 24), np.float32)
    border[:, 8:16, 8:16] = 1.0
    truth = 10.0 + 10.0 * border
    noisy = truth + white(truth.shape, 2)
    frame, run = frame_of(noisy), Run()
    source = torch.from_numpy(2 * border - 1)[None]
    result = painting.fitted(frame, lesson.unet(frame, run), source, 150, run, random(), 4)
    assert rms(result - truth) < 0.5


def test_learning_stops_where_the_noise_explains_the_rest():
    seen, network = [], torch.nn.Linear(1, 1)
    enough = painting.explained
    assert enough(1.0 / on_frame.UNIT**2) and not enough(1.01 / on_frame.UNIT**2)

    def loss(policy):
        seen.append(1)
        return network.weight.square().sum() * 0 + (0.9 ** len(seen))

    lesson.learn(network, loss, 500, Run(), enough=enough)
    assert 30 < len(seen) < 100


# ---- deep image prior ---------------------------------------------------------------------------------------------


def test_the_painter_is_told_where_each_block_lies_in_mm():
    """Of two voxels a wave apart along an axis it is told the same for that wave, half a wave apart the opposite."""
    array = np.zeros((4, 6, 200), np.float32)
    frame = replace(frame_of(array), spacing=(3.0, 2.0, 2.0))
    places = deep_prior.places(frame)
    assert places[:, 3, 5, 100].tolist() == [9.0, 10.0, 200.0]
    painter, told = deep_prior.Painter(), []
    painter.network.forward = lambda x: told.append(x) or x[:, :8]
    painted = painter(torch.cat((torch.zeros(1, *array.shape), places))[None])
    assert painted.shape == (1, 1, *array.shape) and told[0].shape == (1, 8 + 24, 2, 3, 100)
    sines = told[0][0, 8:20].reshape(4, 3, 2, 3, 100)  # waves, axes
    for wave, size in enumerate(deep_prior.WAVES_MM):
        along_x, half = sines[wave, 2, 0, 0], round(size / 2 / 4)  # blocks of 4 mm
        torch.testing.assert_close(along_x[:-half], -along_x[half:], atol=1e-4, rtol=0)
        assert along_x.abs().max() > 0.9 and sines[wave, 2].std(dim=(0, 1)).max() < 1e-6


def test_a_prior_paints_the_hot_one_of_two_organs_that_are_alike_in_the_anatomy():
    z, y, x = np.meshgrid(*[np.arange(n) for n in (16, 16, 48)], indexing="ij")
    hot, cold = ((z - 8) ** 2 + (y - 8) ** 2 + (x - middle) ** 2 < 16 for middle in (10, 38))
    truth = (10 + 20.0 * hot).astype(np.float32)
    frame, run = frame_of(truth + white(truth.shape, 3)), Run()
    source = torch.cat((torch.from_numpy((hot | cold).astype(np.float32))[None] * 4, deep_prior.places(frame)))
    network = lesson.begun(run, deep_prior.Painter)
    image = painting.fitted(frame, network, source, 80, run, random(), network.multiple, deep_prior.RATE,
                            deep_prior.CLIP)  # fmt: skip
    assert image[hot].mean() == pytest.approx(30, abs=2.5) and image[cold].mean() == pytest.approx(10, abs=0.5)
    assert rms(image - truth) < 0.8


def test_longer_gradients_are_cut():
    """Plain descent would follow the gradient of 1000: after it each step is as if it had been 0.5."""
    network, seen = torch.nn.Linear(1, 1), []
    network.weight.register_hook(lambda gradient: seen.append(float(gradient.norm())))
    step = torch.optim.AdamW.step

    def watched(self, *given):
        seen.append(float(network.weight.grad.norm()))
        return step(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        lesson.learn(network, lambda policy: network.weight.sum() * 1000, 1, Run(), clip=0.5)
    assert seen == [1000.0, pytest.approx(0.5, rel=1e-4)]


# ---- guided decoder -----------------------------------------------------------------------------------------------


def test_the_guide_leads_through_the_gates_alone():
    network = lesson.begun(Run(), guided_decoder.GuidedDecoder)
    noise = torch.randn(1, 1, 16, 16, 16, generator=random())
    guides = [torch.randn(1, 1, 16, 16, 16, generator=random(seed)) for seed in (1, 2)]

    def images():
        with torch.no_grad():
            return [network(torch.cat((guide, noise), 1)) for guide in guides]

    one, other = images()
    assert one.shape == noise.shape and not torch.allclose(one, other)
    for gate in (*network.refine, *network.enlarge):
        torch.nn.init.zeros_(gate.weigh.weight)
    torch.testing.assert_close(*images(), rtol=0, atol=0)


# ---- lesson -------------------------------------------------------------------------------------------------------


def test_patches_lie_on_the_lattice_and_hold_body():
    body = np.zeros((101, 110, 98), bool)
    body[37, 51, 30] = body[61, 40, 47] = True
    frame = Frame(body.astype(np.float32), 1.0, SPACING, body, (slice(None),) * 3)
    patches = lesson.Patches.of(frame, 4, random())
    boxes = [box for _ in range(10) for box in patches.draw()]
    assert all(start % 4 == 0 for box in boxes for start in box.start)
    assert all(body[box.inside(body.shape)].any() and box.fits((104, 112, 100)) for box in boxes)
    assert len({box.start for box in boxes}) == 2


def test_a_small_frame_is_continued_like_a_mirror():
    frame = frame_of(hills((5, 7, 9)))
    patches = lesson.Patches.of(frame, 4, random())
    cut = lesson.cut_all(on_frame.scaled(frame), patches.draw())
    assert cut.shape == (lesson.BATCH, 1, 8, 8, 12)
    torch.testing.assert_close(cut[0, 0, 5, :7, :9], cut[0, 0, 4, :7, :9])


@pytest.mark.parametrize(("shape", "bf16"), [((1, 40, 40), False), ((40, 30, 20), False), ((40, 40, 40), True)])
@pytest.mark.parametrize("learnt", [
    void, noisier(False),
    lambda frame, steps: painting.fitted(frame, lesson.unet(frame, Run()), on_frame.scaled(frame), steps, Run(),
                                         random(), 4),
], ids=["noise2void", "noisier2noise", "painting"])  # fmt: skip
def test_of_thin_scans_all_learn_in_single_precision(learnt, shape, bf16, monkeypatch):
    """In bfloat16 gradients of thin patches were no numbers, on some processors."""
    seen, learn = [], lesson.learn

    def watched(network, loss, *more, **given):
        learn(network, lambda policy: seen.append(policy.bf16) or loss(policy), *more, **given)

    monkeypatch.setattr(lesson, "learn", watched)
    monkeypatch.setattr(lesson, "policy_for", lambda run: Policy(bf16=True))
    learnt(frame_of(hills(shape)), 1)
    assert seen == [bf16]


def test_a_step_whose_gradients_are_no_numbers_is_left_out():
    network, values = torch.nn.Linear(1, 1), iter([1.0, float("nan"), 1.0])
    lesson.learn(network, lambda policy: network.weight.sum() * next(values), 3, Run())
    assert network.weight.isfinite().all()


def test_levels_of_the_scan_are_kept_whatever_is_painted():
    scan = np.full((40, 40, 40), 6.0)
    frame = frame_of(scan)
    assert np.abs(on_frame.restored(frame, np.zeros(scan.shape, np.float32)) - 6.0).max() < 1e-3


def test_the_seed_alone_decides_the_first_weights():
    states = []
    for seed, outside in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        states.append(lesson.unet(frame_of(np.ones((4, 4, 4))), Run(seed=seed)).first.weight.detach())
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize(("apart_mm", "alone"), [(4.0, False), (100.0, True)])
def test_slices_far_apart_know_nothing_of_one_another(apart_mm, alone):
    frame = replace(frame_of(np.ones((8, 16, 16))), spacing=(apart_mm, 4.0, 4.0))
    network = lesson.unet(frame, Run())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=random())
    images = torch.randn(2, 1, 8, 16, 16, generator=random())
    changed = images.clone()
    changed[0, :, 3] += 1.0
    with torch.no_grad():
        moved = (network(changed) - network(images)).abs().amax(dim=(1, 3, 4)) > 1e-6
    assert network(images).shape == images.shape
    assert moved[0, 3] and not moved[1].any()
    assert (moved[0].sum() == 1) == alone
