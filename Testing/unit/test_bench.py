"""Whole benchmarks on small patients: what they keep, what they may see, and that users get the same numbers."""

import errno
import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import petdiffusion
import psutil
import pytest
import torch
from petdiffusion import registry, tune
from petdiffusion.bench import cases, few_numbers, patients, real, run, score, sealed, store, tuning
from petdiffusion.bench.contract import Bench, Claim, Curve, Dose, Point, Real, Row, Table
from petdiffusion.bench.papers import paper
from petdiffusion.cli import main
from petdiffusion.errors import Cancelled, OptionError, OutputError
from petdiffusion.measure.perceptual import perceptual_distance
from petdiffusion.measure.texture import TextureSettings, haralick_distance
from petdiffusion.methods.contract import MethodCard, Output
from petdiffusion.phantoms.patient import Patient
from petdiffusion.phantoms.recipe import Job
from petdiffusion.phantoms.scan import Scan
from petdiffusion.phantoms.splits import split_of
from petdiffusion.progress import Run
from petdiffusion.write import tables
from petdiffusion.zoo import store as zoo
from support import tiny_models
from support.scans import small_patient, write_patient

DOSES = (Dose("1/4", 0.25), Dose("1/10", 0.1))
ROWS = (
    Row("low", "Low-dose", paper="Low"),
    Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True),
    Row("median", "Median", "median", {"radius_mm": 4.0}),
    Row("equal", "Gaussian as noisy as the median", "gaussian", matched="median"),
)
TABLE = Table("tiny", "Tiny patients", "body", "FDG", "mCT", 4.0, DOSES, ROWS, "gaussian", ("1/10",), 2, 1, 2,
              ("liver",), paper={"Low": {"PSNR_dB": (30.0, 1.0)}}, differs=("everything",),
              claims=(Claim("better", "PSNR_dB", "gaussian", ("low",)),))  # fmt: skip
BENCH = Bench("tiny", "Tiny", "Nobody, nowhere.", (TABLE,), quick=("tiny",))


def tiny_scan(job: Job, run: Run) -> Scan:
    """In place of drawing a person: noise by seed, and more of it at lower doses."""
    known = small_patient(job.seed)
    normal = known["reference"]
    person = Patient(job.seed, job.kind, normal, known["ct"], known["ct"], known["labels"], known["lesions"], ())
    low = {f: known["pet"].with_facts(dose_fraction=f) for f in job.fractions}
    DRAWN.append(job.seed)
    return Scan(person, "mCT", normal, low, normal)


DRAWN: list[int] = []
CALLS: list[str] = []
_load = MethodCard.load


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Job, "scan", tiny_scan)
    monkeypatch.setattr(MethodCard, "load", counted)
    monkeypatch.setattr(score, "haralick_distance", a_few_slices)
    DRAWN.clear()
    CALLS.clear()


def a_few_slices(image, reference, mask):
    """Texture takes half the time of these small tables, and is tested elsewhere."""
    return haralick_distance(image, reference, mask, TextureSettings(every=8))


def counted(card):
    def called(case, options, run):
        CALLS.append(card.name)
        return _load(card)(case, options, run)

    return called


def ask(**changes) -> run.Ask:
    return run.Ask(workers=0, command="petdiffusion bench tiny", **changes)


@pytest.fixture
def report(small_world):
    return run.bench(BENCH, ask())


def test_results_are_of_test_patients_and_settings_of_validation_patients(monkeypatch):
    seen = []
    monkeypatch.setattr(tuning, "search", lambda card, pairs, fixed, run: (seen.extend(pairs), ({"fwhm_mm": 5.0}, [
        {"fwhm_mm": 5.0, "psnr": 1.0}]))[1])  # fmt: skip
    report = run.bench(BENCH, ask())["tables"][0]
    used = {"test": report["seeds"], "validation": [int(p.split()[1]) for p in report["tuned"][0]["patients"]]}
    assert all(split_of(seed) == split for split, seeds in used.items() for seed in seeds)
    assert sorted(DRAWN) == sorted(used["test"] + used["validation"]) and len(set(DRAWN)) == len(DRAWN)
    held = [small_patient(seed)["reference"].array for seed in used["validation"]]
    for _, normal in seen:
        assert any(normal.array[5, 9, 9] in array[:, 9, 9] for array in held)
    assert {case["patient"] for case in report["cases"]} == {f"body-{seed}" for seed in used["test"]}


