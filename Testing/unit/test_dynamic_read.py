"""Dynamic and gated PET in: 4D files, 3D Slicer's sequences, DICOM series of many frames, and their times."""

import contextlib
import json

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from petdiffusion import convert, read
from petdiffusion.errors import GeometryError, InputError, OptionError, UnitError
from petdiffusion.progress import Run
from petdiffusion.read.dynamic import chosen
from petdiffusion.suv import to_suv
from petdiffusion.volume import BQML, SUVBW, Facts, Geometry, Volume
from petdiffusion.write import frames as frame_files
from support import dicom_factory as factory
from support.dynamic_dicom import dynamic

GRID = Geometry((7, 6, 5), (1.5, 2.0, 3.0), (10.0, -100.0, 5.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
SECONDS = [10.0, 20.0, 60.0, 300.0]
STARTS = [0.0, 10.0, 30.0, 90.0]
BIDS = {"Units": "Bq/mL", "Modality": "PT", "TracerName": "FDG", "RadionuclideHalfLife": 6586.2, "BodyWeight": 70,
        "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq", "FrameTimesStart": STARTS,
        "FrameDuration": SECONDS, "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0, "ScanStart": 0,
        "InjectionStart": 0}  # fmt: skip


def arrays(count=4, seed=0):
    return np.random.default_rng(seed).uniform(1000, 2000, (count, *GRID.shape)).astype(np.float32)


def written(folder, values, notes=None, name="pet.nii.gz"):
    frame_files.write(Volume(values[0], GRID, BQML), iter(values), len(values), folder / name, {})
    (folder / name).with_name("pet.json").write_text(json.dumps(BIDS if notes is None else notes))
    return folder / name


def test_a_4d_file_gives_each_frame_on_its_grid_with_its_time(tmp_path):
    values = arrays()
    found = read.frames(written(tmp_path, values))
    assert len(found) == 4 and found.kind == "time frames"
    assert [(t.start_s, t.seconds) for t in found.times] == list(zip(STARTS, SECONDS))
    assert [t.middle_s for t in found.times] == [5.0, 20.0, 60.0, 240.0]
    for volume, array, seconds in zip(found, values, SECONDS):
        np.testing.assert_array_equal(volume.array, array)
        assert volume.geometry.close_to(GRID, 1e-4) and volume.unit == BQML
        assert volume.facts.frame_seconds == seconds


def test_the_4d_file_is_what_other_programs_read_too(tmp_path):
    values = arrays()
    image = nibabel.load(written(tmp_path, values))
    np.testing.assert_array_equal(image.get_fdata().transpose(3, 2, 1, 0), values)
    assert image.shape == (7, 6, 5, 4) and image.header.get_xyzt_units()[0] == "mm"
    itk = sitk.ReadImage(str(tmp_path / "pet.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), values)
    np.testing.assert_allclose(itk.GetDirection()[:3], np.reshape(GRID.direction, (3, 3))[0], atol=1e-6)


def test_scaled_whole_numbers_are_scaled_in_every_frame(tmp_path):
    stored = np.random.default_rng(1).integers(0, 3000, (7, 6, 5, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header.set_slope_inter(0.5, 10)
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms((2.0, 2.0, 2.0, 30000.0))
    nibabel.save(image, tmp_path / "pet.nii")
    found = read.frames(tmp_path / "pet.nii", unit="Bq/ml")
    on_disk = nibabel.load(tmp_path / "pet.nii").get_fdata()
    for number, volume in enumerate(found):
        np.testing.assert_allclose(volume.array.transpose(2, 1, 0), on_disk[..., number])
    assert [(t.start_s, t.seconds) for t in found.times] == [(0, 30), (30, 30), (60, 30)]


def test_frames_before_the_injection_have_the_suv_factor_of_the_others(tmp_path):
    """The tracer was given 15 s after the start: by the first frame's own times there would be no SUV."""
    found = read.frames(written(tmp_path, arrays(), {**BIDS, "InjectionStart": 15}))
    factors = [volume.facts.suv_factor for volume in found]
    left = 370e6 * 2 ** (15 / 6586.2)  # of the dose, decay-corrected backwards to the start of the scan
    np.testing.assert_allclose(factors, 70000 / left, rtol=1e-6)


def test_frames_of_which_no_suv_is_known_stay_in_bqml(tmp_path):
    found = read.frames(written(tmp_path, arrays(2), {"Units": "Bq/mL"}))
    assert [(volume.unit, volume.facts.suv_factor) for volume in found] == [(BQML, None)] * 2


def test_a_weight_that_is_given_serves_every_frame(tmp_path):
    """Also those that began before the injection, whose own times tell no SUV."""
    notes = {key: value for key, value in BIDS.items() if key != "BodyWeight"} | {"InjectionStart": 15}
    found = read.frames(written(tmp_path, arrays(), notes), weight_kg=70.0)
    factors = [volume.facts.suv_factor for volume in found]
    np.testing.assert_allclose(factors, 70000 / (370e6 * 2 ** (15 / 6586.2)), rtol=1e-6)


def own_starts(folder):
    """Three DICOM frames twenty minutes apart, each corrected for decay to its own start."""
    clocks = ["103000", "105000", "111000"]
    return dynamic(folder, AcquisitionTime=lambda n, k: clocks[n], SeriesTime=lambda n, k: clocks[n],
                   DecayFactor=lambda n, k: "1.0005", FrameReferenceTime=lambda n, k: str(1000 * (5 + 1200 * n)))


def test_frames_that_are_corrected_to_moments_of_their_own_are_brought_to_that_of_the_first(tmp_path):
    """By the first one's factor the last would be 23 % too low."""
    folder, series = own_starts(tmp_path)
    found = read.frames(folder)
    for number, (volume, one) in enumerate(zip(found, series)):
        left = factory.DOSE_BQ * 2 ** (-(3600 + 1200 * number) / factory.HALF_LIFE_S)
        assert volume.unit == BQML
        np.testing.assert_allclose(to_suv(volume).array, one.array * 1000 * factory.WEIGHT_KG / left, rtol=1e-3)
    mean = read.image(convert(folder, tmp_path / "mean.nii.gz", frames="1-3"))
    np.testing.assert_allclose(mean.array, np.mean([volume.array for volume in found], axis=0), rtol=1e-5)


def test_frames_whose_factors_no_moment_explains_are_joined_in_suv_and_one_without_is_refused(tmp_path):
    """The third was given another dose, or its header is wrong; the second tells no weight."""
    folder, series = own_starts(tmp_path)
    for file in series[1].files + series[2].files:
        ds = pydicom.dcmread(file)
        if file in series[1].files:
            del ds.PatientWeight
        else:
            ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 2 * factory.DOSE_BQ
        ds.save_as(file)
    found = read.frames(folder)
    assert [found.frame(number).unit for number in (0, 2)] == [SUVBW] * 2
    with pytest.raises(UnitError, match="frame 2: tells no SUV"):
        found.frame(1)


def test_no_step_in_time_is_made_up(tmp_path):
    """One second is what ITK writes of times that it does not know; gates have none."""
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(a) for a in arrays(3)]), str(tmp_path / "itk.nii.gz"))
    assert read.frames(tmp_path / "itk.nii.gz", unit="Bq/ml").times[1].start_s is None
    path = written(tmp_path, arrays(3), {"Units": "Bq/mL", "PETDiffusionFrames": "gates"})
    image = nibabel.load(path)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((1.5, 2.0, 3.0, 30.0))
    nibabel.save(image, path)
    found = read.frames(path)
    assert found.kind == "gates" and found.times[1].start_s is None
    frame_files.write(Volume(arrays()[0], GRID, BQML), iter(arrays()), 4, tmp_path / "even.nii.gz",
                      {"FrameTimesStart": [0, 30, 60, 90], "FrameDuration": [30] * 4})  # fmt: skip
    assert nibabel.load(tmp_path / "even.nii.gz").header.get_zooms()[3] == 30


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_slicers_sequences_and_other_4d_files_of_itk(tmp_path, ending):
    values = arrays(3)
    if ending == ".nrrd":  # a sequence of 3D Slicer: a list of values in every voxel
        image = sitk.GetImageFromArray(np.moveaxis(values, 0, -1), isVector=True)
    else:
        image = sitk.JoinSeries([sitk.GetImageFromArray(array) for array in values])
    sitk.WriteImage(image, str(tmp_path / f"pet{ending}"))
    found = read.frames(tmp_path / f"pet{ending}", unit="Bq/ml")
    assert len(found) == 3 and found.times[1].start_s is None
    for volume, array in zip(found, values):
        np.testing.assert_array_equal(volume.array, array)


def test_a_dicom_series_of_frames_is_put_in_the_order_of_time(tmp_path):
    folder, series = dynamic(tmp_path)
    found = read.frames(folder)
    assert [(t.start_s, t.seconds) for t in found.times] == [(0, 10), (10, 10), (20, 10)]
    for volume, one in zip(found, series):
        np.testing.assert_allclose(volume.array, one.array, rtol=1e-4)
        assert volume.geometry.close_to(one.geometry, 0.01) and volume.unit == BQML
    factors = [volume.facts.suv_factor for volume in found]
    assert factors[0] and factors == [factors[0]] * 3


def test_gates_are_told_by_their_trigger_time(tmp_path):
    folder, series = dynamic(tmp_path, FrameReferenceTime=lambda number, k: "5000",
                             AcquisitionTime=lambda number, k: "103000",
                             TriggerTime=lambda number, k: str(900 - 300 * number))  # fmt: skip
    found = read.frames(folder)
    assert found.kind == "gates" and all(t.start_s is None for t in found.times)
    np.testing.assert_allclose(found.frame(0).array, series[2].array, rtol=1e-4)


@pytest.mark.parametrize("told", ["TriggerTime", "TemporalPositionIdentifier"])
def test_a_series_of_the_type_gated_is_gated(tmp_path, told):
    """By whatever its gates are told apart; the trigger time goes first."""
    tags = {"SeriesType": lambda n, k: ["GATED", "IMAGE"], "AcquisitionTime": lambda n, k: "103000",
            told: lambda n, k: str(10 + n)}  # fmt: skip
    if told == "TriggerTime":
        tags["FrameReferenceTime"] = lambda n, k: str(1000 * (3 - n))  # the other way round
    folder, series = dynamic(tmp_path, **tags)
    found = read.frames(folder)
    assert found.kind == "gates" and all(time.start_s is None for time in found.times)
    if told == "TriggerTime":
        np.testing.assert_allclose(found.frame(0).array, series[0].array, rtol=1e-4)


def test_where_all_were_acquired_at_once_the_reference_times_tell(tmp_path):
    folder, _ = dynamic(tmp_path, AcquisitionTime=lambda number, k: "103000")
    assert [(t.start_s, t.seconds) for t in read.frames(folder).times] == [(0, 10), (10, 10), (20, 10)]


def test_a_frame_begins_with_the_first_of_its_slices(tmp_path):
    """Of the second frame the first slice is of another bed, which was scanned four seconds later."""
    folder, _ = dynamic(tmp_path, AcquisitionTime=lambda n, k: f"1030{10 * n + 4 * (k == 0 and n == 1):02d}")
    assert [t.start_s for t in read.frames(folder).times] == [0, 10, 20]


@pytest.mark.parametrize("date", ["19000101", "00010101"])
def test_dates_that_an_anonymiser_set_to_the_first_there_is_tell_frames_apart(tmp_path, date):
    """Windows has no time stamp before 1970, and no system one of the first day of all."""
    folder, series = dynamic(tmp_path, AcquisitionDate=lambda n, k: date, FrameReferenceTime=lambda n, k: None)
    found = read.frames(folder)
    assert [t.start_s for t in found.times] == [0, 10, 20]
    np.testing.assert_allclose(found.frame(2).array, series[2].array, rtol=1e-4)


def clock(seconds_after_half_past_ten):
    return f"{10 + (1800 + seconds_after_half_past_ten) // 3600:02d}" + (
        f"{(1800 + seconds_after_half_past_ten) // 60 % 60:02d}{seconds_after_half_past_ten % 60:02d}")


def later_frames(folder, injected, by="AcquisitionTime", **more):
    """Three frames of ten minutes from 40 min after the start of the scan at 10:30 on, to which they are corrected."""
    starts, life = [2400, 3000, 3600], factory.HALF_LIFE_S
    told = {"AcquisitionTime": lambda n, k: clock(starts[n]), "ActualFrameDuration": lambda n, k: 600_000,
            "FrameReferenceTime": lambda n, k: str(1000 * (starts[n] + 300)),
            "DecayFactor": lambda n, k: f"{2 ** ((starts[n] + 300) / life):.8f}"}  # fmt: skip
    if by == "FrameReferenceTime":
        told |= {"AcquisitionTime": lambda n, k: "103000", "DecayFactor": lambda n, k: None}
    return dynamic(folder, RadiopharmaceuticalInformationSequence=lambda n, k: [injection(injected)], **told, **more)[0]


def injection(at):
    item = pydicom.Dataset()
    item.RadiopharmaceuticalStartTime, item.RadionuclideTotalDose = at, factory.DOSE_BQ
    item.RadionuclideHalfLife = factory.HALF_LIFE_S
    return item


@pytest.mark.parametrize("by", ["AcquisitionTime", "FrameReferenceTime"])
@pytest.mark.parametrize(("injected", "seconds"), [("103000", -2400), ("093000", -6000)])
def test_the_injection_is_told_on_the_clock_of_the_frames_that_are_there(tmp_path, injected, seconds, by):
    """The early frames were left out: the series' own start lies forty minutes before the first that is here."""
    found = read.frames(later_frames(tmp_path, injected, by))
    assert [t.start_s for t in found.times] == [0, 600, 1200]
    assert found.injection_s == pytest.approx(seconds)


@pytest.mark.parametrize("correction", ["START", "ADMIN"])
def test_a_scan_may_begin_before_the_injection_and_nothing_is_said_of_a_day(tmp_path, correction):
    """By the first frame alone the time of the injection would be that of the day before."""
    folder, _ = dynamic(tmp_path, RadiopharmaceuticalInformationSequence=lambda n, k: [injection("103015")],
                        DecayCorrection=lambda n, k: correction)  # fmt: skip
    run = Run()
    found = read.frames(folder, run=run)
    assert found.injection_s == 15 and [volume.facts.suv_factor is None for volume in found] == [False] * 3
    assert not [text for text in run.warnings if "No SUV" in text]


@pytest.mark.parametrize("injected", ["", "xx", "000000"])
def test_of_an_injection_that_is_not_told_nothing_is_made_up(tmp_path, injected):
    with pytest.warns() if injected == "xx" else contextlib.nullcontext():
        folder = later_frames(tmp_path, injected)
    run = Run()
    found = read.frames(folder, run=run)
    assert found.injection_s is None and found.frame(0).facts.suv_factor is None
    assert sum("No SUV" in text for text in run.warnings) == 1


def test_a_frame_on_another_grid_is_refused(tmp_path):
    folder, _ = dynamic(tmp_path, count=2, PixelSpacing=lambda number, k: [4.0 + number, 4.0 + number])
    with pytest.raises((GeometryError, InputError), match=r"PixelSpacing|elsewhere"):
        list(read.frames(folder))


def test_passes_over_several_beds_come_together_by_their_order_at_each_place(tmp_path):
    """The second bed of the first pass is later than the first bed of no pass but its own."""
    folder, series = dynamic(tmp_path, count=2,
                             FrameReferenceTime=lambda number, k: str(1000 * (10 * number + k)))  # fmt: skip
    found = read.frames(folder)
    for volume, one in zip(found, series):
        np.testing.assert_allclose(volume.array, one.array, rtol=1e-4)


def test_a_frame_with_a_slice_missing_is_refused(tmp_path):
    folder, series = dynamic(tmp_path)
    series[1].files[0].unlink()
    with pytest.raises(InputError, match="2 to 3 frames"):
        read.frames(folder)


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    same = {"FrameReferenceTime": "5000", "AcquisitionTime": "103000"}
    folder, _ = dynamic(tmp_path, **{k: lambda number, slice_, v=v: v for k, v in same.items()})
    with pytest.raises(InputError, match="none of FrameReferenceTime"):
        read.frames(folder)


def test_colours_are_no_frames_and_a_cut_file_is_refused_by_name(tmp_path):
    colours = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "rgb.mha"))
    with pytest.raises(InputError, match="colours"):
        read.frames(tmp_path / "rgb.mha", unit="Bq/ml")
    path = written(tmp_path, arrays(), name="pet.nii.gz")
    image = nibabel.load(path)
    nibabel.save(image, tmp_path / "cut.nii")
    whole = (tmp_path / "cut.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[: len(whole) - 2000])
    with pytest.raises(InputError, match=r"cut\.nii"):
        list(read.frames(tmp_path / "cut.nii", unit="Bq/ml"))


def test_one_image_is_no_dynamic_scan(tmp_path):
    factory.pet(tmp_path / "static")
    with pytest.raises(InputError, match="one image"):
        read.frames(tmp_path / "static")


def test_a_dynamic_scan_is_not_denoised_as_one_image_and_the_way_is_told(tmp_path):
    with pytest.raises(InputError, match="petdiffusion dynamic"):
        read.image(written(tmp_path, arrays()))
    with pytest.raises(InputError, match="petdiffusion dynamic"):
        read.image(dynamic(tmp_path / "dicom")[0])


@pytest.mark.parametrize(("key", "value", "said"), [
    ("FrameDuration", [10, 20], "2 values for 4 frames"),
    ("FrameTimesStart", [0, 10, 5, 90], "do not follow"),
    ("FrameDuration", [10, 0, 60, 300], "do not follow"),
    ("FrameDuration", [10, "x", 60, 300], "no number"),
])  # fmt: skip
def test_times_that_cannot_be_are_refused(tmp_path, key, value, said):
    with pytest.raises(InputError, match=said):
        read.frames(written(tmp_path, arrays(), {**BIDS, key: value}))


def test_frames_that_overlap_by_the_sidecar_are_told(tmp_path):
    """Not refused: frames of a sliding window do. A second may be rounding."""
    run = Run()
    read.frames(written(tmp_path, arrays(), {**BIDS, "FrameDuration": [10, 21, 60, 300]}), run=run)
    assert not run.warnings
    read.frames(written(tmp_path, arrays(), {**BIDS, "FrameDuration": [10, 40, 60, 300]}), run=run)
    assert ["30 s" in text and "50 s" in text for text in run.warnings] == [True]


def test_times_follow_from_lengths_and_lengths_from_times(tmp_path):
    notes = {key: value for key, value in BIDS.items() if key != "FrameTimesStart"}
    assert [t.start_s for t in read.frames(written(tmp_path, arrays(), notes)).times] == STARTS
    notes = {key: value for key, value in BIDS.items() if key != "FrameDuration"}
    assert [t.seconds for t in read.frames(written(tmp_path, arrays(), notes)).times] == [10, 20, 60, 60]


def test_frames_are_chosen_as_people_count_them():
    assert chosen("3", 5) == [2]
    assert chosen("1, 3-5", 5) == [0, 2, 3, 4]
    assert chosen("4-5, 1", 5) == [0, 3, 4]  # time goes forwards, in whatever order they are named
    for wrong in ("0", "6", "1-9999999999", "2-7", "4-3", "4-3,2", "", "a", "1,1", "-2", "1-"):
        with pytest.raises(InputError, match="1 to 5"):
            chosen(wrong, 5)


def test_one_image_of_some_frames_is_their_mean_by_duration(tmp_path):
    """As if they had been one frame: counts add up, and so does the time."""
    values = arrays()
    target = convert(written(tmp_path, values), tmp_path / "late.nii.gz", frames="3-4")
    late = read.image(target)
    np.testing.assert_allclose(late.array, (60 * values[2] + 300 * values[3]) / 360, rtol=1e-6)
    assert late.facts.frame_seconds == 360 and late.unit == BQML
    np.testing.assert_allclose(late.facts.suv_factor, 70000 / 370e6, rtol=1e-6)
    one = convert(tmp_path / "pet.nii.gz", tmp_path / "second.nii.gz", frames="2", to=SUVBW)
    np.testing.assert_allclose(read.image(one).array, values[1] * 70000 / 370e6, rtol=1e-5)


def test_frames_of_a_ct_are_not_asked_for(tmp_path):
    with pytest.raises(OptionError, match="Frames of a CT"):
        convert(written(tmp_path, arrays()), tmp_path / "ct.nii.gz", role="ct", frames="1")


def test_frames_of_unknown_length_count_alike(tmp_path):
    values = arrays(2)
    target = convert(written(tmp_path, values, {"Units": "Bq/mL"}), tmp_path / "mean.nii.gz", frames="1-2")
    np.testing.assert_allclose(read.image(target).array, values.mean(axis=0), rtol=1e-6)


def test_a_written_frame_count_that_is_wrong_is_a_defect(tmp_path):
    with pytest.raises(AssertionError, match="2 frames instead of 3"):
        frame_files.write(Volume(arrays()[0], GRID, BQML, Facts()), iter(arrays(2)), 3, tmp_path / "a.nii.gz", {})
