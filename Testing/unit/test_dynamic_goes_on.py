"""A dynamic scan that was stopped, replaced or done in part: what is kept, what goes, and what each file then says."""

import base64
import io
import json
import shutil

import nibabel
import numpy as np
import pytest
from petdiffusion import denoise_frames, read
from petdiffusion.dynamic import apart, curves, page
from petdiffusion.errors import InputError, UnitError
from petdiffusion.read.dynamic import Time
from petdiffusion.volume import BQML, Facts, LabelMap
from petdiffusion.write import frames as frame_files
from petdiffusion.write import labels
from PIL import Image
from support.blobs import blobs

SECONDS = [60.0, 120.0, 300.0]


def write(folder, unit=None, dose_fraction=None):
    subjects = [blobs(seed=number) for number in range(3)]
    like = subjects[0].noisy.with_facts(**Facts(modality="PT", tracer="FDG", dose_fraction=dose_fraction).to_json())
    like = like if unit is None else like.with_array(like.array * 1000, unit)
    values = [subject.noisy.array * (1 if unit is None else 1000) for subject in subjects]
    frame_files.write(like, iter(values), 3, folder / "pet.nii.gz", {"FrameDuration": SECONDS})
    return folder / "pet.nii.gz"


def done(pet, out, fwhm_mm=6.0, **more):
    return denoise_frames(pet, out, "gaussian", options={"fwhm_mm": fwhm_mm}, **{"lead": False, **more})


def image(path):
    return nibabel.load(path).get_fdata(dtype=np.float32).transpose(3, 2, 1, 0)


