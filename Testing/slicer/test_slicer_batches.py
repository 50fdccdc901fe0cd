"""What scripts call for many patients: rows and manifests, waiting, and how a batch is stopped."""

from __future__ import annotations

import contextlib
import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest
from petdiffusion.errors import Cancelled, InputError, ModelError

SOON_S = 60.0
"""A busy machine may take long; nothing is measured by it."""


@pytest.fixture
def handed_over(logic, tmp_path, monkeypatch):
    """The rows of the manifest that the backend is given."""
    from PETDiffusionDenoiseLib import process

    def of(rows):
        found = []
        start = process.BackendProcess.start

        def read(self):
            words = list(self.command)
            with open(words[words.index("batch") + 1], encoding="utf-8", newline="") as stream:
                found.extend(csv.DictReader(stream))
            start(self)

        with monkeypatch.context() as patched:
            patched.setattr(process.BackendProcess, "start", read)
            logic.denoiseBatch(rows, tmp_path / "out", say=lambda line: None, show=False)
        return found

    return of


@pytest.fixture
def children(monkeypatch):
    """The processes that were started."""
    from PETDiffusionDenoiseLib import process

    started = []
    start = process.BackendProcess.start
    monkeypatch.setattr(process.BackendProcess, "start", lambda self: (start(self), started.append(self._process)))
    return started


def run(logic, what, folder):
    """A script that waits."""
    import builders

    if what == "one":
        return logic.denoise(builders.pet())
    return logic.denoiseBatch([{"pet": "x"}], folder, say=lambda line: None)