@pytest.mark.parametrize("split, seed", [("validation", 800_500), ("train", 5)])
def test_other_patients_are_refused(split, seed, monkeypatch):
    with pytest.raises(OptionError, match=split):
        cases.run_case(TABLE, ROWS, seed, DOSES[0], {}, cases.Settings(), Run())
    monkeypatch.setattr(Table, "tuning_seeds", lambda self: [900_000])
    with pytest.raises(OptionError, match="test patient"):
        tuning.tuned(TABLE, ROWS[1], DOSES[0], Run())
    assert not CALLS


def test_a_stopped_run_goes_on_where_it_was(monkeypatch):
    whole = run.bench(BENCH, ask())
    calls = list(CALLS)
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(store.folder().parent / "second"))
    CALLS.clear()

    def stops_at(number):
        def called(card):
            def inner(case, options, run_):
                if len(CALLS) == number:
                    raise Cancelled()
                return counted(card)(case, options, run_)

            return inner

        return called

    for number in (len(calls) // 3, len(calls) - 3):
        with monkeypatch.context() as patch:
            patch.setattr(MethodCard, "load", stops_at(number))
            with pytest.raises(Cancelled):
                run.bench(BENCH, ask())
    again = run.bench(BENCH, ask())
    for result in (whole, again):
        for case in result["tables"][0]["cases"]:
            case.pop("seconds")
    assert again["tables"][0]["cases"] == whole["tables"][0]["cases"]
    assert 0 <= len(CALLS) - len(calls) < 2 * 14  # what was under way at the two stops: a search, a matched width
    before = len(CALLS)
    run.bench(BENCH, ask())
    assert len(CALLS) == before and len(DRAWN) == 2 * len(set(DRAWN))


def test_a_new_model_or_setting_is_a_new_result(report):
    before = len(CALLS)
    changed = replace(TABLE, rows=(*ROWS[:2], replace(ROWS[2], options={"radius_mm": 5.0}), ROWS[3]))
    run.bench(replace(BENCH, tables=(changed,)), ask())
    medians = CALLS[before:].count("median")
    assert medians == len(report["tables"][0]["seeds"]) * len(DOSES)


def test_a_damaged_patient_is_made_again():
    job = TABLE.job(900_000)
    place = patients.ready(job, Run())
    assert patients.ready(job, Run()) == place and DRAWN == [900_000]
    (place / "normal.nii.gz").write_bytes(b"cut off")
    assert not sealed.sound(place)
    assert patients.ready(job, Run()) == place and sealed.sound(place) and DRAWN == [900_000] * 2
    assert [p.name for p in place.parent.iterdir()] == [place.name]
    known = patients.load(place, 0.25)
    assert np.array_equal(known.low.array, small_patient(900_000)["pet"].array)
    assert known.low.facts.dose_fraction == 0.25


@pytest.fixture
def csrd(monkeypatch, tmp_path):
    """A small model with random weights, and no other."""
    tiny_models._write(tmp_path, registry.card("csrd"))
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)


def test_two_processes_may_make_the_same_folder(tmp_path):
    """The second finds the first one's folder in its way, as whole as its own would be."""
    place = tmp_path / "deep" / "folder"

    def fill(folder):
        (folder / "file").write_text("mine")
        if not place.exists():
            other = place.with_name("other")
            sealed.ready(other, lambda f: (f / "file").write_text("theirs"), Run())
            other.rename(place)

    assert sealed.ready(place, fill, Run()) == place and sealed.sound(place)
    assert (place / "file").read_text() == "theirs" and [p.name for p in place.parent.iterdir()] == ["folder"]
    (place / "file").write_text("damaged")
    sealed.ready(place, fill, Run())
    assert (place / "file").read_text() == "mine" and sealed.sound(place)


