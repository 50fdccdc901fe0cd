"""DICOM SEG and TID 1500: pydicom reads back the same masks, in their place, and the same numbers."""

import json

import numpy as np
import petdiffusion
import pydicom
import pytest
from petdiffusion import read, registry
from petdiffusion.errors import Cancelled, GeometryError, InputError
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import dicom_masks
from support import dicom_factory as factory
from support import tiny_models

hd = pytest.importorskip("highdicom")
ROWS = [
    {"what": "lesion", "name": "lesion 1", "volume_ml": 2.5, "SUVmean": 4.25, "SUVmax": 9.5, "SUVpeak": 7.0,
     "TLG": 10.625},
    {"what": "lesion", "name": "lesion 2", "volume_ml": 0.5, "SUVmean": 3.0, "SUVmax": 3.5, "SUVpeak": 2.0, "TLG": 1.5},
    {"what": "total", "name": "all lesions", "lesions": 2, "volume_ml": 3.0, "TLG": 12.125},
    {"what": "organ", "name": "liver", "volume_ml": 900.0, "SUVmean": 2.125},
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    series = factory.pet(folder / "in")
    pet = read.image(series.folder)
    organs, lesions = np.zeros(pet.array.shape, np.int16), np.zeros(pet.array.shape, np.int16)
    organs[1:4, 3:9, 4:11], organs[5, 1:4, 2:6] = 1, 7
    lesions[2, 5:7, 6:9], lesions[4, 10, 20] = 1, 2
    maps = (LabelMap(organs, pet.geometry, {1: "liver", 7: "aorta"}),
            LabelMap(lesions, pet.geometry, {1: "lesion 1", 2: "lesion 2"}))  # fmt: skip
    files = dicom_masks.write(*maps, ROWS, folder / "out", series.folder, "AMDiff")
    return files, maps, pet


def test_the_same_masks_lie_where_they_lay(written):
    files, maps, pet = written
    for file, mask in zip(files, maps):
        ds = pydicom.dcmread(file)
        names = {s.SegmentNumber: s.SegmentLabel for s in ds.SegmentSequence}
        back = np.zeros(mask.array.shape, np.int16)
        values = {name: value for value, name in mask.names.items()}
        for frame, about in zip(np.atleast_3d(ds.pixel_array), ds.PerFrameFunctionalGroupsSequence):
            place = np.array(about.PlanePositionSequence[0].ImagePositionPatient, float)
            index = np.linalg.inv(pet.geometry.affine) @ [*place, 1]
            assert np.allclose(index[:2], 0, atol=1e-3)
            segment = about.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            back[round(index[2])][frame > 0] = values[names[segment]]
        np.testing.assert_array_equal(back, mask.array)


def test_segments_say_what_they_are_and_who_made_them(written):
    organs, lesions = (pydicom.dcmread(f) for f in written[0][:2])
    liver, first = organs.SegmentSequence[0], lesions.SegmentSequence[0]
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    assert first.SegmentAlgorithmType == "AUTOMATIC" and "research" in lesions.SeriesDescription
    assert organs.StudyInstanceUID == lesions.StudyInstanceUID and organs.PatientID == factory.PATIENT_ID


def items(node, code):
    return [i for i in node.get("ContentSequence", []) if i.ConceptNameCodeSequence[0].CodeValue == code]


def groups(ds):
    """Every measurement group of the report."""
    return items(items(ds, "126010")[0], "125007")


def numbers(ds):
    """Of every measurement group its name, and value by concept and derivation."""
    found = {}
    for group in groups(ds):
        name = items(group, "112039")[0].TextValue
        found[name] = {}
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                derived = items(item, "121401")
                key = derived[0].ConceptCodeSequence[0].CodeMeaning if derived else "value"
                code = item.ConceptNameCodeSequence[0].CodeMeaning, key
                found[name][code] = float(item.MeasuredValueSequence[0].NumericValue)
    return found


def test_the_report_holds_the_same_numbers(written):
    ds = pydicom.dcmread(written[0][2])
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "1500" and ds.VerificationFlag == "UNVERIFIED"
    found = numbers(ds)
    assert list(found) == ["lesion 1", "lesion 2", "all lesions", "liver"]
    assert found["lesion 1"] == {("Volume", "value"): 2.5, ("SUVbw", "Mean"): 4.25, ("SUVbw", "Maximum"): 9.5,
                                 ("SUVbw", "Peak Value Within ROI"): 7.0,
                                 ("Total Lesion Glycolysis", "value"): 10.625}  # fmt: skip
    assert found["all lesions"] == {("Volume", "value"): 3.0, ("Total Lesion Glycolysis", "value"): 12.125}
    assert found["liver"] == {("Volume", "value"): 900.0, ("SUVbw", "Mean"): 2.125}


def test_the_reports_lesions_point_at_their_segments(written):
    files, _, _ = written
    seg, report = pydicom.dcmread(files[1]), pydicom.dcmread(files[2])
    text = str(report)
    assert seg.SOPInstanceUID in text


def test_a_region_is_tracked_under_one_name_and_number_in_masks_and_report(written):
    """Else a viewer that follows lesions over time counts each of them twice."""
    files, _, _ = written
    segments = [s for file in files[:2] for s in pydicom.dcmread(file).SegmentSequence]
    tracked = {(s.TrackingID, s.TrackingUID) for s in segments if s.TrackingID != "aorta"}  # which has no row
    found = set()
    for group in groups(pydicom.dcmread(files[2])):
        (name,), (uid,) = items(group, "112039"), items(group, "112040")
        found.add((name.TextValue, uid.UID))
    assert tracked == {one for one in found if one[0] != "all lesions"} and len(found) == 4


def test_masks_of_another_grid_are_refused(written, tmp_path):
    _, maps, pet = written
    g = pet.geometry
    moved = LabelMap(maps[0].array, Geometry(g.size, g.spacing, (0.0, 0.0, 0.0), g.direction), maps[0].names)
    with pytest.raises(GeometryError, match="grid of the original"):
        dicom_masks.write(moved, None, [], tmp_path / "x", pet.facts.source, "AMDiff")


def test_no_lesions_leave_a_report_and_no_empty_segmentation(written, tmp_path):
    _, maps, pet = written
    none = LabelMap(np.zeros_like(maps[1].array), pet.geometry)
    files = dicom_masks.write(maps[0], none, ROWS[2:], tmp_path / "x", pet.facts.source, "AMDiff")
    assert [f.name for f in files] == ["organs.dcm", "measurements.dcm"] and all(f.is_file() for f in files)


def test_masks_without_numbers_come_without_a_report(written, tmp_path):
    _, maps, pet = written
    files = dicom_masks.write(maps[0], None, [], tmp_path / "x", pet.facts.source, "AMDiff")
    assert [f.name for f in files] == ["organs.dcm"] and [f.name for f in (tmp_path / "x").iterdir()] == ["organs.dcm"]
    nothing = LabelMap(np.zeros_like(maps[0].array), pet.geometry)
    assert dicom_masks.write(nothing, None, [], tmp_path / "y", pet.facts.source, "AMDiff") == []
    assert not (tmp_path / "y").exists()


def one_lesion(folder, edit=None):
    """A series with changed headers, and a mask on it."""
    series = factory.pet(folder / "in", geometry=factory.grid((2, 8, 8)), edit=edit)
    array = np.zeros((2, 8, 8), np.int16)
    array[1, 2:4, 2:4] = 1
    return LabelMap(array, series.geometry, {1: "病変 1"}), series.folder


def write_one(folder, edit=None):
    mask, original = one_lesion(folder, edit)
    rows = [{"what": "lesion", "name": "病変 1", "volume_ml": 2.5, "SUVmean": 4.25}]
    return [pydicom.dcmread(f) for f in dicom_masks.write(None, mask, rows, folder / "out", original, "AMDiff")]


@pytest.mark.parametrize("absent", ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
                                    "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"])  # fmt: skip
