"""Splits by seed: fixed, disjoint, and the same for everything that asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petdiffusion.errors import OptionError
from petdiffusion.phantoms.splits import RANGES, seeds_of, split_of


def test_the_published_borders() -> None:
    """These numbers stand in documents and in models' cards: changing them would break both."""
    assert [split_of(s) for s in (0, 799_999, 800_000, 899_999, 900_000, 10**9)] == [
        "train", "train", "validation", "validation", "test", "test"]


@given(st.sampled_from(sorted(RANGES)), st.integers(0, 99_000), st.integers(0, 1000))
def test_seeds_belong_to_their_split(split, first, n) -> None:
    seeds = seeds_of(split, n, first)
    assert len(seeds) == n == len(set(seeds))
    assert {split_of(seed) for seed in seeds} <= {split}


@given(st.integers(1, 3000))
def test_a_mixed_data_set_holds_every_patient_once(n) -> None:
    seeds = seeds_of("mixed", n)
    assert len(seeds) == n == len(set(seeds))
    found = [split_of(seed) for seed in seeds]
    assert abs(found.count("test") - 0.1 * n) <= 0.5 and abs(found.count("validation") - 0.1 * n) <= 0.5


@pytest.mark.parametrize(("split", "n", "first"), [("training", 3, 0), ("validation", 100_001, 0), ("test", 1, 100_000),
                                                   ("train", 1, -1), ("train", -1, 0)])
def test_what_does_not_fit_is_refused(split, n, first) -> None:
    with pytest.raises(OptionError):
        seeds_of(split, n, first)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(OptionError):
        split_of(-1)
