"""Where AMDiff's lesions lie, by labels and CT, and leaving out what lies where no lesion is."""

from dataclasses import replace

import numpy as np
import pytest
from petdiffusion.errors import ConditionError, OptionError
from petdiffusion.methods.amdiff import clinical
from petdiffusion.methods.amdiff.config import ORGANS
from petdiffusion.methods.amdiff.masks import masks_of
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
    assert every.lesions.array.max() == 4 and every.left_out == 0
    assert left.lesions.array.max() == 2 and left.left_out == 2
    np.testing.assert_array_equal(left.lesions.array > 0, (lesions == 2) | (lesions == 4))
    assert list(left.lesions.names.values()) == ["lesion 1", "lesion 2"]
    rows = clinical.numbers(case.pet.array, every, GEOMETRY)
    assert sorted(row["organ"] for row in rows if "organ" in row) == ["colon", FAT]
    total = clinical.numbers(case.pet.array, left, GEOMETRY)[2]
    assert total["lesions"] == 2 and total["volume_ml"] == pytest.approx(8 * 0.125)


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
