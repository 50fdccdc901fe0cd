"""A weight that is given: where the file has none, where it has another, and wherever a PET becomes SUV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import petdiffusion
import pytest
from petdiffusion import quantifying, read, suv
from petdiffusion.batch import run_batch
from petdiffusion.cli import main
from petdiffusion.errors import OptionError, UnitError
from petdiffusion.progress import Run
from petdiffusion.rerun import rerun
from petdiffusion.training import manifest as training_manifest
from petdiffusion.volume import BQML, SUVBW
from petdiffusion.write import images
from petdiffusion.write.tables import read_csv
from support import dicom_factory
from support.scans import small_patient, write_patient

PER_KG = 1000 / (370e6 * 2 ** (-3600 / 6586.2))
"""SUV of 1 Bq/ml for each kilogram, by hand: 370 MBq of F-18, an hour ago."""


def bids(folder: Path, name: str = "pet", weight: float | None = None, **changes: object) -> Path:
    """The small patient's PET in Bq/ml, as it is if the patient weighs 72 kg, with a PET-BIDS sidecar."""
    pet = small_patient()[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = images.write(pet.with_array(pet.array / (72 * PER_KG), BQML), folder / f"{name}.nii.gz")
    notes = {"Units": "Bq/mL", "Modality": "PET", "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq",
             "RadionuclideHalfLife": 6586.2, "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 3600,
             "InjectionStart": 0, **({} if weight is None else {"BodyWeight": weight}), **changes}
    (folder / f"{name}.json").write_text(json.dumps(notes))
    return path


def lighter(ds, k):
    del ds.PatientWeight


def test_a_dicom_series_without_a_weight_is_brought_to_suv(tmp_path):
    dicom_factory.pet(tmp_path, edit=lighter)
    run = Run()
    with pytest.raises(UnitError, match=r"--weight-kg.*PatientWeight"):
        suv.to_suv(read.image(tmp_path))
    volume = read.image(tmp_path, weight_kg=72, run=run)
    assert volume.facts.weight_kg == 72 and volume.facts.suv_factor == pytest.approx(72 * PER_KG, rel=1e-6)
    assert suv.to_suv(volume).facts.suv_factor == pytest.approx(72 * PER_KG, rel=1e-6)
    assert run.warnings == []


def test_the_weight_given_goes_before_the_headers_and_that_is_told(tmp_path):
    dicom_factory.pet(tmp_path / "series")  # of 70 kg
    run = Run()
    volume = read.image(tmp_path / "series", weight_kg=84, run=run)
    assert volume.facts.suv_factor == pytest.approx(84 * PER_KG, rel=1e-6)
    assert run.warnings == ["The PET says a weight of 70 kg; 84 kg was given and is used."]
    run = Run()
    read.image(tmp_path / "series", weight_kg=70, run=run)
    assert run.warnings == []


def test_a_headers_weight_that_cannot_be_is_replaced(tmp_path):
    def grams(ds, k):
        ds.PatientWeight = 72000

    dicom_factory.pet(tmp_path, edit=grams)
    volume = read.image(tmp_path, weight_kg=72)
    assert volume.facts.suv_factor == pytest.approx(72 * PER_KG, rel=1e-6)


def test_philips_factors_are_in_proportion_to_the_weight(tmp_path):
    dicom_factory.pet(tmp_path, "Philips", units="CNTS")
    usual = dicom_factory.PHILIPS_SUV / dicom_factory.PHILIPS_BQML
    assert read.image(tmp_path).facts.suv_factor == pytest.approx(usual)
    assert read.image(tmp_path, weight_kg=35).facts.suv_factor == pytest.approx(usual / 2)


@pytest.mark.parametrize(("weight", "said"), [(None, 0), (72, 0), (60, 1), (72000, 1)])
def test_a_sidecar_without_a_weight_or_with_another(tmp_path, weight, said):
    run = Run()
    volume = read.image(bids(tmp_path, weight=weight), weight_kg=72, run=run)
    assert volume.facts.suv_factor == pytest.approx(72 * PER_KG, rel=1e-6) and len(run.warnings) == said
    np.testing.assert_allclose(suv.to_suv(volume).array, small_patient()["pet"].array, rtol=1e-4, atol=1e-5)


def test_an_image_in_memory_and_a_file_of_this_program_keep_to_the_proportion(tmp_path):
    pet = small_patient()["pet"].with_array(small_patient()["pet"].array, BQML)  # of 70 kg, with its factor
    for source in (pet, images.write(pet, tmp_path / "own.nii.gz")):
        assert read.image(source, weight_kg=35).facts.suv_factor == pytest.approx(1e-4)


def test_values_that_are_suv_already_stay_as_they_are_and_that_is_told(tmp_path):
    run, path = Run(), images.write(small_patient()["pet"], tmp_path / "pet.nii.gz")
    volume = read.image(path, weight_kg=35, run=run)
    np.testing.assert_array_equal(volume.array, small_patient()["pet"].array)
    assert volume.facts.weight_kg == 70 and volume.facts.suv_factor == pytest.approx(2e-4)
    assert run.warnings == ["The PET says a weight of 70 kg; 35 kg was given and changes nothing, since the values "
                            "are SUV already."]


@pytest.mark.parametrize("wrong", [0, -72, 72000, float("nan"), float("inf"), "72", True])
def test_what_cannot_be_a_weight_is_refused(tmp_path, wrong):
    with pytest.raises(OptionError, match=r"Weight .*--weight-kg 72"):
        petdiffusion.denoise(bids(tmp_path), "gaussian", weight_kg=wrong)
    with pytest.raises(OptionError, match=r"Weight .*--weight-kg 72"):
        read.image(tmp_path / "pet.nii.gz", weight_kg=wrong)


def test_a_weight_for_a_ct_is_refused(tmp_path):
    with pytest.raises(OptionError, match="changes nothing"):
        read.image(write_patient(tmp_path)["ct"], "ct", weight_kg=72)


def test_denoise_measures_pet_and_reference_in_suv_and_the_record_repeats_it(tmp_path):
    pet, reference, files = bids(tmp_path), bids(tmp_path, "reference"), write_patient(tmp_path / "masks")
    words = [str(pet), "--reference", str(reference), "--lesions", files["lesions"], "--method", "gaussian", "--quiet"]
    assert main(["denoise", *words, "--weight-kg", "72", "--out", str(tmp_path / "o")]) == 0
    row = read_csv(tmp_path / "o" / "tables" / "lesions.csv")[0]
    truth = small_patient()["reference"].array[small_patient()["lesions"].array > 0].max()
    assert row["SUVmax_reference"] == pytest.approx(truth, rel=1e-3)
    record = json.loads((tmp_path / "o" / "record.json").read_text())
    assert record["request"]["weight_kg"] == 72 and record["input"]["facts"]["weight_kg"] == 72
    again = rerun(tmp_path / "o", tmp_path / "again")
    assert again.tables["lesions"][0]["SUVmax_reference"] == pytest.approx(truth, rel=1e-3)


def test_tuning_takes_the_weight_for_its_image_too(tmp_path):
    result = petdiffusion.denoise(bids(tmp_path), "gaussian", tune=bids(tmp_path, "reference"), weight_kg=72)
    assert result.tables["tuning"] and result.record["input"]["working_unit"] == SUVBW


def test_quantify_compare_and_convert_take_it(tmp_path):
    pet, reference, files = bids(tmp_path), bids(tmp_path, "reference"), write_patient(tmp_path / "masks")
    low, weight = small_patient()["pet"].array, ["--weight-kg", "72", "--quiet", "--out"]
    hottest = pytest.approx(low[small_patient()["lesions"].array > 0].max(), rel=1e-3)
    assert main(["quantify", str(pet), "--lesions", files["lesions"], *weight, str(tmp_path / "q")]) == 0
    assert read_csv(tmp_path / "q" / "lesions.csv")[0]["SUVmax_PET"] == hottest
    assert main(["compare", str(pet), "--reference", str(reference), *weight, str(tmp_path / "c")]) == 0
    assert {row["unit"] for row in read_csv(tmp_path / "c" / "image.csv")} == {SUVBW}
    assert main(["convert", str(pet), str(tmp_path / "suv.nii.gz"), "--to", "SUVbw", *weight[:3]]) == 0
    np.testing.assert_allclose(read.image(tmp_path / "suv.nii.gz").array, low, rtol=1e-4, atol=1e-5)


def test_without_it_numbers_are_no_suv(tmp_path):
    files = write_patient(tmp_path / "masks")
    rows = quantifying.quantify(bids(tmp_path), lesions=files["lesions"])["lesions"]
    assert not any(key.startswith("SUV") for key in rows[0])


def test_a_factor_in_the_sidecar_serves_where_dose_or_times_are_lost(tmp_path):
    """What `files.md` says to do."""

    def anonymous(ds, k):
        del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose

    dicom_factory.pet(tmp_path / "series", edit=anonymous)
    assert main(["convert", str(tmp_path / "series"), str(tmp_path / "pet.nii.gz"), "--quiet"]) == 0
    notes = json.loads((tmp_path / "pet.json").read_text())
    notes["PETDiffusion"]["facts"]["suv_factor"] = 0.00025
    (tmp_path / "pet.json").write_text(json.dumps(notes))
    assert suv.to_suv(read.image(tmp_path / "pet.nii.gz")).facts.suv_factor == 0.00025


def test_a_manifest_has_a_column_for_it(tmp_path):
    bids(tmp_path / "p")
    file = tmp_path / "cases.csv"
    file.write_text("id,pet,weight_kg\na,p/pet.nii.gz,72\nb,p/pet.nii.gz,\n")
    done = run_batch(file, tmp_path / "o", "gaussian", report=False)
    assert [row["status"] for row in done] == ["done", "done"] and [row["unit"] for row in done] == [SUVBW, BQML]
    with pytest.raises(OptionError, match="Case a: Weight 7200 kg"):
        file.write_text("id,pet,weight_kg\na,p/pet.nii.gz,7200\n")
        run_batch(file, tmp_path / "o2", "gaussian")


def test_results_from_before_there_was_a_weight_are_still_known(tmp_path):
    """A record of an earlier version has no such field; it is not another request."""
    files, file = write_patient(tmp_path / "p"), tmp_path / "cases.csv"
    file.write_text(f"id,pet\na,{files['pet']}\n")
    run_batch(file, tmp_path / "o", "gaussian", report=False)
    path = tmp_path / "o" / "a" / "record.json"
    record = json.loads(path.read_text())
    del record["request"]["weight_kg"]
    path.write_text(json.dumps(record))
    assert run_batch(file, tmp_path / "o", "gaussian", report=False)[0]["status"] == "done before"


def test_trainings_read_it_from_their_manifest(tmp_path):
    bids(tmp_path)
    row = {"pet": "pet.nii.gz", "reference": "pet.nii.gz", "weight_kg": "72"}
    assert training_manifest.image(tmp_path, row, "pet").unit == SUVBW
    with pytest.raises(OptionError, match="'seventy'"):
        training_manifest.image(tmp_path, row | {"weight_kg": "seventy"}, "pet")


def test_a_dose_is_simulated_with_it(tmp_path):
    """The counts are estimated from dose and weight."""
    pet, out = bids(tmp_path), tmp_path / "low"
    words = ["--fraction", "0.1", "--weight-kg", "72", "--quiet", "--out", str(out)]
    assert main(["simulate", "dose", str(pet), *words]) == 0
    assert json.loads((out / "simulation_0.1.json").read_text())["weight_kg"] == 72
    assert read.image(out / "low_0.1.nii.gz").facts.suv_factor == pytest.approx(72 * PER_KG, rel=1e-6)
    with (out / "low_0.1.json").open() as stream:
        assert json.load(stream)["BodyWeight"] == 72


def test_the_manifest_of_a_calibration_is_read_for_it(tmp_path, monkeypatch):
    from petdiffusion import run as map_
    from petdiffusion.trust import calibrate

    asked = []

    def noted(pet, method, **given):
        asked.append(given.get("weight_kg"))
        raise KeyboardInterrupt

    monkeypatch.setattr(map_, "denoise", noted)
    bids(tmp_path)
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "pet", "reference", "weight_kg"], ["a", "pet.nii.gz", "pet.nii.gz", "72"]])
    with pytest.raises(KeyboardInterrupt):
        calibrate.collect([tmp_path / "cases.csv"], "gaussian", {}, tmp_path / "o", Run())
    assert asked == [72.0]