def test_a_replaced_result_that_was_stopped_does_not_pass_for_whole_and_goes_on(tmp_path, monkeypatch):
    """The old image lies there still, but nothing vouches for it; the same without --overwrite ends the work."""
    from petdiffusion.dynamic import together

    pet, out = write(tmp_path), tmp_path / "out"
    done(pet, out, 12.0)
    real = together.put
    monkeypatch.setattr(together, "put", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        done(pet, out, 3.0, overwrite=True)
    assert not (out / "dynamic.json").exists() and (out / "denoised.nii.gz").exists()
    monkeypatch.setattr(together, "put", real)
    kept = (out / "frames" / "frame_002" / "record.json").stat().st_mtime_ns
    made = done(pet, out, 3.0)
    assert (out / "frames" / "frame_002" / "record.json").stat().st_mtime_ns == kept
    fresh = done(pet, tmp_path / "fresh", 3.0)
    np.testing.assert_array_equal(image(made.files["denoised"]), image(fresh.files["denoised"]))


@pytest.mark.parametrize("wrong", [{"fwhm_mm": 12.0}, {"lead": True}])
def test_another_command_does_not_go_on_with_the_frames_of_one_that_was_stopped(tmp_path, monkeypatch, wrong):
    """One frame was left; by the wrong command it would be done, and the right one could not end its work."""
    from petdiffusion import run

    real, pet, out = run.denoise, write(tmp_path), tmp_path / "out"

    def stopped(*args, **more):
        if "frame_003" in str(args[0]):
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(run, "denoise", stopped)
    with pytest.raises(KeyboardInterrupt):
        done(pet, out)
    monkeypatch.setattr(run, "denoise", real)
    with pytest.raises(InputError, match=r"2 of 3 frames \(frame_001, frame_002\).* replace them \(--overwrite\)"):
        done(pet, out, **wrong)
    assert not (out / "frames" / "frame_003").exists() and not (out / "frames" / "mean").exists()
    assert image(done(pet, out).files["denoised"]).shape[0] == 3


@pytest.mark.parametrize("lead", [False, True])
def test_what_is_said_of_all_frames_is_said_once_and_of_some_with_their_numbers(tmp_path, monkeypatch, lead):
    from petdiffusion import registry
    from petdiffusion.methods.contract import MethodCard, Output
    from petdiffusion.progress import Run

    def doubting(case, options, run):
        run.warn("Odd as always.")
        if case.pet.facts.frame_seconds in SECONDS[1:]:
            run.warn("Odd this time.")
        return Output(case.pet)

    card = MethodCard("doubting", "Doubting", "", "", outputs=("denoised",))
    real = MethodCard.load
    monkeypatch.setattr(MethodCard, "load", lambda self: doubting if self.name == "doubting" else real(self))
    monkeypatch.setitem(registry.cards(), "doubting", card)
    seen = []
    run = Run(report=lambda event: seen.append(event.get("text", "")))
    made = denoise_frames(write(tmp_path), tmp_path / "out", "doubting", lead=lead, run=run)
    assert [text for text in made.warnings if "as always" in text] == ["Odd as always."]
    assert seen.count("Odd as always.") == 1
    assert [text for text in made.warnings if "this time" in text] == ([] if lead else ["Frames 2, 3: Odd this time."])
    assert made.record["warnings"] == list(made.warnings)


def test_frames_that_an_earlier_version_laid_are_not_gone_on_from(tmp_path, monkeypatch):
    """It may have read them otherwise."""
    pet, out = write(tmp_path), tmp_path / "out"
    monkeypatch.setattr(apart, "__version__", "0.0.1")
    done(pet, out)
    (out / "dynamic.json").unlink()  # as of a run that was stopped
    monkeypatch.undo()
    with pytest.raises(InputError, match="another version"):
        done(pet, out)
    assert done(pet, out, overwrite=True).files["denoised"]


def test_of_frames_that_are_no_more_nothing_is_left(tmp_path):
    pet, out = write(tmp_path), tmp_path / "out"
    done(pet, out)
    done(pet, out, frames="2-3", overwrite=True)
    left = sorted(f.name for f in (out / "frames").glob("frame_*"))
    assert left == [f"frame_00{n}{ending}" for n in (2, 3) for ending in ("", ".json", ".nii.gz")]


def test_an_uncertainty_of_before_does_not_stay_beside_an_image_without_one(tmp_path):
    pet, out = write(tmp_path), tmp_path / "out"
    done(pet, out)
    for name in ("uncertainty.nii.gz", "uncertainty.json", "ki.nii.gz"):
        (out / name).write_bytes(b"of the run before")
    done(pet, out, overwrite=True)
    assert not [f.name for f in out.iterdir() if f.name.startswith(("uncertainty", "ki"))]


def test_the_mean_and_the_4d_image_say_what_is_theirs(tmp_path):
    """Not the length of one frame, nor what part of a normal dose a scan was whose frames are less."""
    pet = write(tmp_path, dose_fraction=0.1)
    made = done(pet, tmp_path / "out", lead=True)
    mean = read.image(tmp_path / "out" / "frames" / "mean.nii.gz")
    assert mean.facts.frame_seconds == sum(SECONDS) and mean.facts.dose_fraction is None
    facts = json.loads((tmp_path / "out" / "denoised.json").read_text())["PETDiffusion"]["facts"]
    assert "frame_seconds" not in facts and "dose_fraction" not in facts
    assert "frame_seconds" not in made.record["facts"]


def test_a_method_for_suv_refuses_other_units_before_any_frame_is_written(tmp_path):
    pet = write(tmp_path, BQML)
    with pytest.raises(UnitError):
        denoise_frames(pet, tmp_path / "out", "csrd")
    assert not (tmp_path / "out").exists()


def test_lesions_that_are_called_alike_keep_curves_of_their_own(tmp_path):
    pet = write(tmp_path)
    shape = image(pet)[0].shape
    mask = np.zeros(shape, np.int16)
    mask[6:8, 10:12, 12:14], mask[12:14, 10:12, 14:16] = 1, 2
    geometry = read.frames(pet).frame(0).geometry
    labels.write(LabelMap(mask, geometry, {1: "GTV", 2: "GTV"}), tmp_path / "lesions.nii.gz")
    made = done(pet, tmp_path / "out", lesions=tmp_path / "lesions.nii.gz")
    rows = made.tables["time_activity"]
    assert [(row["number"], row["region"]) for row in rows[:2]] == [(1, "GTV"), (2, "GTV")]
    found = curves.by_region(rows)
    assert [len(own) for own in found.values()] == [3, 3]
    for (_, number), own in found.items():
        expected = [frame[mask == number].mean() for frame in image(pet)]
        np.testing.assert_allclose([row["mean_low"] for row in own], expected, rtol=1e-4)
    with open(made.files["report"], encoding="utf-8") as stream:
        text = stream.read()
    assert "GTV (1): mean" in text and "GTV (2): mean" in text


def test_empty_means_a_thousandth_of_the_fullest_frame(tmp_path):
    values = [blobs(seed=0).noisy.array * factor for factor in (1.0, 0.01, 0.0005)]
    like = blobs(seed=0).noisy
    frame_files.write(like, iter(values), 3, tmp_path / "pet.nii.gz", {})
    made = done(tmp_path / "pet.nii.gz", tmp_path / "out")
    assert made.record["not_denoised"] == ["frame_003"]
    np.testing.assert_array_equal(image(made.files["denoised"])[2], image(tmp_path / "pet.nii.gz")[2])


def laid(times, kind="time frames"):
    grid = blobs(seed=0).noisy.geometry
    names = tuple(f"frame_{n + 1:03d}" for n in range(len(times)))
    return apart.Laid(None, kind, names, tuple(times), (), grid, {})


def test_the_page_shows_before_and_after_in_that_order_and_the_patient_upright():
    """A bright spot low in the body before, and high after."""
    here = laid([Time(0, 5), Time(5, 600)])
    size = here.geometry.size
    low, denoised = (np.zeros((size[2], size[0]), np.float32) for _ in range(2))
    low[-1, 0], denoised[0, -1] = 5, 5
    row = {"frame": "frame_001", "start_s": 0.0, "seconds": 5.0}
    card = page._card(row, {"low": low, "denoised": denoised}, here, "SUVbw")
    assert "0 to 5 s" in card
    pictures = [_decoded(text.split('"')[0]) for text in card.split('src="')[1:]]
    places = [np.array(np.unravel_index(picture.argmin(), picture.shape)) / picture.shape for picture in pictures]
    assert places[0][0] > 0.8 and places[0][1] < 0.2 and places[1][0] < 0.2 and places[1][1] > 0.8
    assert card.index("before") < card.index("after")
    long = page._card({**row, "start_s": 5.0, "seconds": 600.0}, {"low": low, "denoised": low}, here, "SUVbw")
    assert "0.1 to 10.1 min" in long


def _decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"))


def test_curves_are_over_minutes_and_the_noise_before_is_the_scans(monkeypatch):
    here = laid([Time(0, 240), Time(240, 600)])
    rows = [{"frame": name, "middle_s": time.middle_s, "local_noise_percent_low": 40.0 + n,
             "local_noise_percent_denoised": 10.0 + n}
            for n, (name, time) in enumerate(zip(here.names, here.times))]  # fmt: skip
    assert page._places(rows, here) == [2.0, 9.0] and page._axis(here) == "minutes"
    assert page._places(rows, laid([Time()] * 2)) == [1.0, 2.0] and page._axis(laid([Time()] * 2)) == "frame"
    drawn = {}

    def kept(figure, alt):
        drawn.update({line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines})
        return ""

    monkeypatch.setattr(page.plots, "as_image", kept)
    page._noise(here, rows)
    assert drawn == {"before": [40.0, 41.0], "after": [10.0, 11.0]}


@pytest.mark.parametrize(("frames", "said"), [((1,), "Frame 1"), ((1, 2), "Frames 1, 2"),
                                              ((1, 2, 3, 7), "Frames 1 to 3, 7")])  # fmt: skip
def test_frames_are_listed_as_people_would(frames, said):
    here = laid([Time()] * 8)
    assert page.list_of(here, [f"frame_{n:03d}" for n in frames]) == said


def test_pictures_are_seen_from_the_front_head_up(tmp_path):
    """The one bright voxel at the head and the patient's left is at the picture's upper right."""
    array = np.zeros((6, 7, 8), np.float32) + 0.1
    array[5, 3, 7] = 4.0
    from petdiffusion.dynamic import together
    from petdiffusion.progress import Run
    from petdiffusion.volume import Geometry, Volume
    from petdiffusion.write import images

    geometry = Geometry((8, 7, 6), (4.0, 4.0, 4.0))
    folder = tmp_path / "frames"
    for file in (folder / "frame_001.nii.gz", folder / "frame_001" / "denoised.nii.gz"):
        file.parent.mkdir(parents=True, exist_ok=True)
        images.write(Volume(array, geometry, "SUVbw"), file)
    here = apart.Laid(folder, "time frames", ("frame_001",), (Time(),), (), geometry, {})
    seen = {}
    like = read.image(folder / "frame_001.nii.gz")
    list(together._arrays(here, "denoised", like, Run(), seen))
    assert np.unravel_index(seen["frame_001"]["low"].argmax(), (6, 8)) == (0, 7)


def test_intervals_of_a_mean_lie_the_right_way_round(tmp_path):
    made = denoise_frames(write(tmp_path), tmp_path / "out", "csrd", lead=False, options={"samples": 2},
                          labels=_organs(tmp_path))  # fmt: skip
    rows = [row for row in made.tables["time_activity"] if row["mean_low95"] is not None]
    assert rows and all(row["mean_low95"] < row["mean_high95"] for row in rows)
    assert (tmp_path / "out" / "uncertainty.nii.gz").is_file()
    shutil.rmtree(tmp_path / "out")


def _organs(folder):
    labels.write(blobs(seed=0).labels, folder / "organs.nii.gz")
    return folder / "organs.nii.gz"
