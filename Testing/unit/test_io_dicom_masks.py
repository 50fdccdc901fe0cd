"""DICOM SEG and TID 1500: pydicom reads back the same masks, in their place, and the same numbers."""

import numpy as np
import pydicom
import pytest
from petdiffusion import read
from petdiffusion.errors import GeometryError
from petdiffusion.volume import Geometry, LabelMap
from petdiffusion.write import dicom_masks
from support import dicom_factory as factory

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
