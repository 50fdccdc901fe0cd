"""Every frame of a dynamic PET denoised: the 4D image, the curves, the report, and a run that goes on."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from petdiffusion import denoise, denoise_frames, read
from petdiffusion.cli import main
from petdiffusion.dynamic import leading
from petdiffusion.errors import InputError, OptionError, OutputError, ResourceError
from petdiffusion.volume import ARBITRARY, HU, SUVBW, Facts, LabelMap, Volume
from petdiffusion.write import frames as frame_files
from petdiffusion.write import labels
from support.blobs import blobs

STARTS, SECONDS = [0.0, 60.0, 180.0, 480.0], [60.0, 120.0, 300.0, 600.0]
UPTAKE = (0.0, 0.5, 1.0, 1.5)
"""What the frames' activity is multiplied by; nothing is there before the injection."""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A dynamic PET of four frames, its organs and a lesion."""
    folder = tmp_path_factory.mktemp("scan")
    subjects = [blobs(seed=number, scale=factor) for number, factor in enumerate(UPTAKE)]
    values = [subject.noisy.array for subject in subjects]
    like = subjects[0].noisy.with_facts(**Facts(modality="PT", tracer="FDG").to_json())
    frame_files.write(like, iter(values), len(values), folder / "pet.nii.gz",
                      {"FrameTimesStart": STARTS, "FrameDuration": SECONDS})  # fmt: skip
    labels.write(subjects[0].labels, folder / "organs.nii.gz")
    spot = np.zeros(values[0].shape, np.int16)
    spot[9:12, 11:14, 13:16] = 1
    labels.write(LabelMap(spot, like.geometry), folder / "lesions.nii.gz")
    return folder


@pytest.fixture(scope="module")
def result(scan, tmp_path_factory):
    return done(scan, tmp_path_factory.mktemp("out") / "out")


def done(scan, out, **more):
    return denoise_frames(scan / "pet.nii.gz", out, "gaussian", lead=False, labels=scan / "organs.nii.gz",
                          lesions=scan / "lesions.nii.gz", **more)  # fmt: skip


def image(path):
    return nibabel.load(path).get_fdata(dtype=np.float32).transpose(3, 2, 1, 0)


def test_each_frame_is_what_denoising_it_by_itself_gives(scan, result):
    found = read.frames(scan / "pet.nii.gz")
    denoised = image(result.files["denoised"])
    for number in (1, 2, 3):
        alone = denoise(found.frame(number), "gaussian", report=False).pet.array
        np.testing.assert_allclose(denoised[number], alone, atol=1e-6)
    notes = json.loads((scan / "pet.json").read_text())
    made = json.loads((scan.parent / result.files["denoised"].replace(".nii.gz", ".json")).read_text())
    assert made["FrameTimesStart"] == STARTS and made["FrameDuration"] == SECONDS and made["Units"] == notes["Units"]


def test_the_result_is_a_dynamic_scan_again(result):
    found = read.frames(result.files["denoised"])
    assert [time.start_s for time in found.times] == STARTS and found.frame(1).unit == SUVBW
    assert found.frame(1).facts.denoised == "Gaussian filter"


def test_an_empty_frame_stays_as_it_is_and_that_is_told(scan, result):
    np.testing.assert_array_equal(image(result.files["denoised"])[0], image(scan / "pet.nii.gz")[0])
    rows = result.tables["frames"]
    assert [row["denoised"] for row in rows] == [False, True, True, True]
    assert result.record["not_denoised"] == ["frame_001"]
    with open(result.files["report"], encoding="utf-8") as stream:
        assert "<b>Frame 1</b>: hardly any activity" in stream.read()


