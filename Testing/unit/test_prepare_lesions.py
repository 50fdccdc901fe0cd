"""Lesions drawn on another grid than the PET's: none vanishes without a word, each keeps its volume, and those drawn on
a CT move with it."""

from dataclasses import replace

import numpy as np
import petdiffusion
import pytest
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.prepare.lesions import place, resample_lesions
from petdiffusion.progress import Run
from petdiffusion.quantifying import compare, quantify
from petdiffusion.volume import HU, SUVBW, Facts, Geometry, LabelMap, Volume
from support.scans import small_patient

FINE = Geometry((160, 160, 160), (1.0, 1.0, 1.0), (-1.5, -1.5, -41.5))
"""40 mm more than the PET's field at both ends."""


def pet_of(spacing=(4.0, 4.0, 4.0), size=(40, 40, 20)):
    _, y, x = (np.arange(n) - (n - 1) / 2 for n in size[::-1])
    body = np.broadcast_to((x**2 + y[:, None] ** 2 < (0.4 * size[0]) ** 2), size[::-1])
    noise = 0.05 * np.random.default_rng(0).random(size[::-1])
    return Volume(np.where(body, 1.0, 0.01) + noise, Geometry(size, spacing), SUVBW)


def ball(array, geometry, centre_xyz, radius, value):
    """Adds a sphere, its place in millimetres; gives its millilitres as voxelised."""
    axes = zip(geometry.size, geometry.spacing, geometry.origin, centre_xyz)
    away = [np.arange(n) * s + o - c for n, s, o, c in axes]
    inside = (away[2] ** 2)[:, None, None] + (away[1] ** 2)[:, None] + away[0] ** 2 <= radius**2
    array[inside] = value
    return np.count_nonzero(inside) * geometry.voxel_ml


def four(binary):
    """Within the PET, below it, a speck, and one that the PET's lower border halves."""
    array = np.zeros(FINE.shape, np.int16)
    for value, (centre, radius) in enumerate([((76, 76, 36), 6), ((76, 76, -25), 8), ((52, 50, 36), 1.2),
                                              ((110, 76, -2), 8)], 1):  # fmt: skip
        ball(array, FINE, centre, radius, 1 if binary else value)
    return LabelMap(array, FINE)


def measured(how, pet, mask):
    run = Run()
    if how == "quantify":
        return quantify(pet, lesions=mask, run=run), run.warnings
    if how == "compare":
        return compare([pet], pet, lesions=mask, run=run), run.warnings
    return petdiffusion.denoise(pet, "gaussian", lesions=mask, run=run).tables, run.warnings


@pytest.mark.parametrize("how", ["denoise", "quantify", "compare"])
@pytest.mark.parametrize("binary", [False, True])
def test_what_becomes_of_every_lesion_is_told(how, binary):
    tables, said = measured(how, pet_of(), four(binary))
    # of one label the parts are numbered by size; the two largest are alike, the lower comes first
    inside, outside, speck, cut = (3, 1, 4, 2) if binary else (1, 2, 3, 4)
    assert sorted(row["number"] for row in tables["lesions"]) == sorted([inside, speck, cut])
    volumes = {row["number"]: row["volume_ml"] for row in tables["lesions"]}
    assert volumes[speck] == pytest.approx(0.064) and volumes[inside] == pytest.approx(0.925, abs=0.032)
    said = [text for text in said if "of the mask" in text]
    assert len(said) == 3
    assert f"Lesion {outside} of the mask lies outside of the PET (2.18 ml)" in said[0]
    assert f"Lesion {cut} of the mask lies partly outside of the PET: 1.09 of 2.18 ml" in said[1]
    whole = "smaller than half a voxel of the PET and counts as a whole one: 0.064 instead of 0.008 ml"
    assert f"Lesion {speck} of the mask is {whole}" in said[2]


@pytest.mark.parametrize("how", ["denoise", "quantify"])
def test_a_mask_saved_without_its_geometry_is_refused(how):
    """Its lesion would be measured where it is not."""
    pet = pet_of(size=(60, 60, 40))
    pet = replace(pet, geometry=replace(pet.geometry, origin=(-118.0, -118.0, -80.0)))
    array = np.zeros(pet.array.shape, np.int16)
    array[20:24, 30:34, 30:34] = 1
    with pytest.raises(GeometryError, match="lesion mask: covers only"):
        measured(how, pet, LabelMap(array, Geometry((60, 60, 40), (1.0, 1.0, 1.0))))


