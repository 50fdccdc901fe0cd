"""Patlak's Ki: exact on curves that follow the line, from a region or a curve that is given, voxel by voxel."""

import json

import nibabel
import numpy as np
import pytest
from petdiffusion import denoise_frames, read
from petdiffusion.dynamic.patlak import Asked, Sums, _along, _given, line_of, regions
from petdiffusion.errors import InputError, OptionError, UnitError
from petdiffusion.progress import Run
from petdiffusion.read.dynamic import Time
from petdiffusion.volume import BQML, SUVBW, Facts, Geometry, LabelMap, Volume
from petdiffusion.write import frames as frame_files
from petdiffusion.write import labels

LENGTHS = [10.0] * 6 + [30.0] * 4 + [60.0] * 5 + [300.0] * 10
STARTS = list(np.cumsum([0.0, *LENGTHS[:-1]]))
TIMES = [Time(start, seconds) for start, seconds in zip(STARTS, LENGTHS)]
MIDDLES = np.array([time.middle_s for time in TIMES])


def bolus(seconds):
    """Blood after an injection over half a minute: up in a line, then down in two exponentials."""
    t = np.asarray(seconds, float) / 60
    return np.where(t < 0.5, 40 * t, 16 * np.exp(-(t - 0.5) / 3) + 4 * np.exp(-(t - 0.5) / 60))


FINE = np.linspace(0, 3600, 36001)
INTEGRAL = np.concatenate([[0], np.cumsum(np.diff(FINE) * (bolus(FINE)[1:] + bolus(FINE)[:-1]) / 2)]) / 60
"""Minutes times SUV."""


def mean_in(curve, time):
    inside = (FINE >= time.start_s) & (FINE <= time.start_s + time.seconds)
    return float(np.mean(curve[inside]))


def tissue(ki, volume):
    return ki * INTEGRAL + volume * bolus(FINE)


def rows(**curves):
    return [{"frame": f"frame_{n + 1:03d}", "kind": "organ", "number": number, "region": name,
             "start_s": time.start_s, "mean_low": mean_in(curve, time), "mean_denoised": mean_in(curve, time)}
            for n, time in enumerate(TIMES) for number, (name, curve) in enumerate(curves.items(), 1)]  # fmt: skip


NAMES = [f"frame_{n + 1:03d}" for n in range(len(TIMES))]


def test_a_region_that_follows_the_line_gives_its_ki():
    """Frames average over their length, so a per cent is left."""
    made = rows(aorta=bolus(FINE), tumour=tissue(0.03, 0.3), muscle=tissue(0.002, 0.1))
    line = line_of(Asked("aorta"), TIMES, 0.0, made)
    found = {row["region"]: row for row in regions(line, NAMES, made)}
    assert found["tumour"]["Ki_denoised"] == pytest.approx(0.03, rel=0.01)
    assert found["muscle"]["Ki_low"] == pytest.approx(0.002, rel=0.02)
    assert found["tumour"]["intercept_denoised"] == pytest.approx(0.3, abs=0.03)
    assert found["tumour"]["r_squared_denoised"] > 0.999 and found["tumour"]["frames_fitted"] == 8
    assert abs(found["aorta"]["Ki_denoised"]) < 1e-6


def test_the_line_before_denoising_is_told_as_whole_as_the_one_after():
    """The same curve as it was: the same line. Before, it is scattered about it: a line that fits less."""
    made = rows(aorta=bolus(FINE), tumour=tissue(0.03, 0.3))
    line, rng = line_of(Asked("aorta"), TIMES, 0.0, made), np.random.default_rng(0)
    (tumour,) = [row for row in regions(line, NAMES, made) if row["region"] == "tumour"]
    for number in ("Ki", "intercept", "r_squared"):
        assert tumour[f"{number}_low"] == tumour[f"{number}_denoised"]
    noisy = [row | {"mean_low": row["mean_low"] * rng.normal(1, 0.05)} for row in made]
    (tumour,) = [row for row in regions(line, NAMES, noisy) if row["region"] == "tumour"]
    late = [noisy[2 * number + 1]["mean_low"] for number in line.frames]
    assert tumour["intercept_low"] == pytest.approx(np.polyfit(line.x, late / line.blood, 1)[1])
    assert tumour["r_squared_low"] < 0.99 < tumour["r_squared_denoised"]


