"""When the frames of a dynamic scan were acquired, and to what moment they are corrected, in what is made of them."""

import json

import numpy as np
import pydicom
import pytest
from petdiffusion import convert, denoise, denoise_frames, read, suv
from petdiffusion.errors import UnitError
from petdiffusion.physics import counts
from petdiffusion.physics.presets import SCANNERS
from petdiffusion.progress import Run
from petdiffusion.read.dynamic import facts_of_mean
from petdiffusion.volume import BQML, SUVBW, Facts
from petdiffusion.write import frames as frame_files
from support import dicom_factory as factory
from support.blobs import blobs
from support.dynamic_dicom import dynamic

HALF_LIFE_S, STARTS, SECONDS = 6586.2, [0.0, 300.0, 1200.0, 2400.0], [300.0, 300.0, 1200.0, 1200.0]
BIDS = {"Units": "Bq/mL", "Modality": "PT", "TracerName": "FDG", "RadionuclideHalfLife": HALF_LIFE_S, "BodyWeight": 70,
        "InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq", "FrameTimesStart": STARTS,
        "FrameDuration": SECONDS, "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0,
        "ScanStart": 0}  # fmt: skip


def scan(folder, injection_s=-300, **more):
    """The scan began five minutes after the injection, and is corrected for decay to its start."""
    subject = blobs(seed=0)
    values = [subject.noisy.with_array((1 + n) * 1000 * subject.noisy.array, BQML) for n in range(4)]
    frame_files.write(values[0], (value.array for value in values), 4, folder / "pet.nii.gz", {})
    (folder / "pet.json").write_text(json.dumps({**BIDS, "InjectionStart": injection_s, **more}))
    return folder / "pet.nii.gz"


def told(file):
    return json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text())


def test_an_image_of_late_frames_says_when_they_began(tmp_path):
    late = convert(scan(tmp_path), tmp_path / "late.nii.gz", frames="3-4")
    facts = read.image(late).facts
    assert (facts.uptake_minutes, facts.frame_start_minutes, facts.acquired_minutes) == (5.0, 25.0, 25.0)
    assert facts.suv_factor == pytest.approx(70000 / (370e6 * 2 ** (-300 / HALF_LIFE_S)))
    notes = told(late)
    assert (notes["InjectionStart"], notes["ScanStart"], notes["FrameTimesStart"]) == (0, 300, [1500])
    assert notes["ImageDecayCorrected"] is True and notes["ImageDecayCorrectionTime"] == 300
    del notes["PETDiffusion"]
    late.with_name("late.json").write_text(json.dumps(notes))  # as another program would have written it
    again = read.image(late).facts
    assert again.frame_start_minutes == 25 and again.suv_factor == pytest.approx(facts.suv_factor)
    first = read.image(convert(tmp_path / "pet.nii.gz", tmp_path / "first.nii.gz", frames="1-2")).facts
    assert first.frame_start_minutes is None and first.acquired_minutes == 5


def test_the_report_says_the_uptake_of_the_frames(tmp_path):
    late = convert(scan(tmp_path), tmp_path / "late.nii.gz", frames="3-4")
    made = denoise(late, "gaussian", out=tmp_path / "out")
    with open(made.files["report"], encoding="utf-8") as stream:
        page = stream.read()
    assert "25 min p.i." in page and "5 min" not in page.replace("25 min", "")