@pytest.mark.parametrize("what", ["one", "many"])
def test_an_interrupted_script_ends_the_child(logic, tmp_path, monkeypatch, children, what) -> None:
    from PETDiffusionDenoiseLib import process

    monkeypatch.setenv("FAKE_BACKEND", "hang")

    def interrupted(self, name, line):
        raise KeyboardInterrupt

    monkeypatch.setattr(process.BackendProcess, "_take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(logic, what, tmp_path)
    assert children[0].poll() is not None


@pytest.fixture
def closing(logic, monkeypatch, children):
    """Slicer is closed as soon as the child says a word."""
    import slicer
    from PETDiffusionDenoiseLib import process

    monkeypatch.setenv("FAKE_BACKEND", "hang")
    monkeypatch.setattr(process.BackendProcess, "_take", lambda self, name, line: slicer.app.lastWindowClosed.emit())
    began, wait = time.monotonic(), process.BackendProcess.wait

    def patient(self, pump):
        def pumped():
            assert time.monotonic() - began < SOON_S, "the job goes on"
            pump()

        return wait(self, pumped)

    monkeypatch.setattr(process.BackendProcess, "wait", patient)


@pytest.mark.parametrize("what", ["one", "many"])
def test_closing_slicer_ends_what_a_script_waits_for(logic, tmp_path, closing, children, what) -> None:
    """The wait keeps Slicer from ending: it would stay without a window until the job is done."""
    with pytest.raises(Cancelled):
        run(logic, what, tmp_path)
    assert children[0].poll() is not None


def test_closing_slicer_ends_practice_data_on_their_way(closing, children) -> None:
    """As from the Sample Data module, which waits for them."""
    from PETDiffusionDenoiseLib import backend, samples

    making = samples.Making("brain", backend.chosen())
    making.start()
    assert making.wait() == {} and children[0].poll() is not None


def test_an_application_without_that_signal_waits_too(logic, tmp_path, monkeypatch) -> None:
    import slicer

    class Without:
        temporaryPath = slicer.app.temporaryPath

        def processEvents(self):
            pass

        userSettings = slicer.app.userSettings

    monkeypatch.setattr(slicer, "app", Without())
    assert logic.denoiseBatch([{"id": "a", "pet": "a good"}], tmp_path, show=False)[0]["status"] == "done"


def end_of(job):
    """Run the application until a job has ended."""
    import slicer

    ended = []
    job.ended.connect(ended.append)
    deadline = time.monotonic() + SOON_S
    while not ended:
        assert time.monotonic() < deadline
        slicer.app.processEvents()
        time.sleep(0.01)
    assert not job.running
    return ended[0]


def test_a_batch_can_run_beside_the_application(logic, tmp_path) -> None:
    said = []
    job = logic.denoiseBatch([{"id": "a", "pet": "a good"}], tmp_path, waitForCompletion=False, say=said.append)
    assert job.running
    assert end_of(job) == job.outcome == [{"id": "a", "status": "done", "error": ""}]
    assert said == ["1 case"]


def test_a_batch_that_runs_beside_the_application_can_be_stopped(logic, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_BACKEND", "polite")
    job = logic.denoiseBatch([{"pet": "x"}], tmp_path, waitForCompletion=False, say=lambda line: job.cancel())
    assert end_of(job) is None


def test_a_batch_goes_on_over_failures_and_gives_a_table(logic, tmp_path) -> None:
    import slicer
    from PETDiffusionDenoiseLib import tables

    rows = logic.denoiseBatch(
        [{"id": "1", "pet": "a good"}, {"id": "2", "pet": "bad ü", "ct": None}],
        tmp_path / "out ü",
        method="smooth",
        say=lambda line: None,
        fwhm=4,
        seed=3,
    )
    assert [row["status"] for row in rows] == ["done", "failed"] and rows[1]["error"]
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode")
    assert tables.rows_of(node)[1]["error"] == "File cannot be read."


def test_relative_paths_of_rows_are_those_of_the_script(handed_over, tmp_path, monkeypatch) -> None:
    """Rows are handed over in a manifest elsewhere, and a batch reads paths from where the manifest lies."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "1", "pet": "data/pet ü", "ct": Path("data/ct"), "mr": "", "text": "data/pet", "seed": None}]
    (row,) = handed_over(rows)
    assert row == {"id": "1", "pet": str(tmp_path / "data" / "pet ü"), "ct": str(tmp_path / "data" / "ct"), "mr": "",
                   "text": "data/pet"}, "what is no path stays as it is"  # fmt: skip


def test_empty_cells_of_pandas_say_nothing_and_its_whole_numbers_are_whole(handed_over) -> None:
    """A column with one empty cell is one of floats there: NaN would be a file's name, and a seed 3.0 is none."""
    missing = type("NAType", (), {})()
    (row,) = handed_over([{"id": 7.0, "pet": "/a", "ct": math.nan, "mr": np.float32("nan"), "labels": missing,
                           "seed": 3.0, "weight_kg": 71.5}])  # fmt: skip
    assert row == {"id": "7", "pet": str(Path("/a").absolute()), "seed": "3", "weight_kg": "71.5"}


def test_rows_may_come_one_by_one(handed_over) -> None:
    assert [row["id"] for row in handed_over({"id": str(i), "pet": "a"} for i in range(3))] == ["0", "1", "2"]


@pytest.mark.parametrize("given", [{"id": "a", "pet": "a"}, ["a.nii.gz"]])
def test_what_is_no_list_of_rows_is_refused_with_the_remedy(logic, tmp_path, given) -> None:
    with pytest.raises(InputError, match=r"not a list of rows.*one dict for each case.*to_dict"):
        logic.denoiseBatch(given, tmp_path)


@pytest.mark.parametrize("mode", ["success", "named_error"])
def test_nothing_of_the_users_is_overwritten_and_nothing_of_ours_is_left(logic, tmp_path, monkeypatch, mode) -> None:
    import slicer

    monkeypatch.setenv("FAKE_BACKEND", mode)
    scratch = set(Path(slicer.app.temporaryPath).iterdir())
    for name in ("manifest.csv", "rows.csv"):
        (tmp_path / name).write_text("the user's own")
    with contextlib.suppress(ModelError):
        logic.denoiseBatch([{"id": "a", "pet": "a good"}], tmp_path, say=lambda line: None)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        ("manifest.csv", "rows.csv"), "the user's own"
    )
    assert set(Path(slicer.app.temporaryPath).iterdir()) == scratch


def test_a_batch_takes_a_manifest_file(logic, tmp_path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,pet\n7,x good\n")
    rows = logic.denoiseBatch(str(manifest), tmp_path / "out", say=lambda line: None, show=False)
    assert rows == [{"id": "7", "status": "done", "error": ""}]


def test_a_batch_that_cannot_start_raises_the_reason(logic, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_BACKEND", "named_error")
    with pytest.raises(ModelError, match="damaged"):
        logic.denoiseBatch([{"pet": "x"}], tmp_path, say=lambda line: None)
    with pytest.raises(InputError, match="no rows"):
        logic.denoiseBatch([], tmp_path)