def test_the_curves_are_the_means_of_the_regions_in_each_frame(scan, result):
    low, denoised = image(scan / "pet.nii.gz"), image(result.files["denoised"])
    rows = [row for row in result.tables["time_activity"] if row["region"] == "liver"]
    assert [row["middle_s"] for row in rows] == [120.0, 330.0, 780.0]
    organs = read.labels(scan / "organs.nii.gz")
    liver = organs.mask("liver") & ~read.labels(scan / "lesions.nii.gz").array.astype(bool)
    for number, row in enumerate(rows, 1):
        np.testing.assert_allclose([row["mean_low"], row["mean_denoised"]],
                                   [low[number][liver].mean(), denoised[number][liver].mean()], rtol=1e-4)  # fmt: skip
    lesions = [row for row in result.tables["time_activity"] if row["kind"] == "lesion"]
    for of_liver, of_lesion in zip(rows, lesions):
        assert 0 < of_liver["mean_noise_low"] < of_lesion["mean_noise_low"] < 0.2 * of_lesion["mean_low"]
    assert len(lesions) == 3 and lesions[2]["volume_ml"] == pytest.approx(27 * 0.064)
    with open(result.files["table_time_activity"], encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(result.tables["time_activity"])


def test_the_map_of_ki_says_its_unit(scan, tmp_path):
    made = done(scan, tmp_path / "out", patlak="liver", patlak_from=1.0)
    assert json.loads((tmp_path / "out" / "ki.json").read_text())["Units"] == "ml/min/ml"
    assert read.image(made.files["ki"]).unit == ARBITRARY


def test_what_is_to_be_checked_is_said_of_the_mean_and_of_the_frames(scan, tmp_path, capsys):
    """A filter as wide as the lesion takes it away, of which terminal and record speak."""
    out = tmp_path / "out"
    words = ["dynamic", str(scan / "pet.nii.gz"), "--method", "gaussian", "--option", "fwhm_mm=30", "--out", str(out)]
    assert main([*words, "--labels", str(scan / "organs.nii.gz"), "--lesions", str(scan / "lesions.nii.gz")]) == 0
    check = json.loads((out / "dynamic.json").read_text())["check"]
    of_mean = [text for text in check if text.startswith("Mean of all frames: ")]
    assert of_mean and check[-1].startswith("3 of 3 frames are to be checked (2, 3, 4): why")
    said = capsys.readouterr().out
    assert "Check before relying on these numbers" in said and of_mean[0] in said and check[-1] in said


def test_a_lead_hands_on_its_sd_map_where_it_has_one(tmp_path):
    folder = tmp_path / "mean"
    folder.mkdir()
    (folder / "denoised.nii.gz").touch()
    ahead = leading.Ahead(folder, {})
    assert set(leading.settings_of(ahead)["options"]) == {"lead"}
    (folder / "uncertainty.nii.gz").touch()
    assert leading.settings_of(ahead)["options"]["lead_sd"] == str(folder / "uncertainty.nii.gz")


def test_noise_falls_in_every_frame_and_the_report_shows_both(result):
    for row in result.tables["frames"][1:]:
        assert row["local_noise_percent_denoised"] < 0.8 * row["local_noise_percent_low"]
    with open(result.files["report"], encoding="utf-8") as stream:
        page = stream.read()
    assert page.count('class="pair"') == 3 and "liver: mean in each frame" in page
    assert "research use only" in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_what_is_done_is_not_done_again(scan, tmp_path, monkeypatch):
    """The frames of a run that was stopped are kept, and the ones that are left are denoised."""
    from petdiffusion.batch import work

    def stopped(*args, **more):
        if "frame_003" in str(args[0]):
            raise ResourceError("Memory", "ran out", "Close other programs.")
        return real(*args, **more)

    from petdiffusion import run

    real = run.denoise
    monkeypatch.setattr(run, "denoise", stopped)
    with pytest.raises(InputError, match=r"1 of 3 frames \(frame_003\)"):
        done(scan, tmp_path / "out")
    assert not (tmp_path / "out" / "denoised.nii.gz").exists()
    kept = (tmp_path / "out" / "frames" / "frame_002" / "record.json").stat().st_mtime_ns
    laid = (tmp_path / "out" / "frames" / "frame_002.nii.gz").stat().st_mtime_ns
    monkeypatch.setattr(run, "denoise", real)
    made = done(scan, tmp_path / "out")
    assert work.read_record(tmp_path / "out" / "frames" / "frame_003")
    assert (tmp_path / "out" / "frames" / "frame_002" / "record.json").stat().st_mtime_ns == kept
    assert (tmp_path / "out" / "frames" / "frame_002.nii.gz").stat().st_mtime_ns == laid
    assert image(made.files["denoised"]).shape[0] == 4


def test_a_result_is_not_replaced_unasked_nor_mixed_with_another_scan(scan, tmp_path):
    out = tmp_path / "out"
    done(scan, out, frames="2-3")
    with pytest.raises(OutputError, match="already"):
        done(scan, out, frames="2-3")
    for name in ("dynamic.json", "denoised.nii.gz", "report.html"):
        (out / name).unlink()
    with pytest.raises(InputError, match="frames of another PET, or others of this one"):
        done(scan, out, frames="2-4")
    made = done(scan, out, frames="2-4", overwrite=True)
    assert image(made.files["denoised"]).shape[0] == 3


def test_a_changed_scan_is_laid_apart_anew(scan, tmp_path):
    changed = tmp_path / "scan"
    shutil.copytree(scan, changed)
    done(changed, tmp_path / "out")
    values = image(changed / "pet.nii.gz")
    like = read.frames(changed / "pet.nii.gz").frame(1)
    frame_files.write(like, iter(2 * values), 4, changed / "pet.nii.gz", {"FrameTimesStart": STARTS})
    made = done(changed, tmp_path / "out", overwrite=True)
    assert made.tables["frames"][2]["body_mean_low"] == pytest.approx(
        2 * values[2][read.labels(scan / "organs.nii.gz").array > 0].mean(), rel=0.2)  # fmt: skip


def test_one_frame_is_no_dynamic_scan(scan, tmp_path):
    with pytest.raises(OptionError, match="Frame 2 by itself"):
        done(scan, tmp_path / "out", frames="2")


def test_the_command_says_what_it_made(scan, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["dynamic", str(scan / "pet.nii.gz"), "--method", "median", "--frames", "2-3", "--each", "--out", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "frame_003" in shown and str(out / "denoised.nii.gz") in shown and "research use only" in shown
    assert main(words) == 1
    assert main([*words, "--overwrite", "--json-lines"]) == 0
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last["event"] == "result" and len(last["tables"]["frames"]) == 2


def test_frames_with_an_uncertainty_have_it_in_one_image(scan, tmp_path, monkeypatch):
    """By a method that gives a map; frames without activity have none to be unsure of."""
    from petdiffusion import registry
    from petdiffusion.methods.contract import MethodCard, Output

    def unsure(case, options, run):
        return Output(case.pet, sd=case.pet.with_array(np.full(case.pet.array.shape, 0.25, np.float32)))

    card = MethodCard("unsure", "Unsure", "", "", outputs=("denoised", "uncertainty"))
    monkeypatch.setattr(MethodCard, "load", lambda self: unsure)
    monkeypatch.setitem(registry.cards(), "unsure", card)
    made = denoise_frames(scan / "pet.nii.gz", tmp_path / "out", "unsure", lead=False)
    sd = image(made.files["uncertainty"])
    assert sd[0].max() == 0 and np.all(sd[1:] > 0)


def test_time_frames_are_led_by_the_denoised_mean_of_all(scan, tmp_path):
    """What the method makes of the mean leads every frame; the mean has a result of its own, with a report."""
    made = denoise_frames(scan / "pet.nii.gz", tmp_path / "out", "gaussian", labels=scan / "organs.nii.gz")
    mean = np.average(image(scan / "pet.nii.gz"), axis=0, weights=SECONDS)
    folder = tmp_path / "out" / "frames"
    np.testing.assert_allclose(read.image(folder / "mean.nii.gz").array, mean, atol=1e-5)
    alone = denoise(folder / "mean.nii.gz", "gaussian", report=False)
    np.testing.assert_allclose(read.image(folder / "mean" / "denoised.nii.gz").array, alone.pet.array, atol=1e-6)
    lead = {"lead": str(folder / "mean" / "denoised.nii.gz")}
    third = denoise(folder / "frame_003.nii.gz", "led", options=lead, report=False)
    np.testing.assert_allclose(image(made.files["denoised"])[2], third.pet.array, atol=1e-6)
    assert made.record["method"]["name"] == "gaussian" and made.record["led_by_the_mean"]
    with open(made.files["report"], encoding="utf-8") as stream:
        assert 'href="frames/mean/report.html"' in stream.read()
    assert (folder / "mean" / "report.html").is_file()


def test_gates_are_not_led_as_their_mean_is_blurred_by_movement(scan, tmp_path):
    values = image(scan / "pet.nii.gz")[1:]
    like = read.frames(scan / "pet.nii.gz").frame(1)
    frame_files.write(like, iter(values), 3, tmp_path / "gated.nii.gz", {"PETDiffusionFrames": "gates"})
    made = denoise_frames(tmp_path / "gated.nii.gz", tmp_path / "out", "median")
    assert made.record["kind"] == "gates" and not made.record["led_by_the_mean"]
    assert not (tmp_path / "out" / "frames" / "mean").exists()


def test_what_a_frame_is_asked_is_refused_before_anything_is_read(scan, tmp_path):
    with pytest.raises(OptionError, match="fwhm"):
        denoise_frames(scan / "pet.nii.gz", tmp_path / "out", "gaussian", options={"fwhm": 3})
    with pytest.raises(OptionError, match="cuda:x"):
        denoise_frames(scan / "pet.nii.gz", tmp_path / "out", "gaussian", device="cuda:x")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("library", ["nibabel", "SimpleITK"])
def test_images_in_memory_give_what_their_files_do(scan, tmp_path, library):
    """They lie beside the frames, so that each can be made again; times go with the files' sidecar alone."""
    pet = {"nibabel": nibabel.load, "SimpleITK": lambda file: sitk.ReadImage(str(file))}[library](scan / "pet.nii.gz")
    organs = read.labels(scan / "organs.nii.gz")
    made = denoise_frames(pet, tmp_path / "out", "gaussian", lead=False, unit=SUVBW, labels=organs, fwhm_mm=5.0,
                          ct=Volume(1000.0 * (organs.array > 0) - 1000, organs.geometry, HU), frames="2-3")  # fmt: skip
    same = denoise_frames(scan / "pet.nii.gz", tmp_path / "same", "gaussian", lead=False, frames="2-3",
                          options={"fwhm_mm": 5.0}, labels=scan / "organs.nii.gz")  # fmt: skip
    np.testing.assert_array_equal(image(made.files["denoised"]), image(same.files["denoised"]))
    names = [[row["region"] for row in result.tables["time_activity"]] for result in (made, same)]
    assert names[0] == names[1] and "liver" in names[0]
    kept = json.loads((tmp_path / "out" / "frames" / "frame_002" / "record.json").read_text())["request"]
    assert kept["ct"] == str(tmp_path / "out" / "given" / "ct.nii.gz")


def test_one_image_in_memory_and_a_misspelt_option_are_refused_by_name(scan, tmp_path):
    with pytest.raises(InputError, match="Nifti1Image given: does not hold several frames"):
        denoise_frames(nibabel.load(scan / "organs.nii.gz"), tmp_path / "out", "gaussian")
    with pytest.raises(InputError, match="Volume given: does not hold several frames"):
        denoise_frames(read.frames(scan / "pet.nii.gz").frame(1), tmp_path / "out", "gaussian")
    with pytest.raises(OptionError, match="methd"):
        denoise_frames(scan / "pet.nii.gz", tmp_path / "out", methd="gaussian")
    with pytest.raises(InputError, match="path: is empty"):
        denoise_frames(" ", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_could_not_be_written_is_refused_before_the_work(scan, tmp_path, monkeypatch):
    from petdiffusion.dynamic import apart

    monkeypatch.setattr(apart, "lay", lambda *args: pytest.fail("work was begun"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "denoised.nii.gz").write_bytes(b"a user's own")
    with pytest.raises(OutputError, match="exists already"):
        done(scan, out)
    shutil.copy(scan / "pet.nii.gz", out / "denoised.nii.gz")
    with pytest.raises(OutputError, match="is an input of this run"):
        denoise_frames(out / "denoised.nii.gz", out, "gaussian", overwrite=True)
    (out / "frames").mkdir()
    shutil.copy(scan / "organs.nii.gz", out / "frames" / "organs.nii.gz")
    with pytest.raises(OutputError, match="holds in its frames"):
        denoise_frames(scan / "pet.nii.gz", out, "gaussian", labels=out / "frames" / "organs.nii.gz", overwrite=True)


def test_a_file_called_as_a_frame_is_not_replaced_unasked(scan, tmp_path):
    frames = tmp_path / "out" / "frames"
    frames.mkdir(parents=True)
    (frames / "frame_002.nii.gz").write_bytes(b"a user's own")
    with pytest.raises(OutputError, match=r"frame_002\.nii\.gz"):
        done(scan, tmp_path / "out")
    assert (frames / "frame_002.nii.gz").read_bytes() == b"a user's own"


def test_frames_that_were_laid_in_part_are_laid_again(scan, tmp_path, monkeypatch):
    """A run that was killed while it wrote them left notes without their activity."""
    from petdiffusion.write import images

    real, seen = images.write, []

    def stopped(volume, path, **more):
        seen.append(path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(volume, path, **more)

    monkeypatch.setattr(images, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        done(scan, tmp_path / "out")
    monkeypatch.setattr(images, "write", real)
    assert image(done(scan, tmp_path / "out").files["denoised"]).shape[0] == 4


def test_two_runs_do_not_work_in_one_folder(scan, tmp_path):
    from petdiffusion.write.lock import alone_in

    with alone_in(tmp_path / "out", "dynamic scan"), pytest.raises(OutputError, match="another dynamic scan"):
        done(scan, tmp_path / "out")