def test_what_is_counted_in_late_frames_is_what_is_left_then(tmp_path):
    """By the frames' own factors of decay; by their times where they tell none."""
    left = [2 ** (-(1200 + 600) / HALF_LIFE_S), 2 ** (-(2400 + 600) / HALF_LIFE_S)]
    factors = [1.0, 1.0, *(1 / part for part in left)]
    late = read.frames(scan(tmp_path, DecayCorrectionFactor=factors)).frame(3)
    assert counts.bqml_per_unit(BQML, late.facts, SCANNERS["mCT"])[0] == pytest.approx(left[1])
    for to in (None, SUVBW):
        mean = read.image(convert(tmp_path / "pet.nii.gz", tmp_path / f"{to}.nii.gz", frames="3-4", to=to))
        unit = counts.bqml_per_unit(mean.unit, mean.facts, SCANNERS["mCT"])[0]
        factor = 1.0 if to is None else mean.facts.suv_factor
        assert unit * factor == pytest.approx(np.mean(left))
    del (notes := told(tmp_path / "pet.nii.gz"))["DecayCorrectionFactor"]
    (tmp_path / "pet.json").write_text(json.dumps(notes))
    mean = read.image(convert(tmp_path / "pet.nii.gz", tmp_path / "mean.nii.gz", frames="3-4"))
    at_start = 2 ** (-1200 / HALF_LIFE_S)
    for image, factor in ((mean, 1.0), (suv.to_suv(mean), mean.facts.suv_factor)):
        unit = counts.bqml_per_unit(image.unit, image.facts, SCANNERS["mCT"])[0]
        assert unit * factor == pytest.approx(at_start)


@pytest.mark.parametrize("injection_s", [0, -300])
def test_the_moment_of_correction_is_told_with_the_frames_and_with_each(tmp_path, injection_s):
    """Of a scan that began with the injection too; on the clock of the frames where there are many."""
    made = denoise_frames(scan(tmp_path, injection_s), tmp_path / "out", "gaussian")
    notes = told(tmp_path / "out" / "denoised.nii.gz")
    assert (notes["InjectionStart"], notes["ScanStart"], notes["FrameTimesStart"]) == (injection_s, 0, STARTS)
    assert notes["ImageDecayCorrected"] is True and notes["ImageDecayCorrectionTime"] == 0
    assert read.frames(made.files["denoised"]).frame(3).facts.frame_start_minutes == (2400 - injection_s) / 60
    for name, start in (("frame_001", None), ("frame_003", 1200), ("mean", None)):
        one = told(tmp_path / "out" / "frames" / f"{name}.nii.gz")
        assert one["ScanStart"] == one["ImageDecayCorrectionTime"] == -injection_s
        assert one.get("FrameTimesStart") == (None if start is None else [start - injection_s])
    del notes["PETDiffusion"]
    (tmp_path / "out" / "denoised.json").write_text(json.dumps(notes))
    factor = read.frames(made.files["denoised"]).frame(2).facts.suv_factor
    assert factor == pytest.approx(read.frames(tmp_path / "pet.nii.gz").frame(2).facts.suv_factor)


LATER = [0, 300, 600, 1200]
"""When each frame began, after half past ten, when the series did; an hour after the injection."""


def clock(number):
    return f"10{30 + LATER[number] // 60:02d}00"


def of_dicom(folder, factor_of, vendor="Siemens", **more):
    """Frames of five minutes in one series, whose slices were multiplied by what `factor_of` a frame's start says."""
    told = {"AcquisitionTime": lambda n, k: clock(n), "ActualFrameDuration": lambda n, k: 300_000,
            "FrameReferenceTime": lambda n, k: str(1000 * (LATER[n] + 150)), "SeriesTime": lambda n, k: "103000",
            "DecayFactor": lambda n, k: f"{factor_of(LATER[n]):.6f}"}  # fmt: skip
    return dynamic(folder, count=4, vendor=vendor, **{**told, **more})


def edited(folder, edit):
    for file in sorted(folder.rglob("*.dcm")):
        ds = pydicom.dcmread(file)
        edit(ds)
        ds.save_as(file)


def without(keyword, series):
    """Headers that lack a field of the patient, or of the injection."""
    def edit(ds):
        there = ds if keyword in ds else ds.RadiopharmaceuticalInformationSequence[0]
        delattr(there, keyword)
    for one in series:
        edited(one.folder, edit)


def since(seconds):
    """Of the decay in a frame of five minutes that began so long after the moment of correction."""
    rate = np.log(2) / factory.HALF_LIFE_S
    return np.exp(rate * seconds) * rate * 300 / (1 - np.exp(-rate * 300))


def own(start):
    return since(0)


