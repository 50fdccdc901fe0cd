"""Which patients a training may have: none in two splits, none twice, under whatever names and paths they come."""

import math
import shutil

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.errors import TrainingError
from petdiffusion.methods.text_ddpm.data import load_patients
from petdiffusion.progress import Run
from petdiffusion.training import manifest
from petdiffusion.training.bank import load_bank
from petdiffusion.training.settings import TrainSettings
from petdiffusion.write import images
from support.tiny_bank import write_dataset

HEADER = "id,pet,reference,split,patient"


def written(folder, name, *rows, header=HEADER):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join((header, *rows)) + "\n")
    return folder / name


def test_one_patient_in_two_splits_is_refused_by_the_column_patient(tmp_path):
    file = written(tmp_path, "m.csv", "a,a.nii.gz,A.nii.gz,train,P1", "b,b.nii.gz,B.nii.gz,validation,P1")
    with pytest.raises(TrainingError, match=r"P1: is in several splits \(train, validation\): row a .* and row b of"):
        manifest.groups(file)


def test_the_column_patient_counts_over_all_manifests(tmp_path):
    one = written(tmp_path / "one", "m.csv", "a,a.nii.gz,A.nii.gz,train,P1")
    other = written(tmp_path / "other", "m.csv", "b,b.nii.gz,B.nii.gz,validation,P1")
    with pytest.raises(TrainingError, match=r"P1: .*: row a of one/m\.csv and row b of other/m\.csv"):
        manifest.groups([one, other])


def test_a_scan_is_the_same_however_its_path_is_written(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    rows = "a,a.nii.gz,A.nii.gz,train,", "b,b.nii.gz,./x/../A.nii.gz,validation,"
    with pytest.raises(TrainingError, match="is in several splits"):
        manifest.groups(written(tmp_path, "m.csv", *rows))
    same = written(tmp_path, "same.csv", rows[0], "b,b.nii.gz,link/A.nii.gz,train,")
    assert [[row["id"] for row in group] for _, group in manifest.groups(same)] == [["a", "b"]]


def test_a_scan_in_two_manifests_is_refused_whatever_they_say_of_it(tmp_path):
    one = written(tmp_path, "one.csv", "a,a.nii.gz,A.nii.gz,train,")
    with pytest.raises(TrainingError, match="is in several splits"):
        manifest.groups([one, written(tmp_path, "two.csv", "a,a.nii.gz,A.nii.gz,validation,")])
    with pytest.raises(TrainingError, match=r"A\.nii\.gz of .*three\.csv: is given by .*one\.csv too"):
        manifest.groups([one, written(tmp_path, "three.csv", "a,b.nii.gz,A.nii.gz,train,")])
    with pytest.raises(TrainingError, match=r"of .*one\.csv: is given by .*one\.csv too"):
        manifest.groups([one, one])


def test_a_scan_with_two_rows_is_refused(tmp_path):
    file = written(tmp_path, "m.csv", "a,a.nii.gz,A.nii.gz,train,", "b,./a.nii.gz,A.nii.gz,train,")
    with pytest.raises(TrainingError, match=r"Rows a and b of .*m\.csv: name the same scan"):
        manifest.groups(file)


def test_rows_without_a_low_count_scan_stay_for_methods_that_open_none(tmp_path):
    file = written(tmp_path, "m.csv", "a,,A.nii.gz,train,", "b,,B.nii.gz,train,P1", "c,,C.nii.gz,train,P1")
    assert [len(group) for _, group in manifest.groups(file)] == [1, 1, 1]


@pytest.mark.parametrize("given", ["m.csv", ".", "{}"])
def test_a_data_set_has_its_folders_name_however_it_is_given(tmp_path, monkeypatch, given):
    """A manifest in the folder where one stands has none in its path."""
    written(tmp_path / "mine", "manifest.csv", "a,a.nii.gz,A.nii.gz,train,P1")
    written(tmp_path / "mine", "m.csv", "a,a.nii.gz,A.nii.gz,train,P1")
    monkeypatch.chdir(tmp_path / "mine")
    assert manifest.collect(given.format(tmp_path / "mine"), lambda *_: "a", Run()).source == "mine"
    with pytest.raises(TrainingError, match="Data mine: gave no patient"):
        manifest.collect(given.format(tmp_path / "mine"), lambda *_: None, Run())


def test_semicolons_are_read_as_batch_reads_them(tmp_path):
    file = written(tmp_path, "m.csv", "a;a.nii.gz;A.nii.gz;train;P1", header=HEADER.replace(",", ";"))
    (row,) = manifest.rows(file)
    assert row["reference"] == "A.nii.gz" and row["patient"] == "P1"


def test_what_spreadsheets_add_is_no_trouble(tmp_path):
    """As in the manifests of `batch`; what a row leaves empty is there, and empty."""
    (tmp_path / "Pat 1").mkdir()
    (tmp_path / "Pat 1" / "low.nii.gz").touch()
    header = "ID; PET ;Reference;Weight_KG;fraction;colour;;"
    rows = header, "a;Pat 1\\low.nii.gz; A.nii ;72,5;0,1;red;;", ";;;;;;;", ";b.nii;B.nii;"
    (tmp_path / "m.csv").write_text("\r\n".join(rows), encoding="utf-8-sig")
    first, second = manifest.rows(tmp_path / "m.csv")
    assert first["pet"] == "Pat 1/low.nii.gz" and first["reference"] == "A.nii" and first["colour"] == "red"
    assert first["weight_kg"] == "72.5" and manifest.dose_of(first) == 0.1
    empty = dict.fromkeys(("weight_kg", "fraction", "colour", ""), "")
    assert second == {"id": "1", "pet": "b.nii", "reference": "B.nii", **empty}


def test_an_absolute_path_stays_what_it_is(tmp_path):
    file = written(tmp_path, "m.csv", f"a,{tmp_path / 'a.nii'},{tmp_path / 'A.nii'},train,")
    assert manifest.rows(file)[0]["pet"] == str(tmp_path / "a.nii")


@pytest.mark.parametrize(("header", "row", "message"), [
    ("pet,reference,Pet", "a,b,c", "has two columns 'pet'"), ("pet,reference", "a,b,c", "line 2: has more cells"),
    ("pet,reference,", "a,b,c", "a column without a name holds 'c'"), ("pet,image", "a,b", "needs the columns pet and"),
    ("pet,reference", ",", "needs the columns pet and reference, and rows")])  # fmt: skip
def test_what_no_row_can_mean_is_refused(tmp_path, header, row, message):
    with pytest.raises(TrainingError, match=message):
        manifest.rows(written(tmp_path, "m.csv", row, header=header))


def copied(folder, splits):
    """Patients of these splits, the last of whom has a copy of the first one's normal-dose scan."""
    write_dataset(folder, splits)
    shutil.copy(folder / "p0" / "reference.nii.gz", folder / f"p{len(splits) - 1}" / "reference.nii.gz")
    return folder


@pytest.mark.parametrize("splits", [("train", "train", "validation"), ("validation", "train", "train")])
def test_a_copy_of_a_scan_in_training_and_validation_is_refused(tmp_path, splits):
    with pytest.raises(TrainingError, match=r"Rows p0 of set \(p0/reference\.nii\.gz\) and p2 of set \(p2/.*\): "
                                            "have the same normal-dose scan in two files"):  # fmt: skip
        load_bank(copied(tmp_path / "set", splits), lambda *_: ({}, {}), TrainSettings(steps=1), Run())


def test_a_copy_in_one_split_is_no_danger_to_what_the_training_is_judged_by(tmp_path):
    folder = copied(tmp_path / "set", ("train", "validation", "train"))
    data = load_bank(folder, lambda *_: ({}, {}), TrainSettings(steps=1), Run())
    assert (len(data.train), len(data.valid)) == (2, 1)


def second_row(folder, first, second):
    """A patient with two rows, and these cells in the columns ct and lesions of each."""
    write_dataset(folder, ("train",))
    shutil.copy(folder / "p0" / "pet.nii.gz", folder / "p0" / "lower.nii.gz")
    shutil.copy(folder / "p0" / "pet.json", folder / "p0" / "lower.json")
    rows = (f"{name},p0/{name}.nii.gz,p0/reference.nii.gz,{cells}" for name, cells in zip(("pet", "lower"),
                                                                                          (first, second)))  # fmt: skip
    return written(folder, "manifest.csv", *rows, header="id,pet,reference,ct,lesions")


CELLS = "p0/ct.nii.gz,p0/lesions.nii.gz"


@pytest.mark.parametrize(("first", "second"), [(",", CELLS), (CELLS, ","), (" ,", CELLS), (CELLS, CELLS)])
def test_what_any_row_of_a_patient_names_is_his(tmp_path, first, second):
    file, run = second_row(tmp_path, first, second), Run()
    (person,) = load_bank(file, lambda *_: ({}, {}), TrainSettings(steps=1), run).train
    assert len(person.scans) == 2 and len(person.lesions) > 0 and not run.warnings
    assert bool(np.isfinite(person.images["ct"].numpy()).all())


def test_several_files_for_what_a_patient_has_once_are_told(tmp_path):
    file, run = second_row(tmp_path, CELLS, "./p0/ct.nii.gz,other.nii.gz"), Run()
    (person,) = load_bank(file, lambda *_: ({}, {}), TrainSettings(steps=1), run).train
    assert len(person.lesions) > 0 and run.warnings == [
        "Rows of one patient name several files as lesions: p0/lesions.nii.gz in row pet, other.nii.gz in row lower. "
        "The first one is taken for all his scans."]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "of_file", "dose"), [
    ("fraction", "0.05", 0.25, 0.05), ("dose_fraction", "0.05", 0.25, 0.05), ("fraction", "", 0.05, 0.05),
    ("note", "", 0.05, 0.05), ("fraction", "", None, None), ("note", "", None, None)])
