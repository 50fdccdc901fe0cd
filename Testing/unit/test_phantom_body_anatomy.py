"""Anatomy of the digital patients against published human ranges: volumes, sides, order, mass, uptake."""

import functools

import numpy as np
import pytest
from petdiffusion.phantoms import body, labels
from petdiffusion.phantoms.body.make import FOREARMS_SHARE, LEGS_SHARE, LEGS_SUV, density

SEEDS = (1, 8, 20)
"""A small woman, a tall man, a heavy woman."""
# ml in adults: liver Vauthey 2002; spleen Prassopoulos 1997; kidneys Cheong 2007; brain Allen 2002; the others as
# segmented on CT in adults; lungs at quiet breathing, so smaller than at full inspiration.
VOLUMES = {
    "liver": (1000, 2200),
    "spleen": (80, 400),
    "kidney_left": (95, 260),
    "kidney_right": (95, 260),
    "brain": (1000, 1650),
    "urinary_bladder": (30, 550),
    "heart": (380, 1050),
    "stomach": (100, 700),
    "pancreas": (20, 130),
    "aorta": (90, 400),
    "gallbladder": (4, 70),
    "colon": (200, 1500),
    "small_bowel": (250, 1400),
    "thyroid_gland": (4, 40),
    "spinal_cord": (40, 140),
    "vertebrae_L3": (25, 75),
    "vertebrae_T6": (8, 28),
    "vertebrae_C4": (3, 14),
    "hip_left": (180, 480),
    "sternum": (25, 110),
    "autochthon_left": (300, 1200),
    "gluteus_maximus_right": (250, 1000),
    "iliopsoas_left": (120, 550),
    "skull": (350, 950),
}


@functools.cache
def patient(seed, spacing=5.0):
    return body.draw(seed, spacing_mm=spacing, lesions=0)


def volume(drawn, *names):
    return float(drawn.organs.mask(*names).sum() * drawn.organs.geometry.voxel_ml)


def centre(drawn, *names):
    """Mean place of a structure in LPS mm."""
    z, y, x = np.argwhere(drawn.organs.mask(*names)).mean(0)
    g = drawn.organs.geometry
    return np.array(g.origin) + np.array([x, y, z]) * g.spacing


