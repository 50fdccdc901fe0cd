"""Total variation: known solutions, the optimality of the result, and scikit-image's solver."""

import numpy as np
import pytest
from petdiffusion.methods.baselines.tv import total_variation
from petdiffusion.progress import Run
from skimage.restoration import denoise_tv_chambolle
from support.frames import frame


def solved(array, weight, spacing=(1.0, 1.0, 1.0), iterations=4000):
    """With unit noise the strength is the weight itself."""
    return total_variation(frame(array, 1.0, spacing), weight, iterations, Run(), tolerance=0.0)


def objective(x, y, weight, spacing=(1.0, 1.0, 1.0)):
    mean = np.prod(spacing) ** (1 / 3)
    gradient = [np.diff(x.astype(float), axis=a, append=np.take(x, [-1], a)) * mean / s for a, s in enumerate(spacing)]
    return 0.5 * np.sum((x.astype(float) - y) ** 2) + weight * np.sum(np.sqrt(sum(g ** 2 for g in gradient)))


def test_step_function_by_hand():
    """Of a step between plateaus of n and m samples, TV lowers one by w/m and raises the other by w/n."""
    step = np.r_[np.zeros(6), np.full(10, 5.0)].reshape(1, 1, 16)
    expected = np.r_[np.full(6, 2.0 / 6), np.full(10, 5.0 - 2.0 / 10)]
    np.testing.assert_allclose(solved(step, 2.0).ravel(), expected, atol=2e-3)


def test_large_weight_leaves_the_mean():
    step = np.r_[np.zeros(6), np.full(10, 5.0)].reshape(1, 16, 1)
    np.testing.assert_allclose(solved(step, 100.0), 50 / 16, atol=5e-3)


@pytest.mark.parametrize("axis, spacing", [(0, (2.0, 1.0, 1.0)), (2, (1.0, 1.0, 4.0))])
def test_steps_across_long_voxels_weigh_less(axis, spacing):
    """Gradient and so the shift of the plateaus are divided by the spacing relative to its geometric mean."""
    shape = [3, 3, 3]
    shape[axis] = 16
    profile = np.r_[np.zeros(6), np.full(10, 5.0)].reshape([-1 if a == axis else 1 for a in range(3)])
    result = solved(np.broadcast_to(profile, shape), 2.0, spacing)
    relative = spacing[axis] / np.prod(spacing) ** (1 / 3)
    low = np.take(result, 2, axis)
    np.testing.assert_allclose(low, 2.0 / 6 / relative, atol=5e-3)


@pytest.mark.parametrize("shape", [(1, 30, 32), (10, 12, 14)])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_same_as_scikit_image(shape, weight):
    generator = np.random.default_rng(0)
    noisy = generator.standard_normal(shape) * 0.5 + np.where(np.indices(shape)[2] > shape[2] // 2, 2.0, 0.0)
    ours = solved(noisy, weight)
    theirs = denoise_tv_chambolle(noisy.squeeze(), weight=weight, eps=1e-9, max_num_iter=8000).reshape(shape)
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.01
    assert objective(ours, noisy, weight) <= objective(theirs, noisy, weight) * (1 + 1e-4)


def test_no_nearby_image_is_better():
    generator = np.random.default_rng(1)
    noisy = generator.standard_normal((6, 7, 8))
    spacing = (2.0, 1.0, 1.5)
    best = solved(noisy, 0.7, spacing).astype(float)
    value = objective(best, noisy, 0.7, spacing)
    for size in (0.3, 0.03, 0.003):
        for _ in range(30):
            assert objective(best + size * generator.standard_normal(best.shape), noisy, 0.7, spacing) > value - 1e-4


def test_default_stopping_rule_is_near_the_solution():
    generator = np.random.default_rng(2)
    noisy = 3.0 * generator.standard_normal((12, 14, 16)) + 20.0 * (np.indices((12, 14, 16))[0] > 6)
    quick = total_variation(frame(noisy, 3.0), 1.5, 100, Run())
    exact = total_variation(frame(noisy, 3.0), 1.5, 4000, Run(), tolerance=0.0)
    assert np.sqrt(np.mean((quick - exact) ** 2)) < 0.1 * 3.0


def test_mean_of_the_image_is_kept():
    noisy = np.random.default_rng(3).standard_normal((8, 9, 10)) + 4
    assert solved(noisy, 2.0, iterations=100).mean() == pytest.approx(noisy.mean(), rel=1e-5)
