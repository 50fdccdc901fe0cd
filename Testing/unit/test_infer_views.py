"""The mean from two views: the same whichever way a scan lies, found once, and counted honestly."""

import pytest
import torch
from petdiffusion.diffusion.conditions import Conditions, coordinate_images
from petdiffusion.infer.views import MeanAtTop, OnceAtTop, mirrored, two_views, two_views_at_once

SHAPE = (4, 6, 8)


@pytest.fixture
def cond():
    image = torch.randn(1, 2, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Conditions(images=torch.cat((image, coordinate_images(SHAPE)), 1), vector=torch.ones(1, 2))


def lopsided(cond):
    """A regression that does not commute with mirroring: it looks to the left and at the place."""
    image = cond.images[:, :1]
    return image + 0.3 * torch.roll(image, 1, -1) + 0.2 * cond.images[:, -1:]


def test_a_mirrored_patch_has_the_coordinates_of_the_mirrored_patient(cond):
    other = mirrored(cond)
    assert torch.equal(other.images[:, :2], cond.images[:, :2].flip(-1))
    assert torch.allclose(other.images[:, -3:], cond.images[:, -3:])
    half = Conditions(images=cond.images[..., :4])
    assert torch.allclose(mirrored(half).images[:, -1], cond.images[..., 4:][:, -1])


def test_without_coordinates_no_image_is_negated(cond):
    scan = Conditions(images=cond.images[:, :1])
    assert torch.equal(mirrored(scan, coordinates=False).images, scan.images.flip(-1))
    top, seen = torch.tensor(10.0), []
    MeanAtTop(lambda x, sigma, cond: seen.append(cond.images) or x, 10.0, coordinates=False)(scan.images, top, scan)
    assert [torch.equal(image, scan.images) for image in seen] == [True, False]
    assert torch.equal(seen[1], scan.images.flip(-1))


def test_the_mean_is_mirrored_with_the_scan(cond):
    assert torch.allclose(two_views(lopsided, mirrored(cond)), two_views(lopsided, cond).flip(-1), atol=1e-6)
    assert not torch.allclose(lopsided(mirrored(cond)), lopsided(cond).flip(-1), atol=1e-2)


def test_both_views_in_one_batch_are_the_same_mean(cond):
    assert torch.allclose(two_views_at_once(lopsided, cond), two_views(lopsided, cond), atol=1e-6)


def test_the_mean_is_found_once_for_all_chains():
    calls = []

    def D(x, sigma, cond=None):
        calls.append((len(x), float(sigma.max())))
        return x * 0 + sigma.max()

    once = OnceAtTop(D, 10.0)
    top, low = torch.tensor(10.0), torch.tensor(1.0)
    first, second = once(torch.ones(2, 1, 1, 1, 2), top), once(torch.ones(3, 1, 1, 1, 2), top)
    assert first.shape[0] == 2 and second.shape[0] == 3 and torch.equal(first, second[:2])
    once(torch.ones(2, 1, 1, 1, 2), low)
    assert calls == [(1, 10.0), (2, 1.0)] and once.reused == 4
    first.zero_()
    assert float(once(torch.ones(1, 1, 1, 1, 2), top).max()) == 10.0


def test_the_mean_follows_chains_that_left_the_device():
    """`meta` stands for a second device: it takes no values, but refuses to be mixed."""
    once = OnceAtTop(lambda x, sigma, cond=None: x * 0, 10.0)
    once(torch.ones(1, 1, 1, 1, 2), torch.tensor(10.0))
    assert once(torch.ones(2, 1, 1, 1, 2, device="meta"), torch.tensor(10.0)).device.type == "meta"