@pytest.mark.parametrize("kind", ["WHOLE BODY", "DYNAMIC"])
@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips"])
def test_dicom_frames_of_one_series_that_are_corrected_to_their_own_starts_are_brought_to_that_of_the_first(
        tmp_path, vendor, kind):  # fmt: skip
    """As they stand the last would be a tenth too low; nothing is said, since nothing is in doubt."""
    folder, series = of_dicom(tmp_path, own, vendor, SeriesType=lambda n, k: [kind, "IMAGE"])
    run = Run()
    found = read.frames(folder, run=run)
    for start, volume, one in zip(LATER, found, series):
        left = factory.DOSE_BQ * 2 ** (-(3600 + start) / factory.HALF_LIFE_S)
        assert volume.unit == BQML and volume.facts.uptake_minutes == 60
        np.testing.assert_allclose(suv.to_suv(volume).array, one.array * 1000 * factory.WEIGHT_KG / left, rtol=1e-3)
        assert volume.facts.decay_factor == pytest.approx(since(start), rel=1e-5)
    assert not [text for text in run.warnings if "SUV" in text]
    assert found.injection_s == -3600 and [time.start_s for time in found.times] == LATER


@pytest.mark.parametrize("lacks", ["PatientWeight", "RadiopharmaceuticalStartTime"])
@pytest.mark.parametrize("by", ["DecayFactor", "SeriesTime"])
def test_frames_that_are_corrected_to_their_own_starts_are_brought_to_one_without_an_suv(tmp_path, lacks, by):
    """The curve of a tracer that stays would fall by the decay."""
    more = {} if by == "DecayFactor" else {"SeriesTime": lambda n, k: clock(n), "DecayFactor": lambda n, k: ""}
    folder, series = of_dicom(tmp_path, own, **more)
    without(lacks, series)
    found = read.frames(folder)
    for start, volume, one in zip(LATER, found, series):
        assert volume.unit == BQML and volume.facts.suv_factor is None
        np.testing.assert_allclose(volume.array, one.array * 2 ** (start / factory.HALF_LIFE_S), rtol=1e-5)
    late = read.image(convert(folder, tmp_path / "late.nii.gz", frames="4"))
    np.testing.assert_array_equal(late.array, found.frame(3).array)


@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("series", ["", "113000", "103030"])
def test_frames_that_are_corrected_to_the_first_one_stay_as_they_are_whatever_the_time_of_the_series(
        tmp_path, series, weighed):  # fmt: skip
    """By little decay each frame's own start would pass for it too, where the time of the series was taken out or is
    that of a series made later."""
    def factor_of(start, seconds=20.0):
        decays = np.log(2) * seconds / factory.HALF_LIFE_S
        return f"{2 ** (start / factory.HALF_LIFE_S) * decays / -np.expm1(-decays):.8f}"

    folder, made = dynamic(tmp_path, count=8, AcquisitionTime=lambda n, k: f"103{20 * n // 60}{20 * n % 60:02d}",
                           ActualFrameDuration=lambda n, k: 20000, DecayFactor=lambda n, k: factor_of(20 * n),
                           SeriesTime=lambda n, k: series)  # fmt: skip
    if not weighed:
        without("PatientWeight", made)
    run = Run()
    found = read.frames(folder, run=run)
    for volume, one in zip(found, made):
        np.testing.assert_allclose(volume.array, one.array, rtol=1e-6)
        assert volume.unit == BQML and bool(volume.facts.suv_factor) is weighed
        assert volume.facts.suv_factor == found.frame(0).facts.suv_factor
    assert not [text for text in run.warnings if "multiplied" in text]


def test_frames_that_are_corrected_to_nothing_contradict_nothing(tmp_path):
    folder, _ = of_dicom(tmp_path, own, DecayCorrection=lambda n, k: "NONE", DecayFactor=lambda n, k: "1",
                         CorrectedImage=lambda n, k: ["ATTN", "SCAT"])  # fmt: skip
    run = Run()
    read.frames(folder, run=run)
    assert not [text for text in run.warnings if "multiplied" in text]


