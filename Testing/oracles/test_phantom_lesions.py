"""Lesions: volume and activity against closed forms, their list against what the maps hold."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.phantoms import body, labels, lesions
from petdiffusion.volume import Geometry

BALL = lesions.Plan(
    site="liver",
    organ="liver",
    centre=(3.3, -2.1, 4.7),
    radius=10.0,
    suv=8.0,
    balls=((0.0, 0.0, 0.0, 1.0),),
    roughness=0.0,
    necrosis=1.0,
    hu=40.0,
    mr=300.0,
    seed=3,
)


def blank(spacing, size=24, background=0.0):
    n = tuple(int(size * 4 / s) for s in spacing)
    geometry = Geometry(n, spacing, tuple(-(k - 1) * s / 2 for k, s in zip(n, spacing)))
    images = [np.full(geometry.shape, value, np.float32) for value in (background, -100.0, 500.0)]
    return lesions.Painted(geometry, *images, np.zeros(geometry.shape, np.int16))


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (2.0, 2.0, 3.0), (6.0, 5.0, 4.0)])
@pytest.mark.parametrize("radius", [2.0, 4.0, 10.0, 25.0])
def test_a_ball_has_the_volume_and_activity_of_a_ball(spacing, radius):
    """Partial volume is kept: a 4 mm lesion in 6 mm voxels holds 4/3 pi r^3 times its SUV."""
    images, plan = blank(spacing), replace(BALL, radius=radius)
    (truth,) = lesions.paint_lesions(images, (plan,))
    ball = 4 / 3 * np.pi * radius**3 / 1000
    assert truth.volume_ml == pytest.approx(ball, rel=0.01)
    assert truth.diameter_mm == pytest.approx(2 * radius, rel=0.004)
    dose = images.pet.sum(dtype=float) * images.geometry.voxel_ml
    assert dose == pytest.approx(8.0 * ball, rel=0.01)


def test_background_shows_through_in_proportion():
    """In a bath of the lesion's own SUV the total does not change but for the lesion's unevenness."""
    inside, bath = blank((4.0,) * 3), blank((4.0,) * 3, background=2.0)
    lesions.paint_lesions(inside, (BALL,))
    lesions.paint_lesions(bath, (BALL,))
    ball = 4 / 3 * np.pi * 1.0
    gained = (bath.pet.sum(dtype=float) - 2.0 * bath.pet.size) * bath.geometry.voxel_ml
    alone = inside.pet.sum(dtype=float) * inside.geometry.voxel_ml
    assert gained == pytest.approx(alone - 2.0 * ball, rel=0.01)


def test_the_same_lesion_on_two_grids():
    fine, coarse = blank((2.0,) * 3), blank((5.0,) * 3)
    rough = replace(BALL, radius=18.0, roughness=0.15, necrosis=0.2, balls=((0, 0, 0, 0.8), (0.5, 0.2, -0.3, 0.6)))
    (a,), (b,) = (lesions.paint_lesions(images, (rough,)) for images in (fine, coarse))
    assert a.volume_ml == pytest.approx(b.volume_ml, rel=0.02)
    doses = [images.pet.sum(dtype=float) * images.geometry.voxel_ml for images in (fine, coarse)]
    assert doses[0] == pytest.approx(doses[1], rel=0.02)


def test_a_dead_core_is_cold_and_the_rim_is_not():
    images = blank((2.0,) * 3)
    lesions.paint_lesions(images, (replace(BALL, radius=24.0, necrosis=0.2),))
    g = images.geometry
    axes = [g.origin[i] + g.spacing[i] * np.arange(g.size[i]) - BALL.centre[i] for i in range(3)]
    r = np.sqrt(axes[2][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[0][None, None, :] ** 2)
    assert images.pet[r < 5].mean() == pytest.approx(0.2 * 8.0, rel=0.15)
    assert images.pet[(r > 18) & (r < 21)].mean() > 0.8 * 8.0


def test_a_lesion_cut_by_the_field_is_left_out():
    images = blank((4.0,) * 3)
    assert lesions.paint_lesions(images, (replace(BALL, centre=(0.0, 0.0, 47.0)),)) == ()
    assert not images.label.any() and not images.pet.any()


def test_lobulated_lesions_keep_the_planned_size():
    rng = np.random.default_rng(5)
    sizes = []
    for seed in range(25):
        plan = replace(BALL, radius=15.0, balls=lesions._lobes(rng, 15.0), roughness=0.12, seed=seed)
        (truth,) = lesions.paint_lesions(blank((4.0,) * 3), (plan,))
        sizes.append(truth.diameter_mm / 30)
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.005) and np.std(sizes) < 0.005


@functools.cache
def sick(seed, spacing=5.0):
    return body.draw(seed, spacing_mm=spacing, lesions=24)


@pytest.mark.parametrize("seed", [11, 12])
def test_list_says_what_the_maps_hold(seed):
    drawn = sick(seed)
    label, pet, voxel = drawn.lesion_map.array, drawn.pet.array, drawn.pet.geometry.voxel_ml
    assert [truth.label for truth in drawn.lesions] == list(range(1, 25)) == list(drawn.lesion_map.present())
    g = drawn.pet.geometry
    for truth in drawn.lesions:
        inside = label == truth.label
        assert truth.suv_max == pet[inside].max() and truth.suv_mean == pytest.approx(
            pet[inside].mean(dtype=float), rel=1e-5
        )
        surface = np.pi * (truth.diameter_mm / 10) ** 2
        assert abs(inside.sum() * voxel - truth.volume_ml) <= 0.2 * surface * g.spacing[0] / 10 + voxel
        middle = np.array(g.origin) + np.argwhere(inside).mean(0)[::-1] * g.spacing
        assert np.linalg.norm(middle - truth.centre_mm) < 0.3 * truth.diameter_mm + g.spacing[0]


@pytest.mark.parametrize("seed", [11, 12])
def test_sizes_avidity_and_contrast(seed):
    from scipy.ndimage import binary_dilation

    drawn = sick(seed)
    label = drawn.lesion_map.array
    healthy = body.draw(seed, spacing_mm=5.0, lesions=0).pet.array
    for truth in drawn.lesions:
        assert 3.95 <= truth.diameter_mm <= 60.5 and 0 < truth.suv_mean <= truth.suv_max <= 25
        inside = label == truth.label
        around = binary_dilation(inside, iterations=2) & (label == 0)
        if truth.diameter_mm > 12:
            assert truth.suv_max > 1.5 and truth.suv_max > 1.3 * np.median(healthy[around]), truth
        assert drawn.organs.array[inside].any() or truth.organ not in labels.ID


@pytest.mark.parametrize("seed", [11, 12])
def test_lesions_lie_where_they_are_said_to(seed):
    """At the centre of a lesion lies the organ it is named after, or no organ for nodes and soft tissue."""
    drawn = sick(seed)
    g, hits = drawn.organs.geometry, []
    for truth in drawn.lesions:
        i = np.rint((np.array(truth.centre_mm) - g.origin) / g.spacing).astype(int)
        near = drawn.organs.array[i[2] - 2 : i[2] + 3, i[1] - 2 : i[1] + 3, i[0] - 2 : i[0] + 3]
        names = {labels.TOTAL[v] for v in np.unique(near) if v}
        hits.append(truth.organ in names if truth.organ in labels.ID else (near == 0).any())
    assert all(hits)


def test_normal_tissue_is_untouched_away_from_lesions():
    from scipy.ndimage import binary_dilation

    drawn, healthy = sick(11), body.draw(11, spacing_mm=5.0, lesions=0)
    far = ~binary_dilation(drawn.lesion_map.array > 0, iterations=8)
    ratio = healthy.details["activity_factor"] / drawn.details["activity_factor"]
    np.testing.assert_allclose(drawn.pet.array[far] * ratio, healthy.pet.array[far], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(drawn.organs.array, healthy.organs.array)
