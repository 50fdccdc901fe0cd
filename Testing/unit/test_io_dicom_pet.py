"""The derived DICOM PET series: new where it must be new, the original's wherever SUV or position depend on it."""

import numpy as np
import pydicom
import pytest
from petdiffusion import read, suv
from petdiffusion.errors import GeometryError, InputError, OutputError, UnitError
from petdiffusion.progress import Run
from petdiffusion.volume import ARBITRARY, Geometry, Volume
from petdiffusion.write import dicom_pet, images
from pydicom import config
from support import dicom_factory as factory

VENDORS = [("Siemens", "BQML"), ("GE", "BQML"), ("Philips", "BQML"), ("Philips", "CNTS"), ("Siemens", "GML")]


@pytest.fixture
def pair(tmp_path):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    dicom_pet.write(original.with_array(original.array * 0.9), tmp_path / "out", series.folder, "Denoised by a test")
    return _by_position(tmp_path / "in"), _by_position(tmp_path / "out")


def _by_position(folder):
    found = [pydicom.dcmread(file) for file in folder.iterdir()]
    return sorted(found, key=lambda ds: [float(v) for v in ds.ImagePositionPatient])


@pytest.mark.parametrize(("vendor", "units"), VENDORS)
@pytest.mark.parametrize("shift", [0.0, -300.0])
def test_values_come_back_in_every_unit_with_and_without_negatives(tmp_path, vendor, units, shift):
    series = factory.pet(tmp_path / "in", vendor, units=units)
    original = read.image(series.folder)
    changed = original.with_array(original.array * 0.8 + shift)
    files = dicom_pet.write(changed, tmp_path / "out", series.folder)
    back = read.image(tmp_path / "out")
    peaks = np.abs(changed.array).max(axis=(1, 2), keepdims=True)
    assert (np.abs(back.array - changed.array) / peaks).max() < 2e-5
    assert back.geometry == original.geometry and back.unit == original.unit
    assert back.facts.suv_factor == original.facts.suv_factor
    assert {pydicom.dcmread(file).PixelRepresentation for file in files} == {int(shift < 0 or vendor == "GE")}


def test_an_image_in_suv_is_written_in_the_originals_bqml(tmp_path):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    files = dicom_pet.write(suv.to_suv(original), tmp_path / "out", series.folder)
    assert pydicom.dcmread(files[0]).Units == "BQML"
    np.testing.assert_allclose(read.image(tmp_path / "out").array, original.array, atol=original.array.max() * 2e-5)


@pytest.mark.parametrize("to", [suv.to_suv, suv.to_bqml])
def test_an_image_corrected_to_another_moment_is_refused(tmp_path, to):
    """Half an hour is a fifth of the activity, by which its SUVs would be read too high or too low."""
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    later = to(original.with_facts(suv_factor=original.facts.suv_factor * 2 ** (1800 / factory.HALF_LIFE_S)))
    with pytest.raises(UnitError, match="17 % too low"):
        dicom_pet.check(later, series.folder)
    with pytest.raises(UnitError, match="17 % too low"):
        dicom_pet.write(later, tmp_path / "out", series.folder)
    assert not (tmp_path / "out").exists()


def test_suvs_by_another_weight_than_the_headers_are_told(tmp_path):
    """The activity is right; any program makes SUVs of it by the weight that stands in the header."""
    run, series = Run(), factory.pet(tmp_path / "in")
    lighter = suv.to_suv(read.image(series.folder, weight_kg=0.8 * factory.WEIGHT_KG))
    dicom_pet.check(lighter, series.folder)
    dicom_pet.write(lighter, tmp_path / "out", series.folder, run=run)
    np.testing.assert_allclose(read.image(tmp_path / "out").array, suv.to_bqml(lighter).array, rtol=1e-3, atol=1)
    assert ["25 % higher" in text and f"{factory.WEIGHT_KG:g} kg" in text for text in run.warnings] == [True]


def test_new_series_in_the_same_study_and_frame(pair):
    for before, after in zip(*pair):
        for same in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate", "StudyTime",
                     "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                     "InstanceNumber", "SOPClassUID", "Modality"):
            assert after[same].value == before[same].value, same
        assert after.SeriesInstanceUID != before.SeriesInstanceUID and after.SOPInstanceUID != before.SOPInstanceUID
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        assert after.SeriesNumber != before.SeriesNumber
    assert len({ds.SOPInstanceUID for ds in pair[1]}) == len(pair[1])
    assert len({ds.SeriesInstanceUID for ds in pair[1]}) == 1


def test_everything_suv_depends_on_is_the_originals(pair):
    for before, after in zip(*pair):
        for same in ("Units", "DecayCorrection", "CorrectedImage", "DecayFactor", "FrameReferenceTime",
                     "ActualFrameDuration", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
                     "PatientWeight", "PatientSize", "RadiopharmaceuticalInformationSequence", "Manufacturer"):
            assert after[same].value == before[same].value, same


