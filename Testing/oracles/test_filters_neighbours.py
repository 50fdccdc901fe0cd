"""Neighbourhood filters against loops that follow their formulas word by word, and against scikit-image."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from petdiffusion import threads
from petdiffusion.errors import Cancelled
from petdiffusion.methods.baselines import neighbours
from petdiffusion.methods.baselines.anatomy import TOLERANCE, bowsher
from petdiffusion.methods.baselines.bilateral import bilateral
from petdiffusion.methods.baselines.guided import denoise, guided
from petdiffusion.methods.baselines.median import _median
from petdiffusion.methods.baselines.nlm import box_sum, nlm
from petdiffusion.progress import Run
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means
from support.blobs import blobs
from support.frames import frame

GENERATOR = np.random.default_rng(0)
SMALL = (GENERATOR.standard_normal((5, 6, 7)) + 3 * (np.indices((5, 6, 7))[2] > 3)).astype(np.float32)
SPACING = (3.0, 2.0, 2.0)


@pytest.fixture(autouse=True, params=[(300_000, 1), (1, 1), (1, 3)], ids=["whole", "slices", "slices in threads"])
def slab(request, monkeypatch):
    """In one slab, slice by slice, and those in several threads: the result must not depend on it."""
    voxels, count = request.param
    monkeypatch.setattr(neighbours, "SLAB_VOXELS", voxels)
    monkeypatch.setattr(threads, "workers", lambda: count)


def pairs_within(shape, radius, spacing):
    """Every ordered pair of different voxels within a distance, by brute force."""
    points = list(product(*map(range, shape)))
    for p in points:
        for q in points:
            distance = np.sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(p, q, spacing)))
            if p != q and distance <= radius + 1e-6:
                yield p, q, distance


def test_half_offsets_hold_each_pair_once():
    offsets = neighbours.half_offsets(6.5, SPACING, (9, 9, 9))
    both = [*offsets, *[tuple(-o for o in offset) for offset in offsets]]
    assert len(set(both)) == len(both)
    expected = {o for o in product(range(-4, 5), repeat=3)
                if 0 < np.linalg.norm(np.multiply(o, SPACING)) <= 6.5}
    assert set(both) == expected


def test_thinned_offsets_keep_their_reach_their_symmetry_and_both_parities():
    everything = neighbours.half_offsets(12.0, (2.0, 2.0, 2.0), (40, 40, 40))
    thin = neighbours.half_offsets(12.0, (2.0, 2.0, 2.0), (40, 40, 40), 250)
    assert 200 < len(thin) <= 250 < len(everything) and set(thin) < set(everything)
    assert max(np.abs(thin).max(axis=0)) == 6
    both = {*thin, *[tuple(-o for o in offset) for offset in thin]}
    for axis in range(3):
        assert {tuple(-c if a == axis else c for a, c in enumerate(o)) for o in both} == both
        assert 0.3 < np.mean([o[axis] % 2 for o in thin]) < 0.7


@pytest.mark.parametrize("radius", [(0, 1, 2), (3, 0, 1), (2, 2, 2), (1, 3, 0)])
def test_box_sums_by_brute_force(radius):
    shape, steps = (8, 9, 10), (90, 10, 1)
    values = GENERATOR.standard_normal(shape).astype(np.float32)
    sums = box_sum((values.flatten(), np.empty_like(values).ravel(), np.empty_like(values).ravel()), radius, steps)
    for corner in product(*[range(n - 2 * r) for n, r in zip(shape, radius)]):
        expected = values[tuple(slice(c, c + 2 * r + 1) for c, r in zip(corner, radius))].sum(dtype=np.float64)
        assert sums[np.dot(corner, steps)] == pytest.approx(expected, abs=1e-4)


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    """Sums are added in one order. A run must be repeatable on another machine with more cores."""
    patient = blobs((30, 20, 24), (4.0, 4.0, 4.0))
    monkeypatch.setattr(neighbours, "SLAB_VOXELS", 2000)
    results = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "workers", lambda count=count: count)
        results.append(nlm(frame(patient.noisy.array, 0.2, (4.0,) * 3), 1.0, 10.0, 16.0, 400, Run()))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_cancel_ends_all_threads(monkeypatch):
    monkeypatch.setattr(threads, "workers", lambda: 3)
    run, seen = Run(), []

    def work(part):
        seen.append(part)
        run.cancelled.set()
        run.check()

    with pytest.raises(Cancelled):
        list(threads.in_order(work, list(range(100)), run))
    assert len(seen) < 10


@pytest.mark.parametrize("said, expected", [("3", 3), ("2,1", 2)])
def test_workers_follow_the_environment(said, expected, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads.workers() == expected


def test_bilateral():
    noise, fwhm, strength = 0.5, 7.0, 1.3
    result = bilateral(frame(SMALL, noise, SPACING), fwhm, strength, 0.0, Run())
    sigma = fwhm / 2.354820045
    total, weights = SMALL.astype(float).copy(), np.ones(SMALL.shape)
    for p, q, distance in pairs_within(SMALL.shape, 2 * sigma, SPACING):
        w = np.exp(-distance ** 2 / (2 * sigma ** 2) - (SMALL[p] - SMALL[q]) ** 2 / (2 * (strength * noise) ** 2))
        total[p] += w * SMALL[q]
        weights[p] += w
    np.testing.assert_allclose(result, total / weights, rtol=1e-4)


def test_non_local_means():
    noise, strength, search = 0.8, 1.2, 4.5
    result = nlm(frame(SMALL, noise, SPACING), strength, 6.0, search, 10_000, Run())
    radius = (1, 2, 2)  # half of 6 mm in voxels of 3 and 2 mm, rounded
    padded = np.pad(SMALL.astype(float), [(r, r) for r in radius], mode="edge")

    def patch(p):
        return padded[tuple(slice(c, c + 2 * r + 1) for c, r in zip(p, radius))]

    total, weights, largest = (np.zeros(SMALL.shape) for _ in range(3))
    for p, q, _ in pairs_within(SMALL.shape, search, SPACING):
        squared = np.mean((patch(p) - patch(q)) ** 2)
        w = np.exp(-max(squared - 2 * noise ** 2, 0) / (strength * noise) ** 2)
        total[p] += w * SMALL[q]
        weights[p] += w
        largest[p] = max(largest[p], w)
    np.testing.assert_allclose(result, (total + largest * SMALL) / (weights + largest), rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 40, 44), (12, 16, 18)])
def test_non_local_means_is_like_scikit_images(shape):
    """Same weights but for the voxel's own and the ends of the image: nearly the same image, as near the truth."""
    truth = 100.0 * (np.indices(shape)[2] > shape[2] // 2)
    noisy = (truth + 20 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)
    ours = nlm(frame(noisy, 20.0), 0.8, 3.0, 5.0, 10_000, Run())
    theirs = denoise_nl_means(noisy.squeeze(), 3, 4, h=16.0, sigma=20.0, fast_mode=True).reshape(shape)

    def error(image):
        return np.sqrt(np.mean((image - truth) ** 2))

    assert error(ours) < 1.1 * error(theirs) < 0.7 * 20
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.3 * 20


@pytest.mark.parametrize("kept, strength", [(0.3, 1.5), (0.7, 50.0)])
def test_anatomical_filter(kept, strength):
    noise, fwhm = 0.7, 6.0
    tissue = (np.indices(SMALL.shape)[1] > 2) * 2.0 + 0.3 * GENERATOR.standard_normal(SMALL.shape)
    result = bowsher(frame(SMALL, noise, SPACING), tissue.astype(np.float32), fwhm, kept, strength, 0.0, Run())
    sigma = fwhm / 2.354820045
    found = {p: [] for p in np.ndindex(SMALL.shape)}
    for p, q, _ in pairs_within(SMALL.shape, 2 * sigma, SPACING):
        found[p].append(abs(tissue[p] - tissue[q]))
    whole = 2 * len(neighbours.half_offsets(2 * sigma, SPACING, SMALL.shape))
    rank = round(kept * whole)
    limit = {p: max(sorted([*d, *[np.inf] * (whole - len(d))])[rank - 1], TOLERANCE) for p, d in found.items()}
    total, weights = SMALL.astype(float).copy(), np.ones(SMALL.shape)
    for p, q, distance in pairs_within(SMALL.shape, 2 * sigma, SPACING):
        differs = abs(tissue[p] - tissue[q])
        w = 0.5 * (float(differs <= limit[p]) + float(differs <= limit[q]))
        w *= np.exp(-distance ** 2 / (2 * sigma ** 2) - (SMALL[p] - SMALL[q]) ** 2 / (2 * (strength * noise) ** 2))
        total[p] += w * SMALL[q]
        weights[p] += w
    np.testing.assert_allclose(result, total / weights, rtol=1e-4)


def test_anatomical_filter_stops_at_the_border_of_an_organ():
    """Noise is averaged on both sides, nothing passes the border that only CT shows."""
    patient = blobs((16, 20, 24), (4.0, 4.0, 4.0), relative_noise=0.4)
    tissue = (np.indices(patient.body.shape)[2] > 12).astype(np.float32) * 10
    image = np.where(tissue > 0, 1.0, 2.0).astype(np.float32)
    result = bowsher(frame(image, 100.0, (4.0, 4.0, 4.0)), tissue, 18.0, 0.3, 10.0, 0.0, Run())
    np.testing.assert_allclose(result[..., 4:9], 2.0, atol=1e-5)
    np.testing.assert_allclose(result[..., 16:20], 1.0, atol=1e-5)
    assert np.abs(result - image).max() < 0.35


@pytest.mark.parametrize("guides", [1, 2])
def test_guided_filter_is_the_least_squares_fit_of_each_window(guides):
    radius, eps = (1, 2, 1), [0.3, 0.05][:guides]
    signals = [SMALL.astype(np.float64), GENERATOR.standard_normal(SMALL.shape)][:guides]
    result = guided(SMALL.astype(np.float64), signals, eps, radius, Run())
    wide = [2 * r for r in radius]
    padded = [np.pad(s, [(w, w) for w in wide], mode="symmetric") for s in (SMALL.astype(float), *signals)]
    fits = {}

    def fit(centre):
        if centre not in fits:
            window = tuple(slice(c - r, c + r + 1) for c, r in zip(centre, radius))
            y, g = padded[0][window].ravel(), np.stack([p[window].ravel() for p in padded[1:]], axis=1)
            centred = g - g.mean(0)
            slope = np.linalg.solve(centred.T @ centred / len(y) + np.diag(eps), centred.T @ (y - y.mean()) / len(y))
            fits[centre] = slope, y.mean() - slope @ g.mean(0)
        return fits[centre]

    # The filter mirrors slopes at the ends of the image, so the comparison keeps to voxels away from them.
    for p in product(*[range(r, n - r) for n, r in zip(SMALL.shape, radius)]):
        near = [fit(tuple(c + w + d for c, w, d in zip(p, wide, step)))
                for step in product(*[range(-r, r + 1) for r in radius])]
        slope, level = (np.mean([f[i] for f in near], axis=0) for i in (0, 1))
        here = np.array([s[p] for s in signals])
        assert result[p] == pytest.approx(slope @ here + level, rel=1e-6)


@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_the_guided_filters_strength_counts_in_the_noise_of_the_pet_and_a_tenth_of_the_anatomys_spread(strength):
    """e is (k s)^2 of the PET and (k / 10)^2 of a guide with SD 1."""
    case = replace(blobs((6, 8, 10), (4.0, 4.0, 4.0)).case(), body=np.ones((6, 8, 10), bool), mr=None)
    ct = np.clip(case.ct.array, -900, 300).astype(np.float64)
    guides = [case.pet.array.astype(np.float64), (ct - ct.mean()) / ct.std()]
    eps = [(strength * case.noise) ** 2, (strength / 10) ** 2]
    expected = guided(guides[0], guides, eps, (1, 1, 1), Run())
    options = {"guide": "ct", "strength": strength, "radius_mm": 4.0, "stabilise": False}
    np.testing.assert_allclose(denoise(case, options, Run()).pet.array, expected, rtol=1e-3, atol=1e-3)


def test_median_is_scipys():
    noisy = GENERATOR.standard_normal((60, 14, 15)).astype(np.float32)
    ours = _median(frame(noisy, 1.0, (4.0, 2.0, 2.0)), 4.0, Run())
    np.testing.assert_array_equal(ours, median_filter(noisy, (3, 5, 5), mode="nearest"))