def test_a_curve_that_begins_before_the_injection_counts_from_it_on(tmp_path):
    """A steady 2 from ten minutes before it to half a minute after: of the first ten nothing is in the integral."""
    file = tmp_path / "blood.csv"
    file.write_text("time_s,value\n-600,2\n-30,2\n30,2\n600,4\n3600,4\n")
    at, integral = _along(*_given(file), np.array([30.0, 600.0, 1200.0]))
    np.testing.assert_allclose(at, [2.0, 4.0, 4.0])
    np.testing.assert_allclose(integral, [60.0, 60 + 570 * 3, 60 + 570 * 3 + 2400])


def test_within_a_piece_of_the_curve_the_integral_goes_on_as_the_curve_does():
    """Half way up from 0 to 10 in 10 s: 5 x 5 / 2."""
    at, integral = _along(np.array([0.0, 10.0]), np.array([0.0, 10.0]), np.array([5.0]))
    assert (at[0], integral[0]) == (5.0, 12.5)


def test_where_frames_begin_is_counted_from_the_injection():
    """Frames from 90 s on the scan's clock: 10 s after an injection at 80 s, and 210 s after one at -120 s."""
    late = [Time(time.start_s + 90, time.seconds) for time in TIMES]
    Asked("aorta").check(late, 80.0, {"aorta"})
    with pytest.raises(OptionError, match=r"begin 3\.5 min after the injection"):
        Asked("aorta").check(late, -120.0, {"aorta"})


def test_a_curve_that_is_given_serves_late_frames(tmp_path):
    """Eight frames from 18 min on, whose own blood does not show the bolus."""
    late = TIMES[-8:]
    file = tmp_path / "blood.csv"
    file.write_text("time_s,value\n" + "".join(f"{t},{v}\n" for t, v in zip(FINE[::50], bolus(FINE[::50]))))
    made = [row for row in rows(tumour=tissue(0.03, 0.3)) if row["start_s"] >= late[0].start_s]
    line = line_of(Asked(str(file), 15.0), late, 0.0, made)
    (row,) = regions(line, NAMES[-8:], made)
    assert row["Ki_denoised"] == pytest.approx(0.03, rel=0.005)
    Asked(str(file), 15.0).check(late, 0.0, None)
    with pytest.raises(OptionError, match=r"begin 18\.0 min after the injection"):
        Asked("aorta").check(late, 0.0, {"aorta"})


def test_the_clock_of_the_frames_need_not_begin_with_the_injection():
    shifted = [Time(time.start_s + 45, time.seconds) for time in TIMES]
    made = [row | {"start_s": row["start_s"] + 45} for row in rows(aorta=bolus(FINE), tumour=tissue(0.03, 0.3))]
    line = line_of(Asked("aorta"), shifted, 45.0, made)
    plain = line_of(Asked("aorta"), TIMES, 0.0, rows(aorta=bolus(FINE)))
    np.testing.assert_allclose(line.x, plain.x)
    assert line.frames == plain.frames


def test_blood_is_that_of_the_frames_before_denoising():
    made = rows(aorta=bolus(FINE))
    changed = [row | {"mean_denoised": 0.5 * row["mean_denoised"]} for row in made]
    blood, same = (line_of(Asked("aorta"), TIMES, 0.0, table).blood for table in (made, changed))
    np.testing.assert_array_equal(blood, same)