def test_users_get_the_same_numbers(csrd):
    rows = (Row("csrd", "CSRD", "csrd", {"estimate": "sample", "samples": 1, "steps": 2}, ("ct",)), ROWS[2])
    found = cases.run_case(TABLE, rows, 900_000, DOSES[1], {}, cases.Settings(), Run())
    assert not found.skipped
    known = small_patient(900_000)
    for row in rows:
        ct = known["ct"] if row.anatomy else None
        result = petdiffusion.denoise(known["pet"], row.method, ct=ct, labels=known["labels"], lesions=known["lesions"],
                                      reference=known["reference"], seed=900_000, options=row.options)  # fmt: skip
        image = next(r for r in result.tables["image"] if r["image"] == "denoised")
        lesion = result.tables["lesions"][0]
        mine, keys = found.rows[row.name], ("PSNR_dB", "SSIM", "MAE")
        assert [mine[k] for k in keys] == pytest.approx([image[k] for k in keys])
        assert mine["lesion_SUVmax_bias"] == pytest.approx(lesion["SUVmax_denoised_vs_reference_percent"])
        assert mine["evaluations"] == result.record["evaluations"]
    assert found.rows["csrd"]["model"] == "csrd-tiny" and len(found.rows["csrd"]["model_sha256"]) == 64


def test_rows_without_a_model_are_left_out_and_said(report, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)
    rows = (*ROWS, Row("csrd", "CSRD", "csrd"))
    part = run.bench(replace(BENCH, tables=(replace(TABLE, rows=rows),)), ask())["tables"][0]
    assert "no model on this machine" in part["skipped"]["CSRD"]
    assert part["summary"]["all"]["rows"][0]["scans"] == 4


def test_the_matched_filter_leaves_as_much_noise(report):
    by = {(c["patient"], c["dose"], c["row"]): c for c in report["tables"][0]["cases"]}
    for (patient, dose, row), case in by.items():
        if row == "equal":
            assert case["noise_percent"] == pytest.approx(by[patient, dose, "median"]["noise_percent"], rel=0.02)


def test_tuning_is_the_best_of_its_trials_over_all_its_patients(report):
    for one in report["tables"][0]["tuned"]:
        best = max(one["trials"], key=lambda t: t["psnr"])
        assert one["options"]["fwhm_mm"] == best["fwhm_mm"] and len(one["trials"]) >= 7
        card, width = registry.card("gaussian"), best["fwhm_mm"]
        seeds = TABLE.tuning_seeds()
        known = [patients.load(patients.ready(TABLE.job(s), Run()), 0.1) for s in seeds]
        pairs = [tuning.slab(cases.preparing.build(k.low), k.normal) for k in known]
        alone = [tuning.tune_on(card, [pair], Run())[1] for pair in pairs]
        psnr = [next(t["psnr"] for t in trials if t["fwhm_mm"] == width) for trials in alone]
        assert best["psnr"] == pytest.approx(np.mean(psnr))


def test_files_hold_every_number(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "usual", lambda: 1)
    report = run.bench(BENCH, ask(out=str(tmp_path / "out"), json=str(tmp_path / "numbers.json")))
    data = json.loads((tmp_path / "numbers.json").read_text())
    assert data == json.loads((tmp_path / "out" / "bench-tiny.json").read_text()) and "NaN" not in json.dumps(data)
    assert data["asked"]["workers"] == 0 and data["tables"][0]["tuned"][0]["options"] and data["metrics"]["H_dist"]
    rows = tables.read_csv(tmp_path / "out" / "bench-tiny-tiny.csv")
    assert len(rows) == 2 * 2 * 4 == len(report["tables"][0]["cases"])
    assert rows[0]["PSNR_dB"] == report["tables"][0]["cases"][0]["PSNR_dB"]
    page = (tmp_path / "out" / "bench-tiny.md").read_text()
    for words in ("paper: Low", "everything", "better", "fwhm_mm = ", "weights of VGG-19", "simulated", "research use"):
        assert words in page, words
    assert "P_dist  |" not in page  # no number, no column


