"""Manifests: every fault is found before the first case runs."""

from pathlib import Path

import pytest
from petdiffusion.batch.jobs import run_batch
from petdiffusion.batch.manifest import read_manifest
from petdiffusion.errors import InputError, OptionError, UnitError
from petdiffusion.write.tables import read_csv


def write(folder, text, name="cases.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_manifest_and_ids_come_from_names(tmp_path):
    cases = read_manifest(write(tmp_path, "pet,ct,seed\nsub/a.nii.gz,,3\nb.nii.gz,../ct.nrrd,\n"))
    assert [c.id for c in cases] == ["a", "b"]
    assert cases[0].images == {"pet": str(tmp_path / "sub/a.nii.gz")} and cases[0].settings == {"seed": "3"}
    assert cases[1].images["ct"] == str(tmp_path / "../ct.nrrd")


def test_a_byte_order_mark_and_foreign_letters_are_no_trouble(tmp_path):
    path = tmp_path / "fälle.csv"
    path.write_text("id,pet\nMüller 1,größe.nii.gz\n", encoding="utf-8-sig")
    assert read_manifest(path)[0].id == "Müller 1"


def test_semicolons_of_a_spreadsheet_and_dots_in_names(tmp_path):
    path = write(tmp_path, "pet;dose_fraction\nlow_0.1.nii.gz;0.1\nlow_0.25.NII;0.25\n")
    found = {case.id: case.settings["dose_fraction"] for case in read_manifest(path)}
    assert found == {"low_0.1": "0.1", "low_0.25": "0.25"}
    assert [row["dose_fraction"] for row in read_csv(path)] == [0.1, 0.25]


def test_what_spreadsheets_add_is_no_trouble(tmp_path):
    """Capitals and spaces in the header, columns and rows without a word, decimal commas between semicolons."""
    rows = "ID; PET ;Weight_kg;dose_fraction;;", "a;x.nii;72,5;0,1;;", ";;;;;", "b;y.nii;;"
    cases = read_manifest(write(tmp_path, "\r\n".join(rows)))
    assert [case.id for case in cases] == ["a", "b"]
    assert cases[0].settings == {"weight_kg": "72.5", "dose_fraction": "0.1"}
    assert read_manifest(write(tmp_path, 'pet,text\nx.nii,"a, b"\n,\n'))[0].settings["text"] == "a, b"


def test_paths_as_windows_writes_them_are_found(tmp_path):
    (tmp_path / "Pat 1").mkdir()
    (tmp_path / "Pat 1" / "low.nii.gz").touch()
    (case,) = read_manifest(write(tmp_path, "pet;ct\nPat 1\\low.nii.gz;Pat 1\\none.nii\n"))
    assert Path(case.images["pet"]) == tmp_path / "Pat 1" / "low.nii.gz" and case.id == "low"
    assert case.images["ct"].endswith("none.nii")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no case"),
        ("id\tpet\n1\ta.nii\n", r"no column 'pet', but: 'id\\tpet'\. .*Commas or semicolons"),
        ("pet,Pet\na.nii,b.nii\n", "two columns 'pet'"),
        ("pet,\na.nii,b.nii\n", "column without a name holds 'b.nii'"),
        ("pet,ct\na.nii,b.nii,c.nii\n", "line 2: has more cells than the header"),
        ("id,pet\n", "holds no case"),
        ("id,image\n1,a.nii\n", "no column 'pet'"),
        ("pet,colour\na.nii,red\n", "unknown columns: colour"),
        ("pet\na.nii,b.nii\n", "line 2: has more cells"),
        ("id,pet\n1,\n", "line 2 names no PET|line 2: names no PET"),
        ("id,pet\n../up,a.nii\n", "cannot name a folder"),
        ("id,pet\n1,a.nii\n1,b.nii\n", "'1': occurs twice"),
        ("id,pet\nA,a.nii\na,b.nii\n", "occurs twice"),
        ("id,pet\na,a.nii\nA,b.nii\n", "occurs twice"),
        ("id,pet\n\n1,a.nii\n\n\n2,\n", "line 6: names no PET"),
        ('id,pet,text\n1,a.nii,"two\nlines"\n2,,\n', "line 4: names no PET"),
        ("id,pet\nsummary.csv,a.nii\n", "cannot name a folder"),
        ("id,pet\nx.,a.nii\n", "cannot name a folder"),
        ("id,pet\n1,a.nii\n2,b.nii,c.nii\n", "line 3: has more cells than the header"),
    ],
)
def test_a_faulty_manifest_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_manifest(write(tmp_path, text))