def test_training_is_told_the_dose_that_somebody_knows(tmp_path, column, value, of_file, dose):
    """By the manifest's column, else by the file; where neither says it, nothing is told."""
    folder = write_dataset(tmp_path / "set", ("train",))
    file, scan = folder / "manifest.csv", folder / "p0" / "pet.nii.gz"
    file.write_text(file.read_text().replace("fraction", column).replace(",0.1,", f",{value},"))
    images.write(read.image(scan, "pet").with_facts(dose_fraction=of_file, source=None), scan, overwrite=True)
    (person,) = load_bank(file, lambda *_: ({}, {}), TrainSettings(steps=1), Run()).train
    (words,) = load_patients(file, lambda *_: ({}, {}), Run()).train[0].words
    told = person.scans[0].numbers["fraction"]
    assert math.isnan(told) if dose is None else told == pytest.approx(dose)
    assert ("1/20 dose" in words) if dose else ("dose" not in words)


@pytest.mark.parametrize("value", ["1/20", "0", "-1", "5", "nan"])
def test_a_dose_that_is_none_is_named(tmp_path, value):
    folder, run = write_dataset(tmp_path / "set", ("train", "train")), Run()
    file = folder / "manifest.csv"
    file.write_text(file.read_text().replace(",0.1,", f",{value},", 1))
    assert load_bank(file, lambda *_: ({}, {}), TrainSettings(steps=1), run).skipped == 1
    assert f"Dose fraction '{value}' of row p0: is not a number above 0" in run.warnings[0]