@pytest.mark.parametrize("into", [{"out": "file/out"}, {"json": "file/numbers.json"}])
def test_what_cannot_be_written_is_refused_before_patients_are_drawn(tmp_path, into):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file, not a folder"):
        run.bench(BENCH, ask(**{name: str(tmp_path / place) for name, place in into.items()}))
    assert not DRAWN


def test_a_cache_that_cannot_be_written_is_named_before_patients_are_drawn(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError) as caught:
        run.bench(BENCH, ask())
    named = f"The cache {tmp_path / 'file' / 'cache' / 'bench'} cannot be written"
    assert caught.value.what == named and "a file, not a folder" in caught.value.why
    assert "Set PETDIFFUSION_CACHE" in caught.value.remedy and not DRAWN


def test_a_cache_that_is_full_midway_is_named_and_an_image_that_cannot_be_read_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PETDIFFUSION_CACHE", str(tmp_path / "cache"))

    def full(folder):
        raise OutputError(f"{folder}/pet.nii.gz cannot be written", "the disk is full", "Free some space.")

    def gone(folder):
        raise FileNotFoundError(errno.ENOENT, "no such file", "scan.nii.gz")

    with pytest.raises(OutputError, match=r"^The cache .*bench cannot be written: the disk is full") as caught:
        sealed.ready(store.folder() / "real" / "one", full, Run())
    assert "part" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        sealed.ready(store.folder() / "real" / "one", gone, Run())
    (store.folder() / "results").touch()
    with pytest.raises(OutputError, match=r"^The cache .*bench cannot be written: "):
        store.keep_json({}, store.folder() / "results" / "one.json")


def test_tables_beyond_the_papers_own_are_made_when_named_and_said(tmp_path):
    more = replace(BENCH, tables=(*BENCH.tables, replace(TABLE, name="more")), by_name=("more",))
    usual, named = (run.bench(more, ask(patients=1, parts=parts)) for parts in ((), ("more",)))
    assert [part["name"] for part in usual["tables"]] == ["tiny"] and "`--only more`" in run.render.page(usual)
    assert [part["name"] for part in named["tables"]] == ["more"] and "--only more" not in run.render.page(named)


def test_quick_takes_few_patients_and_doses():
    part = run.bench(BENCH, ask(quick=True))["tables"][0]
    assert len(part["patients"]) == 1 and {case["dose"] for case in part["cases"]} == {"1/10"}
    with pytest.raises(OptionError, match="few"):
        run.bench(BENCH, ask(patients=0))
    with pytest.raises(OptionError, match="tiny"):
        run.bench(BENCH, ask(parts=("body",)))


REAL = Real("Few people", "DiscoveryST", (Dose("1/4", 0.25),), ROWS[:2], "gaussian", (2, 3), (29, 30))


@pytest.fixture
def people(tmp_path):
    for number in (2, 3, 4, 29, 30, 31):
        folder = tmp_path / "people" / f"STS_{number:03}"
        paths = write_patient(folder, number)
        for mine, theirs in (("reference", real.PET), ("ct", real.CT), ("lesions", real.TUMOUR)):
            (folder / f"{mine}.nii.gz").rename(folder / theirs)
            assert paths[mine]
            (folder / f"{mine}.json").unlink(missing_ok=True)
    return tmp_path / "people"