@pytest.mark.parametrize("id_", ["nul", "COM1", "lpt9.a", "con .b", "com\u00b9", "batch.json"])
def test_an_id_that_is_no_folder_on_windows_is_refused_with_the_reason(tmp_path, id_):
    reason = "this program's own" if id_ == "batch.json" else "Windows keeps '.*' for a device"
    with pytest.raises(InputError, match=f"cannot name a folder: {reason}.*Add to the name"):
        read_manifest(write(tmp_path, f"id,pet\n{id_},a.nii\n"))


@pytest.mark.parametrize("id_", ["com", "com10", "company", "lpt0x", "null", "patient com1"])
def test_an_id_that_only_looks_like_a_device_is_taken(tmp_path, id_):
    assert read_manifest(write(tmp_path, f"id,pet\n{id_},a.nii\n"))[0].id == id_


def test_a_missing_or_binary_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("pet,seed\na.nii,x\n", {}, "seed = 'x': is not a whole number"),
        ("pet,seed\na.nii,1.5\n", {}, "seed = '1.5': is not a whole number"),
        ("pet,weight_kg\na.nii,heavy\n", {}, "weight_kg = 'heavy': is not a number"),
        ("pet,dose_fraction\na.nii,2\n", {}, "Case a: Dose fraction 2"),
        ("pet,method\na.nii,gausian\n", {}, "Case a: Method 'gausian'.*Did you mean 'gaussian'"),
        ("pet,method\na.nii,tv\n", {"options": {"fwhm_mm": 3.0}}, "Case a: Option 'fwhm_mm'"),
        ("pet\na.nii\n", {"method": "gausian"}, "^Method 'gausian'"),
        ("pet\na.nii\n", {"options": {"sharpness": 1}}, "Option 'sharpness'"),
        ("pet\na.nii\n", {"workers": 0}, "0 workers"),
        ("pet\na.nii\n", {"engine": "abacus"}, "Engine 'abacus'"),
    ],
)
def test_impossible_settings_are_refused_before_the_first_case(tmp_path, text, settings, message):
    settings = {"method": "gaussian", **settings}
    with pytest.raises(OptionError, match=message):
        run_batch(write(tmp_path, text), tmp_path / "out", **settings)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("pet,unit\na.nii,bananas\n", {}, "Case a: Unit 'bananas'"),
        ("pet,unit\na.nii,HU\n", {}, "Case a: Unit 'HU'.*not one a PET can have"),
        ("pet\na.nii\n", {"unit": "bananas"}, "^Unit 'bananas'"),
    ],
)
def test_a_unit_that_no_pet_has_is_refused_before_the_first_case(tmp_path, text, settings, message):
    with pytest.raises(UnitError, match=message):
        run_batch(write(tmp_path, text), tmp_path / "out", "gaussian", **settings)
    assert not (tmp_path / "out").exists()


def test_a_list_of_scans_needs_no_manifest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"id": "second", "PET": "b.nii", "ct": Path("c.nii"), "seed": 3.0, "weight_kg": 72.5, "patient": float("nan"),
           "labels": None, "text": ""}  # fmt: skip
    first, second = read_manifest([tmp_path / "low_0.1.nii.gz", row])
    assert first.id == "low_0.1" and first.images == {"pet": str(tmp_path / "low_0.1.nii.gz")} and not first.settings
    assert second.images == {"pet": str(tmp_path / "b.nii"), "ct": str(tmp_path / "c.nii")} and second.id == "second"
    assert second.settings == {"seed": "3", "weight_kg": "72.5"} and second.about == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "list of cases: is empty"),
        (["a.nii", 7], "Case 2 of the list: is neither .* but int"),
        ([{"ct": "a.nii"}], "Case 1 of the list: has no column 'pet', but: 'ct'"),
        ([{"pet": "a.nii", "ct": ["b.nii"]}], "Case 1 of the list: ct: is list, and no path"),
        ([{"pet": None}], "Case 1 of the list: names no PET"),
        ([{"pet": "a.nii", "colour": "red"}],
         "Case 1 of the list: has unknown columns: colour.*Known columns: [a-z_, ]*\\.$"),
        (["x/pet.nii", "y/pet.nii"], "Id 'pet': occurs twice"),
        ({"pet": "a.nii"}, "Cases as dict: are neither"),
    ],
)
def test_a_faulty_list_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        read_manifest(given)
