"""Scans of digital patients: noise follows the dose, totals do not, facts are those of the scan."""

import math

import numpy as np
import pytest
from petdiffusion.errors import OptionError, PhysicsError
from petdiffusion.phantoms.scan import effective_seconds, facts_of, patient_of, preset_of, scan
from petdiffusion.volume import SUVBW, Facts
from support.cylinder import cylinder

COUNTS = 4e5


def repeated(fractions, times=6, counts=COUNTS, **options):
    """Scans of one patient that differ by their noise alone."""
    patient = cylinder(1)
    return [scan(patient, fractions=fractions, preset="mCT", counts=counts, seed=seed, **options)
            for seed in range(times)]


def inner(scans, fraction):
    """Values [scan, voxel] well inside the even part of the cylinder."""
    y, x = np.mgrid[:32, :32] - 15.5
    even = (np.hypot(x, y) < 9) & (np.hypot(x - 4, y + 2) > 6)
    return np.stack([s.at(fraction).array[2:-2][:, even] for s in scans])


def test_noise_goes_as_one_over_the_root_of_the_fraction() -> None:
    fractions = (1.0, 0.25, 0.0625)
    scans = repeated(fractions, times=8, counts=2e7)  # enough that no voxel comes near zero
    sd = [inner(scans, f).std(0, ddof=1).mean() for f in fractions]
    slope = np.polyfit(np.log(fractions), np.log(sd), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.06)


def test_reduced_doses_have_the_total_of_the_normal_dose() -> None:
    scans = repeated((1.0, 0.25, 0.1))
    normal = np.mean([s.normal.array.sum() for s in scans])
    for fraction in (0.25, 0.1):
        low = [s.low[fraction].array.sum() for s in scans]
        assert np.mean(low) == pytest.approx(normal, rel=0.02)


def test_the_normal_dose_has_the_total_of_the_truth() -> None:
    found = scan(cylinder(2), fractions=(1.0,), counts=3e7)
    assert found.normal.array.sum() == pytest.approx(found.truth.array.sum(), rel=0.03)
    assert inner([found], 1.0).mean() == pytest.approx(found.truth.array[5, 12, 12], rel=0.05)


def noise_correlation(nested: bool) -> float:
    scans = repeated((1.0, 0.5), times=5, nested=nested)
    normal, low = inner(scans, 1.0), inner(scans, 0.5)
    normal, low = (v - v.mean(0) for v in (normal, low))
    return float((normal * low).sum() / math.sqrt((normal**2).sum() * (low**2).sum()))


def test_a_nested_scan_shares_its_events_and_a_separate_one_does_not() -> None:
    """Half of the events in common: correlation sqrt(1/2)."""
    assert noise_correlation(nested=True) == pytest.approx(math.sqrt(0.5), abs=0.12)
    assert abs(noise_correlation(nested=False)) < 0.12


def test_a_scan_belongs_to_its_seed() -> None:
    patient = cylinder(3)
    one, same, other = (scan(patient, fractions=(0.25,), seed=seed, counts=COUNTS) for seed in (5, 5, 6))
    assert np.array_equal(one.normal.array, same.normal.array)
    assert np.array_equal(one.low[0.25].array, same.low[0.25].array)
    assert not np.array_equal(one.low[0.25].array, other.low[0.25].array)


def test_images_say_what_they_are() -> None:
    patient = cylinder(4)
    found = scan(patient, fractions=(0.25, 1.0), seed=2, counts=COUNTS)
    assert set(found.low) == {0.25} and found.at(1.0) is found.normal and found.at(0.25) is found.low[0.25]
    for fraction in (1.0, 0.25):
        volume = found.at(fraction)
        assert volume.unit == SUVBW and volume.geometry == patient.pet.geometry
        assert volume.facts.dose_fraction == fraction
        assert (volume.facts.tracer, volume.facts.weight_kg) == ("FDG", 70.0)
    facts = found.normal.facts
    decayed = facts.injected_dose_bq * 0.5 ** (facts.uptake_minutes * 60 / 6586.2)
    assert facts.suv_factor == pytest.approx(70_000 / decayed, rel=0.005)
    assert 125e6 < facts.injected_dose_bq < 300e6


def test_noise_without_given_counts_is_that_of_the_dose() -> None:
    """Twice the frame's time is twice the counts: the facts decide, not the image."""
    from petdiffusion.phantoms import scan as module

    patient, spread = cylinder(1), {}
    for seconds in (60.0, 960.0):
        protocol = module.Protocol(200.0, 45.0, seconds, 1e12)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(module.PROTOCOLS, ("brain", "FDG"), protocol)
            scans = [scan(patient, fractions=(1.0,), seed=seed) for seed in range(5)]
        spread[seconds] = (inner(scans, 1.0) / inner(scans, 1.0).mean(1, keepdims=True)).std(0, ddof=1).mean()
    assert spread[60.0] / spread[960.0] == pytest.approx(4.0, rel=0.15)


def test_decay_during_the_frame_is_counted() -> None:
    """Worked by hand: over one half-life the mean activity is (1 - 1/2) / ln 2 of that at the start."""
    facts = Facts(half_life_s=1200.0, frame_seconds=1200.0)
    assert effective_seconds(facts) == pytest.approx(1200 * 0.5 / math.log(2))
    assert effective_seconds(Facts(half_life_s=1e12, frame_seconds=300.0)) == pytest.approx(300.0)


def test_dasb_is_scanned_on_the_hrrt_and_fdg_on_the_mct() -> None:
    assert preset_of(cylinder(tracer="DASB"), None).name == "HRRT"
    assert preset_of(cylinder(), None).name == "mCT"
    assert preset_of(cylinder(), "vision").name == "Vision"


def test_patients_of_one_seed_have_other_doses_in_other_scans() -> None:
    patient = cylinder(9)
    doses = {facts_of(patient, preset_of(patient, None), seed).injected_dose_bq for seed in range(5)}
    assert len(doses) == 5


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_impossible_fractions_are_refused(fraction) -> None:
    with pytest.raises(PhysicsError, match="fraction"):
        scan(cylinder(), fractions=(fraction,))


def test_unknown_scanners_and_protocols_are_refused() -> None:
    with pytest.raises(PhysicsError, match="Did you mean 'Vision'"):
        scan(cylinder(), preset="visoin")
    with pytest.raises(PhysicsError, match="no usual protocol"):
        scan(cylinder(kind="body", tracer="DASB"), preset="mCT")


@pytest.mark.parametrize(("kind", "seed"), [("foot", 1), ("brain", -1), ("brain", 1.5), ("body", True)])
def test_impossible_patients_are_refused(kind, seed) -> None:
    with pytest.raises(OptionError):
        patient_of(kind, seed)