@pytest.mark.parametrize("words", [
    ["denoise", "PET", "--method", "gaussian", "--out", "OUT"], ["segment", "PET", "--out", "OUT"],
    ["quantify", "PET", "--find-lesions", "4", "--out", "OUT"],
    ["compare", "PET", "--reference", "PET", "--out", "OUT"],
    ["convert", "PET", "OUT/suv.nii.gz", "--to", "SUVbw"],
    ["simulate", "dose", "PET", "--fraction", "0.1", "--out", "OUT"],
])  # fmt: skip
def test_every_command_that_reads_a_pet_checks_it(tmp_path, capsys, words):
    """And so hands it on."""
    known = {"PET": str(bids(tmp_path)), "OUT": str(tmp_path / "out"), "OUT/suv.nii.gz": str(tmp_path / "out.nii.gz")}
    assert main([*(known.get(word, word) for word in words), "--weight-kg", "7200"]) == 1
    assert "Weight 7200 kg" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_weight_that_mends_a_header_makes_the_ct_no_other_patients(tmp_path):
    """The CT's header has the same wrong weight as the PET's."""
    path = bids(tmp_path, weight=50.0)
    ct = small_patient()["ct"].with_facts(weight_kg=50.0)

    def said(sex: str, **given: float) -> list[str]:
        pet = read.image(path).with_facts(sex="F")
        warnings = petdiffusion.denoise(pet, "gaussian", ct=ct.with_facts(sex=sex), **given).warnings
        return [text for text in warnings if "another patient" in text]

    assert not said("F") and not said("F", weight_kg=72.0)
    assert len(said("M", weight_kg=72.0)) == 1 and "weight" not in said("M", weight_kg=72.0)[0]
