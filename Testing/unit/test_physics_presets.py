"""Scanners and attenuation: figures worked out by hand, and what every preset must be able to do."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from petdiffusion.physics import attenuation, counts, dose, presets
from petdiffusion.physics.presets import SCANNERS
from petdiffusion.volume import BQML, HU, SUVBW, Facts, Geometry, Volume


@pytest.mark.parametrize("name", SCANNERS)
def test_every_scanner_scans(name) -> None:
    activity = torch.zeros(3, 32, 32)
    activity[:, 8:24, 6:26] = 2.0
    scanner = replace(SCANNERS[name], iterations=min(SCANNERS[name].iterations, 10))
    image = dose.acquire(activity, (4.0, 6.0, 6.0), mu=(activity > 0) * 0.096, preset=scanner, counts=3e6)[1.0]
    assert image.shape == activity.shape and torch.isfinite(image).all() and image.min() >= 0
    assert float(image.sum() / activity.sum()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", SCANNERS)
def test_figures_are_those_of_a_pet_scanner(name) -> None:
    s = SCANNERS[name]
    assert 2 <= s.resolution_mm <= 7 and 2 <= s.axial_resolution_mm <= 7 and s.n_angles % s.subsets == 0
    assert 0 < s.scatter_fraction < 0.6 and 0 <= s.randoms < 2 and 1 <= s.beds_per_slice <= 2.5
    assert 150 <= s.axial_fov_mm <= 2000 and 1 <= s.sensitivity <= 200 and s.background.fraction < 2.5


def test_reconstructions_are_the_papers() -> None:
    used = {name: (s.iterations, s.subsets, s.post_filter_mm) for name, s in SCANNERS.items()}
    assert used["mCT"] == (2, 21, 5.0) and used["Vision"] == (2, 5, 2.0) and used["Quadra"] == (4, 5, 2.0)
    assert used["uEXPLORER"] == (4, 20, 0.0) and used["ECAT921"] == (100, 1, 0.0)
    assert SCANNERS["ECAT921"].n_angles == 192


def test_sensitivity_time_of_flight_and_dose_worked_out_by_hand() -> None:
    mct = SCANNERS["mCT"]
    assert mct.cps_per_kbq == pytest.approx(9.6 * 700 / 221)
    assert SCANNERS["Quadra"].cps_per_kbq == 83.0
    # 527 ps are 79 mm; 300 mm / (1.6 x 79 mm)
    assert mct.tof_gain(300.0) == pytest.approx(300 / (1.6 * 79.0), rel=1e-3)
    assert [SCANNERS[n].equivalent_iterations for n in ("mCT", "Vision", "Quadra", "DiscoveryST")] == [4, 10, 18, 2]
    assert mct.tof_gain(10.0) == 1.0 and SCANNERS["HRRT"].tof_gain(300.0) == 1.0
    # 3.5 MBq/kg = 3500 Bq/g, one hour of F-18 leaves 68.5 %
    assert mct.bqml_per_suv == pytest.approx(3500 * 0.6846, rel=1e-3)


def test_scanners_are_found_by_name_and_by_what_dicom_calls_them() -> None:
    assert presets.scanner("quadra") is SCANNERS["Quadra"] and presets.scanner(SCANNERS["HRRT"]).name == "HRRT"
    called = {text: getattr(presets.scanner_called(text), "name", None) for text in
              ("Biograph128_mCT", "Biograph128_Vision 600 Edge-1208", "Biograph128_Vision Quadra Edge-1232",
               "uEXPLORER", "Discovery ST", "Discovery 690", "Ingenuity TF", None)}
    assert list(called.values()) == ["mCT", "Vision", "Quadra", "uEXPLORER", "DiscoveryST", "Discovery", None, None]


@pytest.mark.parametrize("name", SCANNERS)
def test_a_digital_scan_is_known_by_the_scanner_that_it_says_it_was_made_with(name) -> None:
    assert presets.scanner_called(SCANNERS[name].title) is SCANNERS[name]


def test_septa_cost_counts_and_spare_scatter() -> None:
    """Noise of the Discovery ST with septa: four and a half times fewer trues, cleaner ones."""
    open_, septa = SCANNERS["DiscoveryST"], SCANNERS["DiscoveryST2D"]
    assert open_.cps_per_kbq / septa.cps_per_kbq == pytest.approx(4.5)
    assert septa.background.fraction < 0.4 * open_.background.fraction
    same = ("resolution_mm", "axial_resolution_mm", "iterations", "subsets", "post_filter_mm", "seconds", "mbq_per_kg")
    assert all(getattr(open_, name) == getattr(septa, name) for name in same)


def test_a_preset_cannot_be_changed_but_replaced() -> None:
    with pytest.raises(FrozenInstanceError):
        SCANNERS["mCT"].iterations = 5
    assert replace(SCANNERS["mCT"], iterations=5).iterations == 5


def test_activity_of_one_unit() -> None:
    facts = Facts(injected_dose_bq=3.7e8, weight_kg=74.0, uptake_minutes=0.0)
    assert counts.bqml_per_unit(SUVBW, facts, SCANNERS["mCT"])[0] == pytest.approx(5000)
    later = Facts(injected_dose_bq=3.7e8, weight_kg=74.0, uptake_minutes=20.39, half_life_s=1223.4)
    assert counts.bqml_per_unit(SUVBW, later, SCANNERS["mCT"])[0] == pytest.approx(2500, rel=1e-3)
    assert counts.bqml_per_unit(BQML, facts, SCANNERS["mCT"])[0] == 1
    assert counts.bqml_per_unit("a.u.", facts, SCANNERS["mCT"])[0] is None


@pytest.mark.parametrize("kvp", [80, 100, 110, 120, 130, 140])
def test_attenuation_of_air_water_and_bone(kvp) -> None:
    hu = torch.tensor([-3000.0, -1000.0, -500.0, 0.0, 1000.0, 3000.0, 30000.0])
    mu = attenuation.mu_from_hu(hu, kvp).tolist()
    assert mu[:4] == pytest.approx([0, 0, 0.048, 0.096])
    assert 0.13 < mu[4] < 0.18 and mu[5] < mu[6] < 0.29
    fine = attenuation.mu_from_hu(torch.linspace(-100, 200, 3001), kvp)
    assert fine.diff().min() > -1e-4 and fine.diff().max() < 6e-4


def test_bone_at_120_kv_is_carneys() -> None:
    assert attenuation.mu_from_hu(torch.tensor([1000.0])).item() == pytest.approx(5.10e-5 * 2000 + 4.71e-2)


def test_the_outline_of_a_pet_is_filled_with_water() -> None:
    pet = torch.zeros(6, 40, 40)
    pet[:, 8:32, 6:34] = 1.0
    pet[:, 14:26, 12:20] = 0.05
    mu = attenuation.body_mu(pet, (4.0, 5.0, 5.0))
    assert mu[3, 20, 16] == pytest.approx(0.096) and mu[3, 1, 1] == 0
    assert float((mu > 0).sum() / (6 * 24 * 28)) == pytest.approx(1, abs=0.25)
    assert counts.diameter_of(mu, (4.0, 5.0, 5.0)) == pytest.approx(2 * np.sqrt(24 * 28 * 25 / np.pi), rel=0.12)


def test_a_ct_on_another_grid_is_brought_to_the_pets() -> None:
    """A finer CT, half water and half air, shifted and partly beside the PET."""
    fine = Geometry((60, 60, 20), (1.0, 1.0, 2.0), (-10.0, -10.0, 0.0))
    hu = np.full((20, 60, 60), -1000, np.float32)
    hu[:, :, :30] = 0
    grid = Geometry((10, 10, 10), (6.0, 6.0, 4.0), (-10.0, -10.0, 0.0))
    mu = attenuation.mu_of_ct(Volume(hu, fine, HU), grid).numpy()
    assert mu.shape == (10, 10, 10) and mu.min() >= 0
    assert mu[:, 1:9, 0:4] == pytest.approx(0.096, abs=2e-3) and mu[:, 1:9, 7:9] == pytest.approx(0, abs=2e-3)