@pytest.mark.parametrize("seed", SEEDS)
def test_at_least_ninety_structures_with_all_ribs_and_vertebrae(seed):
    present = set(patient(seed).organs.present().values())
    assert len(present) >= 90
    assert present.issuperset(labels.RIBS) and present.issuperset(labels.VERTEBRAE) and present.issuperset(labels.LUNGS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("organ", VOLUMES)
def test_organ_volume_is_human(seed, organ):
    low, high = VOLUMES[organ]
    assert low < volume(patient(seed), organ) < high


@pytest.mark.parametrize("seed", SEEDS)
def test_lungs_hold_a_quiet_breath(seed):
    drawn = patient(seed)
    assert 2000 < volume(drawn, *labels.LUNGS) < 7000
    assert volume(drawn, *(n for n in labels.LUNGS if "right" in n)) > 0.95 * volume(
        drawn, *(n for n in labels.LUNGS if "left" in n)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_left_is_left(seed):
    drawn = patient(seed)
    assert centre(drawn, "liver")[0] < -20 and centre(drawn, "gallbladder")[0] < -15
    assert centre(drawn, "spleen")[0] > 40 and centre(drawn, "stomach")[0] > 10 and centre(drawn, "heart")[0] > 5
    assert centre(drawn, "inferior_vena_cava")[0] < centre(drawn, "aorta")[0]
    for name in labels.TOTAL.values():
        if name.endswith("_left") and volume(drawn, name) and volume(drawn, name.replace("left", "right")):
            assert centre(drawn, name)[0] > centre(drawn, name.replace("left", "right"))[0], name


@pytest.mark.parametrize("seed", SEEDS)
def test_order_from_head_to_foot_and_front_to_back(seed):
    drawn = patient(seed)
    column = [centre(drawn, name)[2] for name in labels.VERTEBRAE[::-1]]
    assert np.all(np.diff(column) < 0), "C1 is the highest vertebra, S1 the lowest"
    for side in ("left", "right"):
        heads = [np.argwhere(drawn.organs.mask(f"rib_{side}_{n}"))[:, 0].max() for n in range(1, 13)]
        assert np.all(np.diff(heads) < 0), "every rib starts lower than the one above it"
    chain = ("brain", "thyroid_gland", "heart", "liver", "kidney_right", "urinary_bladder")
    assert np.all(np.diff([centre(drawn, name)[2] for name in chain]) < 0)
    assert centre(drawn, "sternum")[1] < centre(drawn, "heart")[1] < centre(drawn, "vertebrae_T8")[1]
    assert centre(drawn, "trachea")[1] < centre(drawn, "esophagus")[1] < centre(drawn, "spinal_cord")[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_mass_of_the_drawn_tissue_fits_the_weight(seed):
    drawn = patient(seed)
    ct = drawn.ct.array
    mass = density(ct[ct > -990]).sum(dtype=float) * drawn.ct.geometry.voxel_ml / 1000
    outside = LEGS_SHARE + (FOREARMS_SHARE if drawn.details["arms"] == "up" else 0)
    assert mass / (1 - outside) == pytest.approx(drawn.weight_kg, rel=0.06)
    assert drawn.weight_kg / drawn.height_m**2 == pytest.approx(drawn.details["bmi"], rel=0.25)


@pytest.mark.parametrize("seed", SEEDS)
def test_injected_activity_is_found_again(seed):
    """Mean SUV over the whole body is one less what was voided (legs outside the field at their usual 0.5)."""
    drawn = patient(seed)
    total = (
        drawn.pet.array.sum(dtype=float) * drawn.pet.geometry.voxel_ml / 1000 + LEGS_SHARE * drawn.weight_kg * LEGS_SUV
    )
    assert 0.6 < total / drawn.weight_kg < 1.1


@pytest.mark.parametrize("seed", SEEDS)
def test_uptake_of_organs_is_clinical(seed):
    drawn = patient(seed)
    mean = lambda *names: float(np.median(drawn.pet.array[drawn.organs.mask(*names)]))  # noqa: E731
    assert 1.4 < mean("liver") < 3.4 and 1.2 < mean("spleen") < 3.6 and 1.0 < mean("aorta") < 2.6
    assert 0.2 < mean(*labels.LUNGS) < 0.9 and 0.4 < mean("gluteus_maximus_left", "gluteus_maximus_right") < 1.4
    assert 4 < mean("brain") < 14 and mean("urinary_bladder") > 4
    assert mean("brain") > 1.8 * mean("liver") > 3.2 * mean("gluteus_maximus_left")


@pytest.mark.parametrize("seed", SEEDS)
def test_tissues_have_their_hounsfield_numbers(seed):
    drawn = patient(seed)
    ct = drawn.ct.array
    mean = lambda *names: float(np.median(ct[drawn.organs.mask(*names)]))  # noqa: E731
    assert -900 < mean(*labels.LUNGS) < -700 and -10 < mean("liver") < 75 and 0 < mean("urinary_bladder") < 20
    assert mean("vertebrae_L3") > 80 and mean("skull") > 400 and mean("trachea") < -500
    fat = ct[(ct > -160) & (ct < -60)]
    assert -112 < np.median(fat) < -88


@pytest.mark.parametrize("seed", [2])
def test_finer_voxels_show_the_same_anatomy(seed):
    fine, coarse = patient(seed, 4.0), patient(seed, 6.0)
    assert fine.weight_kg == coarse.weight_kg
    for organ, tolerance in {"liver": 0.03, "brain": 0.03, "spleen": 0.05, "kidney_left": 0.05, "heart": 0.04}.items():
        assert volume(coarse, organ) == pytest.approx(volume(fine, organ), rel=tolerance), organ
        np.testing.assert_allclose(centre(coarse, organ), centre(fine, organ), atol=1.5)
    total = [p.pet.array.sum(dtype=float) * p.pet.geometry.voxel_ml for p in (fine, coarse)]
    assert total[1] == pytest.approx(total[0], rel=0.03)


def test_people_vary_as_people_do():
    from petdiffusion.phantoms.body.person import draw_person

    people = [draw_person(seed, None, None) for seed in range(400)]
    women = np.mean([p.sex == "F" for p in people])
    heights = {sex: np.mean([p.height_m for p in people if p.sex == sex]) for sex in "FM"}
    bmi = np.array([p.bmi for p in people])
    assert 0.38 < women < 0.58 and 1.61 < heights["F"] < 1.65 and 1.74 < heights["M"] < 1.78
    assert 25 < bmi.mean() < 27 and 3 < bmi.std() < 6
    fat = np.array([p.subcutaneous_mm for p in people])
    assert np.corrcoef(bmi, fat)[0, 1] > 0.6
    assert len({p.scale for p in people}) == 400
