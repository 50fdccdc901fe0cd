"""An image to compare with that says no unit: what it is taken for is told, and refused where it cannot be so."""

from __future__ import annotations

from dataclasses import replace

import petdiffusion
import pytest
from petdiffusion import suv
from petdiffusion.errors import UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY
from support.scans import small_patient

SILENT = "says no unit"


def scans():
    patient = small_patient()
    return patient["pet"], patient["reference"]


@pytest.mark.parametrize("name", ["reference", "tune"])
def test_the_unit_it_is_taken_in_is_told(name):
    pet, reference = scans()
    told = petdiffusion.denoise(pet, method="gaussian", **{name: replace(reference, unit=ARBITRARY)}).warnings
    assert [text for text in told if SILENT in text and "SUVbw" in text]
    told = petdiffusion.denoise(pet, method="gaussian", **{name: reference}).warnings
    assert not [text for text in told if SILENT in text]


@pytest.mark.parametrize("name", ["reference", "tune"])
@pytest.mark.parametrize("silent", [True, False])
def test_suv_beside_activity_is_refused(name, silent):
    """A node of 3D Slicer is written in the unit it was taken for: what a file says is held against its values too."""
    pet, reference = scans()
    other = replace(reference, unit=ARBITRARY if silent else "Bq/ml")
    with pytest.raises(UnitError, match="times lower"):
        petdiffusion.denoise(suv.to_bqml(pet), method="gaussian", **{name: other})


def test_units_that_differ_and_say_so_are_compared():
    pet, reference = scans()
    found, wanted = (petdiffusion.denoise(suv.to_bqml(pet), method="gaussian", reference=one).tables["image"]
                     for one in (reference, suv.to_bqml(reference)))  # fmt: skip
    assert found[0]["PSNR_dB"] == pytest.approx(wanted[0]["PSNR_dB"], abs=1e-3)


@pytest.mark.parametrize(("in_suv", "refused"), [(True, False), (False, True)])
def test_compare_tells_whose_unit_is_unknown_and_refuses_what_cannot_be(in_suv, refused):
    pet, reference = scans()
    silent, run = replace(reference if in_suv else suv.to_bqml(reference), unit=ARBITRARY), Run()
    if refused:
        with pytest.raises(UnitError, match="times lower"):
            petdiffusion.compare([pet], silent, run=run)
    else:
        assert petdiffusion.compare([pet], silent, run=run)["image"]
    assert [text for text in run.warnings if text.startswith("The reference's unit is unknown")]


def test_quantify_tells_the_unit_of_its_reference():
    pet, reference = scans()
    run = Run()
    petdiffusion.quantify(pet, labels=small_patient()["labels"], reference=replace(reference, unit=ARBITRARY), run=run)
    assert [text for text in run.warnings if SILENT in text] and not [t for t in run.warnings if "PET's unit" in t]
