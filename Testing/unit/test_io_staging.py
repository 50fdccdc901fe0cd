"""Whole results or none: nothing half-written, nothing overwritten by accident, nothing left behind."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from petdiffusion.errors import Cancelled, OutputError
from petdiffusion.write import staging
from petdiffusion.write.staging import Staging


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_files_and_folders_move_into_place(tmp_path):
    with Staging(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        (folder / "tables").mkdir()
        (folder / "tables" / "b.csv").write_text("b")
        assert not (tmp_path / "out" / "a.txt").exists() and folder.parent == tmp_path / "out"
    assert names(tmp_path / "out") == ["a.txt", "tables", "tables/b.csv"]
    assert (tmp_path / "out" / "tables" / "b.csv").read_text() == "b"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), Cancelled(), MemoryError(), SystemExit(1)])
def test_any_exception_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)), Staging(tmp_path / "new" / "out") as folder:
        (folder / "a.txt").write_text("a")
        raise error
    assert names(tmp_path) == [] and not staging._live


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(ValueError), Staging(tmp_path) as folder:
        (folder / "a.txt").write_text("a")
        raise ValueError
    assert names(tmp_path) == ["old.txt"]


def test_existing_files_are_kept_without_overwrite(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match="exists already"), Staging(tmp_path) as folder:
        (folder / "a.txt").write_text("new")
        (folder / "b.txt").write_text("new")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_existing_files_are_replaced_with_overwrite(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with Staging(tmp_path, overwrite=True) as folder:
        (folder / "a.txt").write_text("new")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("how", ["file", "folder", "link", "hard link", "other spelling"])
def test_inputs_are_never_overwritten(tmp_path, how):
    original = tmp_path / "in.txt"
    original.write_text("input")
    target, protect = "in.txt", original
    if how == "folder":
        protect = tmp_path
    elif how == "link":
        (tmp_path / "alias.txt").symlink_to(original)
        target = "alias.txt"
    elif how == "hard link":
        os.link(original, tmp_path / "alias.txt")
        target = "alias.txt"
    elif how == "other spelling":
        protect = tmp_path / "x" / ".." / "in.txt"
    with pytest.raises(OutputError, match="input"), Staging(tmp_path, [protect], overwrite=True) as folder:
        (folder / target).write_text("new")
    assert original.read_text() == "input"


def test_new_files_beside_protected_ones_are_fine(tmp_path):
    (tmp_path / "in.txt").write_text("input")
    with Staging(tmp_path, protect=[tmp_path]) as folder:
        (folder / "out.txt").write_text("new")
    assert names(tmp_path) == ["in.txt", "out.txt"]


def test_a_failed_move_takes_all_back(tmp_path, monkeypatch):
    (tmp_path / "b.txt").write_text("old b")
    real, moved = os.replace, []

    def replace(source, target):
        if Path(target).name == "c.txt":
            raise OSError(errno.EACCES, "no", str(target))
        moved.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="permission"), Staging(tmp_path, overwrite=True) as folder:
        for name in ("a.txt", "b.txt", "c.txt", "sub/d.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")
    assert "a.txt" in moved
    assert names(tmp_path) == ["b.txt"] and (tmp_path / "b.txt").read_text() == "old b"


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"),
                                            (errno.EDQUOT, "quota")])
def test_a_full_disk_is_a_named_error(tmp_path, code, said):
    with pytest.raises(OutputError, match=said), Staging(tmp_path / "out") as folder:
        (folder / "part").write_text("x")
        raise OSError(code, "system words")
    assert names(tmp_path) == []


def test_an_input_that_cannot_be_opened_is_not_called_an_output_error(tmp_path):
    with pytest.raises(FileNotFoundError), Staging(tmp_path / "out"):
        (tmp_path / "absent").read_text()


@pytest.mark.parametrize("kind", ["file", "below a file", "too long"])
def test_destinations_that_cannot_be_folders(tmp_path, kind):
    (tmp_path / "file").write_text("x")
    folder = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "out",
              "too long": tmp_path / ("n" * 300)}[kind]
    with pytest.raises(OutputError) as caught, Staging(folder):
        raise AssertionError("must not start")
    assert caught.value.remedy and names(tmp_path) == ["file"]


def test_no_permission(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))
    monkeypatch.setattr(Staging, "_new_folder", refuse)
    with pytest.raises(OutputError, match="permission"), Staging(tmp_path / "out"):
        raise AssertionError("must not start")
    assert names(tmp_path) == []


def test_discard_all_from_another_thread(tmp_path):
    began, gone = threading.Event(), threading.Event()

    def watchdog():
        began.wait(10)
        staging.discard_all()
        gone.set()

    thread = threading.Thread(target=watchdog)
    thread.start()
    with pytest.raises(OutputError, match="gone"), Staging(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        began.set()
        assert gone.wait(10)
    thread.join()
    assert names(tmp_path) == []


def test_a_killed_run_is_tidied_up_by_the_next(tmp_path):
    code = (f"import os\nfrom petdiffusion.write.staging import Staging\n"
            f"with Staging({str(tmp_path)!r}) as folder:\n    (folder / 'a').write_text('x')\n    os._exit(9)\n")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert len(names(tmp_path)) == 2
    with Staging(tmp_path) as folder:
        assert len(list(tmp_path.iterdir())) == 1
        (folder / "b.txt").write_text("b")
    assert names(tmp_path) == ["b.txt"]


def test_two_runs_into_one_folder_do_not_disturb_each_other(tmp_path):
    with Staging(tmp_path) as one:
        (one / "a.txt").write_text("a")
        with Staging(tmp_path) as two:
            (two / "b.txt").write_text("b")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_check_refuses_before_the_work(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(OutputError, match=r"record\.json"):
        Staging(tmp_path).check("denoised.nii.gz", "record.json")
    Staging(tmp_path, overwrite=True).check("record.json")
    Staging(tmp_path / "new" / "er").check("record.json")
    assert names(tmp_path) == ["record.json"]


def test_too_little_space_is_seen_before_writing(tmp_path, monkeypatch):
    from types import SimpleNamespace
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="are needed"):
        staging.check_space(tmp_path, 1000)
