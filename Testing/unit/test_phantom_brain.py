"""Digital brains: the same person for a seed, different people for different seeds, human volumes, known contrasts."""

import sys

import numpy as np
import pytest

pytest.importorskip("nilearn", reason="the MNI maps come with nilearn")

from petdiffusion.errors import DependencyError, GeometryError, OptionError
from petdiffusion.phantoms import brain
from petdiffusion.phantoms.brain import lesions as disease
from petdiffusion.phantoms.brain import template as templates
from petdiffusion.volume import SUVBW

COARSE = {"spacing_mm": 8.0}
MIDDLE = {"spacing_mm": 3.0, "field_mm": (192, 222, 165)}


@pytest.fixture(scope="module")
def fdg():
    return brain.draw(3, lesions=0, **MIDDLE)


@pytest.fixture(scope="module")
def dasb():
    return brain.draw(3, lesions=0, tracer="DASB", **MIDDLE)


@pytest.fixture(scope="module")
def diseased():
    return brain.draw(16, lesions=6, spacing_mm=4.0)


def mean(patient, *names):
    return float(patient.pet.array[patient.organs.mask(*names)].mean())


def both(*names):
    return [f"{name}_{side}" for name in names for side in ("left", "right")]


def millilitres(patient, *names):
    return float(patient.organs.mask(*names).sum()) * patient.pet.geometry.voxel_ml


def centre(patient, *names):
    """Centre of gravity in LPS millimetres."""
    index = np.array(np.nonzero(patient.organs.mask(*names))).mean(1)[::-1]
    return (patient.pet.geometry.affine @ [*index, 1])[:3]


CORTEX = both(*(f"{lobe}_cortex" for lobe in ("frontal", "parietal", "temporal", "occipital", "insular", "cingulate")))


def test_the_same_seed_is_the_same_patient() -> None:
    one, other = (brain.draw(7, **COARSE) for _ in range(2))
    for name in ("pet", "ct", "mr", "organs", "lesion_map"):
        assert np.array_equal(getattr(one, name).array, getattr(other, name).array), name
    assert one.lesions == other.lesions and one.details == other.details


def test_no_two_seeds_are_alike() -> None:
    patients = [brain.draw(seed, lesions=0, **COARSE) for seed in (1, 2, 3)]
    volumes = {round(millilitres(p, *brain.BRAIN)) for p in patients}
    assert len(volumes) == 3
    for i, one in enumerate(patients):
        for other in patients[i + 1:]:
            a, b = (p.organs.mask(*CORTEX) for p in (one, other))
            assert 2 * (a & b).sum() / (a.sum() + b.sum()) < 0.85
            assert one.weight_kg != other.weight_kg


def test_anatomy_does_not_depend_on_the_tracer(fdg, dasb) -> None:
    for name in ("ct", "mr", "organs"):
        assert np.array_equal(getattr(fdg, name).array, getattr(dasb, name).array), name
    assert not np.array_equal(fdg.pet.array, dasb.pet.array)
    assert (fdg.weight_kg, fdg.sex) == (dasb.weight_kg, dasb.sex)


def test_anatomy_does_not_depend_on_the_voxel_size(fdg) -> None:
    coarse = brain.draw(3, lesions=0, spacing_mm=6.0, field_mm=MIDDLE["field_mm"])
    totals = [float(p.pet.array.sum()) * p.pet.geometry.voxel_ml for p in (fdg, coarse)]
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    for names in (("skull",), brain.BRAIN, both("cerebellum")):
        assert millilitres(coarse, *names) == pytest.approx(millilitres(fdg, *names), rel=0.08)
    places = [centre(p, "thalamus_left") for p in (fdg, coarse)]
    assert np.abs(places[0] - places[1]).max() < 1.0


def test_tissues_have_human_volumes(fdg) -> None:
    """Ranges in ml that hold nearly all adults (Lemaitre 2012, Potvin 2016 and the like)."""
    within = {
        "intracranial": (brain.BRAIN, 1050, 1900), "cortex": (CORTEX, 330, 680),
        "white matter": (both("cerebral_white_matter"), 300, 640),
        "cerebellum": (both("cerebellum", "cerebellar_white_matter"), 95, 190), "ventricles": (("ventricle",), 6, 90),
        "thalami": (both("thalamus"), 5.5, 18), "putamina": (both("putamen"), 4.5, 13),
        "caudates": (both("caudate_nucleus"), 4.0, 11), "hippocampi": (both("hippocampus"), 4.0, 11),
        "brainstem": (("midbrain", "pons", "medulla"), 12, 40)}
    for name, (structures, low, high) in within.items():
        assert low < millilitres(fdg, *structures) < high, name


