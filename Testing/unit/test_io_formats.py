"""Images and label maps through every file format, and what their headers and sidecars say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import read, suv
from petdiffusion.errors import InputError, OutputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.read.totalsegmentator import TOTAL
from petdiffusion.volume import ARBITRARY, BQML, HU, SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write import images, labels

GRID = Geometry((7, 6, 5), (1.3, 2.0, 3.1), (1 / 3, -100.0, 5.123456789), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
FACTS = Facts(modality="PT", tracer="FDG", half_life_s=6586.2, injected_dose_bq=370e6, uptake_minutes=61.5,
              frame_seconds=120.0, weight_kg=70.5, height_m=1.7, sex="F", age_years=64.0, scanner="Übung 1",
              dose_fraction=0.1, suv_factor=2.7e-4, source="scans/mueller_hans/pet.nii")
FORMATS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def volume(unit=SUVBW, facts=FACTS):
    values = np.random.default_rng(0).normal(1, 2, GRID.shape).astype(np.float32)
    values[0, 0, :4] = [0.0, 1e-30, 3.0e4, -1.5]
    return Volume(values, GRID, unit, facts)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("unit", [SUVBW, BQML, ARBITRARY])
def test_written_and_read_nothing_changes(tmp_path, suffix, unit):
    original = volume(unit)
    back = read.image(images.write(original, tmp_path / f"pet{suffix}"))
    np.testing.assert_array_equal(back.array, original.array)
    assert back.array.dtype == np.float32 and back.unit == unit
    assert back.geometry.close_to(GRID, 1e-4)
    assert back.facts.to_json() == {**FACTS.to_json(), "source": str(tmp_path / f"pet{suffix}")}


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_file_says_where_the_image_came_from(tmp_path, suffix):
    images.write(volume(), tmp_path / f"pet{suffix}")
    assert not any(b"mueller" in file.read_bytes() for file in tmp_path.iterdir())


def test_other_formats_of_one_image_share_a_folder(tmp_path):
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        images.write(volume(), tmp_path / f"pet{suffix}")
    assert {read.image(tmp_path / f"pet{s}").facts.weight_kg for s in (".nii.gz", ".nrrd", ".mha")} == {70.5}


@pytest.mark.parametrize("suffix", FORMATS)
def test_other_libraries_see_the_same_image(tmp_path, suffix):
    original = volume()
    file = images.write(original, tmp_path / f"pet{suffix}")
    image = sitk.ReadImage(str(file))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), original.array)
    assert Geometry.of_sitk(image).close_to(GRID, 1e-4)
    if ".nii" in suffix:
        header = nibabel.load(file).header
        assert int(header["sform_code"]) == int(header["qform_code"]) == 1
        np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, bool])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_every_voxel_type_is_read(tmp_path, dtype, suffix):
    values = (np.arange(120).reshape(4, 5, 6) % 2 if dtype is bool else np.arange(120).reshape(4, 5, 6)).astype(dtype)
    file = tmp_path / f"image{suffix}"
    if suffix == ".nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(values.astype(np.uint8) if dtype is bool else values), str(file))
    else:
        stored = values.astype(np.uint8) if dtype is bool else values
        nibabel.save(nibabel.Nifti1Image(stored.transpose(2, 1, 0), np.eye(4)), file)
    role = "mr" if dtype is bool else "pet"  # two values are a mask, and no PET
    np.testing.assert_array_equal(read.image(file, role).array, values.astype(np.float32))


def test_scaled_and_big_endian_nifti(tmp_path):
    stored = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    image = nibabel.Nifti1Image(stored, np.eye(4), nibabel.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.5, -1.0)
    nibabel.save(image, tmp_path / "a.nii")
    expected = nibabel.load(tmp_path / "a.nii").get_fdata().transpose(2, 1, 0)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(read.image(tmp_path / "a.nii").array, expected, rtol=1e-6)


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001)])
def test_nifti_in_metres_becomes_millimetres(tmp_path, unit, scale):
    image = nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), np.diag([2, 3, 4, 1]) / scale)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    given = image.affine.copy()
    for form in (tmp_path / "a.nii", image, image, Volume.from_nibabel(image), LabelMap.from_nibabel(image)):
        found = read.labels(form) if isinstance(form, LabelMap) else read.image(form)
        np.testing.assert_allclose(found.geometry.spacing, (2, 3, 4), rtol=1e-6)
    np.testing.assert_array_equal(image.affine, given)


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_one_frame_is_squeezed(tmp_path, extra):
    nibabel.save(nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4, *extra), np.eye(4)), tmp_path / "a.nii")
    assert read.image(tmp_path / "a.nii").geometry.size == (2, 3, 4)
    four = sitk.JoinSeries([sitk.GetImageFromArray(np.arange(24.0).reshape(4, 3, 2))])
    sitk.WriteImage(four, str(tmp_path / "a.mha"))
    assert read.image(tmp_path / "a.mha").geometry.size == (2, 3, 4)
    assert read.image(four).geometry.size == (2, 3, 4)


def test_the_file_is_not_tied_to_the_image(tmp_path):
    """A memory map would change with the file, and on Windows would lock it."""
    file = images.write(volume(), tmp_path / "a.nii")
    array = read.image(file).array
    before = array.copy()
    file.write_bytes(b"\0" * file.stat().st_size)
    np.testing.assert_array_equal(array, before)


def test_in_memory_images_of_both_libraries():
    original = volume()
    for form in (original.to_sitk(), original.to_nibabel(), original):
        back = read.image(form, unit="SUVbw")
        np.testing.assert_array_equal(back.array, original.array)
        assert back.geometry.close_to(GRID, 1e-6) and back.unit == SUVBW


def test_a_declared_unit_scales_where_the_file_is_silent(tmp_path):
    file = images.write(volume(ARBITRARY), tmp_path / "a.nrrd")
    assert read.image(file, unit="Bq/ml").unit == BQML
    kilo = read.image(file, unit="kBq/ml")
    assert kilo.unit == BQML
    np.testing.assert_allclose(kilo.array, volume().array * 1e3, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_a_declared_unit_that_contradicts_the_file_is_refused(tmp_path, suffix):
    file = images.write(volume(SUVBW), tmp_path / f"a{suffix}")
    for source in (file, volume(SUVBW)):
        with pytest.raises(UnitError, match=r"is in SUVbw: and was declared to be in Bq/ml"):
            read.image(source, unit="Bq/ml")
    assert read.image(file, unit="SUVbw").unit == SUVBW


@pytest.mark.parametrize("role", ["pet", "reference"])
def test_a_mask_is_no_pet(tmp_path, role):
    mask = (np.arange(1000.0).reshape(10, 10, 10) > 300) * 1.0
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="make a mask, not a PET"):
        read.image(tmp_path / "a.nii.gz", role)


def test_pet_without_any_unit_is_arbitrary_and_ct_is_hu(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), np.eye(4)), tmp_path / "a.nii.gz")
    assert read.image(tmp_path / "a.nii.gz").unit == ARBITRARY
    assert read.image(tmp_path / "a.nii.gz", "ct").unit == HU
    assert read.image(tmp_path / "a.nii.gz", "mr").unit == ARBITRARY


def test_units_in_a_header_of_dicom_tags(tmp_path):
    image = volume().to_sitk()
    image.SetMetaData("0054|1001", "BQML ")
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert read.image(tmp_path / "a.nrrd").unit == BQML


def test_doubts_about_position_are_told(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "nowhere.nii")
    image.set_sform(np.eye(4), 1)
    image.set_qform(np.diag([1, 1, 1.5, 1]), 1)
    nibabel.save(image, tmp_path / "two.nii")
    image.set_sform(np.diag([1, 1, 1, 1e3]) / 1e3, 1)
    image.set_qform(np.diag([1, 1, 1.5, 1e3]) / 1e3, 1)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "metres.nii")
    for name, said in (("nowhere", "the header does not say where it lies"),
                       ("two", "its two positions (sform and qform) differ by up to 1.5 mm"),
                       ("metres", "its two positions (sform and qform) differ by up to 1.5 mm")):  # fmt: skip
        for given in (tmp_path / f"{name}.nii", nibabel.load(tmp_path / f"{name}.nii")):
            read.image(given, "reference", run=(run := Run()))
            (told,) = run.warnings
            assert told.startswith(f"The reference: {said}")


def test_overwriting_only_on_request_and_never_the_input(tmp_path):
    file = images.write(volume(), tmp_path / "a.nii.gz")
    with pytest.raises(OutputError, match="exists already"):
        images.write(volume(), file)
    images.write(volume(BQML), file, overwrite=True)
    opened = read.image(file)
    assert opened.unit == BQML
    with pytest.raises(OutputError, match="input"):
        images.write(opened, file, overwrite=True)


def test_importing_loads_no_image_library():
    code = ("import sys; from petdiffusion import read, suv; "
            "print([m for m in ('SimpleITK', 'nibabel', 'pydicom', 'pysuv', 'scipy', 'torch') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# Label maps

def label_map(highest=3):
    values = np.random.default_rng(1).integers(0, highest + 1, GRID.shape)
    values[0, 0, 0] = highest
    return LabelMap(values, GRID, {1: "liver", 2: "spleen", 3: "brain"})


@pytest.mark.parametrize("highest", [3, 300, 32767])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".mhd"])
def test_label_maps_keep_values_and_names(tmp_path, suffix, highest):
    original = label_map(highest) if suffix != ".seg.nrrd" or highest < 32767 else label_map(300)
    back = read.labels(labels.write(original, tmp_path / f"organs{suffix}"))
    np.testing.assert_array_equal(back.array, original.array)
    assert {v: back.names[v] for v in original.names} == dict(original.names)
    assert back.geometry.close_to(GRID, 1e-4)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_all_of_totalsegmentator_fits_in_every_header(tmp_path, suffix):
    full = LabelMap(np.arange(120).reshape(4, 5, 6) % 118, Geometry((6, 5, 4), (1, 1, 1)), TOTAL)
    assert dict(read.labels(labels.write(full, tmp_path / f"total{suffix}")).names) == TOTAL


def test_totalsegmentator_table():
    assert len(TOTAL) == 117 and len(set(TOTAL.values())) == 117
    assert (TOTAL[1], TOTAL[5], TOTAL[51], TOTAL[117]) == ("spleen", "liver", "heart", "costal_cartilages")
    assert (TOTAL[26], TOTAL[27], TOTAL[50], TOTAL[92], TOTAL[115]) == (
        "vertebrae_S1", "vertebrae_L5", "vertebrae_C1", "rib_left_1", "rib_right_12")


SIDE_FILES = {
    "plain json": ("json", json.dumps({"1": "liver", "2": "spleen"})),
    "reversed json": ("json", json.dumps({"background": 0, "liver": 1, "spleen": 2})),
    "dataset json": ("json", json.dumps({"channel_names": {"0": "PET"}, "labels": {"background": 0, "liver": 1,
                                                                                    "spleen": 2}})),
    "row json": ("json", json.dumps([{"value": 1, "name": "liver"}, {"value": 2, "name": "spleen"}])),
    "csv": ("csv", "value,name\n1,liver\n2,spleen\n"),
    "csv without head": ("csv", "1,liver\n2,spleen\n"),
    "csv with other columns": ("csv", "colour,name,value\nred,liver,1\nblue,spleen,2\n"),
    "tsv": ("tsv", "index\tname\n1\tliver\n2\tspleen\n"),
    "csv of a German Excel": ("csv", "index;name;colour\n1;liver;0,5\n2;spleen;0,2\n"),
    "csv with semicolons and no head": ("csv", "1;liver\n2;spleen\n"),
    "csv with tabs": ("csv", "value\tname\n1\tliver\n2\tspleen\n"),
    "tsv with commas": ("tsv", "value,name\n1,liver\n2,spleen\n"),
    "csv with a semicolon in a name": ("csv", "3,a; b\n1,liver\n2,spleen\n"),
    "csv with the name first": ("csv", "liver,1\nspleen,2\n"),
    "a quoted semicolon": ("csv", '"a; b",3\n"liver",1\nspleen,2\n'),
    "a quoted comma": ("csv", '"a, b";"3"\nliver;1\nspleen;2\n'),
    "a quoted tab": ("csv", '3,"a\tb"\n1,liver\n2,spleen\n'),
    "commas in names": ("csv", 'value;name\n1;"liver"\n2;spleen\n3;a, b, c and d\n'),
    "values as pandas writes them": ("tsv", "index\tname\n1.0\tliver\n2.0\tspleen\n"),
    "a name without a value": ("csv", "value,name\n1,liver\n,kidney\n2,spleen\n3,\n"),
}


@pytest.mark.parametrize("kind", SIDE_FILES)
def test_names_beside_the_file(tmp_path, kind):
    nibabel.save(nibabel.Nifti1Image((np.arange(24) % 3).reshape(2, 3, 4).astype(np.uint8), np.eye(4)),
                 tmp_path / "seg.nii.gz")
    suffix, text = SIDE_FILES[kind]
    (tmp_path / f"seg.{suffix}").write_text(text, encoding="utf-8-sig")
    third = {"commas in names": {3: "a, b, c and d"}, "csv with a semicolon in a name": {3: "a; b"},
             "a quoted semicolon": {3: "a; b"}, "a quoted comma": {3: "a, b"}, "a quoted tab": {3: "a\tb"}}
    assert dict(read.labels(tmp_path / "seg.nii.gz").names) == {1: "liver", 2: "spleen", **third.get(kind, {})}


def test_an_unrelated_sidecar_gives_no_names(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "seg.nii.gz")
    (tmp_path / "seg.json").write_text('{"Manufacturer": "X", "EchoNumber": 1}')
    assert not read.labels(tmp_path / "seg.nii.gz").names


def test_names_in_a_nifti_extension_as_totalsegmentator_writes_them(tmp_path):
    text = ('<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0"> <LabelTable>\n'
            '<Label Key="1" Red="0.0" Green="1.0" Blue="0.0" Alpha="1"><![CDATA[liver]]></Label>\n'
            '<Label Key="2" Red="0.0" Green="0.0" Blue="1.0" Alpha="1"><![CDATA[spleen]]></Label>\n'
            "</LabelTable></VolumeInformation></CaretExtension>")
    image = nibabel.Nifti1Image((np.arange(24) % 3).reshape(2, 3, 4).astype(np.uint8), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, tmp_path / "seg.nii.gz")
    assert dict(read.labels(tmp_path / "seg.nii.gz").names) == {1: "liver", 2: "spleen"}
    assert dict(read.labels(image).names) == {1: "liver", 2: "spleen"}


def test_totalsegmentators_table_only_where_there_are_no_names(tmp_path):
    plain = LabelMap(np.ones((2, 2, 2)), Geometry((2, 2, 2), (1, 1, 1)))
    assert not read.labels(plain).names
    assert read.labels(plain, totalsegmentator=True).names[1] == "spleen"
    named = LabelMap(plain.array, plain.geometry, {1: "liver"})
    assert read.labels(named, totalsegmentator=True).names[1] == "liver"


def test_an_empty_map_is_refused_where_it_makes_no_sense():
    empty = LabelMap(np.zeros((2, 2, 2)), Geometry((2, 2, 2), (1, 1, 1)))
    assert not read.labels(empty).array.any()
    with pytest.raises(InputError, match="no structure"):
        read.labels(empty, allow_empty=False)


SLICER = """
import json, sys
import numpy as np, slicer, vtk
from vtk.util.numpy_support import vtk_to_numpy
scene, node, storage = slicer.vtkMRMLScene(), slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
scene.AddNode(node), scene.AddNode(storage)
storage.SetFileName(sys.argv[1])
assert storage.ReadData(node) == 1
segments = [node.GetSegmentation().GetNthSegment(i) for i in range(node.GetSegmentation().GetNumberOfSegments())]
image, matrix = segments[0].GetRepresentation("Binary labelmap"), vtk.vtkMatrix4x4()
image.GetImageToWorldMatrix(matrix)
print(json.dumps({"names": {s.GetLabelValue(): s.GetName() for s in segments},
                  "ras": [[matrix.GetElement(i, j) for j in range(4)] for i in range(4)],
                  "voxels": vtk_to_numpy(image.GetPointData().GetScalars()).tolist()}))
