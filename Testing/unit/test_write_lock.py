"""One run at a time in a folder; what a killed one leaves behind stops nobody."""

import subprocess
import sys

import pytest
from petdiffusion.errors import OutputError
from petdiffusion.write import lock
from petdiffusion.write.lock import alone_in

HOLD = """
import sys, time
from pathlib import Path
from petdiffusion.write.lock import alone_in
with alone_in(Path(sys.argv[1]), 'batch'):
    print('in', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that is at work in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_who_works_there_and_a_killed_one_stops_nobody(holder, tmp_path):
    with pytest.raises(OutputError, match=f"another batch is at work in it .process {holder.pid} on ") as caught:
        with alone_in(tmp_path, "batch"):
            pass
    assert "Wait until it has ended" in caught.value.remedy and "remove" not in caught.value.remedy
    assert len(list(tmp_path.iterdir())) == 1  # the holder's: the refused one leaves nothing
    holder.kill()  # and not waited for: on Linux a zombie
    with alone_in(tmp_path, "batch"):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_a_number_that_now_belongs_to_another_process_is_no_lock(holder, tmp_path):
    (held,) = tmp_path.iterdir()
    prefix, pid, start, host = held.name.removeprefix(".in-").split("-", 3)
    held.rename(held.with_name(f".in-{prefix}-{pid}-{int(start) - 3600}-{host}"))
    with alone_in(tmp_path, "batch"):
        assert len(list(tmp_path.iterdir())) == 1


def test_another_machines_lock_is_told_with_what_to_do_if_it_was_left(tmp_path):
    left = tmp_path / ".in-use-1-1700000000-node-17.cluster"
    left.touch()
    with pytest.raises(OutputError, match=r"process 1 on node-17\.cluster") as caught:
        with alone_in(tmp_path, "training"):
            pass
    assert f"remove {left.name}" in caught.value.remedy and list(tmp_path.iterdir()) == [left]


def test_one_process_cannot_enter_twice_and_a_failed_run_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with alone_in(tmp_path / "new", "batch"):
            with pytest.raises(OutputError, match="at work"):
                with alone_in(tmp_path / "new", "batch"):
                    pass
            assert len(list((tmp_path / "new").iterdir())) == 1
            raise ZeroDivisionError
    assert not list((tmp_path / "new").iterdir())


def test_two_that_come_at_once_step_back_and_try_again(tmp_path, monkeypatch):
    other = tmp_path / ".in-use-1-1700000000-node-17"
    other.touch()
    seen = []

    def pause(seconds):
        if seconds:
            seen.extend(tmp_path.iterdir())  # mine is away while I wait
            other.unlink()

    monkeypatch.setattr(lock.time, "sleep", pause)
    with alone_in(tmp_path, "batch"):
        assert seen == [other]
