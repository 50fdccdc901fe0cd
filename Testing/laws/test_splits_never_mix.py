"""The law of the splits: whoever draws, deals, streams or trains, a seed belongs to one split, and stays in it.

Every way in which patients reach a data set or a training is asked here, with requests made up at random.
"""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from petdiffusion.errors import InputError, OptionError, TrainingError
from petdiffusion.phantoms import dataset, recipe, stream
from petdiffusion.phantoms.recipe import Recipe
from petdiffusion.phantoms.splits import RANGES, seeds_of, split_of, split_of_row
from petdiffusion.progress import Run
from petdiffusion.training.bank import load_bank
from petdiffusion.training.settings import TrainSettings
from petdiffusion.write import tables
from support.cylinder import cylinder

SPLITS = sorted(RANGES)
requests = st.builds(lambda split, n, first: (split, seeds_of(split, n, first)), st.sampled_from(SPLITS),
                     st.integers(1, 40), st.integers(0, 90_000))
some = {"kinds": st.lists(st.sampled_from(["body", "brain"]), min_size=1, max_size=3),
        "tracers": st.lists(st.sampled_from(["FDG", "DASB"]), min_size=1, max_size=3),
        "presets": st.lists(st.sampled_from([None, "mCT", "Vision", "HRRT"]), min_size=1, max_size=3)}


@given(requests, requests)
def test_two_requests_share_seeds_only_within_one_split(one, other) -> None:
    assert one[0] == other[0] or not set(one[1]) & set(other[1])
    assert {split_of(seed) for seed in one[1]} == {one[0]}


@given(requests, st.fixed_dictionaries(some))
def test_dealing_out_kinds_tracers_and_scanners_leaves_the_seeds_alone(request_, mixture) -> None:
    split, seeds = request_
    try:
        dealt = Recipe.of(fractions=(0.5,), spacing_mm=None, **mixture)
    except OptionError:  # DASB for bodies alone
        assert set(mixture["kinds"]) == {"body"}
        return
    jobs = [dealt.job(number, seed) for number, seed in enumerate(seeds)]
    assert [job.seed for job in jobs] == seeds and {split_of(job.seed) for job in jobs} == {split}


@given(st.integers(0, 3_000_000), st.integers(0, 3_000_000), st.sampled_from(["body", "brain"]))
def test_a_stream_draws_training_patients_however_far_it_runs(first_seed, number, kind) -> None:
    endless = stream.Stream(kinds=(kind,), first_seed=first_seed, workers=0)
    assert split_of(endless.job(number).seed) == "train"


@given(st.integers(0, 999_999), st.sampled_from(["", *SPLITS]), st.sampled_from(["body", "brain"]))
def test_a_row_cannot_be_moved_to_another_split(seed, said, kind) -> None:
    row = {"id": "x", "seed": str(seed), "kind": kind, "split": said}
    if said in ("", split_of(seed)):
        assert split_of_row(row) == split_of(seed)
    else:
        with pytest.raises(InputError, match="belongs to"):
            split_of_row(row)


def test_rows_of_other_patients_are_taken_at_their_word() -> None:
    assert split_of_row({"split": "validation"}) == "validation" and split_of_row({}) == "train"
    assert split_of_row({"seed": "950000", "kind": "", "split": "train"}) == "train"
    assert split_of_row({"split": " Test"}) == "test"


@pytest.mark.parametrize("said", ["val", "holdout", "testing", "1"])
def test_a_word_that_is_no_split_is_not_taken_for_training(said) -> None:
    with pytest.raises(InputError, match="is not one of train, validation, test"):
        split_of_row({"id": "x", "split": said})


def test_a_seed_written_as_a_decimal_is_still_that_patient() -> None:
    assert split_of_row({"seed": "900003.0", "kind": "body"}) == "test"


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([*SPLITS, "mixed"]), st.integers(1, 12), st.integers(0, 5))
def test_a_data_set_on_disk_says_of_every_row_what_its_seed_says(tmp_path_factory, split, n, first) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "patient_of", lambda kind, seed, **options: cylinder(seed, kind, size=8, slices=2))
        made = dataset.make(tmp_path_factory.mktemp("set") / "s", n, split=split, first_seed=first, fractions=(0.5,))
    rows = tables.read_csv(made["manifest"])
    assert len(rows) == n and all(row["split"] == split_of(row["seed"]) == split_of_row(row) for row in rows)
    assert split == "mixed" or {row["split"] for row in rows} == {split}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One small patient of each split, in one data set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "patient_of", lambda kind, seed, **options: cylinder(seed, kind, size=24, slices=8))
        made = dataset.make(tmp_path_factory.mktemp("mixed") / "s", 10, split="mixed", fractions=(0.5,))
    return made["manifest"]


def rewritten(manifest, name, change):
    """A manifest beside another one, its rows changed by hand, or left out where `change` gives None."""
    with open(manifest, newline="") as stream_:
        rows = [new for row in csv.DictReader(stream_) if (new := change(row)) is not None]
    path = Path(manifest).with_name(f"{name}.csv")
    with path.open("w", newline="") as stream_:
        writer = csv.DictWriter(stream_, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def trained_on(manifest):
    bank = load_bank(manifest, lambda low, spacing, body, anatomy: ({}, {}), TrainSettings(steps=1), Run())
    return [p.id for p in bank.train], [p.id for p in bank.valid]


def test_training_keeps_the_splits_and_refuses_test_patients(mixed) -> None:
    with pytest.raises(TrainingError, match="test patient"):
        trained_on(mixed)
    train, valid = trained_on(rewritten(mixed, "no-test", lambda row: row if row["split"] != "test" else None))
    assert len(train) == 8 and valid == ["body-800000-0.5"]


@pytest.mark.parametrize("said", ["train", "validation"])
def test_test_patients_relabelled_by_hand_are_still_refused(mixed, said) -> None:
    path = rewritten(mixed, f"as-{said}", lambda row: row | ({"split": said} if row["split"] == "test" else {}))
    with pytest.raises(InputError, match="belongs to test"):
        trained_on(path)


def test_a_manifest_without_its_split_column_is_read_by_seed(mixed) -> None:
    without = rewritten(mixed, "without", lambda row: {k: v for k, v in row.items() if k != "split"})
    with pytest.raises(TrainingError, match="test patient"):
        trained_on(without)
    few = rewritten(mixed, "few", lambda row: {k: v for k, v in row.items() if k != "split"}
                    if row["split"] != "test" else None)
    assert trained_on(few)[1] == ["body-800000-0.5"]
