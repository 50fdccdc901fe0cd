"""Borders of lesions by contrast: the size of a blurred sphere comes back, a large tumour's core stays."""

import numpy as np
import pytest
from petdiffusion.methods.amdiff.borders import LARGEST_ML, by_contrast
from petdiffusion.volume import Geometry
from scipy import ndimage

SPACING = (4.0, 4.0, 4.0)
GEOMETRY = Geometry((40, 40, 40), SPACING)
BLUR = 5.5 / 2.3548 / 4.0


def sphere(middle, radius_mm, shape=(40, 40, 40)):
    return sum((np.arange(n) * 4.0 - m * 4.0).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
               for axis, (n, m) in enumerate(zip(shape, middle))) <= radius_mm**2  # fmt: skip


def scan(truth, height=6.0, level=2.0):
    return ndimage.gaussian_filter((level + height * truth).astype(np.float32), BLUR)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("grown", [-1, 1])
@pytest.mark.parametrize("level", [0.5, 4.0])
def test_a_mask_too_tight_or_too_wide_becomes_the_lesion(grown, level):
    """Whatever the level around it: a part of the maximum alone would leak into a warm liver."""
    truth = sphere((20, 20, 20), 11.0)
    marked = ndimage.binary_dilation(truth) if grown > 0 else ndimage.binary_erosion(truth)
    found = by_contrast(marked.astype(np.int16), scan(truth, 4.0, level), GEOMETRY).lesions == 1
    assert dice(marked, truth) < 0.8 < 0.9 < dice(found, truth)


def test_neighbours_stay_apart_and_numbers_go_by_size():
    """The tight one becomes the larger of the two, and so the first."""
    small, large = sphere((20, 20, 16), 5.0), sphere((20, 20, 23), 12.0)
    marked = np.where(sphere((20, 20, 16), 9.5), 1, np.where(sphere((20, 20, 23), 8.5), 2, 0)).astype(np.int16)
    found = by_contrast(marked, scan(small | large), GEOMETRY).lesions
    assert (marked == 1).sum() > (marked == 2).sum()
    assert np.unique(found).tolist() == [0, 1, 2] and (found == 1).sum() > (found == 2).sum()
    assert found[20, 20, 23] == 1 and found[20, 20, 16] == 2


def test_a_large_tumour_keeps_its_cold_core():
    whole, core = sphere((20, 20, 20), 24.0), sphere((20, 20, 20), 14.0)
    assert whole.sum() * GEOMETRY.voxel_ml > LARGEST_ML
    image = scan(whole & ~core)
    found = by_contrast(whole.astype(np.int16), image, GEOMETRY).lesions
    np.testing.assert_array_equal(found == 1, whole)


def test_nothing_grows_farther_than_a_voxel_of_the_models():
    """A hot organ beside the mark is not swallowed."""
    truth = sphere((20, 20, 20), 20.0)
    marked = sphere((20, 20, 20), 6.5)
    found = by_contrast(marked.astype(np.int16), scan(truth), GEOMETRY, alone=False).lesions > 0
    assert found[marked].all() and not (found & ~ndimage.binary_dilation(marked)).any()
    assert found.sum() > marked.sum()


def test_no_lesion_gives_none():
    empty = np.zeros((40, 40, 40), np.int16)
    assert not by_contrast(empty, np.ones((40, 40, 40), np.float32), GEOMETRY).lesions.any()


def test_a_mark_on_uptake_that_goes_on_is_no_lesion_and_is_counted():
    """A muscle at work, of which the network marks a piece; a lesion of the same height stands alone."""
    _, y, x = np.indices((40, 40, 40)) * 4.0
    muscle = ((y - 80) / 14) ** 2 + ((x - 40) / 20) ** 2 <= 1
    lesion = sphere((20, 20, 32), 11.0)
    marked = np.where(sphere((20, 20, 11), 9.0), 1, np.where(lesion, 2, 0)).astype(np.int16)
    image = scan(muscle | lesion)
    found = by_contrast(marked, image, GEOMETRY)
    assert found.going_on == 1 and found.lesions[20, 20, 11] == 0 and found.lesions[20, 20, 32] == 1
    every = by_contrast(marked, image, GEOMETRY, alone=False)
    assert every.going_on == 0 and every.lesions[20, 20, 11] and every.lesions[20, 20, 32]


def test_lesions_side_by_side_do_not_count_as_going_on():
    several = [sphere((20, 20, 12 + 5 * i), 9.0) for i in range(4)]
    marked = sum((i + 1) * mask for i, mask in enumerate(several)).astype(np.int16)
    found = by_contrast(marked, scan(np.logical_or.reduce(several)), GEOMETRY)
    assert found.going_on == 0 and found.lesions.max() == 4
