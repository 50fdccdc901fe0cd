"""What a sidecar's numbers do for the SUV: one that cannot be read costs the SUV, which is told, and not the image."""

import pytest
from petdiffusion import read, suv
from petdiffusion.errors import UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, BQML
from support import io_bad as bad

ONE_HOUR = 2.763367e-4
"""370 MBq, 70 kg, F-18, one hour: worked out in oracles/test_suv_hand_worked.py."""
BIDS = {"Units": "Bq/mL", "TracerRadionuclide": "F18", "InjectedRadioactivity": 370,
        "InjectedRadioactivityUnits": "MBq", "BodyWeight": 70, "InjectionStart": 0, "ScanStart": 3600,
        "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 3600}
LEFT_OUT = object()


def noted(folder, **keys):
    """A PET whose sidecar has these keys too, or lacks those that are LEFT_OUT."""
    notes = {key: value for key, value in {**BIDS, **keys}.items() if value is not LEFT_OUT}
    return bad.nifti(folder, 5000 * bad.values(), sidecar=notes)


def test_the_sidecar_as_it_should_be(tmp_path):
    run = Run()
    assert read.image(noted(tmp_path), run=run).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert not run.warnings


@pytest.mark.parametrize(("key", "value", "named"), [
    ("InjectedRadioactivity", "370", "'370'"), ("InjectedRadioactivity", "much", "'much'"),
    ("InjectedRadioactivity", [370, 380], "[370, 380]"), ("InjectedRadioactivityUnits", LEFT_OUT, "is missing"),
    ("InjectedRadioactivityUnits", "Gy", "'Gy'"), ("BodyWeight", "70", "'70'"), ("BodyWeight", [70, 80], "[70, 80]"),
    ("BodyWeight", float("inf"), "inf"), ("BodyWeight", True, "True"), ("RadionuclideHalfLife", "110 min", "'110 min'"),
    ("TracerRadionuclide", 18, "18"), ("InjectionStart", "09:30:00", "'09:30:00'"),
    ("ImageDecayCorrectionTime", "START", "'START'")])
def test_a_number_that_cannot_be_read_costs_the_suv_which_is_told_without_the_files_name(tmp_path, key, value, named):
    run = Run()
    pet = read.image(noted(tmp_path, **{key: value}), run=run)
    assert pet.unit == BQML and pet.facts.suv_factor is None
    assert len(run.warnings) == 1 and key in run.warnings[0] and named in run.warnings[0]
    assert "pet." not in run.warnings[0] and "left out" in run.warnings[0]
    with pytest.raises(UnitError):
        suv.to_suv(pet)


@pytest.mark.parametrize(("key", "fact"), [("ScanStart", "uptake_minutes"), ("FrameDuration", "frame_seconds")])
def test_a_number_that_no_suv_hangs_on_costs_itself_alone(tmp_path, key, fact):
    run = Run()
    facts = read.image(noted(tmp_path, **{key: "later"}), run=run).facts
    assert getattr(facts, fact) is None and facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
    assert len(run.warnings) == 1 and "'later'" in run.warnings[0]


def test_a_weight_that_is_given_stands_for_one_that_cannot_be_read(tmp_path):
    pet = read.image(noted(tmp_path, BodyWeight="heavy"), weight_kg=70.0)
    assert pet.facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)


@pytest.mark.parametrize(("dose", "factor"), [(370e6, ONE_HOUR), (370, None)])
def test_the_dose_of_a_header_as_dcm2niix_notes_it_is_in_becquerel(tmp_path, dose, factor):
    """370 Bq are no dose of a patient: in megabecquerel it would be another key."""
    facts = read.image(noted(tmp_path, InjectedRadioactivity=LEFT_OUT, RadionuclideTotalDose=dose)).facts
    assert facts.injected_dose_bq == dose
    assert facts.suv_factor == (factor and pytest.approx(factor, rel=1e-6))


UNCORRECTED = [("AttenuationCorrection", "none"), ("AttenuationCorrection", "No attenuation correction"),
               ("AttenuationCorrection", False), ("AttenuationCorrectionMethod", "NONE"),
               ("AttenuationCorrectionMethod", " nac "), ("AttenuationCorrection", "Non-corrected"),
               ("AttenuationCorrection", "not applied"), ("AttenuationCorrection", "without"),
               ("AttenuationCorrection", "none (NAC)")]


@pytest.mark.parametrize(("key", "word"), UNCORRECTED)
def test_an_image_that_is_not_corrected_for_attenuation_has_no_suv(tmp_path, key, word):
    pet = read.image(noted(tmp_path, **{key: word}), run=(run := Run()))
    assert run.warnings == [f"No SUV: {key} '{word}': says that the image is not corrected for attenuation. Give the "
                            "corrected image, or stay in Bq/ml."]  # fmt: skip
    assert pet.unit == BQML and pet.facts.suv_factor is None and pet.facts.injected_dose_bq == 370e6
    for one in (pet, pet.with_facts(uptake_minutes=30.0)):
        with pytest.raises(UnitError, match=key):
            suv.to_suv(one)


@pytest.mark.parametrize(("key", "word"), UNCORRECTED)
def test_suvs_that_are_not_corrected_for_attenuation_are_refused_and_read_as_a_picture(tmp_path, key, word):
    path = noted(tmp_path, **{"Units": "SUVbw", key: word})
    for declared in (None, "SUVbw"):
        with pytest.raises(UnitError, match=key) as caught:
            read.image(path, unit=declared)
        assert "a.u." in caught.value.remedy
    assert read.image(path, unit="a.u.").unit == ARBITRARY


@pytest.mark.parametrize("word", ["CT-based", "measured,AC_CT", "10-min transmission scan", "n/a", "", None,
                                  "Normal", 3, "No-scatter CT", "Non-linear u-map", "no gaps, CT based"])
def test_any_other_word_for_the_attenuation_correction_is_one(tmp_path, word):
    assert read.image(noted(tmp_path, AttenuationCorrection=word)).facts.suv_factor == pytest.approx(ONE_HOUR, rel=1e-6)