@pytest.mark.parametrize("how", ["denoise", "quantify"])
def test_a_mask_cut_out_around_its_lesion_is_taken(how):
    """As segmentation programs write it: a box of some voxels in a large body."""
    pet = pet_of(size=(60, 60, 40))
    box = Geometry((12, 12, 12), (2.0, 2.0, 2.0), origin=(100.0, 100.0, 60.0))
    array = np.zeros(box.shape, np.int16)
    array[2:10, 2:10, 2:10] = 1
    tables, said = measured(how, pet, LabelMap(array, box))
    (lesion,) = tables["lesions"]
    assert lesion["volume_ml"] == pytest.approx(8**3 * 0.008, abs=0.033)
    assert not [text for text in said if "mask" in text]


@pytest.mark.parametrize("size", [(9, 3, 7), (12, 10, 8), (22, 14, 16), (24, 18, 22)])
def test_a_mask_cut_out_at_the_very_edge_of_its_lesion_measures_as_the_whole_one(size):
    """Slicer's segmentations are saved so."""
    tight = Geometry(size, (1.0, 1.0, 1.0), (50.3, 61.7, 22.1))
    whole = replace(tight, size=tuple(n + 60 for n in size), origin=tuple(o - 30 for o in tight.origin))
    pet, run = pet_of((4.07, 4.07, 3.27)), Run()
    drawn = LabelMap(np.pad(np.ones(tight.shape, np.int16), 30), whole)
    kept = place(LabelMap(np.ones(tight.shape, np.int16), tight), pet, run).array
    np.testing.assert_array_equal(kept, place(drawn, pet, run).array)
    assert np.count_nonzero(kept) == round(np.prod(size) / (4.07 * 4.07 * 3.27)) and run.warnings == []


def test_organs_of_another_place_are_refused_by_quantify():
    patient = small_patient()
    far = replace(patient["labels"], geometry=replace(patient["labels"].geometry, origin=(95.0, -50.0, 10.0)))
    with pytest.raises(GeometryError, match="label map: covers only"):
        quantify(patient["pet"], labels=LabelMap(np.ones(far.array.shape, int), far.geometry))


@pytest.mark.parametrize("how", ["quantify", "denoise"])
def test_organs_cut_out_of_a_large_body_are_measured(how):
    """Around a kidney, whose box is less than a twentieth of the body."""
    pet = pet_of(size=(60, 60, 60))
    box = Geometry((30, 30, 40), (2.0, 2.0, 2.0), origin=(140.0, 120.0, 120.0))
    array = np.zeros(box.shape, np.int16)
    array[2:-2, 2:-2, 2:-2] = 2
    run, labels = Run(), LabelMap(array, box, {2: "kidney_left"})
    if how == "quantify":
        (kidney,) = quantify(pet, labels=labels, run=run)["organs"]
    else:
        (kidney,) = petdiffusion.denoise(pet, "gaussian", labels=labels, run=run).tables["organs"]
    assert kidney["volume_ml"] == pytest.approx(26 * 26 * 36 * 0.008, rel=0.02)
    assert not [text for text in run.warnings if "label map" in text]


def test_a_mask_whose_lesions_all_lie_outside_is_nothing_to_quantify():
    array = np.zeros(FINE.shape, np.int16)
    ball(array, FINE, (76, 76, -25), 8, 1)
    with pytest.raises(InputError, match="nothing inside the PET"):
        quantify(pet_of(), lesions=LabelMap(array, FINE))


def test_a_mask_on_the_grid_of_the_pet_stays_as_it_is():
    pet = pet_of()
    array = (np.random.default_rng(1).random(pet.array.shape) < 0.002).astype(np.int16) * 7
    near = replace(pet.geometry, origin=(1e-5, 0.0, 0.0))
    result = petdiffusion.denoise(pet, "gaussian", lesions=LabelMap(array, near))
    np.testing.assert_array_equal(result.lesions.array, array)


GRIDS = [(4.07, 4.07, 3.0), (4.0, 4.0, 4.0), (5.47, 5.47, 3.27), (2.0, 2.0, 2.0)]