def test_it_says_what_it_is(pair):
    for before, after in zip(*pair):
        assert list(after.ImageType) == ["DERIVED", "PRIMARY"]
        assert "research use only" in after.SeriesDescription and len(after.SeriesDescription) <= 64
        assert "research use only" in after.DerivationDescription
        assert "Denoised by a test" in after.DerivationDescription
        source = after.SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        equipment = after.ContributingEquipmentSequence[0]
        assert equipment.Manufacturer == "PETDiffusion"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"


def test_pixels_as_the_pet_standard_wants_them(pair):
    for ds in pair[1]:
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 16, 15) and float(ds.RescaleIntercept) == 0
        assert float(ds.RescaleSlope) > 0 and len(str(ds["RescaleSlope"].value)) <= 16
        assert int(ds.LargestImagePixelValue) == ds.pixel_array.max() == 65535


def test_highdicom_sees_the_same_volume(tmp_path):
    hd = pytest.importorskip("highdicom")
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    files = dicom_pet.write(original.with_array(original.array * 0.9), tmp_path / "out", series.folder)
    seen = hd.get_volume_from_series([pydicom.dcmread(file) for file in files], apply_modality_transform=True,
                                     apply_real_world_transform=False)
    assert seen.frame_of_reference_uid == pydicom.dcmread(series.files[0]).FrameOfReferenceUID
    index = np.argwhere(original.array == original.array.max())[0]
    here = (original.geometry.affine @ [*index[::-1], 1])[:3]
    k, i, j = np.rint(np.linalg.inv(seen.affine) @ [*here, 1])[:3].astype(int)
    assert seen.array[k, i, j] == pytest.approx(0.9 * original.array.max(), rel=1e-4) == seen.array.max()


def test_a_run_says_its_method_and_settings(tmp_path):
    import petdiffusion

    series = factory.pet(tmp_path / "in")
    petdiffusion.denoise(series.folder, "gaussian", fwhm_mm=4.5, seed=3, out=tmp_path / "out", report=False,
                         format="dicom")
    ds = pydicom.dcmread(next((tmp_path / "out" / "dicom").iterdir()))
    assert ds.SeriesDescription.endswith("Denoised by Gaussian filter (research use only)")
    assert ds.DerivationDescription.startswith("Denoised by Gaussian filter. fwhm_mm 4.5, seed 3. PETDiffusion ")
    assert read.image(tmp_path / "out" / "dicom").facts.denoised == "Gaussian filter"
    assert read.image(series.folder).facts.denoised is None


def test_every_value_is_valid_dicom(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    for file in (tmp_path / "out").iterdir():
        for element in pydicom.dcmread(file).iterall():
            assert element.VR != "UN" or element.tag.is_private
            str(element.value)


def test_an_empty_slice_has_a_slope_of_one(tmp_path):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    array = original.array.copy()
    array[0] = 0
    files = dicom_pet.write(original.with_array(array), tmp_path / "out", series.folder)
    slopes = [float(pydicom.dcmread(file).RescaleSlope) for file in files]
    assert slopes[0] == 1.0 and not read.image(tmp_path / "out").array[0].any()


@pytest.mark.parametrize("largest", [1e-6, 1.0, 9.87654321e9])
def test_any_size_of_value_fits(tmp_path, largest):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    changed = original.with_array(original.array / original.array.max() * largest)
    dicom_pet.write(changed, tmp_path / "out", series.folder)
    np.testing.assert_allclose(read.image(tmp_path / "out").array, changed.array, atol=largest * 2e-5)


def test_a_seed_repeats_the_uids_for_the_same_voxels_only(tmp_path):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)

    def uids(name, volume, seed):
        return [pydicom.dcmread(f).SOPInstanceUID for f in dicom_pet.write(volume, tmp_path / name, series.folder,
                                                                           seed=seed)]
    one = uids("a", original, 1)
    assert uids("b", original, 1) == one
    assert not set(uids("c", original, 2)) & set(one)
    assert not set(uids("d", original.with_array(original.array * 0.9), 1)) & set(one)
    assert not set(uids("e", original, None)) & set(uids("f", original, None))


def test_thumbnails_overlays_and_signatures_of_the_old_pixels_go(tmp_path):
    def edit(ds, k):
        ds.IconImageSequence = [pydicom.Dataset()]
        ds.add_new(0x60003000, "OW", b"\0" * 60)
        ds.add_new(0x60000010, "US", 20)
        ds.PixelPaddingValue = 0
        ds.RealWorldValueMappingSequence = [pydicom.Dataset()]  # Siemens: the slope, once more
    series = factory.pet(tmp_path / "in", edit=edit)
    file = dicom_pet.write(read.image(series.folder), tmp_path / "out", series.folder)[0]
    ds = pydicom.dcmread(file)
    assert "IconImageSequence" not in ds and "PixelPaddingValue" not in ds and 0x60003000 not in ds
    assert "RealWorldValueMappingSequence" not in ds