"""


@pytest.mark.skipif(importlib.util.find_spec("slicer_core") is None, reason="slicer-core has no wheel for this Python")
def test_slicer_reads_the_segments(tmp_path):
    """With Slicer's own MRML library, in a process of its own: names, values, voxels and grid."""
    original = label_map()
    file = labels.write(original, tmp_path / "organs.seg.nrrd")
    done = subprocess.run([sys.executable, "-c", SLICER, str(file)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert {int(value): name for value, name in seen["names"].items()} == dict(original.names)
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ np.array(seen["ras"]), GRID.affine, atol=1e-6)
    np.testing.assert_array_equal(np.reshape(seen["voxels"], GRID.shape), original.array)


# BIDS

def bids(folder: Path, name="sub-01_pet.nii.gz", **keys):
    values = np.random.default_rng(0).random((4, 5, 6)) * 5000
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), folder / name)
    sidecar = {"Modality": "PT", "Units": "Bq/mL", "TracerName": "[18F]FDG", "TracerRadionuclide": "F18",
               "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq", "InjectedMass": 5,
               "BodyWeight": 70, "TimeZero": "09:30:00", "InjectionStart": 0, "ScanStart": 3600,
               "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 3600, "FrameDuration": [180],
               "Manufacturer": "Siemens", "ManufacturersModelName": "mCT", **keys}
    sidecar = {key: value for key, value in sidecar.items() if value is not None}
    (folder / name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return folder / name


def test_bids_gives_unit_facts_and_factor(tmp_path):
    pet = read.image(bids(tmp_path))
    assert pet.unit == BQML
    assert pet.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)  # by hand, as for the DICOM series
    known = {"tracer": "FDG", "injected_dose_bq": 370e6, "weight_kg": 70.0, "uptake_minutes": 60.0,
             "frame_seconds": 180.0, "scanner": "Siemens mCT", "modality": "PT"}
    assert known.items() <= pet.facts.to_json().items()