def test_suvs_of_frames_that_are_corrected_to_their_own_starts_stay_as_they_are(tmp_path):
    folder, series = of_dicom(tmp_path, own, Units=lambda n, k: "GML")
    run = Run()
    for volume, one in zip(read.frames(folder, run=run), series):
        assert volume.unit == SUVBW
        np.testing.assert_array_equal(volume.array, np.float32(one.array))
    assert not [text for text in run.warnings if "SUV" in text]


@pytest.mark.parametrize("injected", ["103000", "103002", "103020"])
def test_a_scan_that_began_before_the_injection_is_brought_to_its_start_too(tmp_path, injected):
    folder, _ = of_dicom(tmp_path, own)
    edited(folder, lambda ds: setattr(ds.RadiopharmaceuticalInformationSequence[0], "RadiopharmaceuticalStartTime",
                                      injected))
    found = read.frames(folder)
    after = int(injected) - 103000
    expected = 1000 * factory.WEIGHT_KG / (factory.DOSE_BQ * 2 ** (after / factory.HALF_LIFE_S))
    assert [volume.facts.suv_factor for volume in found] == pytest.approx([expected] * 4)
    assert found.injection_s == after and str(found.injection_s) != "-0.0"


def test_gates_are_not_brought_anywhere(tmp_path):
    folder, series = of_dicom(tmp_path, own, SeriesType=lambda n, k: ["GATED", "IMAGE"],
                              TriggerTime=lambda n, k: str(100 * n))
    for volume, one in zip(read.frames(folder), series):
        np.testing.assert_array_equal(volume.array, np.float32(one.array))


@pytest.mark.parametrize("first", [own, since])
def test_passes_of_which_the_second_bed_is_corrected_otherwise_have_no_suv(tmp_path, first):
    """The first bed alone would prove its own start, or that of the series; the second is an hour later, and was
    multiplied by no more."""
    folder, series = of_dicom(tmp_path, first, AcquisitionTime=lambda n, k: f"1{0 if k == 0 else 1}{clock(n)[2:]}")
    run = Run()
    for volume, one in zip(read.frames(folder, run=run), series):
        np.testing.assert_array_equal(volume.array, np.float32(one.array))
        assert volume.facts.suv_factor is None
    assert "No SUV" in "".join(run.warnings)


def test_a_late_pass_of_which_the_second_bed_is_corrected_otherwise_costs_the_suv(tmp_path):
    def applied(n, k):
        return f"{since(0) if (n, k) == (3, 2) else since(LATER[n] + (900 if k == 2 else 0)):.6f}"

    second = ["104500", "105000", "105500", "110500"]
    bed = {"AcquisitionTime": lambda n, k: clock(n) if k < 2 else second[n]}
    run = Run()
    found = read.frames(of_dicom(tmp_path / "odd", since, **bed, DecayFactor=applied)[0], run=run)
    assert found.frame(0).facts.suv_factor is None
    assert f"frame 4: was multiplied by {since(0):.6g} " in "".join(run.warnings)
    bed["DecayFactor"] = lambda n, k: f"{since(LATER[n] + (900 if k == 2 else 0)):.6f}"
    assert read.frames(of_dicom(tmp_path / "even", since, **bed)[0]).frame(3).facts.suv_factor


@pytest.mark.parametrize("part", [0.5, 1.5])
def test_half_of_what_decays_in_a_frame_is_not_all_of_it(tmp_path, part):
    """So a factor is no proof of a frame's own start."""
    factor = 1 + part * (since(0) - 1)
    run = Run()
    found = read.frames(of_dicom(tmp_path, lambda start: factor)[0], run=run)
    assert found.frame(0).unit == BQML and "4: were multiplied" in "".join(run.warnings)


def test_frames_so_near_to_one_another_that_it_does_not_matter_stay_as_they_are(tmp_path):
    """One minute is a part of 0.6 % in decay."""
    folder, series = dynamic(tmp_path, count=3, AcquisitionTime=lambda n, k: f"1030{20 * n:02d}",
                             ActualFrameDuration=lambda n, k: 20_000, DecayFactor=lambda n, k: "1.00105")
    for volume, one in zip(read.frames(folder), series):
        np.testing.assert_array_equal(volume.array, np.float32(one.array))