def test_what_an_anonymised_header_lacks_is_empty_in_the_masks(tmp_path, absent):
    for ds in write_one(tmp_path, lambda ds, k: delattr(ds, absent)):
        assert not ds[absent].value


def test_a_sex_that_dicom_does_not_know_is_left_empty(tmp_path):
    assert all(ds.PatientSex == "" for ds in write_one(tmp_path, lambda ds, k: setattr(ds, "PatientSex", "U")))


@pytest.mark.parametrize("given", [None, ""])
def test_segments_are_as_thick_as_the_slices_are_apart(tmp_path, given):
    segmentation, _ = write_one(tmp_path, lambda ds, k: setattr(ds, "SliceThickness", given))
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == pytest.approx(3.27, abs=0.01)


@pytest.mark.parametrize(("sets", "name"), [
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"), ("ISO_IR 100", "Müller^Jörg"),
    ("GB18030", "Wang^XiaoDong=王^小东"), ("ISO 2022 IR 100", "Müller^Jörg"), ("ISO_IR 6", "Miller^George"),
])  # fmt: skip
def test_names_of_every_script_are_kept(tmp_path, sets, name):
    def edit(ds, k):
        ds.SpecificCharacterSet, ds.PatientName = sets, name

    segmentation, report = write_one(tmp_path, edit)
    assert str(segmentation.PatientName) == str(report.PatientName) == name
    assert segmentation.SegmentSequence[0].SegmentLabel == "病変 1" and list(numbers(report)) == ["病変 1"]


@pytest.mark.parametrize("absent", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_an_original_that_no_mask_can_be_tied_to_is_refused(tmp_path, absent):
    with pytest.raises(InputError, match=f"{absent}.*is missing"):
        write_one(tmp_path, lambda ds, k: delattr(ds, absent))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "models"))
    tiny_models._write(tmp_path / "models", registry.card("amdiff"))


def test_a_result_is_kept_where_no_masks_can_be_written_and_says_so(tiny, tmp_path, monkeypatch):
    def fail(*given, **more):
        raise AttributeError("'FileDataset' object has no attribute 'PatientOddity'")

    monkeypatch.setattr(hd.sr, "Comprehensive3DSR", fail)
    series, out = factory.pet(tmp_path / "in"), tmp_path / "out"
    result = petdiffusion.denoise(series.folder, "amdiff", model="amdiff-tiny", samples=0, format="dicom", out=out)
    assert (out / "denoised.nii.gz").is_file() and len(list((out / "dicom").iterdir())) == 6
    assert not (out / "dicom-masks").exists() and "dicom_masks" not in result.files
    said = json.loads((out / "record.json").read_text())["warnings"]
    assert "No DICOM SEG" in said[-1] and "PatientOddity" in said[-1]
    assert "PatientOddity" in (out / "report.html").read_text()


def test_a_run_stopped_while_masks_are_written_is_stopped(tiny, tmp_path, monkeypatch):
    def stop(*given, **more):
        raise Cancelled()

    monkeypatch.setattr(dicom_masks, "write", stop)
    series = factory.pet(tmp_path / "in")
    with pytest.raises(Cancelled):
        petdiffusion.segment(series.folder, model="amdiff-tiny", format="dicom", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
