"""Enhanced (multi-frame) PET in: voxels, grid, unit and SUV are those of the classic series of the same scan."""

import numpy as np
import pydicom
import pytest
from petdiffusion import convert, read, suv
from petdiffusion.errors import GeometryError, InputError, ResourceError, UnitError
from petdiffusion.progress import Run
from petdiffusion.read import enhanced
from petdiffusion.volume import BQML, SUVBW, LabelMap
from petdiffusion.write import dicom_masks, dicom_pet
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import MPEG2MPML, ExplicitVRBigEndian, RLELossless
from support import dicom_factory as factory
from support import enhanced_dicom as multi
from support.dynamic_dicom import dynamic
from support.io_bad import refused

MAKERS = {"enhanced": multi.enhanced, "legacy converted": multi.legacy}


@pytest.fixture
def series(tmp_path):
    return factory.pet(tmp_path / "classic")


def test_all_of_the_classic_series(tmp_path):
    """The frames are in no order, as the object allows."""
    for number, (vendor, name) in enumerate((v, m) for v in ("Siemens", "GE", "Philips") for m in MAKERS):
        classic = factory.pet(tmp_path / f"{number}", vendor, seed=number)
        order = multi.shuffled(6, seed=number)
        file = MAKERS[name]([classic.datasets[k] for k in order], tmp_path / f"enhanced {number}" / "pet.dcm")
        expected, run = read.image(classic.folder), Run()
        for source in (file, file.parent):
            volume = read.image(source, run=run)
            np.testing.assert_array_equal(volume.array, expected.array)
            assert volume.geometry == expected.geometry and volume.unit == BQML
            assert volume.facts == expected.with_facts(source=str(source)).facts
        assert run.warnings == [] and expected.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


def test_the_suv_factor_of_an_object_that_was_opened_elsewhere(tmp_path, series):
    ds = pydicom.dcmread(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm"))
    for given in (ds, [ds], series.datasets, series.datasets[0]):
        assert suv.factor_from_dicom(given) == pytest.approx(2.763367e-4, rel=1e-6)


def test_one_series_may_be_in_several_objects(tmp_path, series):
    for name, part in (("1", series.datasets[:2]), ("2", series.datasets[2:])):
        multi.enhanced(part, tmp_path / "parts" / f"{name}.dcm")
    np.testing.assert_allclose(read.image(tmp_path / "parts").array, series.array, rtol=1e-6)


def test_suvs_by_the_mapping(tmp_path):
    series = factory.pet(tmp_path / "classic", units="GML", values=factory.activity((6, 20, 24), highest=8.0))
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm"))
    assert volume.unit == SUVBW
    np.testing.assert_allclose(volume.array, series.array, rtol=1e-6)


@pytest.mark.parametrize("dose", [370.0, 370e6])
def test_the_dose_is_in_mbq_and_of_those_who_write_bq_in_bq(tmp_path, series, dose):
    def edit(ds):
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = dose
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit))
    assert volume.facts.injected_dose_bq == 370e6


def test_the_moment_of_the_decay_correction_is_the_objects_own(tmp_path, series):
    """Whatever the time of the series says: the scan's start half an hour before its first frame, or the injection."""
    def moved(ds):
        ds.SeriesTime, ds.DecayCorrectionDateTime = "113000", "20240102100000"

    def of_injection(ds):
        ds.DecayCorrectionDateTime = "20240102093000"

    def soon_after(ds):
        ds.DecayCorrectionDateTime = "20240102093500"

    def factors(seconds):
        def frame(groups, number):
            factor = float(series.datasets[number].DecayFactor) * 2 ** (seconds / factory.HALF_LIFE_S)
            groups.PETFrameCorrectionFactorsSequence[0].DecayFactor = f"{factor:.8f}"
        return frame

    def without(groups, number):
        del groups.PETFrameCorrectionFactorsSequence

    left = {seconds: 1000 * 70.0 / (370e6 * 2 ** (-seconds / factory.HALF_LIFE_S)) for seconds in (0, 300, 1800, 3600)}
    cases = [(moved, factors(1800), 1800), (moved, without, 1800), (of_injection, factors(3600), 0),
             (of_injection, without, 0), (None, without, 3600), (soon_after, factors(3300), 300)]  # fmt: skip
    for number, (edit, frame, seconds) in enumerate(cases):
        run = Run()
        volume = read.image(multi.enhanced(series.datasets, tmp_path / f"{number}" / "pet.dcm", edit, frame), run=run)
        assert volume.facts.suv_factor == pytest.approx(left[seconds], rel=1e-6), number
        assert volume.facts.decay_factor == pytest.approx(read.image(series.folder).facts.decay_factor * 2 ** (
            (3600 - seconds) / factory.HALF_LIFE_S), rel=1e-3)  # fmt: skip


