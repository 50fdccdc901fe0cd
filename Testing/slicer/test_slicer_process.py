"""The child process: whatever it does, the job ends in a result, a failure with a reason, or a cancel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PETDiffusionDenoiseLib import process
from PETDiffusionDenoiseLib.process import BackendProcess, descendants

LIB = Path(process.__file__).resolve().parent
FAKE = Path(__file__).resolve().with_name("fake_backend")
SOON_S = 120.0
"""A busy machine may take long; nothing is measured by it."""


LAUNCHER = Path(__file__).resolve().with_name("standin") / "launcher.py"
PYTHONS = {"python": [sys.executable], "launcher": [sys.executable, str(LAUNCHER)]}
both = pytest.mark.parametrize("python", PYTHONS)
"""Another Python directly, and Slicer's own through its launcher."""


@pytest.fixture
def unhurried(monkeypatch) -> None:
    """A child that stops when it is asked to is not killed before it had the processor."""
    monkeypatch.setattr(process, "GRACE_S", SOON_S)


def started(mode: str, scratch: str = "-", python: str = "python", **hooks) -> BackendProcess:
    environment = {**os.environ, "FAKE_BACKEND": mode}
    words = [*PYTHONS[python], "-u", str(LIB / "child.py"), scratch, str(FAKE), "denoise", "pet"]
    job = BackendProcess(words, environment, **hooks)
    job.start()
    job.born = job._last_sign
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


def heard(job: BackendProcess) -> bool:
    """The child has said something: it runs, and its control line is up."""
    return job._last_sign > job.born and job._control._line is not None


def group(leader: int) -> list[int]:
    """The processes of a group that are not dead (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


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


@pytest.mark.parametrize("mode", ["out_of_memory", "crash"])
def test_through_slicers_launcher_a_violent_end_is_recognised_too(mode) -> None:
    """The launcher turns every signal into exit code 1."""
    ending = ended(started(mode, python="launcher"))
    assert ending.exit_code == 1 and ending.failure.type == "Crash" and "memory" in str(ending.failure)


@both
def test_events_come_in_order_and_other_lines_go_to_the_log(python, unhurried) -> None:
    events, lines = [], []
    job = started("polite", python=python, on_event=lambda event: events.append(event), on_log=lines.append)
    until(lambda: job.poll() and len(events) == 2)
    assert [e["event"] for e in events] == ["stage", "progress"] and events[1]["seconds_left"] == 12.0
    job.cancel()
    ending = ended(job)
    assert ending.cancelled and ending.exit_code == 130 and lines == ["stopping"]


@both
@pytest.mark.parametrize("mode", ["hang", "endless_line"])
def test_cancel_ends_a_job_that_does_not_listen(mode, python) -> None:
    job = started(mode, python=python)
    until(lambda: job.poll() and heard(job))
    job.cancel()
    assert ended(job).cancelled and job._process.poll() is not None


@pytest.mark.skipif(os.name != "posix", reason="looks at process ids of POSIX")
@both
def test_cancel_ends_the_whole_tree_even_what_left_the_group(monkeypatch, python) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    job = started("stubborn", python=python)
    until(lambda: job.poll() and any(line.startswith("grandchild") for line in job.log))
    grandchild = int(next(line for line in job.log if line.startswith("grandchild")).split()[1])
    assert grandchild in descendants(job._process.pid) and is_alive(grandchild)
    job.cancel()
    assert ended(job).cancelled
    until(lambda: not is_alive(grandchild))


@both
def test_kill_ends_at_once(python) -> None:
    job = started("hang", python=python)
    until(lambda: job.poll() and heard(job))
    job.kill()
    assert job.ending.cancelled and job._process.poll() is not None


@pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")
@both
def test_a_child_whose_parent_dies_ends_and_cleans_up(tmp_path, python) -> None:
    scratch = tmp_path / "PETDiffusion-scratch"
    scratch.mkdir()
    (scratch / "pet.nrrd").write_bytes(b"patient data")
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); import test_slicer_process as t;"
        "job = t.started('hang', sys.argv[2], sys.argv[3]); t.until(lambda: job.poll() and t.heard(job));"
        "print(job._process.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(LIB.parent)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(scratch), python],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    child = int(parent.stdout.readline())
    assert is_alive(child) and len(group(child)) == (2 if python == "launcher" else 1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: group(child) == [])
    until(lambda: not scratch.exists())


def test_a_folder_that_is_not_a_scratch_folder_is_never_removed(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    job = started("polite", str(precious))
    until(lambda: job.poll() and heard(job))
    job._control.close()
    until(lambda: job._process.poll() is not None)
    assert precious.exists()


@pytest.mark.skipif(os.name != "posix", reason="an ignored signal is inherited on POSIX systems alone")
def test_cancel_works_where_slicer_was_started_with_interrupts_ignored() -> None:
    """As a shell does with what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = started("polite")
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: job.poll() and heard(job))
    job.cancel()
    assert ended(job).exit_code == 130