def test_long_and_foreign_descriptions(tmp_path):
    series = factory.pet(tmp_path / "in")
    file = dicom_pet.write(read.image(series.folder), tmp_path / "out", series.folder, "Entrauscht nach Ü " + "x" * 90,
                           derivation="a\\b" * 900)[0]
    ds = pydicom.dcmread(file)
    assert len(ds.SeriesDescription) <= 64 and ds.SeriesDescription.endswith("(research use only)")
    assert len(ds.DerivationDescription) <= 1024 and "\\" not in ds.DerivationDescription


def test_unicode_is_kept_where_the_original_has_it(tmp_path):
    series = factory.pet(tmp_path / "in", edit=lambda ds, k: setattr(ds, "SpecificCharacterSet", "ISO_IR 192"))
    file = dicom_pet.write(read.image(series.folder), tmp_path / "out", series.folder, "Entrauscht nach Ü")[0]
    assert "Ü" in pydicom.dcmread(file).SeriesDescription


def test_one_file_of_the_original_is_enough(tmp_path):
    series = factory.pet(tmp_path / "in")
    factory.pet(tmp_path / "in" / "other", seed=1)
    original = read.image(series.files[0])
    assert len(dicom_pet.write(original, tmp_path / "out", original.facts.source)) == 6


def test_implicit_and_compressed_originals(tmp_path):
    from pydicom.uid import ImplicitVRLittleEndian, RLELossless

    for syntax in (ImplicitVRLittleEndian, RLELossless):
        series = factory.pet(tmp_path / syntax, "Philips", units="CNTS")
        for file in series.files:
            ds = pydicom.dcmread(file)
            if syntax == RLELossless:
                ds.compress(RLELossless, generate_instance_uid=False)
            ds.file_meta.TransferSyntaxUID = syntax
            ds.save_as(file)
        original = read.image(series.folder)
        dicom_pet.write(original, tmp_path / f"out{syntax}", series.folder)
        back = read.image(tmp_path / f"out{syntax}")
        np.testing.assert_allclose(back.array, original.array, atol=original.array.max() * 2e-5)
        assert back.facts.suv_factor == original.facts.suv_factor


def test_a_big_endian_original_gives_a_little_endian_series(tmp_path):
    from pydicom.uid import ExplicitVRBigEndian

    def edit(ds, k):
        block = ds.private_block(0x0019, "TEST", create=True)
        block.add_new(0x01, "US", 258)
        block.add_new(0x02, "OW", np.array([1, 2], ">u2").tobytes())

    series = factory.pet(tmp_path / "in", edit=edit)
    for file in series.files:
        ds = pydicom.dcmread(file)
        ds.PixelData, ds.file_meta.TransferSyntaxUID = ds.pixel_array.astype(">u2").tobytes(), ExplicitVRBigEndian
        pydicom.dcmwrite(file, ds, implicit_vr=False, little_endian=False, enforce_file_format=True)
    original = read.image(series.folder)
    written = pydicom.dcmread(dicom_pet.write(original, tmp_path / "out", series.folder)[0])
    np.testing.assert_allclose(read.image(tmp_path / "out").array, original.array, atol=original.array.max() * 2e-5)
    block = written.private_block(0x0019, "TEST")
    assert block[0x01].value == 258 and block[0x02].value == np.array([1, 2], "<u2").tobytes()
    assert read.image(tmp_path / "out").facts.suv_factor == original.facts.suv_factor


def test_refusals(tmp_path):
    series = factory.pet(tmp_path / "in")
    original = read.image(series.folder)
    other = Volume(original.array, Geometry(original.geometry.size, (4, 4, 4)), original.unit, original.facts)
    cases = [(GeometryError, other, series.folder), (UnitError, Volume(original.array, original.geometry, ARBITRARY),
                                                     series.folder),
             (InputError, original.with_array(np.full(original.array.shape, np.nan)), series.folder),
             (InputError, original, tmp_path / "absent"), (InputError, original, factory.ct(tmp_path / "ct").folder)]
    for error, volume, source in cases:
        with pytest.raises(error) as caught:
            dicom_pet.write(volume, tmp_path / "out", source)
        assert caught.value.remedy and not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="is not DICOM"):
        dicom_pet.write(original, tmp_path / "out", images.write(original, tmp_path / "pet.nrrd"))
    with pytest.raises(OutputError, match="exists already"):
        for _ in range(2):
            dicom_pet.write(original, tmp_path / "out", series.folder)


def test_cancel_leaves_nothing(tmp_path):
    from petdiffusion.errors import Cancelled

    series, run = factory.pet(tmp_path / "in"), Run()
    original = read.image(series.folder)
    run.cancelled.set()
    with pytest.raises(Cancelled):
        dicom_pet.write(original, tmp_path / "out", series.folder, run=run)
    assert not (tmp_path / "out").exists()


def test_no_folder_of_this_machine_stands_in_the_derived_series(tmp_path):
    """An option may be a file; the series goes to others with the patient's study."""
    from petdiffusion.write.outputs import _settings

    prompts = str(tmp_path / "prompts.csv")
    record = {"options": {"prompts": prompts, "n": 3}, "request": {"seed": 0}, "details": {}}
    assert _settings(record) == "prompts prompts.csv, n 3, seed 0."
