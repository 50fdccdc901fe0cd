"""Dose reduction of real scans: the counts estimated from their noise must fall with the dose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from petdiffusion.physics import dose
from petdiffusion.progress import Run
from petdiffusion.volume import HU, SUVBW, Volume

SCANS = Path(__file__).resolve().parents[3] / "shared" / "data" / "sts"
pytestmark = [pytest.mark.realdata,
              pytest.mark.skipif(not SCANS.is_dir(), reason="the real scans of ../shared/data are not on this machine")]


def read(patient: str) -> tuple[Volume, Volume]:
    import SimpleITK as sitk

    def image(name: str) -> sitk.Image:
        return sitk.Cast(sitk.ReadImage(str(SCANS / patient / name)), sitk.sitkFloat32)

    return Volume.from_sitk(image("pet_suv.nii.gz"), SUVBW), Volume.from_sitk(image("ct_hu.nii.gz"), HU)


def estimated(pet: Volume, ct: Volume) -> float:
    run = Run()
    dose.reduce_dose(pet, 0.5, preset="DiscoveryST", ct=ct, run=run)
    said = next(w for w in run.warnings if "from the noise of the image" in w)
    return float(said.split("; ")[1].split()[0])


@pytest.mark.parametrize("patient", ["STS_002", "STS_010", "STS_030"])
def test_a_quarter_of_the_dose_looks_like_a_quarter_of_the_counts(patient) -> None:
    pet, ct = read(patient)
    counts = estimated(pet, ct)
    quarter = dose.reduce_dose(pet, 0.25, preset="DiscoveryST", ct=ct, counts=counts)
    assert estimated(quarter, ct) / counts == pytest.approx(0.25, rel=0.35)
    assert quarter.array.sum() == pytest.approx(pet.array.sum(), rel=0.02)
    assert np.abs(quarter.array - pet.array).max() > 0
