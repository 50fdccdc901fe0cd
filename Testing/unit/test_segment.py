"""Masks alone, from the command line and from Python; with DICOM in, DICOM SEG and a report come out too."""

import csv
import json

import numpy as np
import petdiffusion
import pydicom
import pytest
from petdiffusion import read, registry
from petdiffusion.cli import main
from petdiffusion.errors import OptionError
from petdiffusion.measure import cautions
from petdiffusion.methods.amdiff.config import ORGANS
from petdiffusion.volume import LabelMap
from petdiffusion.write import labels as label_files
from petdiffusion.write.lock import FILE, alone_in
from petdiffusion.write.tables import read_csv
from support import dicom_factory, tiny_models
from support.scans import write_patient


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(folder))
    tiny_models._write(folder, registry.card("amdiff"))


def test_segment_says_which_organs_cannot_be_whole(tmp_path, capsys, monkeypatch):
    """The small test body is no adult's: with bounds that nothing reaches every organ drawn is named."""
    monkeypatch.setattr(cautions, "LEAST_WHOLE_ML", dict.fromkeys(ORGANS, 1e9))
    pet = write_patient(tmp_path / "p")["pet"]
    assert main(["segment", pet, "--model", "amdiff-tiny", "--out", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out.split("Too small to be whole")[1]
    rows = read_csv(tmp_path / "o" / "tables" / "clinical.csv")
    organs = [row["name"] for row in rows if row["what"] == "organ"]
    assert organs and all(f"{name} (" in said for name in organs)


def test_segment_writes_masks_tables_and_a_record_and_no_image(tmp_path, capsys):
    pet = write_patient(tmp_path / "p")["pet"]
    words = ["--model", "amdiff-tiny", "--option", "threshold=0.4", "--out", str(tmp_path / "o")]
    assert main(["segment", pet, *words]) == 0
    said = capsys.readouterr().out
    assert "research use" in said and "all lesions" in said and "no diagnosis" in said
    assert "did not fall" not in said  # nothing was to be denoised
    out = tmp_path / "o"
    assert not list(out.glob("denoised*")) and (out / "tables" / "clinical.csv").is_file()
    organs, lesions = (read.labels(out / f"{name}.nii.gz", allow_empty=True) for name in ("organs", "lesions"))
    assert organs.names[1] == "liver" and organs.geometry.close_to(read.image(pet).geometry)
    record = json.loads((out / "record.json").read_text())
    assert record["details"]["lesion_threshold"] == 0.4 and record["options"]["masks_only"] is True
    assert not [text for text in record["check"] if "did not fall" in text]
    again = petdiffusion.segment(pet, model="amdiff-tiny", threshold=0.4)
    np.testing.assert_array_equal(again.lesions.array, lesions.array)
    np.testing.assert_array_equal(again.pet.array, read.image(pet).array)


def test_the_report_on_masks_alone_claims_no_denoising(tmp_path):
    """As the panel's setting `masks_only` makes it."""
    patient = write_patient(tmp_path / "p")
    words = ["--method", "amdiff", "--model", "amdiff-tiny", "--reference", patient["reference"]]
    for name, more in (("masks", ["--option", "masks_only=true"]), ("image", [])):
        assert main(["denoise", patient["pet"], *words, *more, "--out", str(tmp_path / name)]) == 0
    masks, image = ((tmp_path / name / "report.html").read_text(encoding="utf-8") for name in ("masks", "image"))
    for text in ("was denoised with", "PET denoised with", "PSNR went from", "did not fall"):
        assert text not in masks
    assert "marked lesions and organs on this PET" in masks and "it was not denoised" in masks
    assert "was denoised with" in image and "PET denoised with" in image


def test_masks_are_made_again_as_masks(tmp_path, capsys):
    pet = write_patient(tmp_path / "p")["pet"]
    words = ["--model", "amdiff-tiny", "--option", "threshold=0.4", "--quiet", "--out", str(tmp_path / "one")]
    assert main(["segment", pet, *words]) == 0
    capsys.readouterr()
    assert main(["rerun", str(tmp_path / "one"), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "no diagnosis" in said and "denoised" not in said
    written = [sorted(str(p.relative_to(tmp_path / o)) for p in (tmp_path / o).rglob("*")) for o in ("one", "two")]
    assert written[0] == written[1] and not [name for name in written[1] if "denoised" in name]
    one, two = (read.labels(tmp_path / o / "lesions.nii.gz", allow_empty=True).array for o in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_labels_say_where_lesions_lie_and_leave_them_out(tmp_path, capsys):
    """All of the scan is named colon: with `leave_out=colon` no lesion is left."""
    files = write_patient(tmp_path / "p")
    pet = read.image(files["pet"])
    every = LabelMap(np.ones(pet.array.shape, np.int16), pet.geometry, {1: "colon"})
    label_files.write(every, tmp_path / "colon.nii.gz")
    words = ["--model", "amdiff-tiny", "--option", "threshold=0.01", "--labels", str(tmp_path / "colon.nii.gz")]
    assert main(["segment", files["pet"], *words, "--out", str(tmp_path / "all")]) == 0
    said = capsys.readouterr()
    assert "colon" in said.out and "often physiological: colon" in said.err
    words += ["--option", "leave_out=colon", "--json-lines"]
    assert main(["segment", files["pet"], *words, "--out", str(tmp_path / "none")]) == 0
    record = json.loads((tmp_path / "none" / "record.json").read_text())
    rows = list(csv.DictReader((tmp_path / "none" / "tables" / "marks_left_out.csv").open()))
    assert len(rows) == record["details"]["regions_left_out"] > 0
    assert {(row["organ"], row["why"]) for row in rows} == {("colon", "leave_out names where it lies")}
    assert not (tmp_path / "all" / "tables" / "marks_left_out.csv").exists()
    assert not read.labels(tmp_path / "none" / "lesions.nii.gz", allow_empty=True).array.any()


def test_denoise_with_dicom_gives_segmentations_that_hold_its_masks(tmp_path):
    series = dicom_factory.pet(tmp_path / "in")
    result = petdiffusion.denoise(series.folder, "amdiff", model="amdiff-tiny", samples=0, format="dicom",
                                  out=tmp_path / "o", report=False)  # fmt: skip
    seg = pydicom.dcmread(tmp_path / "o" / "dicom-masks" / "organs.dcm")
    voxels = sum(int((frame > 0).sum()) for frame in np.atleast_3d(seg.pixel_array))
    assert voxels == np.count_nonzero(result.organs.array)
    assert (tmp_path / "o" / "dicom-masks" / "measurements.dcm").is_file()
    assert result.files["dicom_masks"].endswith("dicom-masks")


def test_segment_from_dicom_gives_them_too(tmp_path):
    series = dicom_factory.pet(tmp_path / "in")
    result = petdiffusion.segment(series.folder, model="amdiff-tiny", format="dicom", out=tmp_path / "o")
    assert (tmp_path / "o" / "dicom-masks" / "organs.dcm").is_file() and "organs" in result.files


def test_a_method_without_masks_is_refused(tmp_path):
    with pytest.raises(OptionError, match="makes no masks"):
        petdiffusion.segment(tmp_path, "csrd")
    with pytest.raises(OptionError, match="Did you mean 'amdiff'"):
        petdiffusion.segment(tmp_path, "amdif")


def test_a_method_without_a_model_says_so(capsys, monkeypatch):
    assert main(["methods", "amdiff"]) == 0 and "no model" not in capsys.readouterr().out
    monkeypatch.setattr("petdiffusion.zoo.store.models", lambda method=None: {})
    assert main(["methods", "amdiff"]) == 0
    assert "no model on this machine: train one (petdiffusion train amdiff" in capsys.readouterr().out
    assert main(["methods"]) == 0 and "(no model here)" in capsys.readouterr().out


def test_a_second_run_in_the_folder_is_refused_before_anything_is_read(tmp_path, capsys):
    pet = write_patient(tmp_path / "p")["pet"]
    words = ["segment", pet, "--model", "amdiff-tiny", "--out", str(tmp_path / "o")]
    with alone_in(tmp_path / "o"):
        assert main(words) == 1
        told = capsys.readouterr()
        assert "another run is at work in it" in told.err and "Reading" not in told.out
    assert not (tmp_path / "o").exists()
    assert main(words) == 0 and not (tmp_path / "o" / FILE).exists()
