"""DICOM series in: values, grid, facts, and every way a series can be wrong without being an error."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from petdiffusion import read, suv
from petdiffusion.errors import GeometryError, InputError
from petdiffusion.progress import Run
from petdiffusion.volume import BQML, HU, SUVBW, Geometry
from pydicom.uid import RLELossless, generate_uid
from support import dicom_factory as factory

SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def test_values_grid_and_unit(tmp_path):
    series = factory.pet(tmp_path / "pet")
    volume = read.image(series.folder)
    np.testing.assert_allclose(volume.array, series.array, rtol=1e-6)
    assert volume.geometry.close_to(series.geometry, 1e-6) and volume.unit == BQML


def test_slices_have_their_own_slopes(tmp_path):
    series = factory.pet(tmp_path / "pet")
    slopes = [float(ds.RescaleSlope) for ds in series.datasets]
    assert max(slopes) > 1.5 * min(slopes)
    peaks = read.image(series.folder).array.max(axis=(1, 2))
    np.testing.assert_allclose(peaks, series.array.max(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("direction", [factory.OBLIQUE, (1, 0, 0, 0, 1, 0, 0, 0, 1), SAGITTAL,
                                       (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6)])
@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips"])
def test_as_itk_reads_it(tmp_path, direction, vendor):
    geometry = factory.grid((5, 8, 9), (2.0, 3.0, 4.5), (10.1, -20.2, 30.3), direction)
    factory.pet(tmp_path / "pet", vendor, geometry=geometry)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "pet")))
    image = reader.Execute()
    volume = read.image(tmp_path / "pet")
    assert volume.geometry.close_to(Geometry.of_sitk(image), 1e-5)
    np.testing.assert_allclose(volume.array, sitk.GetArrayFromImage(image), rtol=1e-6)


def test_ct_and_mr(tmp_path):
    ct, mr = factory.ct(tmp_path / "ct"), factory.mr(tmp_path / "mr")
    volume = read.image(ct.folder, "ct")
    np.testing.assert_array_equal(volume.array, ct.array)
    assert volume.unit == HU and volume.array.min() == -1000
    np.testing.assert_array_equal(read.image(mr.folder, "mr").array, mr.array)


def test_facts_tell_of_the_scan_but_not_of_whom(tmp_path):
    facts = read.image(factory.pet(tmp_path / "pet").folder).facts
    assert (facts.tracer, facts.weight_kg, facts.height_m, facts.sex, facts.age_years) == ("FDG", 70.0, 1.65, "F", 64.0)
    assert facts.injected_dose_bq == 370e6 and facts.uptake_minutes == pytest.approx(60) and facts.frame_seconds == 180
    assert facts.scanner == "SIEMENS Biograph Test" and facts.modality == "PT"
    told = str(facts.to_json())
    assert not any(secret in told for secret in ("Secret", "Name", factory.PATIENT_ID, "19600101", "2024"))


def test_facts_tell_what_the_decay_was_multiplied_by_and_how_many_positrons_there_are(tmp_path):
    """Half of the slices were scanned three minutes later than the others."""
    early, late = (2 ** (seconds / factory.HALF_LIFE_S) for seconds in (90, 270))

    def facts(name, **header):
        def edit(ds, k):
            for key, value in header.items():
                setattr(ds, key, value)
            if "fraction" in name:
                ds.RadiopharmaceuticalInformationSequence[0].RadionuclidePositronFraction = 96.7

        return read.image(factory.pet(tmp_path / name, edit=edit).folder).facts

    start = facts("start")
    assert start.decay_factor == pytest.approx(2 / (1 / early + 1 / late), rel=1e-6)
    assert start.positron_fraction == 0.967 and facts("fraction above one").positron_fraction is None
    assert facts("start without", DecayFactor=None).decay_factor is None
    assert facts("none", DecayCorrection="NONE").decay_factor is None
    admin = facts("admin", DecayCorrection="ADMIN", DecayFactor=None)
    assert admin.decay_factor == pytest.approx(2 ** (3600 / factory.HALF_LIFE_S))


def test_images_of_one_frame_of_reference_are_known_by_it_and_nobody_by_its_uid(tmp_path):
    def other(ds, k):
        ds.FrameOfReferenceUID = "1.2.3.9"
    def lost(ds, k):
        del ds.FrameOfReferenceUID
    pet = read.image(factory.pet(tmp_path / "pet").folder).facts.frame_of_reference
    ct, mr, apart, unknown = (read.image(series.folder, role).facts.frame_of_reference for series, role in (
        (factory.ct(tmp_path / "ct"), "ct"), (factory.mr(tmp_path / "mr"), "mr"),
        (factory.ct(tmp_path / "apart", edit=other), "ct"), (factory.ct(tmp_path / "unknown", edit=lost), "ct")))
    assert pet and pet == ct == mr and apart not in (pet, None) and unknown is None
    assert not set(pet) & {"."} and factory.FRAME_OF_REFERENCE not in pet


@pytest.mark.parametrize("make", [factory.pet, factory.ct])
def test_slices_of_several_frames_of_reference_are_told_and_known_by_none(tmp_path, make):
    def edit(ds, k):
        ds.FrameOfReferenceUID += ".1" if k > 2 else ""

    run = Run()
    image = read.image(make(tmp_path, edit=edit).folder, "pet" if make is factory.pet else "ct", run=run)
    assert image.facts.frame_of_reference is None and image.facts.modality
    assert len(run.warnings) == 1 and "2 frames of reference (0020,0052)" in run.warnings[0]


@pytest.mark.parametrize("age", ["018M", "400D", "", "x"])
def test_ages_of_children(tmp_path, age):
    def edit(ds, k):
        ds.PatientAge = age
    with pytest.warns() if age == "x" else _nothing():
        series = factory.pet(tmp_path / "pet", edit=edit)
    years = read.image(series.folder).facts.age_years
    assert years == {"018M": 1.5, "400D": pytest.approx(1.095, abs=1e-3)}.get(age)


def _nothing():
    from contextlib import nullcontext
    return nullcontext()


def test_one_file_stands_for_its_series_alone(tmp_path):
    pet = factory.pet(tmp_path)
    factory.ct(tmp_path)
    other = factory.pet(tmp_path / "other", seed=1)
    for file in other.files:
        file.rename(tmp_path / f"other_{file.name}")
    np.testing.assert_allclose(read.image(pet.files[2]).array, pet.array, rtol=1e-6)
    np.testing.assert_allclose(read.image(tmp_path / f"other_{other.files[0].name}").array, other.array, rtol=1e-6)


def test_the_only_series_of_the_wanted_modality_is_taken(tmp_path):
    pet, ct = factory.pet(tmp_path / "a" / "pet"), factory.ct(tmp_path / "a" / "ct")
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    np.testing.assert_allclose(read.image(tmp_path / "a").array, pet.array, rtol=1e-6)
    np.testing.assert_array_equal(read.image(tmp_path / "a", "ct").array, ct.array)


def test_two_pet_series_are_listed(tmp_path):
    factory.pet(tmp_path / "ac", edit=lambda ds, k: setattr(ds, "SeriesDescription", "PET AC"))
    factory.pet(tmp_path / "nac", geometry=factory.grid((3, 20, 24)),
                edit=lambda ds, k: setattr(ds, "SeriesDescription", "PET NAC"))
    with pytest.raises(InputError) as caught:
        read.image(tmp_path)
    assert "'PET AC' (PT, 6 slices)" in str(caught.value) and "'PET NAC' (PT, 3 slices)" in str(caught.value)


def test_the_same_slice_copied_twice_is_one_slice(tmp_path):
    series = factory.pet(tmp_path / "pet")
    (tmp_path / "pet" / "copy.dcm").write_bytes(series.files[1].read_bytes())
    assert read.image(series.folder).geometry.size[2] == 6


@pytest.mark.parametrize("slices", [range(6), (4, 5), (1, 3)])
def test_slices_that_an_anonymiser_gave_one_instance_uid_are_all_there(tmp_path, slices):
    def edit(ds, k):
        if k in slices:
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    series = factory.pet(tmp_path / "pet", edit=edit)
    np.testing.assert_allclose(read.image(series.folder).array, series.array, rtol=1e-6)
    (tmp_path / "pet" / "copy.dcm").write_bytes(series.files[1].read_bytes())
    assert read.image(series.folder).geometry.size[2] == 6


def test_a_damaged_position_of_another_series_is_no_concern(tmp_path):
    pet, ct = factory.pet(tmp_path / "pet"), factory.ct(tmp_path / "ct")
    content = bytearray(ct.files[0].read_bytes())
    at = content.index(b"\x20\x00\x32\x00DS") + 8
    content[at:at + 2] = b"XX"
    ct.files[0].write_bytes(bytes(content))
    np.testing.assert_allclose(read.image(tmp_path).array, pet.array, rtol=1e-6)


def test_frames_that_an_anonymiser_gave_one_instance_uid_are_not_taken_for_copies(tmp_path):
    def edit(number):
        def apply(ds, k):
            ds.SeriesInstanceUID, ds.FrameReferenceTime = "1.2.3", str(1000 * number + 1)
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        return apply
    for number in range(3):
        factory.pet(tmp_path / str(number), edit=edit(number), geometry=factory.grid((3, 6, 7)))
    with pytest.raises(InputError, match="3 time frames"):
        read.image(tmp_path)


def test_a_single_slice(tmp_path):
    series = factory.pet(tmp_path / "pet", geometry=factory.grid((1, 8, 9)))
    volume = read.image(series.folder)
    assert volume.geometry.size == (9, 8, 1) and volume.geometry.spacing[2] == pytest.approx(3.27)


def test_rounded_headers_still_make_a_volume(tmp_path):
    def edit(ds, k):
        ds.ImagePositionPatient = [round(float(v), 1) for v in ds.ImagePositionPatient]
        ds.ImageOrientationPatient = [0.707, 0.707, 0, -0.707, 0.707, 0]
    volume = read.image(factory.pet(tmp_path / "pet", edit=edit).folder)
    assert volume.geometry.spacing[2] == pytest.approx(3.27, abs=0.03)


@pytest.mark.parametrize(("part", "regular"), [(0.09, True), (0.11, False)])
@pytest.mark.parametrize(("axis", "of_mm", "said"), [(2, 3.27, "regular spacing"), (0, 4.07, "sideways")])
def test_a_slice_may_lie_off_the_grid_by_a_tenth_of_a_voxel(tmp_path, part, regular, axis, of_mm, said):
    def edit(ds, k):
        position = [float(v) for v in ds.ImagePositionPatient]
        position[axis] += part * of_mm * (k == 3)
        ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    series = factory.pet(tmp_path / "pet", edit=edit)
    if regular:
        assert read.image(series.folder).geometry.spacing[2] == pytest.approx(3.27)
    else:
        with pytest.raises(GeometryError, match=said):
            read.image(series.folder)


def test_told_when_slices_at_the_end_are_missing(tmp_path):
    series = factory.pet(tmp_path / "pet", edit=lambda ds, k: setattr(ds, "NumberOfSlices", 6))
    series.files[0].unlink()
    run = Run()
    assert read.image(series.folder, run=run).geometry.size[2] == 5
    assert any("6 slices; 5 are here" in text for text in run.warnings)


def test_a_pet_without_suv_is_read_in_bqml_and_says_why(tmp_path):
    def edit(ds, k):
        ds.PatientWeight = None
    run = Run()
    volume = read.image(factory.pet(tmp_path / "pet", edit=edit).folder, run=run)
    assert volume.unit == BQML and volume.facts.suv_factor is None
    assert any("weight" in text for text in run.warnings)
    from petdiffusion.errors import UnitError
    with pytest.raises(UnitError, match="weight"):
        suv.to_suv(volume)
    assert suv.to_suv(volume.with_facts(weight_kg=70.0)).facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


@pytest.mark.parametrize(("keyword", "fact"), [("PatientWeight", "weight_kg"), ("RadionuclideTotalDose",
                         "injected_dose_bq"), ("RadionuclideHalfLife", "half_life_s")])  # fmt: skip
def test_what_differs_between_slices_is_not_taken_from_the_first(tmp_path, keyword, fact):
    from petdiffusion.errors import UnitError

    def edit(ds, k):
        target = ds.RadiopharmaceuticalInformationSequence[0] if keyword.startswith("Radio") else ds
        setattr(target, keyword, float(target[keyword].value) * (1.01 if k > 2 else 1))
    run = Run()
    volume = read.image(factory.pet(tmp_path / "pet", edit=edit).folder, run=run)
    assert volume.facts.suv_factor is None and getattr(volume.facts, fact) is None
    assert any(text.startswith("No SUV:") and keyword in text for text in run.warnings)
    with pytest.raises(UnitError, match=keyword):
        suv.to_suv(volume)


def test_facts_by_hand_do_not_overrule_a_missing_decay_correction(tmp_path):
    from petdiffusion.errors import UnitError

    volume = read.image(factory.pet(tmp_path / "pet", edit=lambda ds, k: setattr(ds, "DecayCorrection", "NONE")).folder)
    with pytest.raises(UnitError, match="NONE"):
        suv.to_suv(volume.with_facts(weight_kg=70.0, uptake_minutes=60.0))


@pytest.mark.parametrize("units", ["BQML", "GML"])
def test_a_second_injection_is_told(tmp_path, units):
    def edit(ds, k):
        ds.RadiopharmaceuticalInformationSequence.append(ds.RadiopharmaceuticalInformationSequence[0])
    values, run = factory.activity((6, 20, 24), highest=8.0), Run()
    read.image(factory.pet(tmp_path / "pet", units=units, values=values, edit=edit).folder, run=run)
    assert sum("2 injections" in text for text in run.warnings) == 1


def test_gml_is_suv(tmp_path):
    series = factory.pet(tmp_path / "pet", units="GML", values=factory.activity((6, 20, 24), highest=8.0))
    volume = read.image(series.folder)
    assert volume.unit == SUVBW and suv.to_suv(volume) is volume
    np.testing.assert_allclose(suv.to_bqml(volume).array * volume.facts.suv_factor, volume.array, rtol=1e-6)


def test_philips_counts_with_one_factor_only(tmp_path):
    def without(element):
        def edit(ds, k):
            del ds.private_block(0x7053, "Philips PET Private Group")[element]
        return edit
    only_suv = read.image(factory.pet(tmp_path / "a", "Philips", units="CNTS", edit=without(0x09)).folder)
    assert only_suv.unit == SUVBW
    only_activity = factory.pet(tmp_path / "b", "Philips", units="CNTS", edit=without(0x00))
    volume = read.image(only_activity.folder)
    assert volume.unit == BQML and volume.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)
    np.testing.assert_allclose(volume.array, only_activity.array * factory.PHILIPS_BQML, rtol=1e-6)


def test_unit_by_hand_for_counts(tmp_path):
    series = factory.pet(tmp_path / "pet", units="CNTS")
    np.testing.assert_allclose(read.image(series.folder, unit="a.u.").array, series.array, rtol=1e-6)


def test_run_length_encoded(tmp_path):
    series = factory.pet(tmp_path / "pet")
    for file in series.files:
        ds = pydicom.dcmread(file)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(file)
    np.testing.assert_allclose(read.image(series.folder).array, series.array, rtol=1e-6)


def _jpeg_lossless(ds, folder):
    """Pixels of one slice as ITK's own JPEG encoder writes them."""
    pixels = np.frombuffer(ds.PixelData, "<u2").reshape(1, ds.Rows, ds.Columns)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.GetImageFromArray(pixels))
    return pydicom.dcmread(folder / "jpeg.dcm")


