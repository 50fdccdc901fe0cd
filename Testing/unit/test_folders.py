"""What Finder and Explorer put into folders that are looked at changes nothing."""

from pathlib import Path, PurePosixPath

import pytest
from petdiffusion.batch import run_batch
from petdiffusion.demo import demo
from petdiffusion.errors import OutputError
from petdiffusion.phantoms import dataset
from petdiffusion.progress import Run
from petdiffusion.request import sha256_of
from petdiffusion.rerun import rerun
from petdiffusion.write import lock
from support import dicom_factory as factory

STRAYS = (".DS_Store", "._PT_0001.dcm", "Thumbs.db", "desktop.ini")


def look_into(folder, text="where its window was"):
    for name in STRAYS:
        (folder / name).write_text(text)


def test_a_dicom_scan_is_the_same_after_its_folder_was_looked_at(tmp_path):
    series = factory.pet(tmp_path / "scan", geometry=factory.grid((4, 16, 16))).folder
    (tmp_path / "cases.csv").write_text(f"id,pet\na,{series}\n")
    assert run_batch(tmp_path / "cases.csv", tmp_path / "out", "gaussian", report=False)[0]["status"] == "done"
    for text in ("once", "and again"):
        look_into(series, text)
        again = run_batch(tmp_path / "cases.csv", tmp_path / "out", "gaussian", report=False)
        assert [row["status"] for row in again] == ["done before"], again[0].get("error")
        rerun(tmp_path / "out" / "a")


def test_a_folder_is_known_by_its_files_in_one_order_on_every_system(tmp_path, monkeypatch):
    """Windows sorts paths without regard to capitals, and a record may be repeated elsewhere."""
    for name in ("B", "a", "c/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    here = sha256_of(tmp_path)
    monkeypatch.setattr(Path, "__lt__", lambda one, other: str(one).lower() < str(other).lower())
    monkeypatch.setattr(PurePosixPath, "__lt__", lambda one, other: str(one).lower() < str(other).lower())
    assert sha256_of(tmp_path) == here


@pytest.mark.parametrize("made", [demo, dataset._claim])
def test_a_folder_with_nothing_else_in_it_is_empty(tmp_path, made, monkeypatch):
    look_into(tmp_path)
    (tmp_path / lock.FILE).write_text("process 1")
    if made is demo:
        (tmp_path / lock.FILE).unlink()
        monkeypatch.setattr("petdiffusion.phantoms.commands.simulate_patient", beyond)
        with pytest.raises(Beyond):
            demo(tmp_path, "gaussian", 1, 0.1, Run())
    else:
        dataset._claim(tmp_path, {"split": "train", "patients": 1})
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(OutputError, match="holds"):
        demo(tmp_path, "gaussian", 1, 0.1, Run())


class Beyond(Exception):
    """Where a patient would be drawn."""


def beyond(*more, **named):
    raise Beyond
