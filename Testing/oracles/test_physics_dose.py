"""Simulated scans and dose reduction: how noise must go with counts. Slices far apart serve as repeats of one scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.physics_scenes import disc
from petdiffusion.errors import GeometryError
from petdiffusion.physics import dose, poisson
from petdiffusion.physics.attenuation import WATER_PER_CM, mu_of_ct
from petdiffusion.physics.blur import FWHM_PER_SIGMA, Psf
from petdiffusion.physics.geometry import ScanGeometry
from petdiffusion.physics.presets import SCANNERS
from petdiffusion.physics.recon import osem
from petdiffusion.physics.scan import Scan
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, BQML, HU, REDUCED_DOSE, SUVBW, Facts, Geometry, Volume

PIXEL, N = 6.0, 48
APART = (1e5, PIXEL, PIXEL)
"""Spacing of slices so far apart that nothing is blurred across them."""
SCANNER = replace(SCANNERS["mCT"], n_angles=60, subsets=6, post_filter_mm=9.0)
NO_TOF = replace(SCANNER, tof_ps=None, iterations=SCANNER.equivalent_iterations)
"""The same without time of flight: in air, as these scans are reduced, no body tells what it is worth."""
GEOMETRY = ScanGeometry(N, PIXEL)


def body(repeats: int) -> torch.Tensor:
    image = disc(GEOMETRY, 0, 0, 110) + 2 * disc(GEOMETRY, -45, 20, 25) - 0.7 * disc(GEOMETRY, 40, -10, 30)
    return torch.tensor(image, dtype=torch.float32).expand(repeats, N, N).contiguous()


def water(repeats: int) -> torch.Tensor:
    return torch.tensor(disc(GEOMETRY, 0, 0, 110) * WATER_PER_CM, dtype=torch.float32).expand(repeats, N, N)


def uniform_region() -> np.ndarray:
    return (disc(GEOMETRY, 5, -55, 30) == 1) | (disc(GEOMETRY, 15, 55, 30) == 1)


def volume(image: torch.Tensor, spacing_mm=APART, **changes) -> Volume:
    size = tuple(image.shape[::-1])
    return Volume(image.numpy(), Geometry(size, tuple(spacing_mm[::-1])), **changes)


def air(image: torch.Tensor, spacing_mm=APART) -> Volume:
    return volume(torch.full_like(image, -1000.0), spacing_mm, unit=HU)


def test_noise_falls_with_the_root_of_the_counts_over_two_decades() -> None:
    repeats, levels, region = 40, np.geomspace(2e4, 2e6, 5), uniform_region()
    activity = body(repeats)
    sds = [float(dose.acquire(activity, APART, preset=SCANNER, counts=n, per_slice=True, seed=3)[1.0]
                 .var(0).numpy()[region].mean()) ** 0.5 for n in levels]
    slope = np.polyfit(np.log(levels), np.log(sds), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.03)


def test_totals_are_kept_at_every_dose() -> None:
    activity, mu = body(24), water(24)
    images = dose.acquire(activity, APART, mu=mu, preset=SCANNER, counts=3e5, per_slice=True, seed=1,
                          fractions=(1.0, 0.25, 0.05))
    for image in images.values():
        assert float(image.sum() / activity.sum()) == pytest.approx(1, abs=0.01)


def test_attenuation_makes_the_middle_noisier_than_the_edge() -> None:
    activity = torch.tensor(disc(GEOMETRY, 0, 0, 110), dtype=torch.float32).expand(60, N, N).contiguous()
    middle, edge = disc(GEOMETRY, 0, 0, 30) == 1, (disc(GEOMETRY, 0, 0, 95) == 1) & (disc(GEOMETRY, 0, 0, 75) == 0)

    def contrast(mu: torch.Tensor | None) -> float:
        scanner = replace(SCANNER, iterations=8)
        spread = dose.acquire(activity, APART, mu=mu, preset=scanner, counts=2e5, per_slice=True)[1.0].var(0).numpy()
        return spread[middle].mean() / spread[edge].mean()

    assert contrast(water(60)) > 1.3 * contrast(None)


def test_low_counts_are_part_of_the_same_events_or_a_scan_of_their_own() -> None:
    activity, region = body(60), uniform_region()

    def correlation(nested: bool) -> float:
        images = dose.acquire(activity, APART, preset=SCANNER, counts=3e5, per_slice=True, fractions=(1.0, 0.25),
                              nested=nested, seed=5)
        full, low = ((v - v.mean(0)).numpy()[:, region] for v in images.values())
        return (full * low).mean() / (full.std() * low.std())

    # Var(full) = v, Var(quarter) = 4 v and the quarter's events are in both: correlation sqrt(1/4).
    assert correlation(True) == pytest.approx(0.5, abs=0.05) and abs(correlation(False)) < 0.05


def test_an_image_depends_on_its_seed_and_fraction_only() -> None:
    activity = body(2)
    settings = dict(preset=SCANNER, counts=1e5)
    one = dose.acquire(activity, APART, fractions=(1.0, 0.1, 0.5), seed=2, **settings)
    assert torch.equal(one[0.1], dose.acquire(activity, APART, fractions=(0.1,), seed=2, **settings)[0.1])
    assert not torch.equal(one[0.1], dose.acquire(activity, APART, fractions=(0.1,), seed=3, **settings)[0.1])


@pytest.mark.parametrize("fraction", [0.5, 0.2, 0.05])
@pytest.mark.parametrize("models_psf", [True, False], ids=["psf", "no_psf"])
def test_reduced_scans_have_the_noise_of_real_low_dose_scans(fraction, models_psf) -> None:
    """Variance of reduce_dose(full scan) against that of scans acquired at the low dose, and their means."""
    repeats, total = 100, 100 * 4e5
    scanner = replace(NO_TOF, models_psf=models_psf)
    activity = body(repeats)
    images = dose.acquire(activity, APART, preset=scanner, counts=total, fractions=(1.0, fraction), nested=False,
                          seed=9)
    full = volume(images[1.0])
    reduced = dose.reduce_dose(full, fraction, preset=scanner, counts=total, ct=air(activity), seed=4)
    inside = disc(GEOMETRY, 0, 0, 100) == 1
    variances = [v.var(0)[inside].mean() for v in (reduced.array.astype(float), images[fraction].double().numpy())]
    assert variances[0] / variances[1] == pytest.approx(1, abs=0.1)
    means = [float(v.mean(0)[inside].mean()) for v in (reduced.array, images[fraction].numpy(), full.array)]
    assert means[0] == pytest.approx(means[1], rel=0.01) and means[0] == pytest.approx(means[2], rel=0.01)
    totals = [float(v.sum()) for v in (reduced.array, images[fraction], full.array)]
    assert totals[0] == pytest.approx(totals[1], rel=0.01) and totals[0] == pytest.approx(totals[2], rel=0.02)


def test_reduced_scans_have_the_texture_of_real_low_dose_scans() -> None:
    """Correlation of the noise between neighbours 1, 2 and 3 pixels apart."""
    repeats, total, fraction = 100, 100 * 4e5, 0.1
    activity = body(repeats)
    images = dose.acquire(activity, APART, preset=NO_TOF, counts=total, fractions=(1.0, fraction), nested=False)
    reduced = dose.reduce_dose(volume(images[1.0]), fraction, preset=NO_TOF, counts=total, ct=air(activity))

    def correlations(stack: np.ndarray) -> np.ndarray:
        noise = (stack - stack.mean(0))[:, 12:36, 12:36]
        power = (noise**2).mean()
        return np.array([(noise[:, :, k:] * noise[:, :, :-k]).mean() / power for k in (1, 2, 3)])

    assert correlations(reduced.array) == pytest.approx(correlations(images[fraction].numpy()), abs=0.05)


def test_dose_reduction_keeps_unit_grid_and_facts_and_notes_the_fraction() -> None:
    pet = volume(body(3), (4.0, PIXEL, PIXEL), unit=BQML, facts=Facts(tracer="FDG", dose_fraction=0.5))
    reduced = dose.reduce_dose(pet, 0.2, preset=SCANNER, counts=1e6)
    assert reduced.unit == BQML and reduced.geometry is pet.geometry and reduced.facts.tracer == "FDG"
    assert reduced.facts.dose_fraction == pytest.approx(0.1)
    same = dose.reduce_dose(pet, 1.0)
    assert np.array_equal(same.array, pet.array) and same.facts.dose_fraction == 0.5
    again = dose.reduce_dose(pet, 0.2, preset=SCANNER, counts=1e6)
    assert np.array_equal(again.array, reduced.array)
    assert not np.array_equal(dose.reduce_dose(pet, 0.2, preset=SCANNER, counts=1e6, seed=1).array, reduced.array)


def test_a_dose_that_was_reduced_before_left_fewer_counts() -> None:
    """Its facts still tell the dose and duration of the scan before; a smaller injection tells itself."""
    facts = Facts(injected_dose_bq=3e8, weight_kg=75.0, uptake_minutes=60.0, frame_seconds=120.0)

    def estimated(**known: object) -> float:
        run = Run()
        pet = volume(body(2), (4.0, PIXEL, PIXEL), unit=SUVBW, facts=replace(facts, **known))
        dose.reduce_dose(pet, 0.5, preset=SCANNER, run=run)
        (told,) = [float(text.split("; ")[1].split(" were")[0]) for text in run.warnings if "were estimated" in text]
        return told

    whole = estimated()
    assert estimated(dose_fraction=0.1, simulated=REDUCED_DOSE) == pytest.approx(0.1 * whole, rel=0.01)
    assert estimated(dose_fraction=0.1) == pytest.approx(whole, rel=0.01)


def test_negative_values_of_a_real_image_are_kept_and_others_not_made() -> None:
    image = body(3)
    assert dose.reduce_dose(volume(image), 0.01, preset=SCANNER, counts=3e5).array.min() >= 0
    image[:, :3] = -0.5
    assert dose.reduce_dose(volume(image), 0.5, preset=SCANNER, counts=1e9).array[:, :3] == pytest.approx(-0.5, abs=0.1)


def test_noise_scales_with_the_unit() -> None:
    pet = volume(body(2))
    thousand = dose.reduce_dose(pet.with_array(pet.array * 1000), 0.1, preset=SCANNER, counts=1e6)
    one = dose.reduce_dose(pet, 0.1, preset=SCANNER, counts=1e6)
    assert thousand.array == pytest.approx(one.array * 1000, rel=1e-2, abs=1)


def test_usual_counts_are_sensitivity_times_activity_times_time() -> None:
    """100 MBq in 20 slices, no attenuation: 100e3 kBq x 9.6 cps/kBq x 700/221 x 300 s x the gain of time of flight."""
    activity, spacing = body(20), (3.0, PIXEL, PIXEL)
    bqml = activity * (100e6 / (activity.sum() * 3.0 * PIXEL * PIXEL / 1000))
    scan = Scan.of(bqml, spacing, SCANNER)
    diameter = 2 * np.sqrt(int((activity[0] > 0).sum()) * PIXEL**2 / np.pi)
    gain = float(diameter / (1.6 * 527.0 * 0.299792458 / 2))
    trues = scan.trues * dose._scale(scan, None, False, bqml > 0, BQML, Facts())
    assert float(trues.sum()) == pytest.approx(100e3 * 9.6 * 700 / 221 * 300 * gain, rel=0.02)


def test_dose_weight_and_time_give_the_counts() -> None:
    activity, spacing = body(10), (3.0, PIXEL, PIXEL)
    facts = Facts(injected_dose_bq=3e8, weight_kg=75.0, uptake_minutes=60.0, frame_seconds=180.0, half_life_s=6586.2)
    run = Run()
    dose.reduce_dose(volume(activity, spacing, unit="SUVbw", facts=facts), 0.5, preset=SCANNER, run=run,
                     ct=air(activity, spacing))
    said = [w for w in run.warnings if "true counts" in w]
    kbq = float(activity.sum()) * 3.0 * PIXEL**2 / 1000 * 3e8 * 0.5 ** (3600 / 6586.2) / 75000 / 1000
    # Without attenuation there is no body in the map, and so no gain from time of flight.
    expected = kbq * 9.6 * 700 / 221 * 180
    assert len(said) == 1 and "dose and weight" in said[0]
    assert float(said[0].split("; ")[1].split()[0]) == pytest.approx(expected, rel=0.03)


def lumpy(slices: int) -> torch.Tensor:
    """A body full of small organs, with edges along every axis."""
    z = 4.0 * torch.arange(slices)[:, None, None]
    y, x = (PIXEL * torch.arange(N) for _ in range(2))
    waves = torch.sin(z / 9) * torch.sin(x[None, None] / 11) * torch.sin(y[None, :, None] / 10)
    return body(slices) * (1 + (waves > 0.3) - 0.5 * (waves < -0.3))


@pytest.mark.parametrize(("structure", "total"), [(body, 3e6), (body, 3e7), (lumpy, 3e6)])
def test_the_noise_of_the_image_gives_the_counts(total, structure) -> None:
    spacing = (4.0, PIXEL, PIXEL)
    activity = structure(40)
    image = dose.acquire(activity, spacing, preset=NO_TOF, counts=total, seed=2)[1.0]
    run = Run()
    dose.reduce_dose(volume(image, spacing, unit=ARBITRARY), 0.5, preset=NO_TOF, run=run, ct=air(activity, spacing))
    said = next(w for w in run.warnings if "noise of the image" in w)
    assert 0.6 < float(said.split("; ")[1].split()[0]) / total < 1.6


def test_without_facts_or_noise_the_usual_dose_is_taken_and_said() -> None:
    run = Run()
    pet = volume(torch.ones(12, 30, 30) * 2.0, (5.0, 8.0, 8.0), unit="SUVbw", facts=Facts(scanner="Biograph128_mCT"))
    dose.reduce_dose(pet, 0.5, run=run)
    assert any("usual dose of the Siemens Biograph mCT" in w for w in run.warnings)
    assert any("No CT" in w for w in run.warnings) and not any("scanner is not known" in w for w in run.warnings)


def test_expected_counts_of_a_scan_hold_trues_and_background() -> None:
    scan = Scan.of(body(3), APART, SCANNER, water(3))
    scale = poisson.scale_to_counts(scan.trues, 1e5)
    assert float(scan.expected(scale).sum()) == pytest.approx(1e5 * (1 + SCANNER.background.fraction), rel=1e-4)


ROD_MM = (2.0, PIXEL, PIXEL)


def rod() -> torch.Tensor:
    """Along the axis of the scanner, hot in one slice of many thin ones."""
    image = torch.zeros(25, N, N)
    image[12] = torch.tensor(disc(GEOMETRY, 0, 0, 60), dtype=torch.float32)
    return image


def test_detectors_blur_along_the_axis_by_the_distance_of_the_slices() -> None:
    slices = Scan.of(rod(), ROD_MM, SCANNER).trues.sum((1, 2)).double().numpy()
    variance = (slices * ((np.arange(25) - 12) * 2.0) ** 2).sum() / slices.sum()
    assert variance == pytest.approx((SCANNER.axial_resolution_mm / FWHM_PER_SIGMA) ** 2, rel=0.05)


def test_a_reconstruction_that_models_the_blur_takes_it_away_by_the_distance_of_the_slices() -> None:
    scanner = replace(SCANNER, post_filter_mm=0.0)
    scan = Scan.of(rod(), ROD_MM, scanner)
    psf = Psf(scanner.resolution_mm, scanner.axial_resolution_mm, 2.0)
    expected = osem(scan.trues, scan.geometry, iterations=scanner.equivalent_iterations, subsets=scanner.subsets,
                    background=scan.background, psf=psf)  # fmt: skip
    torch.testing.assert_close(scan.reconstruct(scan.trues, 1.0), expected)
    slices = expected.sum((1, 2))
    assert slices[12] > 0.75 * slices.sum()


def told_counts(run: Run) -> float:
    """Those that a run says it estimated."""
    (told,) = [text for text in run.warnings if "were estimated" in text]
    return float(told.split("; ")[1].split(" were")[0])


@pytest.mark.parametrize(("unit", "known", "told"), [
    (BQML, {"frame_seconds": 180.0}, "the activity of the image in Bq/ml, and 180 s a bed position"),
    (SUVBW, {"frame_seconds": 180.0, "injected_dose_bq": 3e8, "weight_kg": 75.0},
     "dose and weight of the scan, and 180 s a bed position"),
    (SUVBW, {}, "the usual dose of the Siemens Biograph mCT and the usual duration of a scan"),
    (BQML, {}, "the activity of the image in Bq/ml and the usual duration of a scan"),
])  # fmt: skip
def test_where_counts_are_estimated_from_is_a_sentence(unit, known, told) -> None:
    """Even images have no noise that could tell them."""
    run = Run()
    pet = volume(torch.ones(12, 30, 30) * 2.0, (5.0, 8.0, 8.0), unit=unit, facts=Facts(**known))
    dose.reduce_dose(pet, 0.5, preset="mCT", run=run)
    (said,) = [text for text in run.warnings if "true counts" in text]
    start, _, rest = said.partition("; ")
    assert start == "The scan's true counts are not known"
    assert rest.split(" ", 1)[1] == f"were estimated from {told}. Give the counts to replace this."


SCAN_MM = (8.0, PIXEL, PIXEL)
KNOWN = Facts(frame_seconds=120.0, scanner="SIEMENS Biograph mCT")


def shifted(ct: Volume, z_mm: float) -> Volume:
    return replace(ct, geometry=replace(ct.geometry, origin=(0.0, 0.0, z_mm)))


def with_ct(ct: Volume | None) -> tuple[float, list[str]]:
    run = Run()
    dose.reduce_dose(volume(body(12) * 1000, SCAN_MM, unit=BQML, facts=KNOWN), 0.5, preset=SCANNER, ct=ct, run=run)
    return told_counts(run), run.warnings


def test_where_the_ct_does_not_reach_the_body_attenuates_as_water() -> None:
    """Taken for air, the body there would let 5 times as many photon pairs out."""
    ct = volume(torch.where(water(12) > 0, 0.0, -1000.0), SCAN_MM, unit=HU)
    whole, said = with_ct(ct)
    assert not any("covers" in text for text in said)
    part, said = with_ct(shifted(ct, 8 * 8.0))
    assert part == pytest.approx(whole, rel=0.05)
    assert any("covers only 33%" in text and "water" in text for text in said)
    with pytest.raises(GeometryError, match="covers only 0%"):
        with_ct(shifted(ct, 5000.0))


def upright_and_coronal() -> tuple[Volume, Volume]:
    """One scan stored in axial slices, and in coronal ones from the front to the back."""
    image = (body(16) * 1000).numpy() * (1 + np.arange(16) % 5)[:, None, None]
    upright = Volume(image, Geometry((N, N, 16), SCAN_MM[::-1], (1.0, 2.0, 3.0)), BQML, KNOWN)
    coronal = Geometry((N, 16, N), (PIXEL, 8.0, PIXEL), (1.0, 2.0, 3.0 + 15 * 8.0), (1, 0, 0, 0, 0, 1, 0, -1, 0))
    return upright, Volume(image.transpose(1, 0, 2)[:, ::-1], coronal, BQML, KNOWN)


def test_the_scanners_axis_is_the_patients_however_the_file_lies() -> None:
    upright, coronal = upright_and_coronal()
    expected, found = (dose.reduce_dose(v, 0.2, preset=SCANNER, seed=3) for v in (upright, coronal))
    assert found.geometry == coronal.geometry and found.facts == expected.facts
    np.testing.assert_allclose(found.array[:, ::-1].transpose(1, 0, 2), expected.array, rtol=1e-4, atol=1)


def test_a_ct_is_averaged_over_the_pets_voxels_along_the_same_axes_however_it_lies() -> None:
    rng, fine = np.random.default_rng(0), Geometry((40, 40, 60), (2.0, 2.0, 1.0))
    hu = rng.normal(0, 200, fine.shape)
    pet = Geometry((10, 10, 6), (6.0, 6.0, 8.0), (9.0, 9.0, 6.0))
    sagittal = Geometry((40, 60, 40), (2.0, 1.0, 2.0), (0.0, 0.0, 0.0), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    turned = Volume(hu.transpose(2, 0, 1), sagittal, HU)  # [x, z, y]
    expected = mu_of_ct(Volume(hu, fine, HU), pet).numpy()
    np.testing.assert_allclose(mu_of_ct(turned, pet).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("wide", [3.0, 6.0])
def test_a_ct_is_averaged_over_as_much_as_a_pet_voxel_holds(axis, wide) -> None:
    """How a sheet of 1 mm fades in voxels further and further from it spreads as a box of the voxel's width does."""
    hu = np.full((41, 41, 41), -1000.0)
    np.moveaxis(hu, 2 - axis, 0)[20] = 0
    ct, offsets = Volume(hu, Geometry((41, 41, 41), (1.0, 1.0, 1.0)), HU), np.arange(-12, 13)
    spacing = tuple(wide if a == axis else 1.0 for a in range(3))
    places = [tuple(20.0 + (offset if a == axis else 0) for a in range(3)) for offset in offsets]
    seen = np.array([float(mu_of_ct(ct, Geometry((1, 1, 1), spacing, place))[0, 0, 0]) for place in places])
    assert seen.sum() == pytest.approx(WATER_PER_CM, rel=0.01)
    assert (seen * offsets**2).sum() / seen.sum() == pytest.approx((wide**2 - 1) / 12, rel=0.05)