def test_real_scans_are_a_table_of_their_own(people, tmp_path):
    both = replace(BENCH, real=REAL)
    report = run.bench(both, ask(quick=True, real=str(people), out=str(tmp_path / "out")))
    assert report["real"]["patients"] == ["STS_029", "STS_030"]
    assert report["real"]["tuned"][0]["patients"] == ["STS_002", "STS_003"]
    assert {c["patient"] for c in report["real"]["cases"]} == {"STS_029", "STS_030"}
    assert not {c["patient"] for c in report["tables"][0]["cases"]} & {"STS_029", "STS_030"}
    assert "real" in report["real"]["data"] and "simulated" in report["tables"][0]["data"]
    low = next(c for c in report["real"]["cases"] if c["row"] == "low")
    assert low["PSNR_dB"] < 60 and low["lesions"] == 1
    assert len(tables.read_csv(tmp_path / "out" / "bench-tiny-real.csv")) == 4
    with pytest.raises(OptionError, match="not a test patient"):
        real.run_case(REAL, people / "STS_003", DOSES[0], {}, cases.Settings(), Run())


def test_scores_by_hand():
    known = small_patient()
    case = cases.preparing.build(known["pet"])
    twice = known["reference"].with_array(known["reference"].array * 1.1)
    found = score.score(twice, case, known["reference"], known["labels"], known["lesions"], ("liver",))
    for name in ("lesion_SUVmean_bias", "lesion_SUVmax_bias", "small_SUVmean_bias", "small_SUVmean_error"):
        assert found[name] == pytest.approx(10, abs=1e-3)
    inside = known["reference"].array[case.body].astype(float)
    assert found["MAE"] == pytest.approx(0.1 * np.abs(inside).mean(), rel=1e-5)
    assert found["PSNR_dB"] == pytest.approx(10 * np.log10(inside.max() ** 2 / np.mean((0.1 * inside) ** 2)), abs=1e-4)
    assert found["P_dist"] is None and found["lesions"] == 1


def test_lesions_of_fewer_than_eight_voxels_are_not_scored():
    """The lesion rises by a tenth; a second one, of seven voxels, doubles."""
    known = small_patient()
    case, array, lesions = cases.preparing.build(known["pet"]), known["reference"].array * 1.1, known["lesions"]
    with_small = lesions.array.copy()
    place = tuple(int(v) for v in np.argwhere((with_small == 0) & case.body)[0])
    small = np.zeros(array.shape, bool)
    small[place[0], place[1], place[2] : place[2] + 7] = True
    assert small.sum() == 7 and not with_small[small].any()
    with_small[small], array[small] = 2, 2 * known["reference"].array[small]
    both, image = replace(lesions, array=with_small), known["reference"].with_array(array)
    for found in (score.score(image, case, known["reference"], None, both),
                  few_numbers.measured(Output(image), case, known["reference"], None, both)):  # fmt: skip
        assert [found["lesion_SUVmean_bias"], found["lesion_SUVmax_bias"]] == pytest.approx([10, 10], abs=1e-3)


def test_a_row_of_several_models_is_said():
    known = {"PSNR_dB": 30.0, "warnings": []}
    found = [cases.CaseResult(f"p{i}", "1/4", {"median": known | {"model": "one", "model_sha256": sha * 64}}, {})
             for i, sha in enumerate("aab")]  # fmt: skip
    assert "several models" in run._warnings(found, ROWS)[0] and not run._warnings(found[:2], ROWS)


def test_the_text_guided_paper_is_known_by_its_own_name_too():
    assert paper("text-guided") is paper("text-ddpm")
    with pytest.raises(OptionError, match=r"'text-guidet': is not one of .*Did you mean 'text-guided'"):
        paper("text-guidet")


def test_warnings_that_differ_in_numbers_alone_are_one_line():
    said = ["3 regions go on, 1.5 ml.", "The CT was left out.", "12 regions go on, 0.3 ml.", "The CT was left out.",
            "No scan."]  # fmt: skip
    found = [cases.CaseResult(f"p{i}", "1/4", {"median": {"PSNR_dB": 30.0, "warnings": [text]}}, {})
             for i, text in enumerate(said)]  # fmt: skip
    assert run._warnings(found, ROWS) == ["3 regions go on, 1.5 ml. (2 warnings like this one.)", "No scan.",
                                          "The CT was left out. (2 warnings like this one.)"]  # fmt: skip


