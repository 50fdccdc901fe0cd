"""Batches: errors collected, resumed after a kill, one machine, several processes, a Ray cluster."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from petdiffusion import registry
from petdiffusion.batch import engines, run_batch
from petdiffusion.errors import Cancelled, InputError, ModelError, OptionError, OutputError
from petdiffusion.evaluate import evaluate
from petdiffusion.evaluate.run import Ask
from petdiffusion.methods.contract import MethodCard, Option, Output
from petdiffusion.progress import Run
from petdiffusion.request import Request
from petdiffusion.rerun import rerun
from petdiffusion.write import images
from petdiffusion.write.lock import alone_in
from petdiffusion.zoo import store
from support.model_files import make_model
from support.scans import small_patient, write_patient


@pytest.fixture
def manifest(tmp_path):
    """Three cases, the second of which cannot be read."""
    rows = []
    for number in range(3):
        paths = write_patient(tmp_path / f"p{number}", number)
        rows.append({"id": f"case {number}", "pet": paths["pet"], "reference": paths["reference"]})
    Path(rows[1]["pet"]).write_bytes(b"not an image")
    path = tmp_path / "cases.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def statuses(rows):
    return [row["status"] for row in rows]


def test_a_failing_case_does_not_stop_the_others_and_the_summary_tells(manifest, tmp_path):
    rows = run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert statuses(rows) == ["done", "failed", "done"]
    assert "InputError" in rows[1]["error"]
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8-sig") as stream:
        summary = list(csv.DictReader(stream))
    assert [r["id"] for r in summary] == ["case 0", "case 1", "case 2"] and float(summary[0]["PSNR_dB"]) > 10


def test_reports_of_a_batch_are_told_apart_by_the_users_ids_and_by_no_file_name(tmp_path):
    """Without an id in the manifest a case is called as its file, which may name the patient."""
    paths = [write_patient(tmp_path / f"p{number}", number)["pet"] for number in range(2)]
    (tmp_path / "cases.csv").write_text(f"id,pet\nknee 7,{paths[0]}\n,{paths[1]}\n")
    rows = run_batch(tmp_path / "cases.csv", tmp_path / "out", "gaussian")
    pages = {row["id"]: (tmp_path / "out" / row["id"] / "report.html").read_text() for row in rows}
    own = next(id_ for id_ in pages if id_ != "knee 7")
    title = "Low-count PET denoised with Gaussian filter"
    for tag in ("title", "h1"):
        assert f"<{tag}>knee 7 · {title}</{tag}>" in pages["knee 7"] and f"<{tag}>{title}</{tag}>" in pages[own]


def test_a_finished_case_is_not_done_twice_and_other_settings_are_refused(manifest, tmp_path):
    run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    record = tmp_path / "out" / "case 0" / "record.json"
    before = record.stat().st_mtime_ns
    again = run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert statuses(again) == ["done before", "failed", "done before"]
    assert record.stat().st_mtime_ns == before and again[0]["PSNR_dB"] == pytest.approx(
        run_batch(manifest, tmp_path / "fresh", "gaussian", report=False)[0]["PSNR_dB"], rel=1e-5
    )
    other = run_batch(manifest, tmp_path / "out", "median", report=False)
    assert other[0]["status"] == "refused" and "another request" in other[0]["error"]
    assert record.stat().st_mtime_ns == before


def test_a_finished_case_whose_image_was_replaced_is_refused_and_done_anew_when_asked(manifest, tmp_path):
    run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    record = tmp_path / "out" / "case 0" / "record.json"
    before = record.read_bytes()
    images.write(small_patient(9)["pet"], tmp_path / "p0" / "pet.nii.gz", overwrite=True)
    again = run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert statuses(again) == ["refused", "failed", "done before"]
    assert "pet" in again[0]["error"] and "has changed since" in again[0]["error"] and record.read_bytes() == before
    anew = run_batch(manifest, tmp_path / "out", "gaussian", report=False, overwrite=True)
    assert statuses(anew) == ["done", "failed", "done"] and record.read_bytes() != before


def test_a_study_stays_done_when_its_method_gains_an_option(manifest, tmp_path):
    run_batch(manifest, tmp_path / "out", "nlm", report=False)
    file = tmp_path / "out" / "case 0" / "record.json"
    record = json.loads(file.read_text())
    del record["request"]["options"]["strength"], record["options"]["strength"]  # as of the version before it came
    file.write_text(json.dumps(record))
    again = run_batch(manifest, tmp_path / "out", "nlm", report=False)
    assert statuses(again) == ["done before", "failed", "done before"]
    other = run_batch(manifest, tmp_path / "out", "nlm", report=False, options={"strength": 0.3})
    assert statuses(other) == ["refused", "failed", "refused"]
    record["request"]["options"]["long_gone"] = 1
    file.write_text(json.dumps(record))
    (told, *_) = run_batch(manifest, tmp_path / "out", "nlm", report=False)
    assert told["status"] == "refused" and "another request" in told["error"]


def test_a_finished_case_with_another_unit_or_dose_in_its_sidecar_is_refused(manifest, tmp_path):
    run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    notes = tmp_path / "p2" / "reference.json"
    notes.write_text(notes.read_text().replace('"Units": "SUVbw"', '"Units": "Bq/mL"'))
    again = run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert statuses(again) == ["done before", "failed", "refused"] and "sidecar of the reference" in again[2]["error"]


def test_an_evaluation_tells_a_case_whose_image_was_replaced_and_counts_it_not(tmp_path):
    paths = [write_patient(tmp_path / name, seed) for seed, name in enumerate("ab")]
    lines = [f"{name},{one['pet']},{one['reference']}" for name, one in zip("ab", paths)]
    (tmp_path / "cases.csv").write_text("\n".join(["id,pet,reference", *lines]))
    ask = Ask(tmp_path / "cases.csv", ("gaussian",), tmp_path / "out")
    assert evaluate(ask).failed == []
    images.write(small_patient(9)["pet"], paths[0]["pet"], overwrite=True)
    told = evaluate(ask).failed
    assert [row["case"] for row in told] == ["a"] and "has changed since" in told[0]["error"]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A method with a model and a file of its own; gives the manifest of one case."""
    card = MethodCard("reader", "Reader", "Reads.", "x:y", needs_model=True,
                      options=(Option("prompts", "str", "", "a table", file=True),))  # fmt: skip

    def denoise(case, options, run):
        used = store.find(run.model or min(store.models("reader")), "reader").card
        return Output(case.pet, details={"model": used.id, "model_sha256": used.sha256})

    monkeypatch.setattr(MethodCard, "load", lambda self: denoise)
    monkeypatch.setattr(registry, "card", lambda name: card)
    monkeypatch.setenv("PETDIFFUSION_MODELS", str(tmp_path / "models"))
    make_model(tmp_path / "models", "own", method="reader")
    path = tmp_path / "cases.csv"
    path.write_text(f"id,pet\na,{write_patient(tmp_path / 'p')['pet']}\n")
    return path