def test_the_half_life_may_be_that_of_the_nuclide(tmp_path, series):
    """Neither it nor the decay factor need stand in the object."""
    def edit(ds):
        ds.DecayCorrectionDateTime = "20240102100000"
        del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife

    def without(groups, number):
        del groups.PETFrameCorrectionFactorsSequence
    run = Run()
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit, without), run=run)
    left = 370e6 * 2 ** (-1800 / factory.HALF_LIFE_S)
    assert volume.facts.suv_factor == pytest.approx(1000 * 70.0 / left, rel=1e-4) and run.warnings == []


def test_a_decay_factor_that_contradicts_the_moment_costs_the_suv(tmp_path, series):
    def edit(ds):
        ds.DecayCorrectionDateTime = "20240102100000"
    run = Run()
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit), run=run)
    assert volume.facts.suv_factor is None and any(text.startswith("No SUV") for text in run.warnings)


@pytest.mark.parametrize("damage", ["moment", "injection", "dose"])
def test_a_damaged_time_or_dose_costs_the_suv_and_not_the_image(tmp_path, series, damage):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm")
    content = bytearray(file.read_bytes())
    tag = {"moment": b"\x18\0\x01\x97DT", "injection": b"\x18\0\x78\x10DT", "dose": b"\x18\0\x74\x10DS"}[damage]
    at = content.index(tag) + 8
    content[at : at + 4] = b"20x4" if damage != "dose" else b"3x70"
    file.write_bytes(bytes(content))
    run = Run()
    np.testing.assert_allclose(read.image(file, run=run).array, series.array, rtol=1e-6)
    assert any(text.startswith("No SUV") for text in run.warnings)


@pytest.mark.parametrize("zone", ["+0900", "-0500"])
def test_clocks_with_a_zone_of_their_own_are_brought_together(tmp_path, series, zone):
    """The injection is told in Greenwich time, all others in that of the place."""
    hours = int(zone[:3])

    def edit(ds):
        ds.DecayCorrectionDateTime += zone
        at = f"2024010{2 - (9.5 - hours < 0)}{int(9.5 - hours) % 24:02d}3000+0000"
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = at

    def frame(groups, number):
        groups.FrameContentSequence[0].FrameAcquisitionDateTime += zone

    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit, frame))
    assert volume.facts.suv_factor == pytest.approx(2.763367e-4, rel=1e-6)


def test_of_several_agents_that_of_the_frames_is_taken(tmp_path, series):
    def edit(ds):
        other = multi.item(RadiopharmaceuticalAgentNumber=1, RadionuclideTotalDose=10.0, RadionuclideHalfLife=122.0,
                           RadiopharmaceuticalStartDateTime="20240102080000")  # fmt: skip
        own = ds.RadiopharmaceuticalInformationSequence[0]
        own.RadiopharmaceuticalAgentNumber = 2
        ds.RadiopharmaceuticalInformationSequence = [other, own]
        ds.SharedFunctionalGroupsSequence[0].RadiopharmaceuticalUsageSequence[0].RadiopharmaceuticalAgentNumber = 2
    run = Run()
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit), run=run)
    assert volume.facts.injected_dose_bq == 370e6 and run.warnings == []


@pytest.mark.parametrize(("flag", "value"), [("AttenuationCorrected", "NO"), ("DecayCorrected", "NO")])
def test_what_is_not_corrected_has_no_suv(tmp_path, series, flag, value):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", lambda ds: setattr(ds, flag, value))
    volume = read.image(file)
    with pytest.raises(UnitError, match=r"ATTN|NONE|DECY"):
        suv.to_suv(volume)