def test_a_whole_body_series_of_time_frames_without_decay_factors_is_dynamic_all_the_same(tmp_path):
    run = Run()
    folder, _ = of_dicom(tmp_path, own, DecayFactor=lambda n, k: "", SeriesType=lambda n, k: ["WHOLE BODY", "IMAGE"],
                         SeriesTime=lambda n, k: "100000")
    factors = [volume.facts.suv_factor for volume in read.frames(folder, run=run)]
    assert factors[0] and factors == [factors[0]] * 4 and not [text for text in run.warnings if "SUV" in text]


def test_dicom_frames_that_are_corrected_to_the_start_of_their_series_share_its_factor(tmp_path):
    found = read.frames(of_dicom(tmp_path, since)[0])
    left = factory.DOSE_BQ * 2 ** (-3600 / factory.HALF_LIFE_S)
    for volume in found:
        assert volume.unit == BQML and volume.facts.suv_factor == pytest.approx(1000 * factory.WEIGHT_KG / left)


def test_a_frame_whose_header_contradicts_the_factor_of_the_others_does_not_inherit_it(tmp_path):
    """A factor of one is what stands there where nobody wrote one; no moment is proven by it. The image is there."""
    for name, factor_of, told in (("all", lambda start: 1.0, "4: were multiplied by 1 for decay"),
                                  ("one", lambda start: 1.2 if start == 1200 else since(start),
                                   "frame 4: was multiplied by 1.2 for decay")):
        folder, series = of_dicom(tmp_path / name, factor_of)
        run = Run()
        found = read.frames(folder, run=run)
        assert sum(told in text and "No SUV" in text for text in run.warnings) == 1
        assert folder.name not in "".join(run.warnings), "no warning names a folder"
        for volume, one in zip(found, series):
            np.testing.assert_array_equal(volume.array, np.float32(one.array))
            with pytest.raises(UnitError):
                suv.to_suv(volume)


def test_a_factor_of_one_in_frames_of_a_second_proves_nothing(tmp_path):
    """Less decays in a second than the header's digits tell."""
    run = Run()
    folder, series = of_dicom(tmp_path, lambda start: 1.0, ActualFrameDuration=lambda n, k: 1000)
    found = read.frames(folder, run=run)
    np.testing.assert_array_equal(found.frame(3).array, np.float32(series[3].array))
    assert "No SUV" in "".join(run.warnings)


def test_a_frame_that_contradicts_the_correction_to_the_injection_costs_the_suv(tmp_path):
    """A weight that it lacks would be that of the others, and its decay correction is not."""
    folder, _ = of_dicom(tmp_path, lambda start: since(3600 + (start if start < 1200 else -3600)),
                         DecayCorrection=lambda n, k: "ADMIN")
    run = Run()
    found = read.frames(folder, run=run)
    assert "frame 4: was multiplied by" in "".join(run.warnings) and found.frame(0).facts.suv_factor is None


def test_a_mean_was_taken_up_as_long_as_its_first_frame_and_corrected_as_the_last():
    told = [Facts(uptake_minutes=minutes, frame_start_minutes=minutes + 1) for minutes in (5.0, 25.0)]
    mean = facts_of_mean(told, [0.5, 0.5], 600.0)
    assert (mean.uptake_minutes, mean.frame_start_minutes, mean.frame_seconds) == (5.0, 6.0, 600.0)


def test_a_late_frame_by_itself_says_when_it_began(tmp_path):
    """As it does among the others."""
    folder, series = of_dicom(tmp_path, since)
    alone = read.image(series[3].folder).facts
    assert (alone.uptake_minutes, alone.frame_start_minutes) == (60, 80)
    assert read.frames(folder).frame(3).facts.frame_start_minutes == 80
    assert read.image(series[0].folder).facts.frame_start_minutes is None


def test_a_frame_that_lacks_what_others_tell_inherits_their_factor(tmp_path):
    folder, series = of_dicom(tmp_path, since)
    without("PatientWeight", series[3:])
    factors = [volume.facts.suv_factor for volume in read.frames(folder)]
    assert factors[0] and factors == [factors[0]] * 4
