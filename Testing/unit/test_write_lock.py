"""One run at a time in a folder; what a killed one leaves behind stops nobody."""

import errno
import os
import subprocess
import sys

import pytest
from petdiffusion import denoise, registry
from petdiffusion.errors import OutputError
from petdiffusion.methods.contract import MethodCard
from petdiffusion.write import images, lock
from petdiffusion.write.lock import FILE, alone_in
from support.blobs import blobs

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
    for _ in range(2):  # the refused one takes nothing away
        with pytest.raises(OutputError, match=f"another batch is at work in it .process {holder.pid} on ") as caught:
            with alone_in(tmp_path, "batch"):
                pass
        assert "Wait until it has ended" in caught.value.remedy
    holder.kill()
    holder.wait()
    assert (tmp_path / FILE).exists()
    with alone_in(tmp_path, "batch"):
        assert str(os.getpid()) in (tmp_path / FILE).read_text()
    assert not list(tmp_path.iterdir())


def test_a_process_with_the_number_of_a_dead_one_is_not_refused(tmp_path):
    (tmp_path / FILE).write_text(f"process {os.getpid()} on this machine")
    with alone_in(tmp_path, "batch"):
        pass


def test_one_process_cannot_enter_twice_and_a_failed_run_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with alone_in(tmp_path / "new", "batch"):
            with pytest.raises(OutputError, match="at work"):
                with alone_in(tmp_path / "new", "batch"):
                    pass
            with pytest.raises(OutputError, match="at work"):
                with alone_in(tmp_path / "new", "batch"):
                    pass
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_file_that_could_not_be_removed_stops_nobody(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(lock.Path, "unlink", lambda self: (_ for _ in ()).throw(PermissionError(errno.EACCES, "scanned")))
        with alone_in(tmp_path, "batch"):
            pass
    assert (tmp_path / FILE).exists()
    with alone_in(tmp_path, "batch"):
        pass
    assert not list(tmp_path.iterdir())


def test_who_comes_as_another_leaves_takes_the_file_that_is_there_and_no_ghost(tmp_path, monkeypatch):
    """Between opening and locking, the run before removes the file: a lock on it would keep nobody out."""
    locked, gone = lock._locked, []

    def late(stream):
        if not gone:
            gone.append((tmp_path / FILE).unlink())
        return locked(stream)

    monkeypatch.setattr(lock, "_locked", late)
    with alone_in(tmp_path, "batch"), pytest.raises(OutputError, match="at work"):
        with alone_in(tmp_path, "batch"):
            pass


def test_where_the_file_system_has_no_locks_runs_go_on(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows locks otherwise")

    def none(*given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with alone_in(tmp_path, "batch"), alone_in(tmp_path, "batch"):
        pass


def test_a_second_denoise_into_a_folder_is_refused_before_it_computes(tmp_path, monkeypatch):
    images.write(blobs((16, 20, 24)).noisy, tmp_path / "pet.nii.gz")
    load, worked = MethodCard.load, []

    def meanwhile(case, options, run):
        assert not worked, "the second computes"
        worked.append(case)
        for overwrite in (False, True):
            with pytest.raises(OutputError, match="another run is at work in it"):
                denoise(tmp_path / "pet.nii.gz", "gaussian", out=tmp_path / "out", overwrite=overwrite)
        return load(registry.card("gaussian"))(case, options, run)

    monkeypatch.setattr(MethodCard, "load", lambda card: meanwhile)
    made = denoise(tmp_path / "pet.nii.gz", "gaussian", out=tmp_path / "out")
    assert len(worked) == 1 and made.files and not (tmp_path / "out" / FILE).exists()


LOCKED = """
import os, signal, sys, time
from pathlib import Path
from petdiffusion.cli.interrupt import stops_on_signals
from petdiffusion.progress import Run
from petdiffusion.write.lock import alone_in
from petdiffusion.write.staging import Staging
out = Path(sys.argv[1])
with stops_on_signals(Run(), patience=0.1), alone_in(out), Staging(out / "deeper"):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
"""


def test_a_run_that_does_not_hear_ctrl_c_leaves_no_lock_and_no_folder(tmp_path):
    words = [sys.executable, "-c", LOCKED, str(tmp_path / "new" / "out")]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 130 and not list(tmp_path.iterdir())