def test_one_that_is_not_corrected_for_attenuation_stands_back(tmp_path, series):
    def nac(ds):
        ds.AttenuationCorrected, ds.SeriesInstanceUID = "NO", "1.2.3.4"
    multi.enhanced(series.datasets, tmp_path / "e" / "ac.dcm")
    multi.enhanced(series.datasets[:3], tmp_path / "e" / "nac.dcm", nac)
    run = Run()
    assert read.image(tmp_path / "e", run=run).geometry.size[2] == 6
    assert run.warnings == ["The PET: of 2 series the one that is corrected for attenuation is read."]


def test_a_legacy_converted_one_that_is_not_corrected_for_attenuation_stands_back(tmp_path, series):
    """It keeps the word of the slices it was made from."""
    def nac(ds):
        groups = ds.SharedFunctionalGroupsSequence[0]
        groups.UnassignedSharedConvertedAttributesSequence[0].CorrectedImage = ["DECY", "SCAT"]
        ds.SeriesInstanceUID = "1.2.3.4"
    multi.legacy(series.datasets[:3], tmp_path / "e" / "nac.dcm", nac)
    multi.legacy(series.datasets, tmp_path / "e" / "z.dcm")
    run = Run()
    assert read.image(tmp_path / "e", run=run).geometry.size[2] == 6
    assert run.warnings == ["The PET: of 2 series the one that is corrected for attenuation is read."]


def mapped(*mappings, said="US"):
    """Each frame's, by its slope in Bq/ml."""
    def frame(groups, number):
        slope = groups.RealWorldValueMappingSequence[0].RealWorldValueSlope
        groups.RealWorldValueMappingSequence = [multi.mapping(slope * scale, unit) for scale, unit in mappings]
        transform = groups.PixelValueTransformationSequence[0]
        transform.RescaleType, transform.RescaleSlope = said, f"{slope:.10g}"
    return frame


@pytest.mark.parametrize("frame", [
    mapped((1e-3, "kBq/ml")), mapped((2.0, "{counts}"), (2.8e-4, "{SUVbw}g/ml"), (1.0, "Bq/ml")),
    mapped((1e-6, "MBq/ml")), mapped((1.0, "Bq/ml"), (1e-3, "kBq/ml")), mapped(said="BQML"), mapped(said="Bq/ml"),
    mapped((3.0, "umol/min/ml"), said="BQML"),
])  # fmt: skip
def test_activity_is_found_among_the_mappings_or_the_rescaling(tmp_path, series, frame):
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", frame=frame))
    assert volume.unit == BQML
    np.testing.assert_allclose(volume.array, series.array, rtol=1e-6)


def test_a_frames_own_mapping_goes_before_that_of_all_and_changes_no_other_frame(tmp_path, series):
    """Also where all share the rescaling that it replaces."""
    def edit(ds):
        shared = ds.SharedFunctionalGroupsSequence[0]
        shared.RealWorldValueMappingSequence = [multi.mapping(7.0, "Bq/ml")]
        shared.PixelValueTransformationSequence = [multi.item(RescaleSlope="1", RescaleIntercept="0", RescaleType="US")]
        for groups in ds.PerFrameFunctionalGroupsSequence:
            del groups.PixelValueTransformationSequence
    volume = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit))
    np.testing.assert_allclose(volume.array, series.array, rtol=1e-6)


@pytest.mark.parametrize(("frame", "said"), [
    (mapped(), "do not say what the values are"), (mapped((1.0, "{counts}")), "absent or zero"),
    (mapped((1.0, "{SUVlbm}g/ml")), "LBM"), (mapped((1.0, "umol/min/ml")), "UMOL/MIN/ML"),
    (mapped((1.0, "Bq/ml"), (2.0, "Bq/ml")), "more than one way"),
    (mapped((2.0, "Bq/ml"), said="BQML"), "by the slope"),
])  # fmt: skip
def test_units_that_are_unknown_or_contradict_one_another_are_refused(tmp_path, series, frame, said):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", frame=frame)
    refused(tmp_path, UnitError, said, lambda: read.image(file))