def scattered(radius, spread, seed):
    """27 spheres at places of their own, on a CT's grid, and their millilitres."""
    geometry, rng = Geometry((112, 112, 112), (0.98, 0.98, 1.0), (-10.0, -10.0, -10.0)), np.random.default_rng(seed)
    array, ml = np.zeros(geometry.shape, np.int16), {}
    for value, cell in enumerate(np.ndindex(3, 3, 3), 1):
        centre = np.array(cell) * 31 + 14 + 5 * rng.random(3)
        ml[value] = ball(array, geometry, centre, radius + rng.uniform(-spread, spread), value)
    return LabelMap(array, geometry), ml


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("radius", [4, 5, 6, 8, 12])
def test_every_lesion_keeps_its_volume_to_half_a_voxel(spacing, radius):
    mask, ml = scattered(radius, 0.0, radius)
    pet = pet_of(spacing, tuple(int(100 / s) for s in spacing))
    rows = quantify(pet, lesions=mask)["lesions"]
    assert len(rows) == 27
    for row in rows:
        assert abs(row["volume_ml"] - ml[row["number"]]) <= 0.5 * pet.geometry.voxel_ml + 1e-9


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("radius", [4, 5, 6, 8, 12])
def test_volumes_are_not_biased(spacing, radius):
    """The majority rule lost a third of 0.27 ml and 7 % of 2.1 ml on 4 mm. Sizes are spread, so that whole voxels round
    up as often as down."""
    mask, ml = scattered(radius, 0.6, radius)
    pet = pet_of(spacing, tuple(int(100 / s) for s in spacing))
    total = quantify(pet, lesions=mask)["lesion_totals"][0]["MTV_ml"]
    rounding = 3 * pet.geometry.voxel_ml * np.sqrt(27 / 12)
    assert total == pytest.approx(sum(ml.values()), abs=rounding)


def test_the_voxels_that_a_lesion_fills_most_are_taken():
    """A cube of 9 mm over voxels of 4 mm, 2 of which it fills along each axis, and a fourth of a third."""
    array = np.zeros(FINE.shape, np.int16)
    array[80:89, 80:89, 80:89] = 1
    pet = pet_of(size=(40, 40, 40))
    given = replace(FINE, origin=(-1.5, -1.5, -1.5))
    placed = petdiffusion.denoise(pet, "gaussian", lesions=LabelMap(array, given)).lesions
    assert np.count_nonzero(placed.array) == round(9**3 / 64) and (placed.array[20:22, 20:22, 20:22] == 1).all()
    assert set(np.argwhere(placed.array).ravel()) == {20, 21, 22}


def test_lesions_that_touch_stay_two_and_a_speck_beside_a_large_one_stays():
    array = np.zeros(FINE.shape, np.int16)
    large = ball(array, FINE, (60, 76, 36), 10, 2)
    ball(array, FINE, (71.5, 76, 36), 1.1, 5)
    upper = ball(array, FINE, (90, 76, 36), 7, 8)
    lower = ball(array, FINE, (90, 90, 36), 6.6, 9)
    rows = {row["number"]: row for row in quantify(pet_of(), lesions=LabelMap(array, FINE))["lesions"]}
    assert set(rows) == {2, 5, 8, 9} and rows[5]["voxels"] == 1
    for number, ml in ((2, large), (8, upper), (9, lower)):
        assert rows[number]["volume_ml"] == pytest.approx(ml, abs=0.033)


def test_a_speck_keeps_the_one_voxel_that_a_large_lesion_would_fill_too():
    """It lies in the corner of a voxel of which the large one, asked first, holds two thirds."""
    array = np.zeros(FINE.shape, np.int16)
    array[64:80, 60:76, 60:76] = 1
    array[76:80, 72:76, 72:76] = 0
    array[76:80, 72:76, 72:75] = 1
    array[77:79, 73:75, 75] = 2
    given = replace(FINE, origin=(-1.5, -1.5, -1.5))
    placed, parts = resample_lesions(LabelMap(array, given), pet_of(size=(40, 40, 40)).geometry)
    assert placed.array[19, 18, 18] == 2
    assert [(part.wanted, part.voxels) for part in parts] == [(64, 64), (1, 1)]


def test_parts_apart_on_the_masks_grid_are_lesions_apart_though_the_pets_voxels_touch():
    array = np.zeros(FINE.shape, np.int16)
    ball(array, FINE, (70, 76, 36), 6, 1)
    ball(array, FINE, (84, 76, 36), 6, 1)
    assert len(quantify(pet_of(), lesions=LabelMap(array, FINE))["lesions"]) == 2


