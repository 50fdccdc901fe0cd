"""Every scale has its inverse and survives JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from petdiffusion.errors import InputError, OptionError
from petdiffusion.prepare.normalise import (
    Anscombe,
    Clip,
    MinMax,
    Percentile,
    Scale,
    SquareRoot,
    from_json,
    to_json,
)

ALL = [Scale(16.0), MinMax(-0.5, 12.0), Percentile(0.0, 7.0, 1.0, 99.0), Clip(0.0, 20.0), SquareRoot(0.01),
       Anscombe(0.2, 0.05)]
arrays = st.lists(st.floats(-50, 200, width=32), min_size=1, max_size=30).map(lambda v: np.array(v, np.float32))


@pytest.mark.parametrize("scale", [s for s in ALL if not isinstance(s, Clip)], ids=lambda s: type(s).__name__)
@given(array=arrays)
def test_inverse_gives_back_the_image(scale, array):
    np.testing.assert_allclose(scale.inverse(scale.forward(array)), array, rtol=2e-6, atol=4e-5)


@given(array=arrays)
def test_clip_with_its_residue_is_exact(array):
    clip = Clip(0.0, 20.0)
    cut = clip.forward(array)
    assert cut.min() >= 0 and cut.max() <= 20
    np.testing.assert_array_equal(clip.inverse(cut, clip.residue(array)), array)
    np.testing.assert_array_equal(clip.residue(array) == 0, (array >= 0) & (array <= 20))


@pytest.mark.parametrize("scale", ALL, ids=lambda s: type(s).__name__)
def test_json_round_trip(scale):
    assert from_json(json.loads(json.dumps(to_json(scale)))) == scale


def test_values_by_hand():
    np.testing.assert_allclose(Scale(4.0).forward([8.0]), [2.0])
    np.testing.assert_allclose(MinMax(2.0, 6.0).forward([2.0, 4.0, 8.0]), [0.0, 0.5, 1.5])
    np.testing.assert_allclose(SquareRoot(2.0).forward([8.0, -18.0]), [2.0, -3.0])
    np.testing.assert_allclose(Anscombe(1.0).forward([3.625]), [4.0])  # 2 sqrt(x + 3/8)


def test_fitted_to_an_image():
    image = np.arange(101, dtype=np.float32)
    assert MinMax.of(image) == MinMax(0.0, 100.0)
    assert Percentile.of(image, lower=1, upper=90) == Percentile(1.0, 90.0, 1, 90)
    assert MinMax.of(image, image > 50) == MinMax(51.0, 100.0)
    assert MinMax.of(np.full(3, 7.0)) == MinMax(7.0, 8.0)


def test_anscombe_makes_the_noise_even():
    generator = np.random.default_rng(0)
    for mean in (2.0, 10.0, 50.0):
        counts = generator.poisson(mean, 100_000) * 0.5
        assert Anscombe(0.5).forward(counts).std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("mean", [1.0, 3.0, 20.0])
def test_unbiased_inverse_of_a_full_average(mean):
    root = Anscombe(0.5)
    counts = np.random.default_rng(0).poisson(mean / 0.5, 400_000) * 0.5
    average = root.forward(counts).mean()
    assert float(root.unbiased(average)) == pytest.approx(mean, rel=0.01)
    assert float(root.inverse(average)) < mean - 0.08  # the bias that the other inverse leaves


@pytest.mark.parametrize("make", [lambda: Scale(0.0), lambda: Scale(float("nan")), lambda: MinMax(1.0, 1.0),
                                  lambda: Clip(3.0, 2.0), lambda: SquareRoot(-1.0), lambda: Anscombe(0.0),
                                  lambda: Anscombe(1.0, -0.1), lambda: Percentile.of(np.ones(3), lower=9, upper=2)])
def test_impossible_settings(make):
    with pytest.raises(OptionError):
        make()


@pytest.mark.parametrize("data", [{"kind": "Log"}, {"by": 2.0}, {"kind": "Scale", "factor": 2.0}])
def test_unknown_record(data):
    with pytest.raises(InputError):
        from_json(data)


def test_not_a_number_is_refused():
    with pytest.raises(InputError):
        MinMax.of(np.array([1.0, np.nan]))