def test_the_curve_spends_what_it_says_on_validation_patients(csrd, tmp_path):
    ct = ("ct",)
    definition = Curve("tiny", "1/10", "csrd", ct, (Point(1, 1, 1), Point(4, 2, 2)), 1, 600)
    part = run.bench(replace(BENCH, curve=definition), ask(parts=("curve",), out=str(tmp_path / "out")))["curve"]
    assert {split_of(seed) for seed in DRAWN} == {"validation"}
    rows = {row["name"]: row for row in part["rows"]}
    assert list(rows) == ["the mean at once", "mean 1", "mean 4", "sample 1", "sample 4"]
    known, seed = small_patient(DRAWN[0]), DRAWN[0]
    images = [petdiffusion.denoise(known["pet"], "csrd", ct=known["ct"], seed=seed + i, estimate="sample", samples=1,
                                   steps=2).pet.array for i in range(2)]  # fmt: skip
    body = cases.preparing.build(known["pet"]).body
    psnr = [tune.body_psnr(known["pet"].with_array(a), known["reference"], body) for a in (images[0], sum(images) / 2)]
    assert rows["mean 4"]["PSNR_dB"] == pytest.approx(psnr[1], abs=1e-3)
    assert rows["sample 4"]["PSNR_dB"] != rows["mean 4"]["PSNR_dB"] and psnr[0] != psnr[1]
    assert rows["mean 4"]["evaluations"] >= 2 * 2
    assert (tmp_path / "out" / "bench-tiny-curve.png").stat().st_size > 10_000


class SmallNetwork:
    """In place of VGG-19's 80 MB."""

    weights = ((torch.zeros(1),),)
    kind, sha256 = "small", "0" * 64

    def features(self, grey):
        return torch.nn.functional.avg_pool2d(grey, 4) ** 2


def test_the_perceptual_distance_is_the_programs_on_every_fourth_slice():
    known, vgg = small_patient(), SmallNetwork()
    body = np.zeros(known["pet"].array.shape, bool)
    body[3:18, 4:20, 4:20] = True
    chosen, peak = [3, 7, 11, 15], float(known["reference"].array[body].max())
    for image in (known["pet"], known["reference"].with_array(known["pet"].array * 0.5)):
        cut = (volume.array[chosen] for volume in (image, known["reference"]))
        whole = perceptual_distance(*cut, vgg, data_range=peak)["perceptual_distance"]
        mine = score.perceptual(image, known["reference"], body, vgg, Run())
        assert mine == pytest.approx(whole, rel=1e-5) and mine > 0


def test_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("petdiffusion.cli.bench.paper", lambda name: BENCH)
    file = tmp_path / "numbers.json"
    assert main(["bench", "tiny", "--quick", "--workers", "1", "--quiet", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "# Tiny: benchmark" in out and "petdiffusion bench tiny --quick" in out and file.exists()
    assert main(["bench", "tiny", "--only", "nothing"]) == 1


WORKER = """
import os, sys, time
from pathlib import Path
from petdiffusion.phantoms.workers import Pool
from petdiffusion.progress import Run

def job(file, run):
    Path(file + ".part").write_text(str(os.getpid()))
    os.replace(file + ".part", file)
    time.sleep(600)

if __name__ == "__main__":
    with Pool(1, Run()) as pool:
        list(pool.unordered(job, [(sys.argv[1],)]))
"""


def test_workers_leave_with_a_killed_program(tmp_path):
    (tmp_path / "program.py").write_text(WORKER)
    told = tmp_path / "worker"
    program = subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(told)])
    try:
        until(told.exists)
        worker = psutil.Process(int(told.read_text()))
        program.kill()
        until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    finally:
        program.kill()
        program.wait()


def until(happened, patience=240):
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)
