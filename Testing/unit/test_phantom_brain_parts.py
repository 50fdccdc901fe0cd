"""The parts that digital brains are made of: shapes, deformation, canvas."""

import numpy as np
import pytest

pytest.importorskip("nilearn", reason="the MNI maps come with nilearn")

from petdiffusion.phantoms.brain import canvas, shapes, warp
from petdiffusion.phantoms.brain.person import person
from petdiffusion.phantoms.brain.template import Field, distance, grid_points, template

POINTS = grid_points((31, 31, 31), (-15.0, -15.0, -15.0), 1.0)


def test_a_ball_is_the_distance_to_its_surface() -> None:
    ball = shapes.Ellipsoid((0, 0, 0), (9, 9, 9))(POINTS)
    x, y, z = np.meshgrid(*[np.arange(-15.0, 16)] * 3, indexing="ij")
    assert np.allclose(ball, np.sqrt(x**2 + y**2 + z**2) - 9, atol=1e-4)


def test_a_chain_is_a_cone_between_its_knots() -> None:
    chain = shapes.Chain(((0, 0, -10, 2.0), (0, 0, 10, 6.0)))(POINTS)
    assert chain[15, 15, 15] == pytest.approx(-4.0)  # on the axis, half way: radius 4
    assert chain[15, 15, 25] == pytest.approx(10 - 4.0)
    assert chain[30, 15, 15] == pytest.approx(5 - 6.0)


def test_mirrored_shapes_are_the_same_on_both_sides() -> None:
    for shape in (shapes.Ellipsoid((6, 1, 2), (3, 4, 5), turn=20, mirrored=True),
                  shapes.Chain(((4, 0, 0, 2), (8, 3, 3, 3)), mirrored=True)):
        d = np.broadcast_to(shape(POINTS), (31, 31, 31))
        assert np.array_equal(d, d[:, :, ::-1])


def test_bounds_hold_the_shape() -> None:
    for shape in (shapes.Ellipsoid((2, 1, -2), (3, 8, 5), turn=30), shapes.Chain(((4, 0, 0, 2), (8, 3, 3, 3)), True),
                  shapes.Union(shapes.Ellipsoid((0, 0, 0), (2, 2, 2)), shapes.Ellipsoid((5, 5, 5), (3, 3, 3)))):
        low, high = shape.bounds()
        for place, a, b in zip(np.broadcast_arrays(*POINTS), low, high):
            within = place[np.broadcast_to(shape(POINTS), (31, 31, 31)) < 0]
            assert within.size and within.min() >= a and within.max() <= b


def test_distance_is_exact_for_a_plane_between_voxels() -> None:
    """The surface lies at 10.3 voxels; interpolated scores say so, and so must the distances around it."""
    score = np.broadcast_to((10.3 - np.arange(24, dtype=np.float32))[:, None, None], (24, 12, 12))
    found = distance(np.ascontiguousarray(score))[4:17, 6, 6]
    assert np.allclose(found, np.arange(4, 17) - 10.3, atol=0.35)
    assert np.allclose(found[6:8], np.arange(10, 12) - 10.3, atol=0.06)


def test_a_field_is_linear_between_its_voxels() -> None:
    z, y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), np.arange(7.0), indexing="ij")
    field = Field((1 * x + 10 * y + 100 * z).astype(np.float32), (-3.0, 2.0, 1.0), 2.0)
    place = np.array([-3 + 2 * 2.5, 2 + 2 * 1.25, 1 + 2 * 3.5]).reshape(3, 1)
    assert field.at(place)[0] == pytest.approx(2.5 + 12.5 + 350, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_deformation_never_folds(seed) -> None:
    rng = np.random.default_rng(seed)
    bent = warp.warp(rng, person(rng), template())
    slopes = np.stack([np.gradient(bent.shift, warp.STEP, axis=axis) for axis in (3, 2, 1)], -1)
    jacobian = np.linalg.det(np.moveaxis(slopes, 0, -2) + np.eye(3))
    assert jacobian.min() > 0.15 and jacobian.max() < 5


def test_to_head_undoes_the_backward_map() -> None:
    rng = np.random.default_rng(5)
    bent = warp.warp(rng, person(rng), template())
    for place in ((20.0, -30.0, 10.0), (-35.0, 40.0, 20.0), (0.0, -60.0, -30.0)):
        here = bent.to_head(place)
        assert np.allclose(bent.on([np.array([v], np.float32) for v in here]).ravel(), place, atol=0.5)


def test_a_straight_ventricle_wall_moves_outwards() -> None:
    """More millimetres of ventricle make more of the head map into the template's ventricle."""
    from dataclasses import replace

    maps, rng_seed = template(), 11
    who = person(np.random.default_rng(1))
    counts = []
    for millimetres in (0.0, 4.0):
        bent = warp.warp(np.random.default_rng(rng_seed), replace(who, ventricle_mm=millimetres), maps)
        axes = [np.arange(-60, 60, 2.0), np.arange(-70, 60, 2.0), np.arange(-40, 50, 2.0)]
        counts.append(int((maps.ventricle.at(bent.on(axes)) < 0).sum()))
    assert counts[1] > 1.4 * counts[0]


def test_box_mode_is_the_commonest_label() -> None:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 5, (6, 9, 12)).astype(np.int16)
    found = canvas.box_mode(fine, 3)
    for z, y, x in np.ndindex(found.shape):
        block = fine[3 * z:3 * z + 3, 3 * y:3 * y + 3, 3 * x:3 * x + 3].ravel()
        assert found[z, y, x] == np.bincount(block).argmax()


def test_box_mean_keeps_the_sum() -> None:
    fine = np.random.default_rng(1).random((8, 12, 4)).astype(np.float32)
    assert canvas.box_mean(fine, 4).sum() * 64 == pytest.approx(fine.sum(), rel=1e-5)


def test_paint_mixes_by_amount_and_labels_the_larger_part() -> None:
    axes = [np.arange(4.0)] * 3
    board = canvas.Canvas(axes, np.zeros((3, 4, 4, 4), np.float32), 1.0)
    amount = np.zeros((4, 4, 4), np.float32)
    amount[0], amount[1] = 0.75, 0.25
    board.paint(amount, canvas.Colour(8.0, 0.0, 1.0), 7)
    assert (board.pet[0] == 6).all() and (board.pet[1] == 2).all() and (board.pet[2] == 0).all()
    assert (board.ct[0] == -250).all()
    assert (board.labels[0] == 7).all() and not board.labels[1:].any()


def test_a_window_leaves_out_nothing_of_the_shape() -> None:
    axes = [np.arange(-60.0, 60.0)] * 3
    places = np.stack(np.broadcast_arrays(*[p.astype(np.float32) for p in grid_points((120,) * 3, (-60.0,) * 3, 1.0)]))
    board = canvas.Canvas(axes, places, 1.0)
    for shape in (shapes.Ellipsoid((11, -23, 37), (4, 9, 6), turn=15), shapes.Ellipsoid((-50, 50, -50), (7, 7, 7))):
        window = board.window(shape)
        everywhere = shape(places) < 0
        inside = np.zeros_like(everywhere)
        inside[window] = True
        assert everywhere.any() and not (everywhere & ~inside).any()
    assert board.window(shapes.Ellipsoid((300, 0, 0), (5, 5, 5))) is None
