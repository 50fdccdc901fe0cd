"""Resampling puts values where they belong, keeps labels whole and knows what covers what."""

import numpy as np
import pytest
from petdiffusion.errors import OptionError
from petdiffusion.prepare.grids import AIR_HU, coarser, overlap, resample, resample_labels, seen, world_points
from petdiffusion.volume import HU, SUVBW, Facts, Geometry, LabelMap, Volume

TURN = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def oblique(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)


def plane(geometry, factors=(0.3, -0.7, 0.2), constant=5.0):
    """A linear function of position: linear interpolation must give it back exactly."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), -1).reshape(-1, 3)
    return (world_points(index, geometry) @ np.array(factors) + constant).reshape(geometry.shape)


@pytest.mark.parametrize("direction", [None, TURN, oblique(20)])
@pytest.mark.parametrize("spacing", [(1.5, 2.0, 2.5), (6.0, 5.0, 7.0)])
def test_linear_function_is_exact_on_any_grid(direction, spacing):
    source = Geometry((40, 36, 30), (3.0, 3.0, 4.0), (-60.0, -50.0, 10.0))
    target = Geometry((8, 7, 6), spacing, (-8.0, -6.0, 50.0), *([direction] if direction else []))
    moved = resample(Volume(plane(source), source), target)
    np.testing.assert_allclose(moved.array, plane(target), atol=2e-3)
    assert moved.geometry.close_to(target)


def test_same_grid_is_left_alone_and_facts_stay():
    geometry = Geometry((7, 6, 5), (2.0, 2.0, 3.0))
    volume = Volume(np.random.default_rng(0).random(geometry.shape), geometry, SUVBW, Facts(tracer="FDG"))
    same = resample(volume, Geometry((7, 6, 5), (2.0, 2.0, 3.0), (1e-5, 0.0, 0.0)))
    np.testing.assert_array_equal(same.array, volume.array)
    assert same.facts.tracer == "FDG" and same.unit == SUVBW


def test_outside_is_air():
    geometry = Geometry((4, 4, 4), (2.0, 2.0, 2.0))
    far = Geometry((3, 3, 3), (2.0, 2.0, 2.0), (100.0, 0.0, 0.0))
    assert np.all(resample(Volume(np.ones((4, 4, 4)), geometry, HU), far).array == AIR_HU)
    assert np.all(resample(Volume(np.ones((4, 4, 4)), geometry, SUVBW), far).array == 0)
    assert np.all(resample(Volume(np.ones((4, 4, 4)), geometry, SUVBW), far, fill=7).array == 7)


def test_going_coarser_does_not_alias():
    """A pattern that alternates with every voxel must come out grey; nearest and bare linear give stripes."""
    geometry = Geometry((64, 8, 8), (1.0, 4.0, 4.0))
    stripes = np.broadcast_to(np.arange(64) % 2, (8, 8, 64)).astype(np.float32)
    coarse = resample(Volume(stripes, geometry), Geometry((14, 8, 8), (4.0, 4.0, 4.0), (4.0, 0.0, 0.0)))
    np.testing.assert_allclose(coarse.array, 0.5, atol=0.02)


def test_smoothing_follows_the_axes_of_an_oblique_pair():
    """Turned by 90 degrees, the long target voxel lies along the source's other axis."""
    source = Geometry((40, 40, 4), (1.0, 1.0, 4.0))
    stripes = np.broadcast_to(np.arange(40) % 2, (4, 40, 40)).astype(np.float32)
    target = Geometry((20, 6, 4), (1.0, 5.0, 4.0), (35.0, 10.0, 0.0), TURN)
    np.testing.assert_allclose(resample(Volume(stripes, source), target).array, 0.5, atol=0.02)


def test_one_slice_and_cubic():
    geometry = Geometry((12, 10, 1), (2.0, 2.0, 5.0))
    volume = Volume(plane(geometry), geometry)
    target = Geometry((7, 5, 1), (2.5, 2.5, 5.0), (3.0, 3.0, 0.0))
    for order in ("linear", "cubic"):
        np.testing.assert_allclose(resample(volume, target, order).array, plane(target), atol=1e-3)


def test_unknown_order():
    geometry = Geometry((4, 4, 4), (2.0, 2.0, 2.0))
    with pytest.raises(OptionError, match="spline"):
        resample(Volume(np.ones((4, 4, 4)), geometry), geometry, order="spline")


def test_transform_maps_new_points_to_old():
    geometry = Geometry((9, 9, 9), (2.0, 2.0, 2.0))
    array = np.zeros((9, 9, 9), np.float32)
    array[4, 4, 6] = 1.0
    shift = np.eye(4)
    shift[0, 3] = 4.0
    assert resample(Volume(array, geometry), geometry, transform=shift).array[4, 4, 4] == pytest.approx(1.0)


