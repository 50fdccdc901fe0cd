"""The model that suits a scan is chosen, and what does not suit is said."""

import dataclasses

import numpy as np
import pytest
from petdiffusion.errors import ConditionError, ModelError
from petdiffusion.methods.contract import Case
from petdiffusion.prepare.region import region_of
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Facts, Geometry, Volume
from petdiffusion.zoo import store
from petdiffusion.zoo.choose import choose, misfits
from petdiffusion.zoo.domain import beyond, numbers, seen
from support.model_files import make_model


def scan(sides_mm, voxel_mm, suv, tracer=None, fraction=None):
    """A box of one activity in air."""
    size = tuple(round(side / voxel_mm) + 8 for side in sides_mm)
    array = np.zeros(size, np.float32)
    array[4:-4, 4:-4, 4:-4] = suv
    geometry = Geometry(size[::-1], (voxel_mm,) * 3)
    pet = Volume(array, geometry, "SUVbw", Facts(tracer=tracer, dose_fraction=fraction))
    return Case(pet, array > 0, 0.1)


pytestmark = pytest.mark.usefixtures("no_bundled_models")
HEAD, LIMB, BODY = (160, 200, 160), (160, 200, 160), (400, 300, 400)


@pytest.mark.parametrize(
    ("sides", "voxel", "suv", "tracer", "expected"),
    [
        (HEAD, 2.0, 0.6, None, "brain"),
        (HEAD, 4.0, 1.4, "FDG", "brain"),
        (HEAD, 4.0, 0.6, "DASB", "brain"),
        (LIMB, 4.0, 0.6, "FDG", "body"),
        (BODY, 2.0, 1.4, "FDG", "body"),
        ((80, 80, 80), 2.0, 1.4, "FDG", "body"),
    ],
)
def test_a_head_is_told_by_its_size_and_by_voxels_tracer_or_uptake(sides, voxel, suv, tracer, expected):
    case = scan(sides, voxel, suv, tracer)
    assert region_of(case.pet, case.body) == expected
    flipped = dataclasses.replace(case.pet, array=np.ascontiguousarray(case.pet.array[::-1, :, ::-1]))
    assert region_of(flipped, case.body[::-1, :, ::-1]) == expected


@pytest.mark.parametrize(
    ("up", "down", "contrast", "expected"),
    [(10, 0, 4.0, "brain"), (0, 10, 4.0, "brain"), (0, 0, 4.0, "body"), (10, 10, 4.0, "body"), (10, 0, 12.0, "body")],
)
def test_a_head_on_coarse_voxels_without_a_word_ends_in_the_air_and_is_even(up, down, contrast, expected):
    """Its tracer unknown and its uptake low: a limb goes on at both ends, and what has a hot spot may be a tumour."""
    array = np.full((40, 50, 40), 0.6, np.float32)
    array[down + 5:down + 7, 20:30, 20:30] = 0.6 * contrast
    field = np.pad(array, ((down, up), (6, 6), (6, 6)))
    pet = Volume(field, Geometry(field.shape[::-1], (4.0, 4.0, 4.0)), SUVBW)
    assert region_of(pet, field > 0) == expected


def test_an_empty_scan_is_no_brain():
    case = scan(HEAD, 2.0, 0.0)
    assert region_of(case.pet, case.body) == "body"


@pytest.fixture
def two_models(tmp_path):
    for name, region, voxels in (("a-body", "body", [3, 5.5]), ("b-brain", "brain", [1, 3])):
        store.add(make_model(tmp_path / name, name, regions=[region], voxel_mm=voxels, method="csrd"))


@pytest.mark.parametrize(("case", "expected"), [(scan(HEAD, 2, 1.4), "b-brain"), (scan(BODY, 4, 1.4), "a-body")])
def test_each_scan_is_given_its_model_without_a_word(two_models, case, expected):
    run = Run()
    assert choose("csrd", case, run).card.id == expected and not run.warnings


def test_what_a_model_was_not_trained_for_is_said(two_models):
    run = Run(model="a-body")
    assert choose("csrd", scan(HEAD, 2, 1.4, "DASB", 0.01), run).card.id == "a-body"
    (said,) = run.warnings
    for part in ("a-body", "shows a brain", "2 mm", "DASB", "0.01"):
        assert part in said


def test_a_misfit_is_counted_once_and_unknown_facts_not(two_models):
    card = store.find("a-body").card
    assert misfits(card, scan(BODY, 4, 1.4)) == []
    assert len(misfits(card, scan(BODY, 4, 1.4, fraction=0.9))) == 1
    assert len(misfits(card, scan(BODY, 8, 1.4, fraction=0.9))) == 2


def test_a_method_without_a_model_says_how_to_get_one():
    with pytest.raises(ModelError, match="petdiffusion train nothing"):
        choose("nothing", scan(HEAD, 2, 1.4), Run())


@pytest.mark.parametrize(("dims", "said"), [(2, False), (3, True)])
def test_a_network_of_slices_does_not_mind_how_far_apart_they_are(tmp_path, dims, said):
    store.add(make_model(tmp_path / "m", "m", voxel_mm=[3, 5.5], method="csrd", config={"network": {"dims": dims}}))
    near = scan(BODY, 4, 1.4)
    geometry = dataclasses.replace(near.pet.geometry, spacing=(4.0, 4.0, 30.0))
    far = dataclasses.replace(near, pet=dataclasses.replace(near.pet, geometry=geometry))
    run = Run()
    choose("csrd", far, run)
    assert any("voxels measure" in text for text in run.warnings) is said