def test_sums_of_images_give_what_the_whole_does():
    line = line_of(Asked("aorta"), TIMES, 0.0, rows(aorta=bolus(FINE)))
    values = np.random.default_rng(0).normal(2, 1, (len(line.frames), 3, 4, 5))
    sums = Sums(line)
    for place, image in enumerate(values):
        sums.add(place, image)
    np.testing.assert_allclose(sums.ki(), line.fit(values)[0], rtol=1e-5)
    slope = np.polyfit(line.x, values[:, 1, 2, 3] / line.blood, 1)[0]
    assert sums.ki()[1, 2, 3] == pytest.approx(slope, rel=1e-5)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A dynamic PET of two slabs and the aorta, without noise, injected as the scan began."""
    folder = tmp_path_factory.mktemp("scan")
    organs = np.zeros((10, 12, 14), np.int16)
    organs[1:9, 1:5, 1:13], organs[1:9, 7:11, 1:7], organs[1:9, 7:11, 9:13] = 1, 2, 3
    curves = {1: bolus(FINE), 2: tissue(0.02, 0.3), 3: tissue(0.005, 0.5)}
    geometry = Geometry((14, 12, 10), (4.0, 4.0, 4.0))
    images = [np.select([organs == n for n in curves], [mean_in(curve, time) for curve in curves.values()], 0.0)
              for time in TIMES]  # fmt: skip
    like = Volume(images[-1].astype(np.float32), geometry, SUVBW, Facts(modality="PT", tracer="FDG"))
    notes = {"FrameTimesStart": STARTS, "FrameDuration": LENGTHS, "InjectionStart": 0}
    frame_files.write(like, (image.astype(np.float32) for image in images), len(images), folder / "pet.nii.gz", notes)
    labels.write(LabelMap(organs, geometry, {1: "aorta", 2: "tumour", 3: "muscle"}), folder / "organs.nii.gz")
    return folder, organs


def made_of(scan, out, **more):
    return denoise_frames(scan[0] / "pet.nii.gz", out, "median", lead=False, options={"radius_mm": 1},
                          labels=scan[0] / "organs.nii.gz", **more)  # fmt: skip


def test_ki_of_every_voxel_is_written(scan, tmp_path):
    made = made_of(scan, tmp_path / "out", patlak="aorta")
    ki = nibabel.load(made.files["ki"]).get_fdata().transpose(2, 1, 0)
    assert np.median(ki[scan[1] == 2]) == pytest.approx(0.02, rel=0.02)
    assert np.median(ki[scan[1] == 3]) == pytest.approx(0.005, rel=0.04)
    rows_ = {row["region"]: row for row in made.tables["patlak"]}
    assert rows_["tumour"]["Ki_denoised"] == pytest.approx(0.02, rel=0.05)
    with open(made.files["report"], encoding="utf-8") as stream:
        assert "Rate of uptake" in stream.read()
    assert json.loads((tmp_path / "out" / "denoised.json").read_text())["InjectionStart"] == 0
    assert read.frames(made.files["denoised"]).injection_s == 0


@pytest.mark.parametrize("blood", ["aorta", "csv"])
def test_ki_does_not_depend_on_the_unit_of_the_pet(scan, tmp_path, blood):
    """In Bq/ml with its way to SUV, as DICOM is, curves are in SUV and images are not; a CSV is in the PET's unit."""
    factor = 4e-4
    whole = nibabel.load(scan[0] / "pet.nii.gz").get_fdata(dtype=np.float32).transpose(3, 2, 1, 0) / factor
    facts = Facts(modality="PT", tracer="FDG", suv_factor=factor)
    like = Volume(whole[-1], Geometry((14, 12, 10), (4.0, 4.0, 4.0)), BQML, facts)
    notes = {"FrameTimesStart": STARTS, "FrameDuration": LENGTHS, "InjectionStart": 0}
    frame_files.write(like, iter(whole), len(whole), tmp_path / "pet.nii.gz", notes)
    curve = "".join(f"{t},{v / factor}\n" for t, v in zip(FINE[::50], bolus(FINE[::50])))
    (tmp_path / "blood.csv").write_text("time_s,value\n" + curve)
    made = denoise_frames(tmp_path / "pet.nii.gz", tmp_path / "out", "median", lead=False, options={"radius_mm": 1},
                          labels=scan[0] / "organs.nii.gz",
                          patlak="aorta" if blood == "aorta" else str(tmp_path / "blood.csv"))  # fmt: skip
    ki = nibabel.load(made.files["ki"]).get_fdata().transpose(2, 1, 0)
    assert np.median(ki[scan[1] == 2]) == pytest.approx(0.02, rel=0.02)
    tumour = next(row for row in made.tables["patlak"] if row["region"] == "tumour")
    assert tumour["Ki_low"] == pytest.approx(0.02, rel=0.05)


