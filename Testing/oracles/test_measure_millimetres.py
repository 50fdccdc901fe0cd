"""Distances on voxels of three different sizes, against the same worked out from each voxel's place."""

from __future__ import annotations

import numpy as np
import pytest
from petdiffusion.measure.lesions import lesion_table
from petdiffusion.measure.organs import liver_core
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume

STEPS = (5.0, 3.0, 2.0)
"""Along z, y, x; each axis of its own, so that no two can be taken for one another."""


def on_grid(array, steps=STEPS):
    return Geometry(array.shape[::-1], steps[::-1])


def away_from(voxels, shape, steps=STEPS):
    """Millimetres of every voxel's centre from the nearest of some voxels' centres."""
    places = np.stack(np.indices(shape), axis=-1) * np.array(steps)
    return np.min([np.linalg.norm(places - np.multiply(voxel, steps), axis=-1) for voxel in voxels], axis=0)


def contrast(image, lesions, body=None, steps=STEPS):
    """Of the first lesion."""
    geometry = on_grid(image, steps)
    rows = lesion_table({"low": Volume(image, geometry, SUVBW)}, LabelMap(lesions, geometry), body=body)
    return rows[0]["contrast_low"]


@pytest.mark.parametrize("others", [[], [(5, 8, 14), (11, 12, 6)]], ids=["alone", "beside others"])
def test_the_background_lies_5_to_15_mm_from_a_lesion_and_5_mm_from_others(others):
    shape = (15, 21, 25)
    image = np.random.default_rng(0).random(shape).astype(np.float32) + 1
    lesions = np.zeros(shape, np.int16)
    one = (6, 10, 9)
    lesions[one] = 1
    for number, voxel in enumerate(others, 2):
        lesions[voxel] = number
    distance = away_from([one], shape)
    shell = (distance >= 5) & (distance <= 15)
    if others:
        shell &= away_from(others, shape) >= 5
    assert contrast(image, lesions) == pytest.approx(image[one] / image[shell].mean(dtype=float), rel=1e-9)


@pytest.mark.parametrize("step", [1.0, 1.2, 2.0])
@pytest.mark.parametrize("gap_mm", [12.0, 16.5, 18.0, 19.5])
def test_the_blur_of_a_lesion_just_beyond_the_shell_is_no_background(step, gap_mm):
    shape = (5, 5, int(60 / step))
    lesions, image = np.zeros(shape, np.int16), np.ones(shape, np.float32)
    here, there = int(15 / step), int(15 / step) + int(np.ceil(gap_mm / step))
    lesions[2, 2, here], lesions[2, 2, there] = 1, 2
    image[away_from([(2, 2, there)], shape, (step,) * 3) < 5] = 100
    image[2, 2, here] = 5
    assert contrast(image, lesions, steps=(step,) * 3) == 5


def test_the_liver_is_measured_10_mm_from_its_edge_along_every_axis():
    organs = np.zeros((16, 20, 32), np.int16)
    organs[2:14, 3:17, 4:28] = 5
    expected = np.zeros(organs.shape, bool)
    expected[4:12, 6:14, 9:23] = True  # deeper than 10 mm is the third voxel of 5, the fourth of 3, the sixth of 2 mm
    core = liver_core(LabelMap(organs, on_grid(organs), {5: "liver"}))
    np.testing.assert_array_equal(core, expected)
