"""The child process: whatever it does, the job ends in a result, a failure with a reason, or a cancel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PETDiffusionDenoiseLib import process
from PETDiffusionDenoiseLib.process import BackendProcess, descendants

LIB = Path(process.__file__).resolve().parent
FAKE = Path(__file__).resolve().with_name("fake_backend")
SOON_S = 20.0


def started(mode: str, scratch: str = "-", arguments: tuple[str, ...] = ("denoise", "pet"), **hooks) -> BackendProcess:
    environment = {**os.environ, "FAKE_BACKEND": mode, "PYTHONPATH": str(FAKE)}
    job = BackendProcess([sys.executable, "-u", str(LIB / "child.py"), scratch, *arguments], environment, **hooks)
    job.start()
    return job


def ended(job: BackendProcess):
    deadline = time.monotonic() + SOON_S
    while job.poll():
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.01)
    return job.ending


def until(condition) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    "mode, kind, words",
    [
        ("named_error", "ModelError", ("Model 'x'", "damaged", "Add it again.")),
        ("out_of_memory", "ResourceError", ("memory", "fewer samples")),
        ("crash", "Crash", ("about to fail", "CPU")),
        ("nothing", "NoResult", ("without a result",)),
        ("garbage", "NoResult", ("without a result", "noise")),
        ("missing_package", "DependencyError", ("a_package_that_is_not_installed", "Set-up")),
        ("orphan", "ModelError", ("damaged",)),
    ],
)
def test_what_goes_wrong_is_said(mode, kind, words) -> None:
    ending = ended(started(mode))
    assert ending.result is None and not ending.cancelled
    assert ending.failure.type == kind
    assert [word for word in words if word not in str(ending.failure)] == []


def test_events_come_in_order_and_other_lines_go_to_the_log() -> None:
    events, lines = [], []
    job = started("polite", on_event=lambda event: events.append(event), on_log=lines.append)
    until(lambda: job.poll() and len(events) == 2)
    assert [e["event"] for e in events] == ["stage", "progress"] and events[1]["seconds_left"] == 12.0
    job.cancel()
    ending = ended(job)
    assert ending.cancelled and ending.exit_code == 130 and lines == ["stopping"]


@pytest.mark.parametrize("mode", ["hang", "endless_line"])
def test_cancel_ends_a_job_that_does_not_listen(mode) -> None:
    job = started(mode)
    until(lambda: job.poll() and job._last_sign)
    job.cancel()
    assert ended(job).cancelled and job._process.poll() is not None


@pytest.mark.skipif(os.name != "posix", reason="looks at process ids of POSIX")
def test_cancel_ends_the_whole_tree_even_what_left_the_group(monkeypatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    job = started("stubborn")
    until(lambda: job.poll() and any(line.startswith("grandchild") for line in job.log))
    grandchild = int(next(line for line in job.log if line.startswith("grandchild")).split()[1])
    assert grandchild in descendants(job._process.pid) and is_alive(grandchild)
    job.cancel()
    assert ended(job).cancelled
    until(lambda: not is_alive(grandchild))


def test_kill_ends_at_once() -> None:
    job = started("hang")
    until(lambda: job.poll() and job.log is not None)
    began = time.monotonic()
    job.kill()
    assert job.ending.cancelled and time.monotonic() - began < 3 and job._process.poll() is not None


@pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")
def test_a_child_whose_parent_dies_ends_and_cleans_up(tmp_path) -> None:
    scratch = tmp_path / "PETDiffusion-scratch"
    scratch.mkdir()
    (scratch / "pet.nrrd").write_bytes(b"patient data")
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); import test_slicer_process as t;"
        "job = t.started('hang', sys.argv[2]); t.until(lambda: job.poll() and job.log is not None);"
        "print(job._process.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(LIB.parent)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(scratch)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not is_alive(child))
    until(lambda: not scratch.exists())


def test_a_folder_that_is_not_a_scratch_folder_is_never_removed(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    job = started("polite", str(precious))
    until(lambda: job.poll() and job._last_sign)
    job._process.stdin.close()
    until(lambda: job._process.poll() is not None)
    assert precious.exists()


def test_a_python_that_is_not_there_is_said() -> None:
    job = BackendProcess([str(Path("no such python")), "x"])
    job.start()
    assert "no such python" in str(job.ending.failure) and "Set-up" in job.ending.failure.remedy


def test_a_program_that_is_no_python_is_said(tmp_path) -> None:
    tool = tmp_path / "not python ü"
    tool.write_text("#!/bin/sh\necho I am no Python >&2\nexit 3\n")
    tool.chmod(0o755)
    job = BackendProcess([str(tool), "x"])
    job.start()
    assert "I am no Python" in str(ended(job).failure)


def test_polling_never_blocks_under_a_flood() -> None:
    job, longest = started("garbage"), 0.0
    running = True
    while running:
        began = time.monotonic()
        running = job.poll()
        longest = max(longest, time.monotonic() - began) if running else longest
        time.sleep(0.005)
    assert longest < 1.0 and len(job.log) <= process.KEPT_LINES
    assert max(map(len, job.log)) <= process.LONGEST_LOGGED