@pytest.mark.parametrize("by_path", [False, True])
def test_a_finished_case_whose_model_was_replaced_is_refused(reader, tmp_path, by_path):
    chosen = {"model": str(tmp_path / "models" / "own.safetensors")} if by_path else {}
    assert statuses(run_batch(reader, tmp_path / "out", "reader", report=False, **chosen)) == ["done"]
    assert statuses(run_batch(reader, tmp_path / "out", "reader", report=False, **chosen)) == ["done before"]
    make_model(tmp_path / "models", "own", method="reader", sha256="0" * 64)
    again = run_batch(reader, tmp_path / "out", "reader", report=False, **chosen)
    assert statuses(again) == ["refused"] and "model own" in again[0]["error"] and "--overwrite" in again[0]["error"]
    with pytest.raises(ModelError, match="another one than this run used"):
        rerun(tmp_path / "out" / "a")


def test_a_finished_case_whose_model_is_no_longer_here_stays_done(reader, tmp_path):
    run_batch(reader, tmp_path / "out", "reader", report=False)
    for file in (tmp_path / "models").iterdir():
        file.unlink()
    assert statuses(run_batch(reader, tmp_path / "out", "reader", report=False)) == ["done before"]


def test_results_by_two_models_are_told_when_a_better_one_came_between_two_runs(reader, tmp_path):
    out, run = tmp_path / "out", Run()
    run_batch(reader, out, "reader", report=False, run=run)
    one = reader.read_text().splitlines()[1]
    reader.write_text(f"id,pet\n{one}\n{one.replace('a', 'b', 1)}\n")
    make_model(tmp_path / "models", "another-region", method="reader", regions=["brain"])
    run_batch(reader, out, "reader", report=False, run=run)
    assert not [text for text in run.warnings if "models" in text]  # a model each for brain and body is as it should be
    reader.write_text(f"{reader.read_text()}{one.replace('a', 'c', 1)}\n")
    make_model(tmp_path / "models", "a-better-one", method="reader", refines="own")
    rows = run_batch(reader, out, "reader", report=False, run=run)
    assert [row["model"] for row in rows] == ["own", "another-region", "a-better-one"]
    assert "a-better-one" in (out / "summary.csv").read_text(encoding="utf-8-sig")
    (said,) = [text for text in run.warnings if "models" in text]
    assert "own (1 case) and a-better-one (1 case)" in said and "--model" in said and "--overwrite" in said


