"""Files into their place where other programs hold some open, which on Windows keeps them where they are."""

import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import petdiffusion
import pytest
from petdiffusion.errors import OutputError
from petdiffusion.progress import Run
from petdiffusion.write import moving, reasons
from petdiffusion.write.staging import Staging
from support.blobs import blobs

PACKAGE = Path(petdiffusion.__file__).parent


def as_windows_says(number, path):
    error = PermissionError(errno.EACCES, "The process cannot access the file", str(path))
    error.winerror = number
    return error


@pytest.fixture
def paused(monkeypatch):
    """How long was waited, without waiting."""
    spent = []
    monkeypatch.setattr(moving, "time", SimpleNamespace(sleep=spent.append, monotonic=lambda: sum(spent)))
    return spent


@pytest.fixture
def held(monkeypatch):
    """Names, and how often each is refused yet because another program has it open."""
    real, names = os.replace, {}

    def replace(source, target):
        for path in (Path(source), Path(target)):
            if names.get(path.name, 0) > 0:
                names[path.name] -= 1
                raise as_windows_says(32, path)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return names


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def put(out, **kind):
    with Staging(out, overwrite=True, **kind) as folder:
        for name in ("denoised.nii.gz", "tables/lesions.csv", "record.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")


@pytest.fixture
def old(tmp_path):
    put(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.*"):
        path.write_text("old")
    return contents(tmp_path / "out")


def test_a_virus_scanner_that_looks_into_a_new_file_is_waited_for(tmp_path, held, paused):
    held.update({"denoised.nii.gz": 4, "lesions.csv": 1})
    put(tmp_path / "out", last="record.json")
    assert set(contents(tmp_path / "out").values()) == {"new"} and 0 < sum(paused) < moving.PATIENCE_S


def test_a_result_is_kept_where_a_spreadsheet_has_a_table_of_the_old_one_open(tmp_path, old, held, paused):
    held["lesions.csv"] = 1000
    with pytest.raises(OutputError, match=r"lesions\.csv cannot be written: another program has it open") as caught:
        put(tmp_path / "out", last="record.json")
    assert "whole new result is in the folder new-results" in caught.value.remedy
    kept = contents(tmp_path / "out" / "new-results")
    assert kept == dict.fromkeys(old, "new")
    assert {name: text for name, text in contents(tmp_path / "out").items() if not name.startswith("new-")} == old
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "denoised.nii.gz", "new-results", "record.json", "tables"]  # fmt: skip
    with pytest.raises(OutputError, match="new-results-2"):
        put(tmp_path / "out", last="record.json")


def test_of_a_single_image_nothing_is_kept(tmp_path, old, held, paused):
    held["lesions.csv"] = 1000
    with pytest.raises(OutputError, match="Close it there"):
        put(tmp_path / "out")
    assert contents(tmp_path / "out") == old


def test_a_refusal_for_good_is_not_waited_for(tmp_path, monkeypatch, paused):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "no", str(target))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"no permission to write\. Choose"):
        put(tmp_path / "out", last="record.json")
    assert not paused


def test_results_have_the_rights_of_their_folder(tmp_path):
    """Files keep those of the folder that they were made in when they are moved on Windows."""
    (tmp_path / "usual").mkdir()
    with Staging(tmp_path) as folder:
        assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_table_that_is_open_is_told_before_the_work(tmp_path, monkeypatch):
    low, out, real = blobs().noisy, tmp_path / "out", Path.open
    petdiffusion.denoise(low, "gaussian", out=out)

    def open_(self, mode="r", *more, **named):
        if mode == "r+b" and self.name == "image.csv":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", open_)
    petdiffusion.denoise(low, "gaussian", out=out, overwrite=True)  # elsewhere it is nobody's business
    monkeypatch.setattr(moving, "sys", SimpleNamespace(platform="win32"))
    run = Run()
    with pytest.raises(OutputError, match=r"image\.csv cannot be replaced: another program has it open"):
        petdiffusion.denoise(low, "gaussian", out=out, overwrite=True, run=run)
    assert "denoise" not in run.seconds


def test_a_path_that_is_too_long_for_windows_is_called_so(monkeypatch):
    error = FileNotFoundError(errno.ENOENT, "The system cannot find the path specified")
    assert "too long" not in reasons.why(error, "p" * 240)[0]
    monkeypatch.setattr(reasons, "sys", SimpleNamespace(platform="win32"))
    assert "too long" in reasons.why(error, "p" * 240)[0] and "too long" not in reasons.why(error, "p" * 40)[0]


def test_all_files_go_into_place_in_that_way():
    by_hand = [path.name for path in PACKAGE.rglob("*.py")
               if re.search(r"os\.(replace|rename)\(|\b(aside|part)\.(replace|rename)\(", path.read_text("utf-8"))]
    assert sorted(by_hand) == ["moving.py", "sealed.py"]  # the second one asks first whether it lies there already