def test_bids_image_corrected_to_the_injection(tmp_path):
    pet = read.image(bids(tmp_path, ImageDecayCorrectionTime=0))
    assert pet.facts.suv_factor == pytest.approx(70000 / 370e6, rel=1e-9) and pet.facts.decay_factor is None
    assert read.image(bids(tmp_path, DecayCorrectionFactor=[1.46])).facts.decay_factor == 1.46


@pytest.mark.parametrize("written", ["1.46", ["1.46"], [0], -1, "none", True, [1.4, 1.5]])
def test_a_decay_factor_or_frame_start_that_cannot_be_read_costs_nothing_else(tmp_path, written):
    """As tables turned into sidecars have them: text."""
    pet = read.image(bids(tmp_path, DecayCorrectionFactor=written, FrameTimesStart=written))
    assert pet.facts.decay_factor is None and pet.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


@pytest.mark.parametrize("lacking", ["ImageDecayCorrected", "ImageDecayCorrectionTime", "InjectionStart", "BodyWeight",
                                     "InjectedRadioactivity", "TracerRadionuclide"])
def test_bids_without_a_needed_key_stays_in_bqml_and_says_why(tmp_path, lacking):
    from petdiffusion.errors import UnitError

    pet = read.image(bids(tmp_path, **{lacking: None}))
    assert pet.unit == BQML and pet.facts.suv_factor is None
    with pytest.raises(UnitError) as caught:
        suv.to_suv(pet)
    assert caught.value.remedy