def test_jpeg_lossless_needs_a_codec_that_pydicom_lacks(tmp_path):
    series = factory.pet(tmp_path / "pet")
    for file in series.files:
        ds = pydicom.dcmread(file)
        encoded = _jpeg_lossless(ds, tmp_path)
        ds["PixelData"] = encoded["PixelData"]
        ds.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
        ds.save_as(file)
    np.testing.assert_allclose(read.image(series.folder).array, series.array, rtol=1e-6)


def test_files_without_preamble_or_suffix(tmp_path):
    series = factory.pet(tmp_path / "pet")
    for file in series.files:
        ds = pydicom.dcmread(file)
        ds.save_as(file.with_suffix(".bare.dcm"), enforce_file_format=False)
        bare = file.with_suffix(".bare.dcm").read_bytes()
        file.with_suffix(".bare.dcm").unlink()
        file.write_bytes(bare[132:] if bare[128:132] == b"DICM" else bare)
    np.testing.assert_allclose(read.image(series.folder).array, series.array, rtol=1e-6)


def test_series_uid_missing_in_no_way_mixes_series(tmp_path):
    """Two series that only their UIDs tell apart are two."""
    factory.pet(tmp_path / "x", edit=lambda ds, k: setattr(ds, "SeriesInstanceUID", generate_uid()) if k else None)
    with pytest.raises(InputError, match="6 PT series"):
        read.image(tmp_path / "x")


@pytest.mark.parametrize(("lost", "said"), [(1, "1 missing"), (2, "2 missing")])
def test_a_gap_says_how_many_slices_are_missing(tmp_path, lost, said):
    series = factory.pet(tmp_path / "pet", geometry=factory.grid((8, 6, 6)))
    for file in series.files[3:3 + lost]:
        file.unlink()
    with pytest.raises(GeometryError, match=said):
        read.image(series.folder)
