"""The whole way from files to results, in Python."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import petdiffusion
import pytest
from petdiffusion import quantifying, read, registry
from petdiffusion.errors import (
    ConditionError,
    GeometryError,
    InputError,
    OptionError,
    OutputError,
    ResourceError,
    UnitError,
)
from petdiffusion.prepare.mask import body_mask
from petdiffusion.progress import Run
from petdiffusion.request import Request
from petdiffusion.rerun import rerun
from petdiffusion.tune import body_psnr
from petdiffusion.volume import ARBITRARY, BQML, SUVBW, Volume
from petdiffusion.write import images, outputs
from petdiffusion.write.report.result import settings_of
from support import dicom_factory
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
    with pytest.raises(UnitError, match=r"reference is in SUVbw, the PET in a\.u\."):
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


def test_settings_are_tuned_on_what_the_validation_pet_shows(tmp_path):
    """The rest of the body is not air: a wide filter that empties it won by that."""
    files = write_patient(tmp_path, 5)
    part = _without_ends(files["reference"], tmp_path / "part.nii.gz", read.image(files["pet"]).geometry.shape[0] // 2)
    result = petdiffusion.denoise(files["pet"], "gaussian", tune=part)
    (said,) = [text for text in result.warnings if "The validation PET covers" in text]
    assert "settings are chosen by that part alone" in said
    low, whole = read.image(files["pet"]), read.image(files["reference"])
    inside = body_mask(low)
    inside[: low.geometry.shape[0] // 2] = False
    for row in result.tables["tuning"]:
        image = petdiffusion.denoise(files["pet"], "gaussian", fwhm_mm=row["fwhm_mm"]).pet
        assert row["psnr"] == pytest.approx(body_psnr(image, whole, inside), abs=1e-3)


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


def test_a_series_whose_unit_no_dicom_can_be_derived_in_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.delattr("petdiffusion.run._prepare")
    counted = dicom_factory.pet(tmp_path / "counted", units="PROPCNTS").folder
    with pytest.raises(UnitError, match="PROPCNTS"):
        petdiffusion.denoise(counted, "gaussian", unit="Bq/ml", format="dicom", out=tmp_path / "out")
    scan = read.image(dicom_factory.pet(tmp_path / "scan").folder)
    with pytest.raises(UnitError, match=r"a\.u\."):
        petdiffusion.denoise(replace(scan, unit=ARBITRARY), "gaussian", format="dicom", out=tmp_path / "out")
    moved = replace(scan, geometry=replace(scan.geometry, origin=(0.0, 0.0, 0.0)))
    with pytest.raises(GeometryError, match="grid of the original"):
        petdiffusion.denoise(moved, "gaussian", format="dicom", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["", "results"])
@pytest.mark.parametrize("format_", ["nifti", "dicom"])
def test_no_result_goes_into_the_dicom_folder_that_is_read(tmp_path, format_, inside):
    """The series written there would make the folder two series, and any file makes it another input than recorded."""
    series = dicom_factory.pet(tmp_path / "d")
    before = digest(series.folder)
    with pytest.raises(OutputError, match="DICOM folder"):
        petdiffusion.denoise(series.folder, "gaussian", out=series.folder / inside, format=format_)
    assert digest(series.folder) == before and not (series.folder / "results").exists()


def test_results_may_lie_beside_one_dicom_file_but_not_among_its_series(tmp_path):
    series = dicom_factory.pet(tmp_path / "d")
    one = next(p for p in sorted(series.folder.iterdir()))
    with pytest.raises(OutputError, match="DICOM folder"):
        petdiffusion.denoise(one, "gaussian", out=series.folder)
    petdiffusion.denoise(one, "gaussian", out=tmp_path / "out", report=False)
    petdiffusion.denoise(one, "gaussian", out=series.folder / "out", report=False)


def test_a_ct_in_the_output_folder_is_refused_too_and_a_nifti_there_is_not(files, tmp_path):
    ct = dicom_factory.ct(tmp_path / "ct")
    with pytest.raises(OutputError, match="DICOM folder"):
        petdiffusion.segment(files["pet"], out=ct.folder / "masks", ct=ct.folder)
    beside = Path(files["pet"]).parent
    assert Path(petdiffusion.denoise(files["pet"], "gaussian", out=beside).files["denoised"]).parent == beside


def test_the_record_says_the_device_that_did_the_work(files, tmp_path):
    """A filter has no network: it runs on the CPU whatever was asked for."""
    result = petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out", device="cuda")
    assert result.record["device"] == "cpu"
    assert settings_of(result.record, registry.card("gaussian"))["Run"]["device"] == "cpu"
    assert np.array_equal(rerun(tmp_path / "out").pet.array, result.pet.array)


def test_a_network_is_refused_a_missing_device_before_anything_is_read(tmp_path):
    with pytest.raises(ResourceError, match="cuda:77"):
        petdiffusion.denoise(tmp_path / "none.nii.gz", "unet-3d", device="cuda:77")


def test_an_anatomical_filter_without_anatomy_says_what_it_needs(files):
    with pytest.raises(ConditionError, match=r"CT|MR"):
        petdiffusion.denoise(files["pet"], "anatomy")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"dose_fraction": 0},
        {"dose_fraction": 2},
        {"format": "jpeg"},
        {"device": "foo"},
        {"device": "cuda:x"},
        {"device": ""},
    ],
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


def test_a_rerun_of_changed_inputs_is_refused(files, tmp_path):
    petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out")
    images.write(small_patient(9)["pet"], files["pet"], overwrite=True)
    with pytest.raises(InputError, match="has changed since"):
        rerun(tmp_path / "out")


def test_a_rerun_with_another_unit_or_dose_in_the_sidecar_is_refused(files, tmp_path):
    petdiffusion.denoise(files["pet"], "gaussian", labels=files["labels"], out=tmp_path / "out")
    notes = Path(files["pet"].replace(".nii.gz", ".json"))
    notes.write_text(notes.read_text().replace('"Units": "SUVbw"', '"Units": "Bq/mL"'))
    with pytest.raises(InputError, match=r"sidecar of the pet .* changed since"):
        rerun(tmp_path / "out")


def test_overwriting_leaves_nothing_of_the_earlier_result(files, tmp_path):
    out = tmp_path / "out"
    petdiffusion.denoise(files["pet"], "gaussian", labels=files["labels"], lesions=files["lesions"], out=out)
    foreign = {"notes.txt", "report.json", "record.html", "tables/image.json", "tables/trust.json"}
    for name in foreign:
        (out / name).write_text("mine")
    petdiffusion.denoise(files["pet"], "median", out=out, overwrite=True, report=False)
    left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert left == {"denoised.nii.gz", "denoised.json", "record.json", "tables/image.csv", "tables/trust.csv",
                    "tables/quality.csv", *foreign}


def test_of_the_folders_of_an_earlier_result_only_the_programs_own_files_go(tmp_path):
    for name in ("dicom/00001.dcm", "dicom/read me.txt", "dicom/old/00001.dcm", "lesions.nrrd", "lesions.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "record.json").write_text(json.dumps({"files": {"dicom": "dicom", "lesions": "lesions.nrrd"}}))
    assert outputs.earlier_files(tmp_path) == [tmp_path / "dicom" / "00001.dcm", tmp_path / "lesions.nrrd"]


def test_a_record_that_names_files_elsewhere_removes_nothing(files, tmp_path):
    out = tmp_path / "out"
    petdiffusion.denoise(files["pet"], "gaussian", out=out)
    record = json.loads((out / "record.json").read_text())
    record["files"]["evil"] = "../patient/ct.nii.gz"
    (out / "record.json").write_text(json.dumps(record))
    petdiffusion.denoise(files["pet"], "gaussian", out=out, overwrite=True)
    assert Path(files["ct"]).is_file()


def test_the_record_vouches_for_the_others_so_it_is_moved_last(files, tmp_path, monkeypatch):
    """Whatever move is the last before a kill, no new record lies beside old or missing files."""
    import os

    real, moved, out = os.replace, [], tmp_path / "out"

    def watched(source, target):
        if out in (Path(source).parent, Path(target).parent):
            moved.append((Path(source).name, Path(target).name))
        real(source, target)

    monkeypatch.setattr(os, "replace", watched)
    petdiffusion.denoise(files["pet"], "gaussian", out=out)
    assert moved[-1][1] == "record.json" and len(moved) == 4
    moved.clear()
    petdiffusion.denoise(files["pet"], "gaussian", out=out, overwrite=True)
    assert moved[0] == ("record.json", "0") and moved[-1][1] == "record.json"


@pytest.mark.parametrize("name", ["reference", "lesions", "labels", "ct"])
def test_an_image_of_somewhere_else_is_refused_before_the_work(files, name):
    far = small_patient()[name]
    far = replace(far, geometry=replace(far.geometry, origin=(5000.0, 0.0, 0.0)))
    run = Run()
    with pytest.raises(GeometryError, match="covers only 0%"):
        petdiffusion.denoise(files["pet"], "gaussian", run=run, **{name: far})
    assert "denoise" not in run.seconds


def test_a_reference_without_a_unit_is_taken_in_the_pets():
    case = small_patient()
    becquerel = case["pet"].with_array(case["pet"].array / 2e-4, BQML)
    bare = Volume(case["reference"].array / 2e-4, case["reference"].geometry)
    wanted = petdiffusion.denoise(case["pet"], "gaussian", reference=case["reference"]).tables["image"][1]["PSNR_dB"]
    found = petdiffusion.denoise(becquerel, "gaussian", reference=bare).tables["image"][1]["PSNR_dB"]
    assert found == pytest.approx(wanted, abs=0.01)


def test_lesions_that_were_smoothed_away_are_said_in_the_record(files, tmp_path):
    case = {k: files[k] for k in ("labels", "lesions", "reference")}
    hard = petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "out", fwhm_mm=30, **case)
    assert any("SUVpeak" in text and "1 of 1" in text for text in hard.record["check"])
    soft = petdiffusion.denoise(files["pet"], "gaussian", fwhm_mm=0, **case)
    assert not any("SUVpeak" in text for text in soft.record["check"])


def test_an_empty_path_is_not_this_folder(files):
    with pytest.raises(InputError, match="is empty"):
        petdiffusion.denoise(files["pet"], "gaussian", ct="")


def test_an_output_says_what_it_is_and_is_not_taken_for_a_scan(files, tmp_path):
    first = petdiffusion.denoise(files["pet"], "gaussian", out=tmp_path / "first")
    assert first.pet.facts.denoised == "Gaussian filter" and first.low.facts.denoised is None
    assert not [text for text in first.warnings if "output of this program" in text]
    again = petdiffusion.denoise(first.files["denoised"], "gaussian")
    assert [text for text in again.warnings if "output of this program (Gaussian filter), not a scan" in text]


def _without_ends(path: str, out: Path, slices: int) -> Path:
    """The same image without its lowest slices, on a grid of its own."""
    image = read.image(path)
    geometry = image.geometry
    origin = tuple((geometry.affine @ [0, 0, slices, 1])[:3])
    rest = replace(geometry, size=(*geometry.size[:2], geometry.size[2] - slices), origin=origin)
    return images.write(replace(image, array=image.array[slices:], geometry=rest), out)


def test_what_a_reference_does_not_show_is_left_out_of_every_comparison(files, tmp_path):
    """A normal-dose scan without the lowest third: its missing part is no activity of zero."""
    low = read.image(files["pet"])
    cut = low.geometry.shape[0] // 3
    given = {"labels": files["labels"], "lesions": files["lesions"]}
    part = petdiffusion.denoise(files["pet"], "gaussian", **given,
                                reference=_without_ends(files["reference"], tmp_path / "part.nii.gz", cut))
    (said,) = [text for text in part.warnings if "The reference covers" in text]
    assert "compared there" in said
    row = {row["image"]: row for row in part.tables["image"]}
    whole = petdiffusion.denoise(files["pet"], "gaussian", **given, reference=files["reference"])
    assert not [text for text in whole.warnings if "The reference covers" in text]
    reference, body = whole.reference.array, whole.low.array
    assert row["denoised"]["PSNR_dB"] == pytest.approx(
        {row["image"]: row for row in whole.tables["image"]}["denoised"]["PSNR_dB"], abs=1.5)
    for organ in part.tables["organs"]:
        voxels = (read.labels(files["labels"]).array == organ["label"]) & (read.labels(files["lesions"]).array == 0)
        voxels[:cut] = False
        assert organ["SUVmean_reference"] == pytest.approx(reference[voxels].mean(), rel=1e-4)
        assert organ["SUVmean_low"] == pytest.approx(body[voxels].mean(), rel=1e-4)


def test_lesions_outside_of_the_scan_are_told(files, tmp_path):
    mask = read.labels(files["lesions"])
    lowest = {value: np.argwhere(mask.array == value)[:, 0].max() for value in mask.present()}
    gone, last = min(lowest.items(), key=lambda item: item[1])
    cut = _without_ends(files["pet"], tmp_path / "cut.nii.gz", int(last) + 2)
    result = petdiffusion.denoise(cut, "gaussian", lesions=files["lesions"])
    (said,) = [text for text in result.warnings if "of the mask" in text]
    assert f"Lesion {gone} of the mask lies outside of the PET" in said
    assert not [text for text in petdiffusion.denoise(files["pet"], "gaussian", lesions=files["lesions"]).warnings
                if "of the mask" in text]


def test_images_of_different_patients_are_told(files):
    pet = read.image(files["pet"]).with_facts(weight_kg=72.5, sex="F", height_m=1.70)
    reference = read.image(files["reference"])

    def said(**facts):
        given = reference.with_facts(weight_kg=None, sex=None, height_m=None).with_facts(**facts)
        warnings = petdiffusion.denoise(pet, "gaussian", reference=given).warnings
        return [text for text in warnings if "another patient" in text]

    (told,) = said(weight_kg=55.0, sex="M", height_m=1.72)
    assert "The reference seems" in told and "sex M, not F, weight 55 kg, not 72.5" in told and "height" not in told
    assert not said(weight_kg=75.0, sex="F") and not said()


def test_compare_leaves_out_what_an_image_does_not_show(files, tmp_path):
    cut = read.image(files["pet"]).geometry.shape[0] // 3
    short = _without_ends(files["pet"], tmp_path / "short.nii.gz", cut)
    run = Run()
    (row, _) = quantifying.compare([short], files["reference"], run=run)["image"]
    low, reference = read.image(files["pet"]).array[cut:], read.image(files["reference"]).array
    body = body_mask(read.image(files["reference"]))[cut:]
    assert row["RMSE"] == pytest.approx(np.sqrt(np.square(low - reference[cut:])[body].mean()), rel=1e-4)
    assert [text for text in run.warnings if text.startswith("The image covers")]