def test_a_stranger_on_the_control_line_is_sent_away(unhurried) -> None:
    job = started("polite")
    port = job._control._listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"0" * 32)
        until(lambda: job.poll() and heard(job))
        stranger.settimeout(5)
        assert stranger.recv(8) == b""
    job.cancel()
    assert ended(job).exit_code == 130


def test_a_cancel_before_the_child_has_called_reaches_it() -> None:
    job = started("polite")
    job.cancel()
    assert ended(job).cancelled


def test_the_child_runs_without_a_panel_too() -> None:
    environment = {**os.environ, "FAKE_BACKEND": "named_error"}
    words = [sys.executable, str(LIB / "child.py"), "-", str(FAKE), "denoise", "pet"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Model 'x'" in done.stdout


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


def test_a_flood_is_taken_in_portions(monkeypatch) -> None:
    """Each poll has a budget of time, so the application gets its turn in between."""
    monkeypatch.setattr(process, "POLL_BUDGET_S", 0.001)
    job, polls = started("garbage"), 0
    while job.poll():
        polls += 1
    assert polls > 10 and len(job.log) <= process.KEPT_LINES
    assert max(map(len, job.log)) <= process.LONGEST_LOGGED


def test_a_result_may_be_of_any_length(monkeypatch, capsys) -> None:
    """A dynamic scan's has a row for each frame of each organ; all other lines end somewhere."""
    from petdiffusion import progress

    progress.JsonLines()({"event": "result", "tables": {"time_activity": ["x" * 100] * 1000}})
    said = capsys.readouterr().out
    monkeypatch.setattr(process, "LONGEST_LINE", 1000)
    code = "import sys; print('y' * 5000); print(sys.argv[1])"
    job = BackendProcess([sys.executable, "-c", code, said])
    job.start()
    assert len(ended(job).result["tables"]["time_activity"]) == 1000 and job.log[0] == "y" * 1000


def test_a_package_that_the_backend_misses_is_no_defect_of_the_program() -> None:
    why = "ModuleNotFoundError: No module named 'torch' (at denoise.py:4)"
    found = process.Failure.from_event({"type": "PETDiffusionError", "what": "A defect of this program", "why": why})
    assert found.type == "DependencyError" and "'torch'" in found.what and "Set-up" in found.remedy


def test_a_last_line_that_comes_while_the_pipes_close_is_heard() -> None:
    """Readers may put a line after the queue was seen to be empty, and end before they are asked whether they have."""
    job = BackendProcess([sys.executable, "-c", "pass"])
    closed, late = job._pipes_closed, ['{"event": "result", "files": {}}']

    def closes_with_a_word() -> bool:
        if is_closed := closed():
            for _ in range(len(late)):
                job._lines.put(("out", late.pop()))
        return is_closed

    job._pipes_closed = closes_with_a_word
    job.start()
    assert job.wait().result is not None