def test_where_no_unit_is_said_the_declaration_says_it(tmp_path, series):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", frame=mapped())
    np.testing.assert_allclose(read.image(file, unit="Bq/ml").array, series.array, rtol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_frames_of_several_positions_in_time_are_a_dynamic_scan(tmp_path, name):
    folder, classic = dynamic(tmp_path)
    slices = [(ds, number) for number, frame in enumerate(classic, 1) for ds in frame.datasets]
    slices = [slices[k] for k in multi.shuffled(len(slices))]
    places = {} if name != "enhanced" else {"places": [number for _, number in slices]}
    file = MAKERS[name]([ds for ds, _ in slices], tmp_path / "e" / "pet.dcm", **places)
    found, expected = read.frames(file), read.frames(folder)
    assert found.kind == expected.kind and found.times == expected.times
    assert found.injection_s == expected.injection_s == -3600
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.array, other.array)
        assert one.facts.suv_factor == other.facts.suv_factor and one.geometry.close_to(other.geometry)
    refused(tmp_path, InputError, "3 time frames", lambda: read.image(file))


@pytest.mark.parametrize("keyword", ["NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase"])
def test_gates_are_told_by_their_delay_after_the_trigger_or_by_their_phase(tmp_path, keyword):
    _, classic = dynamic(tmp_path)
    delays = [900.0 - 300 * number for number, frame in enumerate(classic) for _ in frame.datasets]

    def frame(groups, number):
        groups.CardiacSynchronizationSequence = [multi.item(**{keyword: delays[number] / 10})]
    file = multi.enhanced([ds for one in classic for ds in one.datasets], tmp_path / "e" / "pet.dcm", frame=frame)
    found = read.frames(file)
    assert found.kind == "gates"
    np.testing.assert_allclose(found.frame(0).array, classic[2].array, rtol=1e-4)


def test_a_legacy_converted_object_keeps_the_times_of_its_slices(tmp_path, series):
    """Also where the converter fills the frame's own groups with others."""
    def edit(ds):
        for number, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
            groups.FrameContentSequence = [multi.item(FrameAcquisitionDuration=1.0)]
            groups.CardiacSynchronizationSequence = [multi.item(NominalCardiacTriggerDelayTime=0.0)]
            groups.UnassignedPerFrameConvertedAttributesSequence[0].TriggerTime = str(300 * number)
    made = enhanced.classic(pydicom.dcmread(multi.legacy(series.datasets, tmp_path / "pet.dcm", edit)), "pet.dcm")
    assert [(ds.ActualFrameDuration, ds.TriggerTime) for ds in made] == [(180000, 300 * k) for k in range(6)]


def test_frames_that_nothing_tells_apart_are_refused(tmp_path, series):
    slices = [*series.datasets, *series.datasets]
    file = multi.enhanced(slices, tmp_path / "e" / "pet.dcm")
    refused(tmp_path, InputError, "lie at the same", lambda: read.image(file))
    refused(tmp_path, InputError, "tells them apart", lambda: read.frames(file))


def lacking(name):
    def frame(groups, number):
        if number == 2:
            del groups[name]
    return frame


def test_a_damaged_object_is_refused_by_name(tmp_path, series):
    def items(ds):
        ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-1]

    def cut(ds):
        ds.PixelData = ds.PixelData[:-1000]

    def no_pixels(ds):
        del ds.PixelData

    def packed(ds):
        ds.PixelData = encapsulate([b"\0" * 100] * 6)
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = MPEG2MPML
    slices, cases = series.datasets, {}
    for name, error, said, edit, frame in (
        ("items", InputError, "5 items for them", items, None), ("cut", InputError, "pixels", cut, None),
        ("none", InputError, "holds no pixels", no_pixels, None),
        ("packed", InputError, "MPEG", packed, None),
        ("place", GeometryError, "ImagePositionPatient of place.dcm, frame 3", None, lacking("PlanePositionSequence")),
    ):
        cases[multi.enhanced(slices, tmp_path / name / f"{name}.dcm", edit, frame)] = (error, said)
    for file, (error, said) in cases.items():
        refused(tmp_path, error, said, lambda file=file: read.image(file))


