"""Quality control: a CT that lies elsewhere than the PET is told, one that fits is not."""

import numpy as np
import petdiffusion
import pytest
from petdiffusion.trust.quality import _axial_shift, mismatch, quality, quality_sentences
from petdiffusion.volume import HU, SUVBW, Geometry, Volume
from support.blobs import blobs

GEOMETRY = Geometry((64, 48, 70), (5.0, 5.0, 4.0))


@pytest.fixture(scope="module")
def patient():
    """A trunk with two lungs, as CT and as PET with noise."""
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in GEOMETRY.shape)
    z, y, x = z[:, None, None] * 4, y[None, :, None] * 5, x[None, None, :] * 5
    body = ((y / 95) ** 2 + (x / 135) ** 2 < 1) & (np.abs(z) < 500)
    lungs = ((z / 70) ** 2 + (y / 65) ** 2 + ((np.abs(x) - 65) / 45) ** 2 < 1) & body
    ct = np.where(lungs, -800.0, np.where(body, 40.0, -1000.0)).astype(np.float32)
    pet = np.where(lungs, 0.4, np.where(body, 1.5, 0.0))
    pet = pet + 0.2 * np.sqrt(pet) * np.random.default_rng(0).standard_normal(pet.shape)
    return Volume(pet.astype(np.float32), GEOMETRY, SUVBW), Volume(ct, GEOMETRY, HU), body


def by_item(rows):
    return {row["item"].split(",")[0]: row for row in rows}


def test_a_ct_that_fits_is_not_spoken_of(patient):
    pet, ct, body = patient
    rows = mismatch(pet, ct, body)
    assert len(rows) == 3 and not any(row["look"] for row in rows) and quality_sentences(rows) == []


@pytest.mark.parametrize("slices", [-5, 4])
def test_breathing_is_measured(patient, slices):
    pet, ct, body = patient
    moved = ct.with_array(np.roll(ct.array, slices, axis=0))
    row = by_item(mismatch(pet, moved, body))["shift of the PET's lung against the CT's"]
    assert row["look"] and row["value"] == pytest.approx(-4.0 * slices, abs=2.5)
    assert "may not match" in quality_sentences([row])[0]


AXES = {"to the feet": ((1, 0, 0, 0, 1, 0, 0, 0, -1), lambda image: image[::-1]),
        "coronal": ((1, 0, 0, 0, 0, 1, 0, -1, 0), lambda image: image.transpose(1, 0, 2)[:, ::-1]),
        "sagittal": ((0, 0, 1, 1, 0, 0, 0, 1, 0), lambda image: image.transpose(2, 0, 1))}  # fmt: skip


@pytest.mark.parametrize("way", AXES)
def test_the_shift_is_along_the_body_however_the_file_lies(patient, way):
    """Of a lung 16 mm nearer to the head in the PET: the same rows as of an axial file."""
    direction, turned = AXES[way]
    pet, ct, body = patient
    ct = ct.with_array(np.roll(ct.array, -4, axis=0))
    spacing = GEOMETRY.affine[:3, :3].diagonal() @ np.abs(np.reshape(direction, (3, 3)))
    geometry = Geometry(turned(body).shape[::-1], tuple(spacing), (0.0, 0.0, 0.0), direction)
    lying = mismatch(*(Volume(turned(image.array), geometry, image.unit) for image in (pet, ct)), turned(body))
    assert [row["value"] for row in lying] == pytest.approx([row["value"] for row in mismatch(pet, ct, body)])
    assert lying[-1]["value"] == pytest.approx(16.0, abs=2.5) and lying[-1]["look"]


@pytest.mark.parametrize("tissue", [0.4, 0.6, 1.5])
def test_tissue_that_takes_up_no_more_than_lung_is_not_held_against_the_ct(patient, tissue):
    pet, ct, body = patient
    like_fat = np.where(body & (ct.array > -500), pet.array * tissue / 1.5, pet.array)
    rows = mismatch(pet.with_array(like_fat.astype(np.float32)), ct, body)
    assert len(rows) == 3 and not any(row["look"] for row in rows)


def test_a_shift_at_the_end_of_the_range_is_asserted_only_where_it_gains(patient, monkeypatch):
    monkeypatch.setattr("petdiffusion.trust.quality.MOST_SHIFT_MM", 20.0)
    pet, ct, body = patient
    far = by_item(mismatch(pet, ct.with_array(np.roll(ct.array, 12, axis=0)), body))
    assert far["shift of the PET's lung against the CT's"]["value"] == pytest.approx(-20.0)
    slope = np.linspace(1.0, 1.05, pet.array.shape[0], dtype=np.float32)[:, None, None]
    even = pet.with_array(np.where(body, 0.5, 0).astype(np.float32) * slope)
    row = by_item(mismatch(even, ct, body))["shift of the PET's lung against the CT's"]
    assert row["value"] is None and not row["look"]


