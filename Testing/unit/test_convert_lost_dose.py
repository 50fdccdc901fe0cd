"""Dose and times that a file lost, said to `convert`: every command knows the SUVs of the new file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from petdiffusion import convert, quantify, read, suv
from petdiffusion.cli import main
from petdiffusion.errors import OptionError, OutputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import BQML, SUVBW, Facts
from petdiffusion.write import images
from support import dicom_factory
from support.scans import small_patient

F18_S = 6586.2
DOSE = {"dose_mbq": 350.0, "uptake_minutes": 60.0, "nuclide": "F-18", "weight_kg": 72.0}
FACTOR = 72e3 / (350e6 * 0.5 ** (3600 / F18_S))
"""By hand: the weight in grams over the dose left after an hour."""


def bare(folder, name="bare.nii.gz", factor=FACTOR):
    """Voxels in Bq/ml and not a word beside them."""
    pet = small_patient(1)["pet"]
    pet = replace(pet, array=np.asarray(pet.array / factor, np.float32), unit=BQML, facts=Facts())
    images.write(pet, folder / name)
    (folder / "bare.json").unlink()
    return folder / name, pet


def test_the_new_file_tells_every_command_its_suvs(tmp_path):
    path, pet = bare(tmp_path)
    made = read.image(convert(path, tmp_path / "known.nii.gz", unit="Bq/ml", run=(run := Run()), **DOSE))
    assert made.unit == BQML and made.facts.suv_factor == pytest.approx(FACTOR, rel=1e-4) and not run.warnings
    np.testing.assert_allclose(suv.to_suv(made).array, pet.array * FACTOR, rtol=1e-4)
    tables = quantify(tmp_path / "known.nii.gz", find_above_suv=2.0)
    assert any(column.startswith("SUVmax") for column in tables["lesions"][0])
    there = read.image(convert(path, tmp_path / "suv.nii.gz", unit="Bq/ml", to=SUVBW, **DOSE))
    np.testing.assert_allclose(there.array, pet.array * FACTOR, rtol=1e-4)


def test_an_image_corrected_to_the_injection_needs_no_decay(tmp_path):
    path, _ = bare(tmp_path)
    for given, name in ((DOSE, "known"), ({k: v for k, v in DOSE.items() if k != "uptake_minutes"}, "without")):
        convert(path, tmp_path / f"{name}.nii.gz", unit="Bq/ml", corrected_to="injection", **given)
        made = read.image(tmp_path / f"{name}.nii.gz")
        assert made.facts.suv_factor == pytest.approx(72e3 / 350e6, rel=1e-4)
        assert made.facts.uptake_minutes == given.get("uptake_minutes")


def test_a_factor_that_is_known_by_itself(tmp_path):
    path, _ = bare(tmp_path)
    made = read.image(convert(path, tmp_path / "known.nii.gz", unit="Bq/ml", suv_factor=FACTOR))
    assert made.facts.suv_factor == FACTOR and suv.to_suv(made).unit == SUVBW


def test_what_is_given_goes_before_the_files_and_is_told(tmp_path):
    series = dicom_factory.pet(tmp_path / "series")
    own = read.image(series.folder).facts
    run = Run()
    convert(series.folder, tmp_path / "a.nii.gz", dose_mbq=own.injected_dose_bq / 2e6, run=run)
    facts = read.image(tmp_path / "a.nii.gz").facts
    assert facts.suv_factor == pytest.approx(2 * own.suv_factor, rel=1e-3)
    assert facts.uptake_minutes == own.uptake_minutes and facts.weight_kg == own.weight_kg
    assert sum("by what was given is used" in text for text in run.warnings) == 1
    run = Run()
    convert(series.folder, tmp_path / "b.nii.gz", dose_mbq=own.injected_dose_bq / 1e6, run=run)
    assert not any("by what was given" in text for text in run.warnings)


def test_a_dose_that_no_patient_has_had_shows_at_once(tmp_path):
    path, _ = bare(tmp_path)
    run = Run()
    convert(path, tmp_path / "known.nii.gz", unit="Bq/ml", run=run, **{**DOSE, "dose_mbq": 3.5})
    assert any("mean SUV of the body" in text for text in run.warnings)


@pytest.mark.parametrize(("lacks", "remedy"), [
    ("dose_mbq", "--dose-mbq 350"), ("uptake_minutes", "--uptake-minutes 60"), ("nuclide", "--nuclide F-18"),
    ("weight_kg", "--weight-kg"),
])  # fmt: skip
def test_what_is_lacking_is_named_with_its_option(tmp_path, lacks, remedy):
    path, _ = bare(tmp_path)
    with pytest.raises((OptionError, UnitError), match=remedy):
        convert(path, tmp_path / "known.nii.gz", unit="Bq/ml", **{k: v for k, v in DOSE.items() if k != lacks})
    assert not (tmp_path / "known.nii.gz").exists()


@pytest.mark.parametrize(("wrong", "why"), [
    ({"nuclide": "Xx-99"}, "is not known"), ({"suv_factor": 0.0002}, "twice"), ({"corrected_to": "now"}, "is not one"),
    ({"dose_mbq": 350e6}, "another unit"), ({"uptake_minutes": -5.0}, "cannot be"), ({"role": "ct"}, "of one PET"),
    ({"frames": "2-3"}, "of one PET"), ({"like": "series"}, "of one PET"), ({"unit": None}, "--unit Bq/ml"),
    ({"unit": SUVBW}, "is SUV already"),
])  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path, wrong, why):
    path, _ = bare(tmp_path)
    with pytest.raises((OptionError, UnitError), match=why):
        convert(path, tmp_path / "known.nii.gz", **{"unit": "Bq/ml", **DOSE, **wrong})


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_is_none_is_refused(tmp_path, factor):
    path, _ = bare(tmp_path)
    with pytest.raises(OptionError, match="not a positive number"):
        convert(path, tmp_path / "known.nii.gz", unit="Bq/ml", suv_factor=factor)


def test_the_sidecar_of_the_source_is_never_replaced(tmp_path):
    """Both files would share it: the source would then have another dose."""
    images.write(bare(tmp_path)[1], tmp_path / "own.nii.gz")
    before = (tmp_path / "own.json").read_bytes()
    with pytest.raises(OutputError, match=r"own\.json"):
        convert(tmp_path / "own.nii.gz", tmp_path / "own.nii", overwrite=True, **DOSE)
    assert (tmp_path / "own.json").read_bytes() == before


def test_by_the_command_line(tmp_path, capsys):
    path, _ = bare(tmp_path)
    assert main(["convert", str(path), str(tmp_path / "known.nii.gz"), "--unit", "Bq/ml", "--dose-mbq", "350",
                 "--uptake-minutes", "60", "--nuclide", "18F", "--weight-kg", "72"]) == 0  # fmt: skip
    assert read.image(tmp_path / "known.nii.gz").facts.suv_factor == pytest.approx(FACTOR, rel=1e-4)
    assert main(["convert", str(path), str(tmp_path / "other.nii.gz"), "--unit", "Bq/ml", "--suv-factor", "0"]) != 0
    assert "SUV factor 0" in capsys.readouterr().err


NO_DOSE = {"weight_kg": 72.0, "dose_mbq": 350.0}


def without_dose(folder, **header):
    """A DICOM series whose header lost the dose alone."""

    def edit(ds, k):
        del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
        for keyword, value in header.items():
            setattr(ds, keyword, value)
        if header.get("DecayCorrection") == "ADMIN":
            ds.DecayFactor = f"{float(ds.DecayFactor) * 2 ** (3600 / F18_S):.6g}"

    return dicom_factory.pet(folder, edit=edit).folder


def sidecar(folder, **told):
    folder.mkdir()
    path, _ = bare(folder)
    known = {"Units": "Bq/mL", "TracerRadionuclide": "F18", "InjectionStart": -3600, "ScanStart": 0}
    (folder / "bare.json").write_text(json.dumps({**known, **told}))
    return path


TO_INJECTION = {"ImageDecayCorrected": True, "ImageDecayCorrectionTime": -3600}
TO_SCAN = {"ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0}


@pytest.mark.parametrize(("source", "told", "factor"), [
    (without_dose, {}, FACTOR), (without_dose, {"DecayCorrection": "ADMIN"}, 72e3 / 350e6),
    (sidecar, TO_SCAN, FACTOR), (sidecar, {}, FACTOR), (sidecar, TO_INJECTION, 72e3 / 350e6),
    (sidecar, {"DecayCorrection": "ADMIN"}, 72e3 / 350e6),
])  # fmt: skip
def test_an_image_is_taken_as_corrected_to_what_its_file_says(tmp_path, source, told, factor):
    made = read.image(convert(source(tmp_path / "in", **told), tmp_path / "known.nii.gz", **NO_DOSE))
    assert made.facts.suv_factor == pytest.approx(factor, rel=1e-3)
    again = read.image(convert(tmp_path / "known.nii.gz", tmp_path / "again.nii.gz", dose_mbq=175.0))
    assert again.facts.suv_factor == pytest.approx(2 * factor, rel=1e-3)


@pytest.mark.parametrize(("source", "told", "why"), [
    (without_dose, {"DecayCorrection": "NONE"}, "not corrected for decay"),
    (without_dose, {"CorrectedImage": ["ATTN", "SCAT"]}, "not corrected for decay"),
    (without_dose, {"CorrectedImage": ["DECY"]}, "lacks ATTN"),
    (sidecar, {"ImageDecayCorrected": False}, "not corrected for decay"),
    (sidecar, {"AttenuationCorrection": "none"}, "not corrected for attenuation"),
    (sidecar, {"ImageDecayCorrected": True, "ImageDecayCorrectionTime": 600}, "--suv-factor"),
])  # fmt: skip
def test_an_image_that_is_no_activity_by_its_file_gets_no_suv(tmp_path, source, told, why):
    with pytest.raises(UnitError, match=why):
        convert(source(tmp_path / "in", **told), tmp_path / "known.nii.gz", **NO_DOSE)


@pytest.mark.parametrize("told", [{"DecayCorrection": "ADMIN"}, {"DecayCorrection": "NONE"}])
def test_the_moment_that_is_said_goes_before_the_files_and_is_told(tmp_path, told):
    convert(without_dose(tmp_path / "in", **told), tmp_path / "known.nii.gz", corrected_to="scan", run=(run := Run()),
            **NO_DOSE)  # fmt: skip
    assert read.image(tmp_path / "known.nii.gz").facts.suv_factor == pytest.approx(FACTOR, rel=1e-3)
    assert sum("corrected for decay" in text and "is used" in text for text in run.warnings) == 1


@pytest.mark.parametrize(("given", "told"), [
    ({"uptake_minutes": 90.0}, "60 min from injection to scan; 90 min"),
    ({"nuclide": "Ga-68"}, "half-life of 6586 s; 4063 s"),
    ({"uptake_minutes": 60.0, "nuclide": "F-18"}, ""),
])  # fmt: skip
def test_what_contradicts_the_file_is_told_where_that_knows_no_factor_too(tmp_path, given, told):
    convert(without_dose(tmp_path / "in"), tmp_path / "known.nii.gz", run=(run := Run()), **NO_DOSE, **given)
    said = [text for text in run.warnings if "was given and is used" in text and "weight" not in text]
    assert len(said) == bool(told) and all(told in text for text in said)


def test_a_weight_that_changes_nothing_in_a_factor_known_by_itself_is_told(tmp_path):
    convert(bare(tmp_path)[0], tmp_path / "known.nii.gz", unit="Bq/ml", suv_factor=FACTOR)
    assert read.image(tmp_path / "known.nii.gz", weight_kg=84, run=(run := Run())).facts.suv_factor == FACTOR
    assert any("84 kg was given and changes nothing" in text for text in run.warnings)


def without_times(folder):
    """A DICOM series whose injection was after the scan."""

    def edit(ds, k):
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "113000"

    return dicom_factory.pet(folder, edit=edit).folder


@pytest.mark.parametrize("source", [without_dose, without_times])
@pytest.mark.parametrize("given", [DOSE, {"suv_factor": FACTOR}])
def test_that_the_file_knows_no_suv_is_no_news_where_it_is_told_one(tmp_path, source, given):
    series = source(tmp_path / "in")
    read.image(series, run=(run := Run()))
    assert [text for text in run.warnings if text.startswith("No SUV")]
    said = []
    convert(series, tmp_path / "known.nii.gz", run=(run := Run(report=said.append)), **given)
    assert not [text for text in run.warnings if text.startswith("No SUV")]
    assert [event["text"] for event in said if event["event"] == "warning"] == run.warnings
    assert {event["event"] for event in said} >= {"stage"}


def test_that_the_file_knows_no_suv_is_told_where_none_comes_of_it(tmp_path):
    with pytest.raises(OptionError, match="The injected dose"):
        convert(without_dose(tmp_path / "in"), tmp_path / "known.nii.gz", run=(run := Run()), uptake_minutes=60)
    convert(without_dose(tmp_path / "in"), tmp_path / "plain.nii.gz", run=(plain := Run()))
    assert [text for text in run.warnings if text.startswith("No SUV")] == plain.warnings != []


def test_an_image_that_is_not_corrected_for_attenuation_is_told_with_a_factor_too(tmp_path):
    series = without_dose(tmp_path / "in", CorrectedImage=["DECY"])
    convert(series, tmp_path / "known.nii.gz", run=(run := Run()), suv_factor=FACTOR)
    assert any("lacks ATTN" in text for text in run.warnings)