def test_of_some_frames_the_injection_is_still_that_of_the_scan(scan, tmp_path):
    """Nothing says when the tracer was given, and the first frames are left out."""
    folder = tmp_path / "scan"
    folder.mkdir()
    for name in ("pet.nii.gz", "pet.json", "organs.nii.gz", "organs.json"):
        (folder / name).write_bytes((scan[0] / name).read_bytes())
    notes = json.loads((folder / "pet.json").read_text())
    del notes["InjectionStart"]
    (folder / "pet.json").write_text(json.dumps(notes))
    run = Run()
    made = made_of((folder, scan[1]), tmp_path / "out", patlak="aorta", frames="3-25", run=run)
    tumour = next(row for row in made.tables["patlak"] if row["region"] == "tumour")
    assert tumour["Ki_low"] == pytest.approx(0.02, rel=0.05)
    assert any("start of the scan's first frame" in text for text in run.warnings)
    curve = "".join(f"{t},{v}\n" for t, v in zip(FINE[::50], bolus(FINE[::50])))
    (tmp_path / "blood.csv").write_text("time_s,value\n" + curve)
    late = made_of((folder, scan[1]), tmp_path / "late", patlak=str(tmp_path / "blood.csv"), frames="14-25")
    tumour = next(row for row in late.tables["patlak"] if row["region"] == "tumour")
    assert tumour["Ki_low"] == pytest.approx(0.02, rel=0.05) and tumour["frames_fitted"] == 8  # from 20 min on
    with pytest.raises(OptionError, match="min after the injection"):
        made_of((folder, scan[1]), tmp_path / "later", patlak="aorta", frames="14-25")


def test_frames_without_blood_are_no_part_of_the_line():
    made = rows(aorta=np.where(FINE < 2280, bolus(FINE), 0.0), tumour=tissue(0.03, 0.3))
    line = line_of(Asked("aorta"), TIMES, 0.0, made)
    assert len(line.frames) == 4 and np.isfinite(line.x).all()
    with pytest.raises(OptionError, match="2 frames with activity and blood"):
        line_of(Asked("aorta", 30.0), TIMES, 0.0, rows(aorta=np.where(FINE < 2000, bolus(FINE), 0.0)))
    with pytest.raises(OptionError, match="2 frames"):
        line_of(Asked("aorta", 30.0), TIMES, 0.0, rows(aorta=bolus(FINE)), empty=[19, 20, 21, 22])


def test_blood_that_no_frame_saw_is_not_drawn_as_a_line(scan, tmp_path):
    """From 1 min on until 18 min, over the fall of the bolus, Ki would be a quarter too low."""
    known = {"aorta"}
    with pytest.raises(OptionError, match=r"no frame from 1\.0 to 18\.0 min after the injection"):
        made_of(scan, tmp_path / "out", patlak="aorta", frames="1-6,18-25")
    assert not (tmp_path / "out").exists()
    Asked("aorta").check([*TIMES[:12], *TIMES[13:]], 0.0, known)  # a minute at 5 min after the injection, as of passes
    made = rows(aorta=bolus(FINE), tumour=tissue(0.03, 0.3))
    kept = [n for n in range(len(TIMES)) if n not in (12, 13, 14)]
    line = line_of(Asked("aorta"), [TIMES[n] for n in kept], 0.0, made)
    (row,) = [row for row in regions(line, [NAMES[n] for n in kept], made) if row["region"] == "tumour"]
    assert row["Ki_denoised"] == pytest.approx(0.03, rel=0.02)


def test_blood_of_frames_that_overlap_is_not_counted_twice():
    long = [Time(time.start_s, 1.5 * time.seconds) for time in TIMES]
    with pytest.raises(OptionError, match=r"at 10 s: begins before the one before it has ended, at 15 s"):
        Asked("aorta").check(long, 0.0, {"aorta"})
    rounded = [Time(time.start_s, time.seconds + 0.5) for time in TIMES]
    Asked("aorta").check(rounded, 0.0, {"aorta"})