def test_packed_and_big_endian_objects(tmp_path, series):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm")
    ds = pydicom.dcmread(file)
    pixels = ds.pixel_array
    ds.compress(RLELossless, generate_instance_uid=False)
    (tmp_path / "rle").mkdir()
    ds.save_as(tmp_path / "rle" / "pet.dcm")
    ds = pydicom.dcmread(file)
    ds.PixelData, ds.file_meta.TransferSyntaxUID = pixels.astype(">u2").tobytes(), ExplicitVRBigEndian
    (tmp_path / "big").mkdir()
    pydicom.dcmwrite(tmp_path / "big" / "pet.dcm", ds, implicit_vr=False, little_endian=False,
                     enforce_file_format=True)  # fmt: skip
    for name in ("rle", "big"):
        np.testing.assert_allclose(read.image(tmp_path / name).array, series.array, rtol=1e-6)


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000"])
def test_objects_packed_as_jpeg_are_read_as_classic_slices_are(tmp_path, series, codec):
    """pydicom has no codec for them; ITK brings one, which reads files of one frame."""
    import SimpleITK as sitk

    def fragment(ds):
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(tmp_path / "one.dcm"))
        writer.SetUseCompression(True)
        writer.SetCompressor(codec)
        writer.Execute(sitk.GetImageFromArray(ds.pixel_array.astype(np.uint16)))
        made = pydicom.dcmread(tmp_path / "one.dcm")
        return made.file_meta.TransferSyntaxUID, next(generate_frames(made.PixelData, number_of_frames=1))
    packed = [fragment(ds) for ds in series.datasets]
    for maker in MAKERS.values():
        ds = pydicom.dcmread(maker(series.datasets, tmp_path / "e" / "pet.dcm"))
        ds.PixelData, ds.file_meta.TransferSyntaxUID = encapsulate([data for _, data in packed]), packed[0][0]
        ds["PixelData"].is_undefined_length = True
        ds.save_as(tmp_path / "e" / "pet.dcm")
        np.testing.assert_allclose(read.image(tmp_path / "e").array, series.array, rtol=1e-6)


def test_pixels_may_be_floating_point_numbers(tmp_path, series):
    def edit(ds):
        stored = np.concatenate([one.pixel_array for one in series.datasets]).astype("<f4")
        ds.FloatPixelData, ds.BitsAllocated = stored.tobytes(), 32
        for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(ds, keyword)
    found = read.image(multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm", edit))
    np.testing.assert_allclose(found.array, series.array, rtol=1e-6)


def test_the_memory_of_all_frames_is_asked_for(tmp_path, series, monkeypatch):
    import psutil

    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 20 * 24 * 6 * 6 - 1}))
    refused(tmp_path, ResourceError, "24 x 20 x 6", lambda: read.image(file))


def test_a_classic_series_is_derived_from_it(tmp_path, series):
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm")
    original = read.image(file)
    made = dicom_pet.write(original.with_array(original.array / 2), tmp_path / "out", file)
    back = read.image(tmp_path / "out")
    np.testing.assert_allclose(back.array, original.array / 2, atol=original.array.max() * 2e-5)
    assert back.geometry == original.geometry and back.facts.suv_factor == original.facts.suv_factor
    slices = [pydicom.dcmread(one) for one in made]
    assert {ds.SOPClassUID for ds in slices} == {factory.CLASSES["PT"]} and len({d.SOPInstanceUID for d in slices}) == 6
    source = pydicom.dcmread(file)
    for number, ds in enumerate(slices, 1):
        reference = ds.SourceImageSequence[0]
        assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (multi.ENHANCED,
                                                                                         source.SOPInstanceUID)
        assert reference.ReferencedFrameNumber == number and "ConversionSourceAttributesSequence" not in ds
        assert "PerFrameFunctionalGroupsSequence" not in ds and ds.PatientID == factory.PATIENT_ID
    convert(file, tmp_path / "pet.nii.gz")
    assert convert(tmp_path / "pet.nii.gz", tmp_path / "again", like=file).is_dir()


def test_masks_are_not_tied_to_its_frames(tmp_path, series):
    pytest.importorskip("highdicom")
    file = multi.enhanced(series.datasets, tmp_path / "e" / "pet.dcm")
    mask = LabelMap((read.image(file).array > 10000).astype(np.uint8), read.image(file).geometry, {1: "lesion"})
    refused(tmp_path, InputError, "enhanced", lambda: dicom_masks.write(None, mask, [], tmp_path / "out", file, "x"))


@pytest.mark.parametrize("count", [1, 6])
def test_enhanced_images_of_other_kinds_are_called_so(tmp_path, count):
    """Also one of a single frame, whose grid would else be said to be missing."""
    def edit(ds):
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1.1"
    file = multi.enhanced(factory.pet(tmp_path / "classic").datasets[:count], tmp_path / "e" / "xa.dcm", edit)
    refused(tmp_path, InputError, "Enhanced XA Image Storage", lambda: read.image(file))
