"""Where AMDiff's lesions lie, by labels and CT, and leaving out what lies where no lesion is."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.errors import ConditionError, OptionError
from petdiffusion.methods.amdiff import clinical
from petdiffusion.methods.amdiff.config import ORGANS
from petdiffusion.methods.amdiff.masks import GOES_ON, LEFT_OUT, masks_of
from petdiffusion.methods.amdiff.places import FAT, kept, named, places, warn
from petdiffusion.methods.contract import Case
from petdiffusion.progress import Run
from petdiffusion.volume import Geometry, LabelMap, Volume

SHAPE = (4, 6, 12)
GEOMETRY = Geometry(SHAPE[::-1], (5.0, 5.0, 5.0))
NAMES = {7: "colon", 9: "vertebrae_L1"}


@pytest.fixture
def scene():
    """Four lesions in a row: in the colon, in bone by one voxel of four, in fat by three of four, and in muscle."""
    lesions = np.zeros(SHAPE, np.int16)
    for number in range(4):
        lesions[1:3, 2:4, 3 * number] = number + 1
    labels, hu = np.zeros(SHAPE, np.int16), np.full(SHAPE, 50.0, np.float32)
    labels[1:3, 2:4, 0], labels[1, 2, 3] = 7, 9
    hu[1:3, 2:4, 6], hu[1, 2, 6], hu[1, 2, 9] = -90, 40, -90
    case = Case(
        Volume(np.where(lesions > 0, 6.0, 1.0).astype(np.float32), GEOMETRY, "SUVbw"), np.ones(SHAPE, bool), 0.1,
        ct=Volume(hu, GEOMETRY, "HU"), labels=LabelMap(labels, GEOMETRY, NAMES),
    )  # fmt: skip
    return lesions, case


def test_a_place_is_where_most_of_a_lesion_lies(scene):
    lesions, case = scene
    found = places(LabelMap(lesions, GEOMETRY), case)
    assert found == {1: "colon", 2: "", 3: FAT, 4: ""}
    assert set(places(LabelMap(lesions, GEOMETRY), replace(case, ct=None, labels=None)).values()) == {""}
    assert places(LabelMap(lesions, GEOMETRY), replace(case, labels=None))[1] == ""


def test_what_is_left_out_is_gone_from_mask_table_and_totals(scene):
    lesions, case = scene
    probabilities = np.zeros((1 + len(ORGANS), *SHAPE), np.float32)
    probabilities[0][lesions > 0] = 0.9
    every = masks_of(probabilities, case, 0.5, 0.0)
    left = masks_of(probabilities, case, 0.5, 0.0, {"colon", FAT})
    assert every.lesions.array.max() == 4 and every.left_out_by(LEFT_OUT) == 0
    assert clinical.left_out(case.pet.array, every, GEOMETRY) == []
    assert left.lesions.array.max() == 2 and left.left_out_by(LEFT_OUT) == 2
    np.testing.assert_array_equal(left.lesions.array > 0, (lesions == 2) | (lesions == 4))
    assert list(left.lesions.names.values()) == ["lesion 1", "lesion 2"]
    rows = clinical.numbers(case.pet.array, every, GEOMETRY)
    assert sorted(row["organ"] for row in rows if "organ" in row) == ["colon", FAT]
    gone = clinical.left_out(case.pet.array, left, GEOMETRY)
    assert [(row["region"], row["organ"], row["why"]) for row in gone] == [(1, "colon", LEFT_OUT), (2, FAT, LEFT_OUT)]
    assert all(row["SUVmax"] == 6.0 and row["volume_ml"] == pytest.approx(4 * 0.125) for row in gone)
    assert set(lesions[left.left_out.array == 1]) == {1} and set(lesions[left.left_out.array == 2]) == {3}
    total = clinical.numbers(case.pet.array, left, GEOMETRY)[2]
    assert total["lesions"] == 2 and total["volume_ml"] == pytest.approx(8 * 0.125)


def test_a_mark_whose_uptake_goes_on_is_listed_with_its_place_and_reason():
    """A stripe of uptake with a mark in its middle, and a mark apart that is left out for where it lies."""
    shape = (24, 24, 24)
    geometry = Geometry(shape, (4.0, 4.0, 4.0))
    image, marked, labels = np.ones(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int16)
    image[:, 11:13, 5:7] = 8.0
    marked[11:13, 11:13, 5:7] = 0.9
    image[11:13, 11:14, 18:20] = marked[11:13, 11:14, 18:20] = 0.8
    image[11:13, 11:14, 18:20] *= 10
    image[12, 12, 6], labels[11:13, 11:14, 18:20] = 9.0, 7
    case = Case(Volume(image, geometry, "SUVbw"), np.ones(shape, bool), 0.1, labels=LabelMap(labels, geometry, NAMES))
    probabilities = np.concatenate((marked[None], np.zeros((len(ORGANS), *shape), np.float32)))
    found = masks_of(probabilities, case, 0.5, 0.0, {"colon"}, image)
    assert not found.lesions.array.any() and [found.left_out_by(why) for why in (GOES_ON, LEFT_OUT)] == [1, 1]
    first, second = clinical.left_out(image, found, geometry)
    assert (first["why"], first["organ"], first["SUVmax"]) == (GOES_ON, "", 9.0)
    assert (second["why"], second["organ"], second["SUVmax"]) == (LEFT_OUT, "colon", 8.0)
    assert [first[f"hottest_{axis}_mm"] for axis in "xyz"] == [4.0 * v for v in (6, 12, 12)]


def test_numbers_close_up():
    lesions, where = kept(np.array([0, 1, 2, 3], np.int16), {1: "colon", 2: "", 3: FAT}, {"colon"})
    assert lesions.tolist() == [0, 0, 1, 2] and where == {1: "", 2: FAT}


def test_places_that_cannot_be_told_are_refused(scene):
    _, case = scene
    assert named(" colon, fat,", case) == {"colon", FAT} and named("", replace(case, labels=None, ct=None)) == set()
    with pytest.raises(ConditionError, match="needs organ labels"):
        named("colon", replace(case, labels=None))
    with pytest.raises(ConditionError, match="needs the CT"):
        named(FAT, replace(case, ct=None))
    with pytest.raises(OptionError, match="colonn"):
        named("colonn", case)


def test_likely_physiological_uptake_is_warned_about():
    run = Run()
    warn({1: "vertebrae_L1", 2: ""}, run)
    assert not run.warnings
    warn({1: "colon", 2: FAT, 3: "colon", 4: ""}, run)
    assert "colon 2, fat 1" in run.warnings[0] and "leave_out=colon,fat" in run.warnings[0]
