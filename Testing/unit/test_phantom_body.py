"""Whole-body digital patients: repeatable, different from seed to seed, valid in every number."""

import functools

import numpy as np
import pytest
from petdiffusion.errors import Cancelled, OptionError
from petdiffusion.phantoms import body, labels
from petdiffusion.progress import Run

COARSE = 7.0


@functools.cache
def patient(seed, spacing=COARSE, **options):
    return body.draw(seed, spacing_mm=spacing, **options)


def test_same_seed_same_patient():
    again = body.draw(1, spacing_mm=COARSE)
    first = patient(1)
    for name in ("pet", "ct", "mr", "organs", "lesion_map"):
        np.testing.assert_array_equal(getattr(first, name).array, getattr(again, name).array)
    assert first.lesions == again.lesions and first.details == again.details


def test_two_seeds_are_two_people():
    one, other = patient(1), patient(2)
    assert one.weight_kg != other.weight_kg and one.height_m != other.height_m
    n = [min(a, b) for a, b in zip(one.pet.array.shape, other.pet.array.shape)]
    crop = tuple(slice(0, k) for k in n)
    organs, others = one.organs.array[crop], other.organs.array[crop]
    either = (organs > 0) | (others > 0)
    assert np.mean(organs[either] == others[either]) < 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_values_are_finite_and_within_bounds(seed):
    drawn = patient(seed)
    pet, ct, mr = (getattr(drawn, name).array for name in ("pet", "ct", "mr"))
    assert all(np.isfinite(image).all() for image in (pet, ct, mr))
    assert pet.min() >= 0 and 6 < pet.max() < 80
    assert ct.min() == -1000 and 900 < ct.max() < 3000
    assert mr.min() >= 0 and mr.max() < 2500
    assert (drawn.pet.unit, drawn.ct.unit, drawn.mr.unit) == ("SUVbw", "HU", "a.u.")
    assert drawn.pet.geometry == drawn.ct.geometry == drawn.mr.geometry == drawn.organs.geometry


def test_air_holds_nothing():
    drawn = patient(1)
    air = drawn.ct.array == -1000
    edge = np.zeros_like(air)
    edge[:, 0], edge[:, -1], edge[:, :, 0], edge[:, :, -1] = True, True, True, True
    assert air[edge].all(), "the field must hold the whole body sideways"
    assert drawn.pet.array[edge].max() == 0 and not drawn.organs.array[edge].any()


def test_arms_up_and_down():
    up, down = (patient(3, arms=arms, sex="M") for arms in ("up", "down"))
    elbows = {}
    for name, drawn in (("up", up), ("down", down)):
        where = np.argwhere(drawn.organs.mask("humerus_left", "humerus_right"))
        head = np.argwhere(drawn.organs.mask("brain"))
        elbows[name] = np.mean(where[:, 0]) - np.mean(head[:, 0])
        assert drawn.details["arms"] == name
    assert elbows["up"] * COARSE > -120 > -200 > elbows["down"] * COARSE


def test_sex_decides_the_pelvis():
    man, woman = patient(3, arms="down", sex="M"), patient(3, arms="down", sex="F")
    assert man.organs.mask("prostate").sum() * man.pet.geometry.voxel_ml > 8
    assert not woman.organs.mask("prostate").any()
    assert (man.sex, woman.sex) == ("M", "F")


def test_trunk_leaves_head_and_thighs_out():
    trunk = patient(1, field="trunk")
    assert trunk.pet.geometry.size[2] < 0.75 * patient(1).pet.geometry.size[2]
    assert not trunk.organs.mask("brain").any() and trunk.organs.mask("liver").any()


def test_number_of_lesions_is_kept():
    for count in (0, 5, 30):
        drawn = body.draw(5, spacing_mm=9.0, lesions=count)
        assert len(drawn.lesions) == count == len(drawn.lesion_map.present())


def test_anisotropic_voxels():
    drawn = body.draw(1, spacing_mm=(6.0, 8.0, 10.0), lesions=0)
    assert drawn.pet.geometry.spacing == (6.0, 8.0, 10.0)
    liver = drawn.organs.mask("liver").sum() * drawn.pet.geometry.voxel_ml
    reference = patient(1).organs.mask("liver").sum() * patient(1).pet.geometry.voxel_ml
    assert liver == pytest.approx(reference, rel=0.06)


def test_facts_and_names():
    drawn = patient(1)
    assert drawn.kind == "body" and drawn.tracer == "FDG" and drawn.pet.facts.tracer == "FDG"
    assert set(drawn.organs.present().values()) <= set(labels.TOTAL.values())
    assert drawn.pet.facts.weight_kg == pytest.approx(drawn.weight_kg, abs=0.06)


@pytest.mark.parametrize(
    ("seed", "options", "named"),
    [
        (-1, {}, "Seed -1"),
        (1.5, {}, "Seed 1.5"),
        (1, {"spacing_mm": 0.1}, "Voxel size 0.1"),
        (1, {"spacing_mm": (4, 4)}, "Voxel size (4, 4)"),
        (1, {"spacing_mm": float("nan")}, "Voxel size nan"),
        (1, {"arms": "sideways"}, "Arms 'sideways'"),
        (1, {"sex": "X"}, "Sex 'X'"),
        (1, {"field": "leg"}, "Field 'leg'"),
        (1, {"lesions": 31}, "31 lesions"),
        (1, {"tracer": "XYZ"}, "Tracer 'XYZ'"),
    ],
)
def test_wrong_options_are_named(seed, options, named):
    with pytest.raises(OptionError) as caught:
        body.draw(seed, **options)
    assert caught.value.what.startswith(named) and caught.value.remedy


def test_cancel_stops_the_drawing():
    events = []

    def stop_in_the_middle(event):
        events.append(event)
        if event["event"] == "progress":
            run.cancelled.set()

    run = Run(report=stop_in_the_middle)
    with pytest.raises(Cancelled):
        body.draw(1, spacing_mm=COARSE, run=run)
    assert sum(event["event"] == "progress" for event in events) == 1


def test_the_117_names_are_numbered_as_totalsegmentator_numbers_them():
    assert len(labels.TOTAL) == 117 and list(labels.TOTAL) == list(range(1, 118))
    spots = {
        1: "spleen",
        5: "liver",
        25: "sacrum",
        27: "vertebrae_L5",
        50: "vertebrae_C1",
        52: "aorta",
        69: "humerus_left",
        92: "rib_left_1",
        104: "rib_right_1",
        117: "costal_cartilages",
    }
    assert all(labels.TOTAL[value] == name for value, name in spots.items())
    assert all(name in labels.ID for names in labels.GROUPS.values() for name in names)