def lung_moved(slices, uptake=0.0):
    """A CT's lung of 20 slices, and a PET whose lung lies elsewhere, with so much uptake in it and 1 more around."""
    lung = np.zeros((60, 4, 4), bool)
    lung[20:40] = True
    places = np.arange(60)
    within = np.clip(np.minimum(places + 1, 40 + slices) - np.maximum(places, 20 + slices), 0, 1)
    return np.broadcast_to((uptake + 1 - within)[:, None, None], lung.shape), lung, np.ones(lung.shape, bool), 4.0


def test_a_shift_between_slices_worked_by_hand():
    """By 1.25 slices: shifts of 0, 1 and 2 cover 1.25, 0.25 and 0.75 of a slice's uptake. The parabola through them is
    lowest at 1 + 1/2 (1.25 - 0.75) / (1.25 - 0.5 + 0.75) = 1 + 1/6 slices of 4 mm."""
    assert _axial_shift(*lung_moved(1.25)) == pytest.approx(4 * (1 + 1 / 6))
    assert _axial_shift(*lung_moved(-1.25)) == pytest.approx(-4 * (1 + 1 / 6))


def test_a_small_shift_may_gain_little():
    """One slice of the ten that are tried: a tenth of 3 % is asked for. It gains 1.2 %, then 0.1 %."""
    assert _axial_shift(*lung_moved(1.25, uptake=4.0)) == pytest.approx(4 * (1 + 1 / 6))
    assert _axial_shift(*lung_moved(1.25, uptake=40.0)) is None


def test_another_position_is_told(patient):
    pet, ct, body = patient
    moved = ct.with_array(np.roll(ct.array, 9, axis=2))
    rows = by_item(mismatch(pet, moved, body))
    assert rows["outlines of CT and PET"]["look"]
    assert rows["part of the CT's lung with PET uptake over twice the usual"]["look"]


def test_a_ct_that_shows_nobody_is_told(patient):
    """Of air alone, in another unit than HU, or of other slices than the PET's body."""
    pet, ct, body = patient
    upper = body & (np.arange(len(body)) < 20)[:, None, None]
    lower = ct.with_array(np.where((np.arange(len(body)) < 30)[:, None, None], -1000, ct.array).astype(np.float32))
    for other, shown in ((ct.with_array(np.full_like(ct.array, -1000)), body),
                         (ct.with_array(ct.array / 1000 - 1000), body), (lower, upper)):  # fmt: skip
        (row,) = mismatch(pet, other, shown)
        assert row["value"] == 0 and row["look"]
        assert "may not match" in quality_sentences([row])[0]


def test_noise_and_activity_are_those_of_the_table():
    made = petdiffusion.denoise(blobs((24, 28, 32), seed=3).noisy, "gaussian")
    rows = by_item(made.tables["quality"])
    image = {row["image"]: row for row in made.tables["image"]}
    assert rows["total activity"]["value"] == pytest.approx(image["denoised"]["activity_vs_low_percent"])
    assert [r["value"] for r in made.tables["quality"][:2]] == [image[n]["local_noise_percent"] for n in
                                                               ("low", "denoised")]  # fmt: skip


def test_a_change_of_the_total_beyond_its_bound_is_marked():
    voxel = Volume(np.zeros((1, 1, 1), np.float32), Geometry((1, 1, 1), (4.0, 4.0, 4.0)), SUVBW)
    rows = quality({"low": voxel, "denoised": voxel}, np.zeros((1, 1, 1), bool), None,
                   [{"image": "low"}, {"image": "denoised", "activity_vs_low_percent": -3.0}])  # fmt: skip
    assert [row["look"] for row in rows] == [True]


def test_a_changed_total_is_said_once_and_what_is_left_out_is_counted():
    from petdiffusion.trust import checks

    def row(kind, name, percent):
        return {"kind": kind, "weight": "beyond chance", "organ": name, "lesion": name, "change_percent": percent}

    doubts = [row("total changed", "", -3.5), *(row("organ changed", f"organ_{n}", -4.0) for n in range(7))]
    both = checks({"image": [{"image": "denoised", "activity_vs_low_percent": -3.5}], "trust": doubts})
    assert sum("Total activity" in text for text in both) == 1 and "organ 0 (−4.0\u00a0%)" in both[-1]
    assert both[-1].endswith("and 2 more.")
    image = [{"image": "denoised", "activity_vs_low_percent": 1.0}]
    said = "Total activity changed by {}\u00a0% (more than the scan's noise explains{})."
    assert checks({"image": image, "trust": doubts[:1]}) == [said.format("−3.5", "")]
    within = checks({"image": image, "trust": [row("total changed", "", -1.17)]})
    assert within == [said.format("−1.2", "; within the 2\u00a0% limit")]