def test_ventricles_widen_and_cortex_shrinks_with_age() -> None:
    from petdiffusion.phantoms.brain.person import person

    people = [person(np.random.default_rng(seed)) for seed in range(400)]
    young, old = ([p for p in people if low < p.age_years < high] for low, high in ((20, 40), (70, 90)))
    assert min(len(young), len(old)) > 30
    assert np.mean([p.ventricle_mm for p in old]) > np.mean([p.ventricle_mm for p in young]) + 1.5
    assert np.mean([p.cortex_mm for p in old]) < np.mean([p.cortex_mm for p in young]) - 0.15
    assert {p.sex for p in people} == {"F", "M"}


def test_left_is_left_and_lobes_lie_where_they_should(fdg) -> None:
    for name in ("thalamus", "frontal_cortex", "cerebellum", "eye"):
        assert centre(fdg, f"{name}_left")[0] > centre(fdg, f"{name}_right")[0] + 5  # LPS: x runs to the left
    assert centre(fdg, *both("frontal_cortex"))[1] < centre(fdg, *both("parietal_cortex"))[1] - 30  # y runs backwards
    assert centre(fdg, *both("occipital_cortex"))[1] > centre(fdg, *both("parietal_cortex"))[1] + 10
    assert centre(fdg, *both("temporal_cortex"))[2] < centre(fdg, *both("parietal_cortex"))[2] - 25
    assert centre(fdg, "medulla")[2] < centre(fdg, "pons")[2] < centre(fdg, "midbrain")[2]


def test_fdg_has_the_order_of_fdg(fdg) -> None:
    striatum, grey = mean(fdg, *both("putamen")), mean(fdg, *both("frontal_cortex"))
    assert striatum > grey > mean(fdg, *both("cerebral_white_matter")) > mean(fdg, "skull") > 0
    assert mean(fdg, *both("occipital_cortex")) > mean(fdg, *both("temporal_cortex"))
    assert mean(fdg, *both("putamen")) > mean(fdg, *both("cerebellum")) > mean(fdg, "pons")
    assert 3 < grey < 14 and fdg.pet.unit == SUVBW


def test_grey_to_white_is_about_four_to_one_in_fdg() -> None:
    """In voxels of 1 mm, well inside either tissue."""
    from scipy import ndimage

    top = brain.draw(3, lesions=0, spacing_mm=1.0, field_mm=(180, 210, 60))
    grey = top.organs.mask(*CORTEX)
    white = ndimage.binary_erosion(top.organs.mask(*both("cerebral_white_matter")), iterations=3)
    inner = ndimage.binary_erosion(grey, iterations=1)
    assert 3.4 < top.pet.array[inner].mean() / top.pet.array[white].mean() < 4.8


def test_dasb_has_the_order_of_the_serotonin_transporter(dasb) -> None:
    striatum = mean(dasb, *both("putamen", "caudate_nucleus"))
    cortex = mean(dasb, *both("frontal_cortex", "parietal_cortex", "occipital_cortex"))
    assert mean(dasb, "dorsal_raphe") > mean(dasb, *both("thalamus")) > mean(dasb, *both("amygdala"))
    assert striatum > mean(dasb, *both("amygdala")) * 0.95 > mean(dasb, *both("hippocampus"))
    assert mean(dasb, *both("hippocampus")) > cortex > mean(dasb, *both("cerebellum")) * 0.9
    assert 2.0 < mean(dasb, *both("thalamus")) / mean(dasb, *both("cerebellum")) < 3.5


def test_ct_and_mr_show_their_tissues(fdg) -> None:
    ct, mr = fdg.ct.array, fdg.mr.array
    corner = (slice(-4, None), slice(0, 5), slice(0, 5))
    assert ct[corner].mean() < -950 and fdg.pet.array[corner].max() == 0
    assert ct[fdg.organs.mask("skull")].mean() > 500
    assert 15 < ct[fdg.organs.mask(*both("cerebral_white_matter"))].mean() < 45
    white, grey, fluid = (mr[fdg.organs.mask(*names)].mean() for names in
                          (both("cerebral_white_matter"), CORTEX, ["ventricle"]))
    assert white > grey > fluid


def test_every_voxel_is_finite_and_activity_is_not_negative(fdg, dasb, diseased) -> None:
    for patient in (fdg, dasb, diseased):
        for volume in (patient.pet, patient.ct, patient.mr):
            assert np.isfinite(volume.array).all()
        assert patient.pet.array.min() >= 0