def test_blood_that_is_not_in_every_frame_or_of_two_regions_is_refused():
    made = rows(aorta=bolus(FINE))
    with pytest.raises(OptionError, match="not in the frame that begins at 120 s"):
        line_of(Asked("aorta"), TIMES, 0.0, [row for row in made if row["start_s"] != 120.0])
    line_of(Asked("aorta"), TIMES, 0.0, made[2:])  # before the tracer came
    lesion = [row | {"kind": "lesion", "mean_low": 99.0} for row in made]
    np.testing.assert_array_equal(line_of(Asked("aorta"), TIMES, 0.0, made + lesion).blood,
                                  line_of(Asked("aorta"), TIMES, 0.0, made).blood)  # fmt: skip
    with pytest.raises(OptionError, match="several regions"):
        line_of(Asked("aorta"), TIMES, 0.0, made + [row | {"number": 7} for row in made])


def test_what_patlak_lacks_is_told_before_the_work(scan, tmp_path):
    for more, said in (({"patlak": "aorta", "patlak_from": 55}, "has 1 frame with"),
                       ({"patlak": "aorta", "patlak_from": -5}, "from -5 min: lies before the injection"),
                       ({"patlak": "aorta", "patlak_from": float("nan")}, "from nan min"),
                       ({"patlak": "aorta", "frames": "18-25"}, "min after the injection"),
                       ({"patlak": "Aorta"}, "Did you mean 'aorta'"),
                       ({"patlak": str(tmp_path / "none.csv")}, "none.csv")):  # fmt: skip
        with pytest.raises((OptionError, InputError), match=said):
            made_of(scan, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()
    (tmp_path / "short.csv").write_text("time_s,value\n0,1\n10,2\n60,1\n")
    with pytest.raises(InputError, match=r"ends at 1\.0 min"):
        made_of(scan, tmp_path / "out", patlak=str(tmp_path / "short.csv"))
    with pytest.raises(OptionError, match="none were given"):
        denoise_frames(scan[0] / "pet.nii.gz", tmp_path / "out", "median", lead=False, patlak="aorta")


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "time_s,value\n1,x\n2,3\n4,5\n", "time_s,value\n1,2\n",
                                  "time_s,value\n1,-2\n2,3\n4,5\n", "time_s,value\n1,nan\n2,3\n4,5\n",
                                  "time_s,value\n1,0\n2,0\n4,0\n"])  # fmt: skip
def test_a_curve_that_is_none_is_refused(scan, tmp_path, text):
    (tmp_path / "blood.csv").write_text(text)
    with pytest.raises(InputError, match=r"blood\.csv"):
        made_of(scan, tmp_path / "out", patlak=str(tmp_path / "blood.csv"))


@pytest.mark.parametrize("times", [1e-3, 1e3])
def test_a_curve_that_cannot_be_in_the_pets_unit_is_refused_before_the_work(scan, tmp_path, times):
    """As samplers give it in kBq/ml beside a PET in Bq/ml: Ki would be a thousand times too high."""
    curve = "".join(f"{t},{v * times}\n" for t, v in zip(FINE[::50], bolus(FINE[::50])))
    (tmp_path / "blood.csv").write_text("time_s,value\n" + curve)
    with pytest.raises(UnitError, match=r"blood\.csv.* times .*SUVbw"):
        made_of(scan, tmp_path / "out", patlak=str(tmp_path / "blood.csv"))
    assert not (tmp_path / "out").exists()


def test_plasma_of_which_little_is_left_is_no_other_unit(scan, tmp_path):
    """Of tracers that are metabolised fast a twentieth of the blood's activity is still theirs."""
    curve = "".join(f"{t},{v * np.exp(-t / 800)}\n" for t, v in zip(FINE[::50], bolus(FINE[::50])))
    (tmp_path / "blood.csv").write_text("time_s,value\n" + curve)
    assert made_of(scan, tmp_path / "out", patlak=str(tmp_path / "blood.csv")).files["ki"]