FRAME_S = 180.0


def counts_of(facts: Facts, unit: str = BQML, times: float = 1.0) -> float:
    run = Run()
    dose.reduce_dose(volume(body(4) * times, SCAN_MM, unit=unit, facts=facts), 0.5, preset=SCANNER, run=run)
    return told_counts(run)


@pytest.mark.parametrize("half_life_s", [6586.2, 1223.4])
def test_one_physical_scan_has_one_number_of_counts_however_its_decay_was_corrected(half_life_s) -> None:
    """Injected an hour before a frame of 3 minutes; corrected to the scan's start, to the injection, not at all."""
    half, hour = 2 ** (FRAME_S / 2 / half_life_s), 2 ** (3600 / half_life_s)
    seen = Facts(frame_seconds=FRAME_S, half_life_s=half_life_s)
    expected = counts_of(seen, times=1000)
    assert counts_of(replace(seen, decay_factor=half), times=1000 * half) == pytest.approx(expected, rel=0.01)
    late = replace(seen, decay_factor=half * hour)
    assert counts_of(late, times=1000 * half * hour) == pytest.approx(expected, rel=0.01)
    suv = replace(late, suv_factor=2e-4, injected_dose_bq=3.7e8, weight_kg=74.0)  # 74 kg / 370 MBq = 2e-4, at injection
    assert counts_of(suv, SUVBW, 1000 * half * hour * 2e-4) == pytest.approx(expected, rel=0.01)


def test_a_nuclide_with_fewer_positrons_gives_fewer_counts() -> None:
    """Sensitivities are those of fluorine-18, so its own 96.7 % change nothing."""
    facts = Facts(frame_seconds=FRAME_S)
    fluorine = counts_of(facts, times=1000)
    assert counts_of(replace(facts, positron_fraction=0.967), times=1000) == fluorine
    copper = counts_of(replace(facts, positron_fraction=0.176), times=1000)
    assert copper == pytest.approx(fluorine * 0.176 / 0.967, rel=0.01)
