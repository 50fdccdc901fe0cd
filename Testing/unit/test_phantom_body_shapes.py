"""The geometry under the digital patients, against closed forms."""

import numpy as np
import pytest
from petdiffusion.phantoms.body import fit, shapes
from petdiffusion.phantoms.body.grid import Grid, Pose
from petdiffusion.phantoms.body.person import draw_person
from petdiffusion.phantoms.deform import SmoothField, bspline_weights


def lattice(half, step=1.0):
    axis = np.arange(-half, half + step, step, dtype=np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return shapes.Points(x, y, z)


def test_ball_and_capsule_are_exact_distances():
    p = lattice(12)
    r = np.sqrt(p.x**2 + p.y**2 + p.z**2)
    np.testing.assert_allclose(shapes.ellipsoid(p, (0, 0, 0), (7, 7, 7)), r - 7, atol=1e-3)
    along = np.clip(p.x, -5, 5)
    expected = np.sqrt((p.x - along) ** 2 + p.y**2 + p.z**2) - 3
    np.testing.assert_allclose(shapes.capsule(p, (-5, 0, 0), (5, 0, 0), 3), expected, atol=1e-3)


def test_ellipsoid_holds_its_volume_and_turns():
    p = lattice(26, 0.5)
    for turn in (None, shapes.rotation(20, 30, 40)):
        inside = shapes.ellipsoid(p, (1, 2, -1), (22, 12, 8), turn) < 0
        assert inside.sum() * 0.125 == pytest.approx(4 / 3 * np.pi * 22 * 12 * 8, rel=0.01)


def test_rotation_is_a_rotation():
    r = shapes.rotation(10, -25, 70)
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(r) == pytest.approx(1)
    np.testing.assert_allclose(shapes.rotation(rz=90)[0], (0, 1, 0), atol=1e-12)


def test_smooth_union_bulges_only_at_the_crease():
    a, b = np.array([1.0, 1.0, 9.0]), np.array([1.0, 9.0, 1.0])
    np.testing.assert_allclose(shapes.smooth_union(a, b, 4.0), [0.0, 1.0, 1.0])
    np.testing.assert_allclose(shapes.smooth_cut(a, b, 4.0), [2.0, 9.0, 9.0])


def test_cloud_finds_the_nearest_tube_and_its_owner():
    tubes = shapes.Cloud(
        [shapes.curve([(-20, 0, 0, 4), (20, 0, 0, 4)], 0.5), shapes.curve([(-20, 14, 0, 2), (20, 14, 0, 2)], 0.5)]
    )
    p = lattice(16)
    d, index = tubes.nearest(p, 30.0)
    first, second = np.hypot(p.y, p.z) - 4, np.hypot(p.y - 14, p.z) - 2
    clear = np.abs(np.hypot(p.y, p.z) - np.hypot(p.y - 14, p.z)) > 0.5
    expected = np.where(np.hypot(p.y, p.z) < np.hypot(p.y - 14, p.z), first, second)
    np.testing.assert_allclose(d[clear], expected[clear], atol=0.05)
    np.testing.assert_array_equal(tubes.tag[index][clear], (np.hypot(p.y, p.z) > np.hypot(p.y - 14, p.z))[clear])


def test_far_voxels_are_skipped_without_losing_any():
    """The block-wise search gives what asking for every voxel gives."""
    rng = np.random.default_rng(0)
    cloud = shapes.Cloud([np.c_[rng.uniform(-30, 30, (40, 3)), rng.uniform(1, 6, 40)]])
    p = lattice(40, 2.0)
    fast = cloud.distance(p, 5.0)
    everywhere = cloud.distance(shapes.Points(p.x.ravel(), p.y.ravel(), p.z.ravel()), 5.0).reshape(p.x.shape)
    np.testing.assert_array_equal(fast, everywhere)


@pytest.mark.parametrize("radius", [0.4, 1.0, 1.9, 2.1, 3.0, 8.0])
def test_thin_tubes_keep_their_cross_section(radius):
    """Coverage summed over a plane of 4 mm voxels gives pi r^2, however thin the tube."""
    voxel, step = 4.0, 0.05
    y, z = np.meshgrid(np.arange(-15, 15, step), np.arange(-15, 15, step), indexing="ij")
    d = np.hypot(y, z) - radius
    alpha = np.clip(0.5 - d / voxel, 0, 1) * shapes.thin_cover(np.float32(radius), voxel)
    assert alpha.sum() * step**2 == pytest.approx(np.pi * radius**2, rel=0.01)


def test_curve_passes_its_points_at_even_steps():
    knots = np.array([(0, 0, 0, 1), (30, 20, 0, 3), (60, 0, 10, 2)], float)
    line = shapes.curve(knots, 0.25)
    for knot in knots:
        assert np.linalg.norm(line[:, :3] - knot[:3], axis=1).min() < 0.3
    steps = np.linalg.norm(np.diff(line[:, :3], axis=0), axis=1)
    assert steps.std() < 0.02 * steps.mean()
    assert 1 <= line[:, 3].min() and line[:, 3].max() <= 3


def test_loft_of_circles_is_a_cylinder():
    z = np.array([-40.0, 0, 40])
    tube = shapes.Loft(z, np.full(3, 20.0), np.full(3, -20.0), np.full(3, 20.0), 2.0)
    p = lattice(30, 2.0)
    np.testing.assert_allclose(tube.distance(p), np.hypot(p.x, p.y) - 20, atol=0.05)
    point = tube.surface(90.0, 5.0, offset=3.0, side=-1)
    np.testing.assert_allclose(point, (-23, 0, 5), atol=1e-6)


def test_field_has_unit_variance_and_one_value_per_place():
    field = SmoothField(np.random.default_rng(1), 10.0)
    axes = [np.linspace(0, 320, 65, dtype=np.float32)[:-1] + 3] * 3
    values = field.on_axes(*axes)
    assert values.std() == pytest.approx(1.0, abs=0.05) and abs(values.mean()) < 0.05
    z, y, x = np.meshgrid(*axes, indexing="ij")
    some = (slice(None, None, 13),) * 3
    np.testing.assert_allclose(field.at(x[some], y[some], z[some]), values[some], atol=2e-4)
    np.testing.assert_allclose(bspline_weights(np.linspace(0, 1, 9)).sum(-1), 1)


def test_field_is_periodic_and_smooth():
    field = SmoothField(np.random.default_rng(2), 8.0, 16)
    x = np.linspace(0, 127, 400)
    np.testing.assert_allclose(field.at(x, x * 0 + 5, x * 0), field.at(x + 128, x * 0 + 5, x * 0), atol=1e-3)
    assert np.abs(np.diff(field.at(x, x * 0, x * 0))).max() < 0.35


@pytest.mark.parametrize("rising", [True, False])
def test_solve_finds_the_size(rising):
    volume = (lambda r: r**3) if rising else (lambda r: (10 - r) ** 3)
    found = fit.solve(volume, 64.0, 0.0, 10.0, steps=30)
    assert found == pytest.approx(4.0 if rising else 6.0, abs=1e-4)


def test_deformation_never_folds():
    """The determinant of the map from world to canonical millimetres stays positive everywhere."""
    for seed in range(6):
        person = draw_person(seed, None, None)
        grid = Grid(Pose(person), np.array([-250, -180, -230]), np.array([250, 180, 850]), (10.0,) * 3)
        p = grid.points
        jacobian = np.stack([np.stack(np.gradient(v, 10.0), -1)[..., ::-1] for v in (p.x, p.y, p.z)], -2)
        determinant = np.linalg.det(jacobian) * np.prod(person.scale)
        assert determinant.min() > 0.4 and determinant.max() < 2.0


def test_box_holds_every_voxel_it_should():
    person = draw_person(4, None, None)
    grid = Grid(Pose(person), np.array([-250, -180, -230]), np.array([250, 180, 850]), (6.0,) * 3)
    rng = np.random.default_rng(0)
    for _ in range(40):
        low = rng.uniform(-180, 400, 3) * (1, 0.5, 1)
        high = low + rng.uniform(4, 150, 3)
        p = grid.points
        wanted = np.ones(p.x.shape, bool)
        for axis, a, b in zip((p.x, p.y, p.z), low, high):
            wanted &= (axis > a) & (axis < b)
        box = grid.box(low, high)
        held = 0 if box is None else wanted[box.where].sum()
        assert held == wanted.sum()
