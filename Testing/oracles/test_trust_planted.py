"""The check against planted truth: what was put into or taken out of an output is found, named, placed and measured."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from petdiffusion.trust import check, sentences
from petdiffusion.trust.check import _changed_regions, _Region, _structure, evidence, spread_error
from petdiffusion.trust.findings import (
    BEYOND,
    COLD,
    FILLED,
    LESION,
    LOST,
    LOWERED,
    NEW,
    ORGAN,
    RAISED,
    SPOTS,
    STRUCTURE,  # fmt: skip
    TOTAL,
    spot_kind,
)
from petdiffusion.trust.grid import Grid
from petdiffusion.trust.kernels import Filter, correlated_noise, gaussian
from petdiffusion.trust.regions import Change
from petdiffusion.trust.resolution import matched
from petdiffusion.trust.spots import ZMap
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume
from scipy.special import ndtr

SPACING = (4.0, 4.0, 4.0)
SHAPE = (48, 48, 60)
GEOMETRY = Geometry(SHAPE[::-1], SPACING, (-120.0, 30.0, 500.0))
FWHM = (5.0, 5.5, 5.0)
AT, AWAY = (20, 22, 40), (30, 30, 15)


def spot(voxel, height, fwhm_mm=9.0, shape=SHAPE):
    squares = sum(
        ((np.arange(n) - v) * 4.0).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
        for axis, (n, v) in enumerate(zip(shape, voxel))
    )
    return (height * np.exp(-4 * np.log(2) * squares / fwhm_mm**2)).astype(np.float32)


@pytest.fixture(scope="module")
def body():
    _, y, x = np.indices(SHAPE)
    return ((y - 23.5) / 21) ** 2 + ((x - 29.5) / 27) ** 2 < 1


@pytest.fixture(scope="module")
def clean(body):
    """Activity 2, and 4 in an organ of its own, as a scanner shows it."""
    image = np.where(body, 2.0, 0.0).astype(np.float32)
    image[10:24, 10:24, 8:22] = 4.0
    return gaussian(image, 6.0, SPACING) + spot(AWAY, 4.0)


@pytest.fixture(scope="module")
def noise(clean):
    return 0.35 * np.sqrt(clean + 0.05) * correlated_noise(SHAPE, SPACING, FWHM, np.random.default_rng(4))


def volume(array, geometry=GEOMETRY):
    return Volume(array, geometry, SUVBW)


def checked(low, output, body, **labels):
    return check(volume(low), volume(output), body, **labels)


def sure(found, *kinds):
    return [f for f in found.findings if f.weight == BEYOND and (not kinds or f.kind in kinds)]


def test_the_truth_raises_no_alarm(clean, noise, body):
    found = checked(clean + noise, clean, body)
    assert sure(found) == [] and sentences(found.rows()) == []
    facts = found.summary
    assert facts["regions_flagged"] <= 2.5 * facts["regions_expected_by_chance"]
    assert facts["output_blurred_by_mm"] == 0 and facts["noise_removed_percent"] == pytest.approx(100, abs=12)
    np.testing.assert_allclose(facts["noise_fwhm_mm"], FWHM, atol=0.7)


def test_an_invented_lesion_is_found_where_it_was_put(clean, noise, body):
    found = sure(checked(clean + noise, clean + spot(AT, 4.0), body))
    assert [f.kind for f in found] == [NEW]
    one = found[0]
    assert np.linalg.norm(np.subtract(one.voxel, AT)) <= 1.5
    np.testing.assert_allclose(one.place_mm, (-120 + 4 * one.voxel[2], 30 + 4 * one.voxel[1], 500 + 4 * one.voxel[0]))
    assert one.change - 1.96 * one.sd < 4.0 < one.change + 1.96 * one.sd
    assert one.size_mm in (6.0, 8.5, 12.0) and one.p < 1e-4 and one.p_adjusted < 0.05 and one.z > 0


def test_a_deleted_lesion_is_found(clean, noise, body):
    found = sure(checked(clean + noise + spot(AT, 5.0), clean, body))
    assert [f.kind for f in found] == [LOST] and np.linalg.norm(np.subtract(found[0].voxel, AT)) <= 1.5
    assert found[0].change == pytest.approx(-5.0, abs=2 * found[0].sd) and found[0].z < 0


def test_lesions_whose_height_changed(clean, noise, body):
    lower = sure(checked(clean + noise + spot(AT, 11.0), clean + spot(AT, 5.6), body))
    higher = sure(checked(clean + noise + spot(AT, 9.0), clean + spot(AT, 17.0), body))
    assert [f.kind for f in lower] == [LOWERED] and [f.kind for f in higher] == [RAISED]


def test_a_faint_spot_within_the_noise_is_not_called_certain(clean, noise, body):
    """The other side of the test: a change that the counts cannot exclude is not asserted."""
    assert sure(checked(clean + noise, clean + spot(AT, 0.4), body)) == []


@pytest.mark.parametrize("low, output, kind", [(0, 3, NEW), (2, 3, RAISED), (-3, -1, FILLED), (3, 0, LOST),
                                               (3, 2, LOWERED), (0, -3, COLD), (-2, -3, "cold spot deepened")])
def test_names_of_what_happened(low, output, kind):
    assert spot_kind(low, output, 5.0, 5.0) == kind


def test_means_of_lesions_organs_and_the_body(clean, noise, body):
    organs = np.zeros(SHAPE, np.int16)
    organs[10:24, 10:24, 8:22] = 1
    organs[30:40, 15:30, 20:40] = 2
    lesions = np.zeros(SHAPE, np.int16)
    lesions[28:33, 28:33, 13:18] = 1
    maps = {"organs": LabelMap(organs, GEOMETRY, {1: "liver", 2: "muscle"}),
            "lesions": LabelMap(lesions, GEOMETRY, {1: "node"})}  # fmt: skip
    assert sure(checked(clean + noise, clean, body, **maps), LESION, ORGAN, TOTAL) == []

    changed = clean.copy()
    changed[organs == 1] *= 1.06
    found = sure(checked(clean + noise, changed, body, **maps), LESION, ORGAN, TOTAL)
    assert [(f.kind, f.organ) for f in found] == [(ORGAN, "liver")]
    assert found[0].change_percent == pytest.approx(6.0, abs=1.5)

    changed = clean - spot(AWAY, 3.0)
    found = sure(checked(clean + noise, changed, body, **maps), LESION)
    assert [f.lesion for f in found] == ["node"] and found[0].change_percent < -5

    found = sure(checked(clean + noise, clean * 1.03, body, **maps), TOTAL)
    assert [round(f.change_percent) for f in found] == [3]
    said = sentences(checked(clean + noise, clean * 1.03, body, **maps).rows())
    assert any("Total activity" in text and "%" in text for text in said)


def test_texture_that_was_invented_throughout(clean, noise, body):
    invented = correlated_noise(SHAPE, SPACING, (12.0,) * 3, np.random.default_rng(9)) * 0.5 * np.sqrt(clean + 0.05)
    found = sure(checked(clean + noise, clean + invented, body), STRUCTURE)
    assert found and max(f.change_percent for f in found) > 30
    assert any("not noise alone" in text for text in sentences([f.row(1, "SUV") for f in found]))


def test_a_structured_residual_is_rare_among_all_sizes():
    """p = 0.014 at one size: 0.028 of two that were looked at, and no finding of four."""
    scene = SimpleNamespace(body=np.ones((15, 15, 15), bool), grid=SimpleNamespace(spacing=SPACING))
    rough, even = (ZMap(Filter(24.0, SPACING), np.zeros(0), spread, 1.0, 28.0) for spread in (1.45, 1.05))
    (one,) = _structure(scene, [rough, even])
    assert one.p == pytest.approx(2 * ndtr(-0.45 / spread_error(24.0, 60.0**3))) and 0.0125 < one.p < 0.025
    assert one.p_adjusted == pytest.approx(2 * one.p)
    assert list(_structure(scene, [rough, *[even] * 3])) == []


def test_of_many_regions_one_must_be_the_rarer():
    """Holm: a mean that two in a hundred change so far is listed alone, and of two at twice its p, not of three."""
    scene = SimpleNamespace(grid=Grid.of(GEOMETRY))
    changed, same = (_Region(1, "liver", 100.0, AT, Change(10.0, after, 0.43)) for after in (11.0, 10.0))
    for kind in (LESION, ORGAN):
        found = [list(_changed_regions(scene, [changed, *[same] * n], kind, 0.0)) for n in range(3)]
        assert [len(one) for one in found] == [1, 1, 0]
        assert found[0][0].p_adjusted == found[0][0].p == pytest.approx(0.02, abs=0.001)
        assert found[1][0].p_adjusted == pytest.approx(2 * found[1][0].p)


def test_a_sharper_output_is_compared_at_the_scans_resolution(body, clean, noise):
    sharp = np.where(body, 2.0, 0.0).astype(np.float32)
    sharp[10:24, 10:24, 8:22] = 4.0
    image, width = matched(clean + noise - spot(AWAY, 4.0), sharp, body, SPACING)
    assert width == pytest.approx(6.0, abs=1.01)
    without = clean - spot(AWAY, 4.0)
    assert np.abs(image - without)[body].max() < 0.3 * np.abs(sharp - without)[body].max()
    assert sure(checked(clean + noise, sharp + spot(AWAY, 4.0), body), *SPOTS) == []
    assert matched(clean + noise, clean, body, SPACING)[1] == 0.0
    assert matched(clean + noise, gaussian(clean, 6.0, SPACING), body, SPACING)[1] == 0.0


def test_a_smoothed_scan_keeps_its_noise_and_raises_no_alarm_in_even_tissue(body):
    """Noise that the filter left in the output is no invention."""
    even = np.where(body, 2.0, 0.0).astype(np.float32)
    low = even + 0.5 * body * correlated_noise(SHAPE, SPACING, FWHM, np.random.default_rng(3))
    inner = body & (gaussian(body.astype(np.float32), 20.0, SPACING) > 0.97)
    assert sure(checked(low, gaussian(low, 6.0, SPACING), inner)) == []


def test_how_much_of_the_noise_the_output_lost(clean, noise, body):
    """An output that kept 0.5 (0.3) of the noise has a quarter (a tenth) of its variance."""
    for kept, lost in ((0.5, 75), (0.3, 91)):
        facts = checked(clean + noise, clean + np.float32(kept) * noise, body).summary
        assert facts["noise_removed_percent"] == pytest.approx(lost, abs=5)


def test_an_unchanged_scan_has_nothing_to_check(clean, noise, body):
    found = checked(clean + noise, clean + noise, body)
    assert found.rows() == [] and found.summary["checked"] is False


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 4, 5)])
def test_scans_too_small_are_said_to_be_so(shape):
    rng = np.random.default_rng(0)
    small = Geometry(shape[::-1], SPACING)
    low, output = (Volume(rng.uniform(1, 2, shape), small) for _ in range(2))
    assert check(low, output, np.ones(shape, bool)).summary["checked"] is False


def test_findings_scale_with_the_unit(clean, noise, body):
    one = checked(clean + noise, clean + spot(AT, 4.0), body)
    other = check(*(Volume((image * 5000.0).astype(np.float32), GEOMETRY, "Bq/ml")
                    for image in (clean + noise, clean + spot(AT, 4.0))), body)  # fmt: skip
    assert sure(other)[0].change == pytest.approx(5000 * sure(one)[0].change, rel=1e-3)
    assert "SUVchange" in one.rows()[0] and "change" in other.rows()[0] and "SUVchange" not in other.rows()[0]


def test_fine_voxels_are_put_together_and_places_stay_right():
    geometry = replace(GEOMETRY, size=(10, 9, 8), spacing=(1.0, 1.3, 6.0), direction=(0, -1, 0, 1, 0, 0, 0, 0, 1))
    grid = Grid.of(geometry)
    assert grid.factor == (1, 2, 2) and grid.spacing == (6.0, 2.6, 2.0)
    values = np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10)
    assert grid.mean(values)[2, 3, 4] == pytest.approx(values[2, 6:8, 8:10].mean())
    point = geometry.affine @ [8.5, 6.5, 2.0, 1.0]
    np.testing.assert_allclose(grid.point_mm((2, 3, 4)), point[:3])


def test_a_grid_around_the_body_knows_its_places_in_the_image():
    whole = Grid.of(replace(GEOMETRY, size=(30, 20, 16), spacing=(1.0, 1.7, 6.0)))
    mask = np.zeros((16, 20, 15), bool)
    mask[8, 9:12, 7] = True
    near = whole.around(mask, 6.0)
    assert near.box == (slice(7, 10), slice(5, 16), slice(4, 11))
    values = np.arange(16 * 20 * 30, dtype=np.float32).reshape(16, 20, 30)
    np.testing.assert_array_equal(near.mean(values), whole.mean(values)[near.box])
    assert near.index((1, 4, 3)) == whole.index((8, 9, 7)) and near.point_mm((1, 4, 3)) == whole.point_mm((8, 9, 7))
    np.testing.assert_allclose(near.place(near.index((1, 4, 3))), (1, 4, 3))


def test_air_around_the_patient_is_not_looked_at_and_changes_nothing(clean, noise, body):
    """Two fields of view of one patient: the same findings, in the same places of the patient."""
    narrow, wide = (12, 12, 12), (24, 30, 36)

    def seen(margin):
        geometry = replace(GEOMETRY, size=tuple(n + 2 * m for n, m in zip(SHAPE, margin))[::-1],
                           origin=tuple(o - 4.0 * m for o, m in zip(GEOMETRY.origin, margin[::-1])))  # fmt: skip
        pad = [(m, m) for m in margin]
        low, output = (Volume(np.pad(image, pad), geometry, SUVBW) for image in (clean + noise, clean + spot(AT, 4.0)))
        inside = np.pad(body, pad)
        return check(low, output, inside), evidence(low, output, inside).scene

    (few, scene), (more, other) = seen(narrow), seen(wide)
    reach = [2 * 12 + int(np.ptp(np.nonzero(body.any(axis=tuple({0, 1, 2} - {a})))[0])) + 1 for a in range(3)]
    assert scene.low.shape == other.low.shape == tuple(reach)
    assert len(few.findings) == len(more.findings) > 0
    for one, two in zip(few.findings, more.findings):
        assert (one.kind, one.z, one.p) == (two.kind, two.z, two.p)
        if one.place_mm is not None:
            np.testing.assert_allclose(one.place_mm, two.place_mm, atol=1e-6)
    first = few.findings[0]
    assert first.kind == NEW
    np.testing.assert_allclose(first.place_mm, [o + 4.0 * v for o, v in zip(GEOMETRY.origin, AT[::-1])], atol=4.1)


def test_places_have_no_minus_before_zero_and_name_their_axes():
    rows = [{"kind": NEW, "weight": BEYOND, "x_mm": -0.2, "y_mm": 0.0, "z_mm": -12.6}]
    assert f"{NEW} at (0, 0, -13) mm LPS" in sentences(rows)[0]