def test_a_finished_case_whose_prompts_were_edited_is_refused(reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prompts.csv").write_text("one")
    chosen = {"options": {"prompts": "prompts.csv"}}
    assert statuses(run_batch(reader, tmp_path / "out", "reader", report=False, **chosen)) == ["done"]
    monkeypatch.chdir(tmp_path / "p")  # the record holds the whole path
    rerun(tmp_path / "out" / "a")
    (tmp_path / "prompts.csv").write_text("another")
    monkeypatch.chdir(tmp_path)
    again = run_batch(reader, tmp_path / "out", "reader", report=False, **chosen)
    assert statuses(again) == ["refused"] and "prompts of this run (prompts.csv) has changed" in again[0]["error"]
    with pytest.raises(InputError, match="has changed since"):
        rerun(tmp_path / "out" / "a")


def test_a_run_that_is_refused_leaves_the_summary_of_the_study(manifest, tmp_path):
    """Case 1 cannot be read and fails anew: it must not take the others' rows away either."""
    out = tmp_path / "out"
    run_batch(manifest, out, "gaussian", report=False)
    before = [(out / name).read_bytes() for name in ("summary.csv", "batch.json")]
    run = Run()
    other = run_batch(manifest, out, "median", report=False, run=run)
    assert statuses(other) == ["refused", "failed", "refused"]
    assert [(out / name).read_bytes() for name in ("summary.csv", "batch.json")] == before
    assert any("summary.csv" in text and "left as it was" in text for text in run.warnings)
    (out / "summary.csv").unlink()
    run_batch(manifest, out, "median", report=False)
    assert "refused" in (out / "summary.csv").read_text(encoding="utf-8-sig")


def test_a_device_that_is_no_word_for_one_is_refused_before_the_first_case(manifest, tmp_path):
    with pytest.raises(OptionError, match="Device 'foo'"):
        run_batch(manifest, tmp_path / "out", "gaussian", device="foo")
    assert not (tmp_path / "out").exists()


def test_processes_give_the_same_as_one(manifest, tmp_path):
    one = run_batch(manifest, tmp_path / "one", "gaussian", report=False)
    two = run_batch(manifest, tmp_path / "two", "gaussian", report=False, workers=2)
    assert statuses(one) == statuses(two)
    assert one[0]["PSNR_dB"] == pytest.approx(two[0]["PSNR_dB"], rel=1e-5)


DRIVER = """
import os, sys, time
import petdiffusion.batch.work as work
from petdiffusion.batch import engines, run_batch
plain = work._denoise
def slow(request, folder, *rest):
    mark = {marks!r} + "/" + folder.name.replace(" ", "-")
    first = not os.path.exists(mark)
    open(mark, "a").write(str(os.getpid()) + "\\n")
    if first and folder.name in {stuck!r}:
        {stick}
    return plain(request, folder, *rest)
work._denoise = slow
"""


def test_a_killed_batch_goes_on_where_it_was(manifest, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    code = DRIVER.format(marks=str(marks), stuck=["case 2"], stick="time.sleep(60)") + (
        f"run_batch({str(manifest)!r}, {str(tmp_path / 'out')!r}, 'gaussian', report=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (marks / "case-2").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert statuses(rows) == ["done before", "failed", "done"]
    assert not [p for p in (tmp_path / "out").rglob(".*")]


def test_a_case_that_was_killed_while_its_files_came_into_place_is_done_anew(manifest, tmp_path):
    """Its hidden folder tells it from files that somebody else put there, which are not replaced."""
    case = tmp_path / "out" / "case 0"
    run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    (case / "record.json").unlink()  # it comes last
    row = run_batch(manifest, tmp_path / "out", "gaussian", report=False)[0]
    assert row["status"] == "failed" and "exists already" in row["error"]
    (case / ".petdiffusion-of-a-run-that-was-killed").mkdir()
    assert run_batch(manifest, tmp_path / "out", "gaussian", report=False)[0]["status"] == "done"


def test_a_second_batch_into_the_same_folder_is_refused_while_the_first_is_at_work(manifest, tmp_path):
    with alone_in(tmp_path / "out", "batch"), pytest.raises(OutputError, match="another batch is at work in it"):
        run_batch(manifest, tmp_path / "out", "gaussian", report=False)
    assert not (tmp_path / "out").exists()


def test_a_process_that_dies_costs_only_its_own_case(manifest, tmp_path):
    """The first try of case 2 dies in its worker, as the system does when memory runs out."""
    marks, module = tmp_path / "marks", tmp_path / "dying.py"
    marks.mkdir()
    call = f"run_batch({str(manifest)!r}, {str(tmp_path / 'out')!r}, 'gaussian', report=False, workers=2)"
    driver = DRIVER.format(marks=str(marks), stuck=["case 2"], stick="os._exit(9)")
    module.write_text(driver + f"if __name__ == '__main__':\n    import json\n    print(json.dumps({call}))\n")
    out = subprocess.run([sys.executable, str(module)], capture_output=True, text=True, timeout=120)
    assert statuses(json.loads(out.stdout)) == ["done", "failed", "done"], out.stderr
    assert len((marks / "case-2").read_text().split()) == 2
    assert len((marks / "case-0").read_text().split()) == 1


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux shows them")
def test_the_processes_of_a_killed_batch_leave_with_it(manifest, tmp_path):
    """Else they went on for ever, and wrote into the folders of the batch that was started instead."""
    marks, module = tmp_path / "marks", tmp_path / "killed.py"
    marks.mkdir()
    call = f"run_batch({str(manifest)!r}, {str(tmp_path / 'out')!r}, 'gaussian', report=False, workers=2)"
    driver = DRIVER.format(marks=str(marks), stuck=["case 0", "case 2"], stick="time.sleep(300)")
    module.write_text(driver + f"if __name__ == '__main__':\n    {call}\n")
    process = subprocess.Popen([sys.executable, str(module)])
    deadline = time.monotonic() + 90
    while len(list(marks.glob("case-[02]"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    workers = [int(file.read_text()) for file in marks.glob("case-[02]")]
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [pid for pid in workers if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(workers) == 2 and not left
    assert statuses(run_batch(manifest, tmp_path / "out", "gaussian", report=False)) == ["done", "failed", "done"]


def test_a_cancel_stops_a_batch(manifest, tmp_path):
    run = Run(report=lambda event: run.cancelled.set() if event["event"] == "progress" else None)
    with pytest.raises(Cancelled):
        run_batch(manifest, tmp_path / "out", "gaussian", report=False, run=run)
    assert (tmp_path / "out" / "case 0" / "record.json").exists()
    assert not (tmp_path / "out" / "case 2").exists()


@pytest.mark.parametrize("method, device, gpus, wanted", [
    ("csrd", "auto", 2.0, {"num_gpus": 1, "memory": 4e9}), ("csrd", "cuda:0", 0.0, {"num_gpus": 1, "memory": 4e9}),
    ("csrd", "auto", 0.0, {"num_cpus": 1, "memory": 4e9}), ("csrd", "cpu", 2.0, {"num_cpus": 1, "memory": 4e9}),
    ("gaussian", "auto", 2.0, {"num_cpus": 1, "memory": 4e9})])  # fmt: skip
def test_a_case_asks_a_ray_cluster_for_what_it_takes(method, device, gpus, wanted):
    request = Request("a.nii", method, device=device).to_json()
    assert engines.need(("a", request, "out", False, False), gpus, 64e9) == wanted
    assert engines.need(("a", request, "out", False, False), gpus, 3e9)["memory"] == 3e9  # or it would wait for ever


def test_no_more_cases_than_asked_for_are_given_to_a_ray_cluster(manifest, tmp_path, monkeypatch):
    """A cluster that is pretended: what is told is how many cases it holds at a time."""
    now, most = [], []

    class Ray:
        exceptions = SimpleNamespace(RayError=RuntimeError)
        is_initialized = cluster_resources = nodes = staticmethod(lambda: {})
        get, cancel = staticmethod(lambda reference: reference), None

        @staticmethod
        def remote(**need):
            return lambda work: SimpleNamespace(remote=lambda job: now.append(job[0]) or Ref({"id": job[0]}))

        @staticmethod
        def wait(waiting, num_returns, timeout):
            most.append(len(now))
            now.remove(waiting[0]["id"])
            return waiting[:1], waiting[1:]

    class Ref(dict):
        __hash__ = object.__hash__

    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setattr(Ray, "is_initialized", staticmethod(lambda: True))
    jobs = [(name, Request("a.nii", "gaussian").to_json(), "out", False, False) for name in "abcde"]
    assert sorted(row["id"] for row in engines.ray_cluster(jobs, Run(), None, 2)) == list("abcde") and max(most) == 2
    most.clear()
    assert len(list(engines.ray_cluster(jobs, Run(), None, None))) == 5 and max(most) == 5


def test_a_ray_cluster_does_every_case_though_a_worker_is_killed(manifest, tmp_path):
    ray = pytest.importorskip("ray")
    marks = tmp_path / "marks"
    marks.mkdir()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        plain = engines._on_worker

        def dies_once(job, _plain=plain, _marks=str(marks)):
            mark = os.path.join(_marks, job[0].replace(" ", "-"))
            first = not os.path.exists(mark)
            with open(mark, "a") as stream:
                stream.write(f"{os.getpid()}\n")
            if first and job[0] == "case 2":
                os.kill(os.getpid(), signal.SIGKILL)
            return _plain(job)

        engines._on_worker = dies_once
        rows = run_batch(manifest, tmp_path / "out", "gaussian", engine="ray", report=False)
    finally:
        engines._on_worker = plain
        ray.shutdown()
    assert statuses(rows) == ["done", "failed", "done"]
    assert len((marks / "case-2").read_text().split()) == 2
