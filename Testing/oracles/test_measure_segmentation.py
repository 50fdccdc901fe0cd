"""Dice, surface distance and detection by hand and against MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from petdiffusion.errors import GeometryError, OptionError
from petdiffusion.measure.segmentation import (
    components,
    detection,
    dice,
    regions,
    strays,
    surface_distance,
)
from scipy.ndimage import gaussian_filter


def box(*spans, shape=(12, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in spans)] = True
    return mask


EMPTY = np.zeros((12, 12, 12), bool)


def test_dice_by_hand():
    p, r = box((0, 4), (0, 4), (0, 4)), box((2, 6), (0, 4), (0, 4))
    assert dice(p, r) == 0.5
    assert dice(p, box((0, 2), (0, 4), (0, 4))) == pytest.approx(2 * 32 / 96)
    with pytest.raises(GeometryError):
        dice(EMPTY, EMPTY[1:])


def test_empty_masks():
    some = box((0, 4), (0, 4), (0, 4))
    assert np.isnan(dice(EMPTY, EMPTY)) and dice(some, EMPTY) == 0 and dice(EMPTY, some) == 0
    assert np.isnan(surface_distance(EMPTY, EMPTY, (1, 1, 1)).hd95)
    assert np.isinf(surface_distance(some, EMPTY, (1, 1, 1)).assd)


def test_surface_distance_of_two_planes_uses_the_spacing_of_their_axis():
    p, r = box((2, 3), (0, 12), (0, 12)), box((5, 6), (0, 12), (0, 12))
    found = surface_distance(p, r, (1.0, 2.0, 4.0))  # 3 voxels along z, 4 mm each
    assert (found.hd95, found.assd) == (12.0, 12.0)
    assert surface_distance(p.transpose(2, 1, 0), r.transpose(2, 1, 0), (1.0, 2.0, 4.0)).hd95 == 3.0


def test_the_farther_direction_of_a_surface_distance_counts():
    """The reference has a part that the prediction lacks: 12 of its 156 voxels, but of both surfaces 4 % alone."""
    p = box((2, 3), (0, 12), (0, 12))
    r = p | box((7, 8), (0, 1), (0, 12))
    found = surface_distance(p, r, (1.0, 1.0, 1.0))
    assert found.hd95 == surface_distance(r, p, (1.0, 1.0, 1.0)).hd95 == 5.0
    assert found.assd == pytest.approx(12 * 5 / 300)


def test_surface_distance_is_monais():
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    rng = np.random.default_rng(0)
    p, r = (gaussian_filter(rng.random((24, 24, 24)), 3) > 0.5 for _ in range(2))
    p[0] = p[-1] = r[0] = r[-1] = False
    p[:, 0] = p[:, -1] = r[:, 0] = r[:, -1] = False
    p[..., 0] = p[..., -1] = r[..., 0] = r[..., -1] = False
    one = [torch.from_numpy(m)[None, None].float() for m in (p, r)]
    kwargs = {"include_background": True, "spacing": (3.0, 2.0, 1.0)}
    found = surface_distance(p, r, (1.0, 2.0, 3.0))
    assert found.hd95 == pytest.approx(compute_hausdorff_distance(*one, percentile=95, **kwargs).item(), rel=1e-5)
    each = compute_average_surface_distance(*one, symmetric=True, **kwargs).item()
    assert found.assd == pytest.approx(each, rel=1e-5)


@pytest.mark.parametrize("pieces", [1, 2, 500])
def test_strays_are_the_components_beyond_the_largest(pieces):
    mask = gaussian_filter(np.random.default_rng(5).standard_normal((30, 20, 25)), 1.0) > 0.25
    labelled, count = components(mask)
    where, beyond = strays(mask, pieces)
    found = np.zeros(mask.shape, bool)
    found[where] = beyond
    assert 2 < count < 500
    np.testing.assert_array_equal(found, labelled > pieces)


def test_regions_are_the_numbers_that_occur():
    numbered = np.zeros((6, 7, 8), np.int16)
    assert not list(regions(numbered))
    numbered[1:3, 2:4, 5] = 2
    numbered[2, 2, 7] = 2
    numbered[4, 1, 1] = numbered[2, 3, 6] = 7  # in the other's box too
    found = list(regions(numbered))
    assert [number for number, _, _ in found] == [2, 7]
    for number, where, mask in found:
        assert mask.sum() == (numbered == number).sum() and (numbered[where][mask] == number).all()


def test_components_are_numbered_from_the_largest():
    mask = box((0, 1), (0, 1), (0, 1)) | box((4, 8), (4, 8), (4, 8)) | box((1, 2), (1, 2), (1, 2))
    labelled, count = components(mask)
    assert count == 2 and labelled[5, 5, 5] == 1 and labelled[0, 0, 0] == labelled[1, 1, 1] == 2
    assert components(mask, 6)[1] == 3
    with pytest.raises(OptionError):
        components(mask, 8)


def test_detection_by_hand():
    reference = box((0, 1), (0, 1), (0, 1)) | box((4, 8), (4, 8), (4, 8))
    prediction = box((6, 9), (6, 9), (6, 9)) | box((0, 2), (8, 10), (8, 10))
    small, middle, large, overall = detection(prediction, reference, 0.1)
    assert (small["lesions"], small["found"], small["false_positives"]) == (1, 0, 1)
    assert (large["lesions"], large["found"], large["sensitivity"]) == (1, 1, 1.0)
    assert middle["sensitivity"] is None and overall["sensitivity"] == 0.5 and overall["false_positives"] == 1
    # A false region of 8 voxels is of the class that ends at its volume.
    rows = detection(prediction, reference, 0.125)
    assert [row["false_positives"] for row in rows] == [1, 0, 0, 1]
    # 8 of 64 voxels are covered: found at a tenth, not at a fifth.
    assert detection(prediction, reference, 0.1, minimum_overlap=0.1)[-1]["found"] == 1
    assert detection(prediction, reference, 0.1, minimum_overlap=0.2)[-1]["found"] == 0
