"""A case is complete, on one grid, and says what does not fit."""

from dataclasses import replace

import numpy as np
import petdiffusion
import pytest
from petdiffusion.errors import GeometryError, InputError, UnitError
from petdiffusion.prepare.case import build
from petdiffusion.prepare.grids import resample, resample_labels
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from support.blobs import blobs

PATIENT = blobs((40, 44, 52), (5.0, 5.0, 5.0), relative_noise=0.3)


def moved(image, **shift):
    origin = tuple(o + shift.get(axis, 0.0) for o, axis in zip(image.geometry.origin, "xyz"))
    return replace(image, geometry=replace(image.geometry, origin=origin))


def test_everything_lands_on_the_grid_of_the_pet():
    fine = Geometry((104, 88, 80), (2.5, 2.5, 2.5), tuple(o - 1.25 for o in PATIENT.ct.geometry.origin))
    ct = resample(PATIENT.ct, fine, "nearest")
    run = Run()
    case = build(PATIENT.noisy, ct, PATIENT.mr, PATIENT.labels, "liver", 0.1, run)
    for image in (case.ct, case.mr, case.labels):
        assert image.geometry.close_to(PATIENT.noisy.geometry)
    assert np.mean(np.abs(case.ct.array - PATIENT.ct.array) < 60) > 0.9
    np.testing.assert_array_equal(case.labels.array, PATIENT.labels.array)
    assert case.noise == pytest.approx(PATIENT.noise, rel=0.15)
    assert (case.text, case.dose_fraction) == ("liver", 0.1)
    assert case.body[PATIENT.body].mean() > 0.98 and run.warnings == []


def test_dose_fraction_comes_from_the_scan_where_not_given():
    assert build(PATIENT.noisy.with_facts(dose_fraction=0.25)).dose_fraction == 0.25
    assert build(PATIENT.noisy.with_facts(dose_fraction=0.25), dose_fraction=0.5).dose_fraction == 0.5


@pytest.mark.parametrize("name", ["ct", "mr", "labels"])
def test_image_of_another_place_is_an_error(name):
    with pytest.raises(GeometryError, match="covers only 0%"):
        build(PATIENT.noisy, **{name: moved(getattr(PATIENT, name), z=500.0)})


@pytest.mark.parametrize("name, word", [("ct", "CT"), ("mr", "MR"), ("labels", "label map")])
def test_image_of_less_than_half_the_body_warns(name, word):
    run = Run()
    build(PATIENT.noisy, **{name: moved(getattr(PATIENT, name), z=130.0)}, run=run)
    assert any(word in w and "covers only" in w for w in run.warnings)


@pytest.mark.parametrize("name, word", [("ct", "CT"), ("mr", "MR")])
@pytest.mark.parametrize("pet, other, told", [("a", "b", True), ("a", "a", False), ("a", None, False),
                                              (None, "b", False)])
def test_another_frame_of_reference_is_told(name, word, pet, other, told):
    run = Run()
    image = getattr(PATIENT, name).with_facts(frame_of_reference=other)
    build(PATIENT.noisy.with_facts(frame_of_reference=pet), **{name: image}, run=run)
    said = [text for text in run.warnings if f"The {word} lies in another frame of reference" in text]
    assert bool(said) is told and all("--register" in text for text in said)


def registered(ct, labels, pet=PATIENT.noisy):
    run = Run()
    result = petdiffusion.denoise(pet, "gaussian", ct=ct, labels=labels, register=True, run=run)
    return result.organs.array, run.warnings


def test_registration_answers_for_another_frame_of_reference():
    pet, ct = PATIENT.noisy.with_facts(frame_of_reference="a"), PATIENT.ct.with_facts(frame_of_reference="b")
    assert not any("frame of reference" in text for text in registered(ct, PATIENT.labels, pet)[1])


def test_registration_moves_a_ct_and_its_labels():
    shifted, labels = (moved(image, x=12.0, y=-6.0) for image in (PATIENT.ct, PATIENT.labels))
    true = PATIENT.labels.array

    def agreement(found):
        return np.mean(found[PATIENT.body] == true[PATIENT.body])

    plain = build(PATIENT.noisy, shifted, labels=labels).labels.array
    assert agreement(registered(shifted, labels)[0]) > 0.9 > agreement(plain)


def test_labels_of_the_pet_stay_when_the_ct_is_registered():
    fine = resample(PATIENT.ct, Geometry((60, 50, 46), (4.4, 4.4, 4.4), PATIENT.ct.geometry.origin), "nearest")
    np.testing.assert_array_equal(registered(moved(fine, x=10.0), PATIENT.labels)[0], PATIENT.labels.array)


def test_labels_with_a_grid_of_their_own_are_said_not_to_move_when_the_ct_is_registered():
    own = resample_labels(PATIENT.labels, Geometry((60, 50, 46), (4.4, 4.4, 4.4), PATIENT.ct.geometry.origin))
    shifted = moved(PATIENT.ct, x=10.0)
    assert any("labels have a grid of their own" in text for text in registered(shifted, own)[1])
    on_the_ct = moved(PATIENT.labels, x=10.0)
    assert not any("grid of their own" in text for text in registered(shifted, on_the_ct)[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["pet", "ct", "mr"])
def test_voxels_that_are_not_numbers_are_refused(name, bad):
    images = {"pet": PATIENT.noisy, "ct": PATIENT.ct, "mr": PATIENT.mr}
    array = images[name].array.copy()
    array[3, 4, 5] = bad
    images[name] = images[name].with_array(array)
    with pytest.raises(InputError, match="holds 1 voxel without a number"):
        build(**images)


def test_ct_in_another_unit_is_refused():
    with pytest.raises(UnitError, match="Hounsfield"):
        build(PATIENT.noisy, ct=PATIENT.mr)


@pytest.mark.parametrize("shape", [(1, 40, 50), (1, 1, 1), (3, 24, 28)])
def test_thin_volumes(shape):
    patient = blobs(shape, (5.0, 5.0, 5.0))
    case = build(patient.noisy, patient.ct, patient.mr, patient.labels)
    assert case.body.shape == shape and np.isfinite(case.noise)


def test_pet_without_activity_says_so_and_takes_the_body_from_ct():
    zero = PATIENT.noisy.with_array(np.zeros(PATIENT.body.shape))
    run = Run()
    case = build(zero, run=run)
    assert not case.body.any() and case.noise == 0.0 and "No body" in run.warnings[0]
    assert build(zero, PATIENT.ct, run=Run()).body[PATIENT.body].mean() > 0.95


def test_empty_label_map_warns():
    run = Run()
    empty = LabelMap(np.zeros(PATIENT.body.shape, int), PATIENT.noisy.geometry)
    build(PATIENT.noisy, labels=empty, run=run)
    assert "no structure" in run.warnings[0]


def test_units_do_not_matter():
    scaled = Volume(PATIENT.noisy.array * 6000.0, PATIENT.noisy.geometry, "Bq/ml")
    a, b = build(PATIENT.noisy), build(scaled)
    assert a.pet.unit == SUVBW and b.noise == pytest.approx(6000 * a.noise, rel=1e-4)
    np.testing.assert_array_equal(a.body, b.body)