def test_labels_take_the_structure_that_fills_most():
    fine = Geometry((60, 60, 60), (1.0, 1.0, 1.0))
    index = np.indices(fine.shape)
    ball = ((index - 30) ** 2).sum(0) < 20 ** 2
    array = np.where(ball, np.where(index[2] < 28, 5, 9), 0)
    labels = LabelMap(array, fine, {5: "liver", 9: "spleen"})
    coarse = resample_labels(labels, Geometry((15, 15, 15), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5)))
    assert coarse.names == labels.names and set(np.unique(coarse.array)) == {0, 5, 9}
    parts = np.stack([(array == v).reshape(15, 4, 15, 4, 15, 4).mean((1, 3, 5)) for v in (0, 5, 9)])
    exact = np.array([0, 5, 9])[parts.argmax(0)]
    clear = np.sort(parts, axis=0)[-1] > 0.6
    np.testing.assert_array_equal(coarse.array[clear], exact[clear])
    assert np.mean(coarse.array == exact) > 0.97


def test_three_structures_meeting_leave_no_hole():
    fine = Geometry((40, 40, 4), (1.0, 1.0, 4.0))
    y, x = np.indices((40, 40)) - 19.5
    sector = (np.floor((np.arctan2(y, x) + np.pi) / (2 * np.pi / 3)).astype(int) % 3) + 1
    labels = LabelMap(np.broadcast_to(sector, (4, 40, 40)), fine)
    coarse = resample_labels(labels, Geometry((9, 9, 4), (4.0, 4.0, 4.0), (3.5, 3.5, 0.0)))
    assert np.all(coarse.array > 0)


def test_small_lesion_survives_a_coarse_grid():
    fine = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    array = np.zeros(fine.shape, np.int16)
    array[20:22, 20:22, 20:22] = 3
    coarse = resample_labels(LabelMap(array, fine), Geometry((7, 7, 7), (6.0, 6.0, 6.0)))
    assert (coarse.array == 3).sum() == 1
    assert tuple(np.argwhere(coarse.array == 3)[0]) == (3, 3, 3)


def test_labels_outside_are_gone_and_none_is_invented():
    fine = Geometry((10, 10, 10), (1.0, 1.0, 1.0))
    labels = LabelMap(np.ones(fine.shape, int), fine, {1: "liver"})
    assert not resample_labels(labels, Geometry((5, 5, 5), (2.0, 2.0, 2.0), (100.0, 0.0, 0.0))).array.any()
    finer = resample_labels(LabelMap(np.eye(10, dtype=int)[None].repeat(10, 0) * 7, fine),
                            Geometry((20, 20, 20), (0.5, 0.5, 0.5)))
    assert set(np.unique(finer.array)) == {0, 7}


def test_overlap_by_hand():
    a = Geometry((10, 10, 10), (2.0, 2.0, 2.0))
    assert overlap(a, a) == 1.0
    half = Geometry((10, 10, 10), (2.0, 2.0, 2.0), (10.0, 0.0, 0.0))
    assert overlap(a, half) == pytest.approx(0.5)
    assert overlap(a, Geometry((20, 10, 10), (2.0, 2.0, 2.0))) == pytest.approx(0.5)
    assert overlap(Geometry((20, 10, 10), (2.0, 2.0, 2.0)), a) == 1.0
    assert overlap(a, Geometry((10, 10, 10), (2.0, 2.0, 2.0), (0.0, 0.0, 500.0))) == 0.0


def test_coarser_keeps_the_extent():
    geometry = Geometry((50, 40, 7), (1.0, 2.0, 5.0), (3.0, -4.0, 5.0), oblique(15))
    small = coarser(geometry, 4.0)
    assert overlap(geometry, small) == 1.0 and overlap(small, geometry) == 1.0
    np.testing.assert_allclose(np.multiply(small.size, small.spacing), np.multiply(geometry.size, geometry.spacing))
    assert small.spacing[2] == 5.0 and min(small.spacing) >= 4.0


@pytest.mark.parametrize("direction", [oblique(0), oblique(25), TURN, (0.0, 0.6, 0.8, 1.0, 0.0, 0.0, 0.0, 0.8, -0.6)])
@pytest.mark.parametrize("spacing", [(1.1, 2.3, 3.7), (5.9, 4.3, 2.9)])
@pytest.mark.parametrize("size", [(24, 18, 12), (9, 1, 30)])
def test_what_an_image_shows_is_where_an_image_of_ones_comes_to_lie(direction, spacing, size):
    target = Geometry((23, 19, 17), (3.1, 2.7, 4.3), (-30.0, -20.0, -40.0), oblique(10))
    for origin in ((-20.2, -8.3, -31.7), (5.1, 3.3, 7.9), (400.0, 0.0, 0.0)):
        source = Geometry(size, spacing, origin, direction)
        ones = resample_labels(LabelMap(np.ones(source.shape, np.int16), source), target)
        np.testing.assert_array_equal(seen(source, target), ones.array == 1)


@pytest.mark.parametrize("step", [1.0, 1.17, 3.27, 4.07])
@pytest.mark.parametrize("axis", range(3))
def test_a_voxel_cut_in_half_is_shown_by_one_of_two_images_end_to_end(axis, step):
    target = Geometry((9, 9, 9), (step, step, step))
    size = tuple(4 if a == axis else 9 for a in range(3))
    for half in np.arange(7) / 2:
        below, above = (Geometry(size, target.spacing, tuple(np.eye(3)[axis] * (half + n) * step)) for n in (0, 4))
        one, other = seen(below, target), seen(above, target)
        both = tuple(slice(4, 5) if a == 2 - axis else slice(None) for a in range(3))
        assert not (one & other).any() and (one | other)[both].all()