def test_the_list_of_lesions_agrees_with_the_map(diseased) -> None:
    assert len(diseased.lesions) == 6
    assert set(np.unique(diseased.lesion_map.array)) - {0} == {lesion.label for lesion in diseased.lesions}
    for lesion in diseased.lesions:
        mask = diseased.lesion_map.array == lesion.label
        values = diseased.pet.array[mask]
        assert lesion.volume_ml == pytest.approx(mask.sum() * 0.064)
        assert (lesion.suv_mean, lesion.suv_max) == pytest.approx((values.mean(), values.max()), rel=1e-5)
        index = (np.array(lesion.centre_mm) - diseased.pet.geometry.origin) / 4.0
        nearest = np.abs(np.argwhere(mask)[:, ::-1] - index).max(1).min()
        assert nearest * 4.0 < lesion.diameter_mm / 2 + 6


@pytest.fixture(scope="module")
def well():
    return brain.draw(14, lesions=0, **COARSE)


@pytest.mark.parametrize(("kind", "low", "high", "in_mr"), [
    ("metastasis", 1.05, 20, True), ("glioma", 0.2, 20, True), ("hot_focus", 1.3, 20, False),
    ("hypometabolism", 0.3, 0.95, False)])
def test_each_disease_shows_where_it_should(monkeypatch, well, kind, low, high, in_mr) -> None:
    """The same person with and without it: PET changes inside the lesion, MR only where MR would."""
    monkeypatch.setattr(disease, "_SHARE", {"FDG": tuple(float(kind == k) for k in disease.PET_KINDS)})
    ill = brain.draw(14, lesions=2, **COARSE)
    assert ill.details["lesion_kinds"] == [kind, kind] and len(ill.lesions) == 2
    mask = ill.lesion_map.array > 0
    assert low < ill.pet.array[mask].mean() / well.pet.array[mask].mean() < high
    assert np.abs(ill.pet.array - well.pet.array)[mask].mean() > 0.05
    assert bool(np.abs(ill.mr.array - well.mr.array).max() > 20) is in_mr
    if not in_mr:
        assert np.array_equal(ill.mr.array, well.mr.array) and np.array_equal(ill.ct.array, well.ct.array)


def test_some_things_show_in_mr_alone(monkeypatch) -> None:
    with_spots = brain.draw(5, lesions=0, **COARSE)
    assert {"white_matter_lesion", "perivascular_space"} <= {spot["kind"] for spot in with_spots.details["mr_only"]}
    monkeypatch.setattr(disease, "spots", lambda *_: ())
    without = brain.draw(5, lesions=0, **COARSE)
    assert np.array_equal(with_spots.pet.array, without.pet.array)
    assert (with_spots.mr.array < without.mr.array - 1).any()
    assert not with_spots.lesion_map.array.any()


def test_the_field_of_view_is_the_one_asked_for() -> None:
    patient = brain.draw(2, lesions=0, spacing_mm=1.22, field_mm=(195.2, 195.2, 12.2))
    assert patient.pet.geometry.size == (160, 160, 10)
    assert patient.pet.geometry.spacing == (1.22, 1.22, 1.22)


def test_the_vertex_lies_below_the_top_and_the_head_is_not_cut_off(fdg) -> None:
    body = fdg.ct.array > -500
    assert not body[-1].any() and body[-12:].any()
    assert not body[:, 0].any() and not body[:, :, 0].any() and not body[:, :, -1].any()


def test_whole_speaks_totalsegmentators_words(fdg) -> None:
    from petdiffusion.phantoms.labels import TOTAL

    merged = brain.whole(fdg.organs)
    assert set(merged.present().values()) <= set(TOTAL.values())
    assert np.array_equal(merged.mask("brain"), fdg.organs.mask(*brain.BRAIN))


@pytest.mark.parametrize(("error", "options"), [
    (OptionError, {"tracer": "PSMA"}), (OptionError, {"lesions": 31}), (OptionError, {"lesions": -1}),
    (GeometryError, {"spacing_mm": 0.1}), (GeometryError, {"spacing_mm": float("nan")}),
    (GeometryError, {"spacing_mm": (2.0, 2.0, 3.0)}),
    (GeometryError, {"field_mm": (200, 200, 5)}), (GeometryError, {"field_mm": (200, 200)})])
def test_impossible_patients_are_refused(error, options) -> None:
    with pytest.raises(error):
        brain.draw(1, **options)


def test_a_missing_nilearn_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(DependencyError, match=r"pip install .nilearn"):
        templates._maps()