@pytest.mark.parametrize("thick", [1, 2])
def test_what_is_thinner_than_a_voxel_stays_one_lesion(thick):
    """A slanting rod, no voxel of which is half filled."""
    array = np.zeros(FINE.shape, np.int16)
    for step in range(60):
        y, x = 60 + step // 3, 50 + step
        array[77:77 + thick, y:y + thick, x:x + thick] = 1
    (row,) = quantify(pet_of(), lesions=LabelMap(array, FINE))["lesions"]
    assert row["volume_ml"] == pytest.approx(np.count_nonzero(array) * 1e-3, abs=0.032)


def test_two_lobes_whose_bridge_is_lost_are_told():
    array = np.zeros(FINE.shape, np.int16)
    ball(array, FINE, (60, 76, 36), 8, 1)
    ball(array, FINE, (100, 76, 36), 8, 1)
    array[77, 77, 60:100] = 1
    run = Run()
    rows = quantify(pet_of(), lesions=LabelMap(array, FINE, {1: "GTV"}), run=run)["lesions"]
    assert {row["lesion"] for row in rows} == {"GTV (1)", "GTV (2)"}
    assert any("Lesion 1 of the mask falls apart on the PET's voxels" in text for text in run.warnings)


def test_thousands_of_specks_beside_a_lesion_are_noise_of_the_mask():
    """A threshold leaves them on a CT's grid. Each as a voxel of the PET they would be sixty times as large."""
    array = np.zeros(FINE.shape, np.int16)
    array[60:150:4, 20:120:4, 20:120:4] = 1
    specks = np.count_nonzero(array)
    ml = ball(array, FINE, (76, 76, 36), 12, 1)
    run = Run()
    (row,) = quantify(pet_of(), lesions=LabelMap(array, FINE, {1: "GTV"}), run=run)["lesions"]
    assert specks > 10_000 and row["volume_ml"] == pytest.approx(ml, abs=0.1) and row["lesion"] == "GTV"
    (told,) = run.warnings
    assert "specks of the mask, each smaller than half a voxel of the PET" in told and "in no number" in told


def test_more_lesions_than_voxels_are_told():
    """Specks all over a voxel and those around it, of which each can hold one."""
    array = np.zeros(FINE.shape, np.int16)
    array[70:82:2, 70:82:2, 70:82:2] = 1
    run = Run()
    rows = quantify(pet_of(), lesions=LabelMap(array, FINE), run=run)["lesions"]
    lost = 6**3 - len(rows)
    assert lost > 0 and any("too few voxels that no other lesion holds" in text for text in run.warnings)


def test_lesions_drawn_on_the_ct_move_with_it():
    """16 mm to the side of the PET, as the organs on the same grid; those on the PET's own grid stay."""
    z, y, x = np.mgrid[:40, :48, :48]

    def patient(shift):
        def ellipsoid(cx, cy, cz, rx, ry, rz):
            return ((x - cx - shift) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1

        return (ellipsoid(24, 24, 20, 18, 13, 18), ellipsoid(16, 22, 22, 5, 6, 9), ellipsoid(30, 24, 14, 7, 7, 6),
                ellipsoid(30, 24, 26, 2.45, 2.45, 2.45))  # fmt: skip

    def painted(shift, values):
        image = np.full(x.shape, values[0], np.float32)
        for mask, value in zip(patient(shift), values[1:]):
            image[mask] = value
        return image

    activity = painted(0, (0.0, 1.0, 0.3, 2.5, 8.0)) + 0.05 * np.random.default_rng(1).standard_normal(x.shape)
    pet = Volume(activity, Geometry((48, 48, 40), (4.0, 4.0, 4.0)), SUVBW, Facts(frame_of_reference="1.2"))
    grid = Geometry((48, 48, 40), (4.0, 4.0, 4.0), (0.3, 0.0, 0.0))
    ct = Volume(painted(4, (-1000, 30, -800, 60, 45)), grid, HU, Facts(frame_of_reference="1.3"))
    organs = LabelMap(patient(4)[2].astype(int), grid, {1: "liver"})
    moved = petdiffusion.denoise(pet, "gaussian", ct=ct, labels=organs, register=True,
                                 lesions=LabelMap(patient(4)[3].astype(int), grid))  # fmt: skip
    assert moved.tables["lesions"][0]["SUVmean_low"] > 7 and moved.warnings == ()
    assert moved.tables["organs"][0]["SUVmean_low"] == pytest.approx(2.5, abs=0.1)
    own = LabelMap(patient(0)[3].astype(int), pet.geometry)
    stays = petdiffusion.denoise(pet, "gaussian", ct=ct, lesions=own, register=True)
    np.testing.assert_array_equal(stays.lesions.array, own.array)
