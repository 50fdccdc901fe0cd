"""The whole way from files to results, in Python."""

import hashlib
import json
from pathlib import Path

import numpy as np
import petdiffusion
import pytest
from petdiffusion import read
from petdiffusion.errors import ConditionError, OptionError, OutputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.request import Request
from petdiffusion.run import rerun
from petdiffusion.volume import ARBITRARY, BQML, SUVBW
from support.scans import small_patient, write_patient


@pytest.fixture
def files(tmp_path):
    return write_patient(tmp_path / "patient")


def digest(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_writes_images_tables_report_and_record_and_leaves_the_originals(files, tmp_path):
    before = digest(tmp_path / "patient")
    result = petdiffusion.denoise(
        files["pet"], "gaussian", ct=files["ct"], labels=files["labels"], lesions=files["lesions"],
        reference=files["reference"], out=tmp_path / "out",
    )  # fmt: skip
    assert digest(tmp_path / "patient") == before
    assert {"denoised", "organs", "lesions", "report", "record", "table_image", "table_organs", "table_lesions"} <= set(
        result.files
    )
    assert all(Path(path).is_file() for path in result.files.values())
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]
    written = read.image(result.files["denoised"])
    assert written.unit == SUVBW and written.geometry.close_to(result.low.geometry)
    np.testing.assert_array_equal(written.array, result.pet.array)


def test_the_denoised_image_is_nearer_to_the_reference_and_the_tables_say_so(files, tmp_path):
    result = petdiffusion.denoise(files["pet"], "gaussian", reference=files["reference"])
    image = {row["image"]: row for row in result.tables["image"]}
    assert image["denoised"]["PSNR_dB"] > image["low"]["PSNR_dB"] + 1
    assert image["denoised"]["local_noise_percent"] < image["low"]["local_noise_percent"]


def test_paths_sitk_nibabel_and_volumes_give_the_same(files):
    volume = read.image(files["pet"])
    wanted = petdiffusion.denoise(files["pet"], "median").pet.array
    for form in (volume, Path(files["pet"])):
        np.testing.assert_array_equal(petdiffusion.denoise(form, "median").pet.array, wanted)
    for form in (volume.to_sitk(), volume.to_nibabel()):
        np.testing.assert_allclose(petdiffusion.denoise(form, "median", unit="SUVbw").pet.array, wanted, atol=1e-5)


def test_bqml_in_gives_bqml_out_and_suv_in_the_tables(tmp_path):
    case = small_patient()
    becquerel = case["pet"].with_array(case["pet"].array / 2e-4, BQML)
    result = petdiffusion.denoise(becquerel, "gaussian", labels=case["labels"])
    assert result.pet.unit == BQML
    suv = petdiffusion.denoise(case["pet"], "gaussian", labels=case["labels"])
    np.testing.assert_allclose(result.pet.array * 2e-4, suv.pet.array, rtol=1e-3, atol=1e-4)
    here, there = result.tables["organs"][0], suv.tables["organs"][0]
    assert here["unit"] == there["unit"] == SUVBW
    for column in ("SUVmean_low", "SUVmean_denoised", "SUVmax_denoised", "volume_ml"):
        assert here[column] == pytest.approx(there[column], rel=1e-3)


def test_an_unknown_unit_is_said(tmp_path):
    pet = small_patient()["pet"]
    run = Run()
    petdiffusion.denoise(pet.with_array(pet.array, ARBITRARY), "gaussian", run=run)
    assert any("unit is unknown" in text for text in run.warnings)


def test_a_reference_in_another_unknown_unit_is_refused():
    case = small_patient()
    pet = case["pet"].with_array(case["pet"].array, ARBITRARY)
    with pytest.raises(UnitError, match=r"Reference in SUVbw, PET in a\.u\."):
        petdiffusion.denoise(pet, "gaussian", reference=case["reference"])


def test_the_record_runs_again_to_the_same_voxels(files, tmp_path):
    first = petdiffusion.denoise(files["pet"], "nlm", out=tmp_path / "one", seed=3, strength=0.9)
    again = rerun(tmp_path / "one", tmp_path / "two")
    np.testing.assert_array_equal(first.pet.array, again.pet.array)
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    assert record["options"]["strength"] == 0.9 and record["request"]["seed"] == 3


def test_tuning_is_at_least_as_good_as_the_default_and_is_recorded(files, tmp_path):
    plain = petdiffusion.denoise(files["pet"], "gaussian", reference=files["reference"])
    tuned = petdiffusion.denoise(
        files["pet"], "gaussian", reference=files["reference"], tune=files["reference"], out=tmp_path / "out"
    )
    psnr = [next(r for r in result.tables["image"] if r["image"] == "denoised")["PSNR_dB"] for result in (plain, tuned)]
    assert psnr[1] >= psnr[0] - 1e-6
    assert len(tuned.tables["tuning"]) > 2 and Path(tuned.files["table_tuning"]).is_file()
    np.testing.assert_array_equal(rerun(tmp_path / "out").pet.array, tuned.pet.array)


def test_nothing_is_left_by_a_run_that_fails_or_is_stopped(files, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(OptionError, match="Did you mean 'fwhm"):
        petdiffusion.denoise(files["pet"], "gaussian", out=out, options={"fwhmm": 3})
    run = Run(report=lambda event: run.cancelled.set() if event.get("stage") == "write" else None)
    with pytest.raises(petdiffusion.PETDiffusionError, match="Stopped"):
        petdiffusion.denoise(files["pet"], "gaussian", out=out, run=run)
    assert not out.exists() or not list(out.iterdir())


def test_results_are_not_overwritten_unless_asked_and_inputs_never(files, tmp_path):
    petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out")
    petdiffusion.denoise(files["pet"], "median", out=tmp_path / "out", overwrite=True)
    denoised = tmp_path / "out" / "denoised.nii.gz"
    before = denoised.read_bytes()
    with pytest.raises(OutputError):
        petdiffusion.denoise(denoised, "gaussian", out=tmp_path / "out", overwrite=True)
    assert denoised.read_bytes() == before


def test_dicom_output_needs_dicom_input(files, tmp_path):
    with pytest.raises(OutputError, match="DICOM"):
        petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out", format="dicom")


def test_an_anatomical_filter_without_anatomy_says_what_it_needs(files):
    with pytest.raises(ConditionError, match=r"CT|MR"):
        petdiffusion.denoise(files["pet"], "anatomy")


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 1.5}, {"dose_fraction": 0}, {"dose_fraction": 2}, {"format": "jpeg"}]
)
def test_impossible_requests_are_refused(files, wrong):
    with pytest.raises(OptionError):
        petdiffusion.denoise(files["pet"], "gaussian", **wrong)


def test_a_request_survives_json_and_refuses_unknown_fields():
    request = Request("a.nii", "nlm", ct="b.nii", options={"strength": 1.0}, seed=4)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request
    with pytest.raises(OptionError, match="colour"):
        Request.from_json({**request.to_json(), "colour": 1})


def test_no_record_names_the_patient_or_holds_voxels(files, tmp_path):
    petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert "source" not in record["input"]["facts"]
    assert "source" not in json.loads((tmp_path / "out" / "denoised.json").read_text())
    assert record["research_use_only"] is True
