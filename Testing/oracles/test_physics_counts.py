"""Counts that are given or told are those that the scanner records, whatever its time of flight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.physics_scenes import disc
from oracles.test_physics_dose import APART, GEOMETRY, PIXEL, SCANNER, N, air, body, told_counts, volume, water
from petdiffusion.physics import dose
from petdiffusion.physics.presets import SCANNERS
from petdiffusion.physics.scan import Scan
from petdiffusion.progress import Run
from petdiffusion.volume import SUVBW, Facts

WITHOUT = replace(SCANNER, tof_ps=None, iterations=SCANNER.equivalent_iterations)
SLICES_MM = (4.0, PIXEL, PIXEL)
INJECTED = Facts(injected_dose_bq=3e8, weight_kg=75.0, uptake_minutes=60.0, frame_seconds=180.0, half_life_s=6586.2)


def gain() -> float:
    """Budinger's: the diameter of the body over 1.6 times the place that 527 ps tell."""
    diameter = 2 * np.sqrt((water(1)[0].numpy() > 0.05).sum() * PIXEL**2 / np.pi)
    return float(diameter / (1.6 * 527.0 * 0.299792458 / 2))


def test_recorded_counts_with_time_of_flight_are_worth_more_of_them_without() -> None:
    assert gain() > 1.5
    scans = [dose.acquire(body(4), APART, mu=water(4), preset=scanner, counts=counts, seed=3)[1.0]
             for scanner, counts in ((SCANNER, 4e5), (WITHOUT, 4e5 * gain()))]  # fmt: skip
    torch.testing.assert_close(*scans, rtol=1e-3, atol=1e-3)


def test_a_scans_recorded_counts_give_the_noise_that_its_time_of_flight_leaves() -> None:
    """Asked for counts times the gain, users would put in almost twice the variance."""
    pet, ct = volume(body(20)), volume(torch.where(water(20) > 0, 0.0, -1000.0), unit="HU")
    noise = [dose.reduce_dose(pet, 0.1, preset=scanner, counts=counts, ct=ct, seed=5).array - pet.array
             for scanner, counts in ((SCANNER, 4e6), (WITHOUT, 4e6 * gain()))]  # fmt: skip
    assert noise[0].std() == pytest.approx(noise[1].std(), rel=0.06)


def test_told_counts_given_back_change_nothing() -> None:
    pet = volume(body(10), SLICES_MM, unit=SUVBW, facts=INJECTED)
    ct = volume(torch.where(water(10) > 0, 0.0, -1000.0), SLICES_MM, unit="HU")
    run = Run()
    estimated = dose.reduce_dose(pet, 0.1, preset=SCANNER, ct=ct, run=run).array - pet.array
    given = dose.reduce_dose(pet, 0.1, preset=SCANNER, ct=ct, counts=told_counts(run)).array - pet.array
    assert given.std() == pytest.approx(estimated.std(), rel=0.06)


@pytest.mark.parametrize(("name", "cps", "axial_mm", "seconds", "beds"), [
    ("Vision", 16.4, 263.0, 150.0, 1.9), ("Discovery", 7.5, 157.0, 150.0, 1.3), ("mCT", 9.6, 221.0, 300.0, 1.0),
])  # fmt: skip
def test_the_usual_counts_of_scanners_by_hand(name, cps, axial_mm, seconds, beds) -> None:
    """Activity x sensitivity x the NEMA line's share in the scanner x time x overlapping beds; no attenuation."""
    run = Run()
    pet = volume(body(10), (3.0, PIXEL, PIXEL), unit=SUVBW, facts=replace(INJECTED, frame_seconds=seconds))
    scanner = replace(SCANNERS[name], n_angles=60, subsets=1, iterations=1)
    dose.reduce_dose(pet, 0.5, preset=scanner, run=run, ct=air(body(10), (3.0, PIXEL, PIXEL)))
    kbq = float(body(10).sum()) * 3.0 * PIXEL**2 / 1000 * 3e8 * 0.5 ** (3600 / 6586.2) / 75000 / 1000
    assert told_counts(run) == pytest.approx(kbq * cps * 700 / axial_mm * seconds * beds, rel=0.03)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_post_filter_is_as_wide_in_millimetres_along_every_axis(axis) -> None:
    """Variances add: what the filter adds along an axis is its own, in voxels four times as high as wide."""
    image = torch.zeros(15, N, N)
    image[6:9] = torch.tensor(disc(GEOMETRY, 0, 0, 30), dtype=torch.float32)
    spacing = (12.0, PIXEL / 2, PIXEL / 2)

    def variance(filter_mm: float) -> float:
        scan = Scan.of(image, spacing, replace(WITHOUT, post_filter_mm=filter_mm))
        found = scan.reconstruct(scan.trues + scan.background, 1.0).double().sum([a for a in range(3) if a != axis])
        at = torch.arange(len(found)) * spacing[axis]
        mean = (found * at).sum() / found.sum()
        return float((found * (at - mean) ** 2).sum() / found.sum())

    added = variance(20.0) - variance(0.0)
    assert added == pytest.approx((20.0 / 2.3548) ** 2, rel=0.1)  # some lies in the air up to the border
