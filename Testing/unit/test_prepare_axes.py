"""Preparation on voxels of three different sizes: the same scene stored with its axes in another order gives the same.

To exchange the first and the last axis would not tell: whoever takes the one's size for the other's errs alike in both.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion.methods.contract import Case
from petdiffusion.prepare.frame import framed
from petdiffusion.prepare.grids import resample
from petdiffusion.prepare.mask import body_mask, from_ct
from petdiffusion.prepare.register import _prepared
from petdiffusion.volume import HU, SUVBW, Geometry, Volume

ORDERS = [(1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1)]


def scan(array, steps, unit=SUVBW):
    """`steps` along z, y, x."""
    return Volume(array.astype(np.float32), Geometry(array.shape[::-1], steps[::-1], (5.0, -40.0, 60.0)), unit)


def stored(volume, order):
    """The same image in the same place; `order`: which of the axes z, y, x comes first, second and last in the file."""
    axes = np.zeros((3, 3))
    axes[[2 - axis for axis in order], [2, 1, 0]] = 1
    array = np.ascontiguousarray(volume.array.transpose(order))
    spacing = tuple(volume.geometry.spacing[2 - axis] for axis in order[::-1])
    return Volume(array, Geometry(array.shape[::-1], spacing, volume.geometry.origin, tuple(axes.ravel())), volume.unit)


def back(array, order):
    return array.transpose(np.argsort(order))


def trunk(steps):
    """A body of 160 x 240 mm with arms beside it, its inside and the air around it."""
    z, y, x = np.meshgrid(*[(np.arange(int(n / s)) + 0.5) * s - n / 2 for n, s in zip((96, 220, 380), steps)],
                          indexing="ij", sparse=True)
    body = (y / 80) ** 2 + (x / 120) ** 2 + 0 * z < 1
    arms = (y / 28) ** 2 + ((np.abs(x) - 158) / 26) ** 2 + 0 * z < 1
    return body | arms, y + 0 * x + 0 * z


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("steps", [(6.0, 2.4, 1.6), (1.2, 4.0, 2.4)])
def test_the_body_of_a_noisy_pet(steps, order):
    body, _ = trunk(steps)
    noisy = scan(body + np.random.default_rng(0).normal(0, 0.5, body.shape), steps)
    mask = body_mask(noisy)
    assert np.mean(mask == body) > 0.95
    np.testing.assert_array_equal(back(body_mask(stored(noisy, order)), order), mask)


@pytest.mark.parametrize("order", ORDERS)
def test_the_body_of_a_ct_upon_a_table(order):
    """The table is one voxel thick, or 3.2 mm."""
    steps = (6.0, 3.2, 1.3)
    body, y = trunk(steps)
    table = (y > 88) & (y < 91.3)
    ct = scan(np.where(body | table, 40.0, -1000.0), steps, HU)
    mask = from_ct(ct)
    assert not mask[table].any() and mask[body].mean() > 0.95
    np.testing.assert_array_equal(back(from_ct(stored(ct, order)), order), mask)


def test_filters_get_12_mm_around_the_body():
    steps, body = (6.0, 2.5, 1.6), np.zeros((30, 40, 50), bool)
    body[14:16, 19:22, 24:28] = True
    frame = framed(Case(scan(np.ones(body.shape), steps), body, 0.1))
    assert frame.spacing == steps
    assert frame.box == (slice(14 - 2, 16 + 2), slice(19 - 5, 22 + 5), slice(24 - 8, 28 + 8))


@pytest.mark.parametrize("order", ORDERS)
def test_an_image_on_a_coarser_grid(order):
    image = scan(np.random.default_rng(0).normal(0, 1, (20, 30, 40)), (3.0, 2.0, 1.5))
    target = Geometry((6, 6, 6), (9.0, 4.0, 6.0), (12.0, -30.0, 70.0))
    expected = resample(image, target).array
    assert expected.std() > 0.03
    np.testing.assert_allclose(resample(stored(image, order), target).array, expected, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_registered_is_smoothed_alike_along_every_axis(order):
    image = scan(np.random.default_rng(0).random((20, 30, 40)), (9.0, 6.0, 3.0))
    one, other = (sitk.GetArrayFromImage(_prepared(form, 8.0)) for form in (image, stored(image, order)))
    np.testing.assert_allclose(back(other, order), one, atol=1e-5)