@pytest.mark.parametrize(("thick", "said"), [(3.27, False), (2.6, False), (6.5, False), (8.0, True), (1.5, True)])
def test_one_side_far_from_the_trainings_voxels_is_said(tmp_path, thick, said):
    """Also where the voxel's mean size is as trained: 4 x 4 x 8 mm measure 5.04 mm in the mean."""
    store.add(make_model(tmp_path / "m", "m", voxel_mm=[3.5, 5.2], method="csrd"))
    near = scan(BODY, 4, 1.4)
    geometry = dataclasses.replace(near.pet.geometry, spacing=(4.4, 4.4, thick))
    far = dataclasses.replace(near, pet=dataclasses.replace(near.pet, geometry=geometry))
    found = misfits(store.find("m").card, far)
    assert any(f"4.4 x 4.4 x {thick:.2g} mm" in text for text in found) is said


SEEN = {"noise_percent": [10, 40], "mean_suv": [0.6, 1.2], "contrast": [0.9, 1.5]}


def test_numbers_of_a_scan_by_hand():
    case = scan(BODY, 4, 0.5)
    hot = case.pet.array.copy()
    hot[case.body] = np.where(np.arange(case.body.sum()) % 100 == 0, 10.5, 0.5)
    found = numbers(dataclasses.replace(case, pet=case.pet.with_array(hot), noise=0.3))
    mean = float(hot[case.body].mean())
    assert mean == pytest.approx(0.6, rel=1e-3)
    assert found == pytest.approx({"noise_percent": 30 / mean, "mean_suv": mean, "contrast": 10.5 / mean})
    assert numbers(scan(BODY, 4, 0.0)) == {}


@pytest.mark.parametrize(
    ("suv", "noise", "reason"),
    [(0.8, 0.2, None), (1.4, 0.3, None), (0.5, 0.1, None), (0.7, 0.06, None), (0.47, 0.1, "SUV is 0.47"),
     (0.8, 0.5, "noise is 62 %"), (0.8, 0.05, "noise is 6 %"),
     (2.0, 0.5, "SUV is 2"), (0.3, 0.1, "SUV is 0.3")],
)  # fmt: skip
def test_a_scan_unlike_those_of_the_training_is_told(suv, noise, reason):
    case = dataclasses.replace(scan(BODY, 4, suv), noise=noise)
    found = beyond(SEEN, case)
    assert (found == []) if reason is None else (len(found) == 1 and reason in found[0] and "trained were" in found[0])
    assert beyond({}, case) == []


def test_ranges_span_all_scans_of_the_training():
    cases = [dataclasses.replace(scan(BODY, 4, suv), noise=0.2) for suv in (0.5, 1.0, 2.0)]
    found = seen(numbers(case) for case in cases)
    assert found["mean_suv"] == pytest.approx((0.5, 2.0)) and found["noise_percent"] == pytest.approx((10.0, 40.0))
    assert seen([]) == {}


def test_ranges_on_a_card_are_used(tmp_path):
    store.add(make_model(tmp_path / "m", "a-body", regions=["body"], voxel_mm=[3, 5.5], method="csrd", seen=SEEN))
    run = Run()
    choose("csrd", scan(BODY, 4, 500.0), run)
    assert "mean SUV is 500, trained were 0.6 to 1.2" in run.warnings[0]


def test_a_model_that_refines_another_is_taken_instead_unless_it_fits_less_or_the_other_is_asked_for(tmp_path):
    facts = {"regions": ["body"], "voxel_mm": [3, 5.5], "method": "csrd"}
    for name, more in (("a-plain", {}), ("b-better", {"refines": "a-plain"}), ("c-ct", {"needs": ["ct"]})):
        store.add(make_model(tmp_path / name, name, **facts, **more))
    case = scan(BODY, 4, 1.4)
    assert choose("csrd", case, Run()).card.id == "b-better"
    assert choose("csrd", case, Run(model="a-plain")).card.id == "a-plain"
    assert choose("csrd", dataclasses.replace(case, ct=case.pet), Run()).card.id == "c-ct"
    store.remove("b-better")
    coarse = {**facts, "voxel_mm": [8, 9], "refines": "a-plain"}
    store.add(make_model(tmp_path / "coarse", "b-better", **coarse))
    assert choose("csrd", case, Run()).card.id == "a-plain"


def test_a_model_that_fits_goes_before_one_that_sees_more_and_does_not_fit(tmp_path):
    for name, voxels, needs in (("a-plain", [3, 5.5], []), ("b-ct", [1, 2], ["ct"])):
        store.add(make_model(tmp_path / name, name, regions=["body"], voxel_mm=voxels, method="csrd", needs=needs))
    without = scan(BODY, 4, 1.4)
    assert choose("csrd", dataclasses.replace(without, ct=without.pet), Run()).card.id == "a-plain"


def test_a_model_that_needs_a_ct_goes_first_where_there_is_one_and_only_there(tmp_path):
    for name, needs in (("a-plain", []), ("b-ct", ["ct"])):
        store.add(make_model(tmp_path / name, name, regions=["body"], voxel_mm=[3, 5.5], method="csrd", needs=needs))
    without = scan(BODY, 4, 1.4)
    with_ct = dataclasses.replace(without, ct=without.pet)
    assert choose("csrd", without, Run()).card.id == "a-plain" and choose("csrd", with_ct, Run()).card.id == "b-ct"
    assert choose("csrd", with_ct, Run(model="a-plain")).card.id == "a-plain"
    with pytest.raises(ConditionError, match="needs the patient's CT"):
        choose("csrd", without, Run(model="b-ct"))
    store.remove("a-plain")
    with pytest.raises(ConditionError, match="needs the patient's CT"):
        choose("csrd", without, Run())