def test_suv_without_facts_says_what_lacks_and_offers_no_other_unit(tmp_path):
    from petdiffusion.errors import UnitError

    file = bids(tmp_path)
    file.with_name("sub-01_pet.json").write_text('{"Units": "SUVbw"}')
    with pytest.raises(UnitError) as caught:
        suv.to_bqml(read.image(file))
    assert "ImageDecayCorrected: is missing" in str(caught.value) and "None" not in str(caught.value)
    assert "sidecar" in caught.value.remedy and "Bq/ml" not in caught.value.remedy


def test_weight_given_by_hand_completes_the_sidecar(tmp_path):
    pet = read.image(bids(tmp_path, BodyWeight=None)).with_facts(weight_kg=70.0)
    assert suv.to_suv(pet).facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


def test_weight_from_participants(tmp_path):
    folder = tmp_path / "sub-01" / "pet"
    folder.mkdir(parents=True)
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\tweight\nsub-02\t30\tM\t90\nsub-01\t64\tf\t70\n")
    pet = read.image(bids(folder, BodyWeight=None))
    assert (pet.facts.weight_kg, pet.facts.age_years, pet.facts.sex) == (70.0, 64.0, "F")
    assert pet.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


def test_weight_in_pounds_is_not_taken(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tweight\nsub-01\t154\n")
    (tmp_path / "participants.json").write_text('{"weight": {"Units": "lb"}}')
    assert read.image(bids(tmp_path, BodyWeight=None)).facts.weight_kg is None


def test_millicurie(tmp_path):
    pet = read.image(bids(tmp_path, InjectedRadioactivity=10, InjectedRadioactivityUnits="mCi"))
    assert pet.facts.injected_dose_bq == pytest.approx(370e6)


def test_kilobecquerel_sidecar_is_scaled(tmp_path):
    file = bids(tmp_path, Units="kBq/mL")
    stored = nibabel.load(file).get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(read.image(file).array, 1e3 * stored, rtol=1e-6)


def test_a_refused_factor_stays_refused_after_writing(tmp_path):
    """The facts alone would give a factor; the decay correction that forbids it is not among them."""
    from petdiffusion.errors import UnitError

    pet = read.image(bids(tmp_path, ImageDecayCorrected=False))
    assert pet.facts.uptake_minutes == 60.0
    again = read.image(images.write(pet, tmp_path / "again.nii.gz"))
    with pytest.raises(UnitError):
        suv.to_suv(again)
