"""Data sets on disk: whole patients or none, resumed where they were stopped, readable by batch and training."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.batch.manifest import read_manifest
from petdiffusion.errors import Cancelled, GeometryError, OptionError, OutputError, PhysicsError
from petdiffusion.phantoms import commands, dataset, recipe
from petdiffusion.phantoms.splits import split_of
from petdiffusion.progress import Run
from petdiffusion.write import tables
from petdiffusion.write.lock import alone_in
from support.cylinder import cylinder

SETTINGS = {"kinds": ("brain",), "fractions": (1.0, 0.25, 0.1)}


@pytest.fixture(autouse=True)
def quick_patients(monkeypatch):
    """Cylinders in the place of people; returns the seeds that were drawn."""
    drawn = []

    def draw(kind, seed, *, spacing_mm=None, tracer="FDG", lesions=None, run=None):
        drawn.append(seed)
        return cylinder(seed, kind, tracer, size=16, slices=4)

    monkeypatch.setattr(recipe, "patient_of", draw)
    monkeypatch.setattr(commands, "patient_of", draw)
    return drawn


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def arrays(folder: Path) -> dict[str, np.ndarray]:
    import nibabel

    return {str(f.relative_to(folder)): np.asarray(nibabel.load(f).dataobj) for f in sorted(folder.rglob("*.nii.gz"))}


def test_a_row_for_each_reduced_dose_and_every_file_is_there(tmp_path) -> None:
    made = dataset.make(tmp_path / "set", 3, split="mixed", **SETTINGS)
    rows = tables.read_csv(made["manifest"])
    assert len(rows) == 6 and {row["fraction"] for row in rows} == {0.25, 0.1}
    for row in rows:
        assert row["split"] == split_of(row["seed"])
        for column in ("pet", "ct", "mr", "labels", "lesions", "reference", "truth"):
            assert not Path(row[column]).is_absolute() and (tmp_path / "set" / row[column]).is_file()
        low = read.image(tmp_path / "set" / row["pet"])
        assert low.facts.dose_fraction == row["fraction"] and low.unit == "SUVbw"
    assert "digital" in (tmp_path / "set" / "README.md").read_text()


def test_batch_reads_the_manifest(tmp_path) -> None:
    made = dataset.make(tmp_path / "set", 2, **SETTINGS)
    cases = read_manifest(made["manifest"])
    assert [case.id for case in cases] == [f"brain-00000{n}-{f}" for n in (0, 1) for f in (0.25, 0.1)]
    assert all(Path(path).is_file() for case in cases for path in case.images.values())
    assert set(cases[0].images) == {"pet", "ct", "mr", "labels", "lesions", "reference"}


def test_patients_of_different_splits_are_never_the_same(tmp_path, quick_patients) -> None:
    for split in ("train", "validation", "test"):
        dataset.make(tmp_path / split, 2, split=split, kinds=("brain",), fractions=(0.5,))
    assert len(set(quick_patients)) == 6
    assert [split_of(seed) for seed in quick_patients] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2


def test_an_interrupted_data_set_goes_on_and_ends_the_same(tmp_path, quick_patients, monkeypatch) -> None:
    whole = tmp_path / "whole"
    dataset.make(whole, 4, **SETTINGS)
    quick_patients.clear()
    write, stopped = dataset.write_scan, tmp_path / "stopped"

    def dies(scanned, folder):
        write(scanned, folder)
        if scanned.patient.seed == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "write_scan", dies)
    with pytest.raises(KeyboardInterrupt):
        dataset.make(stopped, 4, **SETTINGS)
    monkeypatch.setattr(dataset, "write_scan", write)
    assert sorted(f.name for f in stopped.iterdir() if f.is_dir()) == ["brain-000000", "brain-000001"]
    before = (stopped / "brain-000001" / "normal.nii.gz").stat().st_mtime_ns
    quick_patients.clear()
    dataset.make(stopped, 4, **SETTINGS)
    assert quick_patients == [2, 3]
    assert (stopped / "brain-000001" / "normal.nii.gz").stat().st_mtime_ns == before
    one, other = arrays(whole), arrays(stopped)
    assert one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)
    assert (whole / "manifest.csv").read_text() == (stopped / "manifest.csv").read_text()


def test_what_a_killed_process_left_is_removed(tmp_path) -> None:
    out = tmp_path / "set"
    dataset.make(out, 1, **SETTINGS)
    left = out / ".part-brain-000001-999999999"
    left.mkdir()
    (left / "normal.nii.gz").write_text("half")
    dataset.make(out, 2, **SETTINGS)
    assert not left.exists() and (out / "brain-000001" / "patient.json").exists()


def test_a_data_set_may_grow_but_not_change(tmp_path, quick_patients) -> None:
    out = tmp_path / "set"
    dataset.make(out, 2, **SETTINGS)
    dataset.make(out, 3, **SETTINGS)
    assert quick_patients == [0, 1, 2]
    before = contents(out)
    for change in ({"fractions": (0.5,)}, {"split": "test"}, {"presets": ("HRRT",)}, {"first_seed": 5}):
        with pytest.raises(OutputError, match="was begun with"):
            dataset.make(out, 3, **{**SETTINGS, **change})
    with pytest.raises(OutputError, match="patients = 3, not 2"):
        dataset.make(out, 2, **SETTINGS)
    assert contents(out) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(OutputError, match="no data set"):
        dataset.make(tmp_path, 1, **SETTINGS)
    assert contents(tmp_path) == {"thesis.txt": b"do not touch"}


def test_a_cancel_leaves_no_half_patient(tmp_path) -> None:
    run = Run(cancelled=threading.Event())
    write = dataset.write_scan

    def and_cancel(scanned, folder):
        run.cancelled.set()
        return write(scanned, folder)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cancelled):
        patch.setattr(dataset, "write_scan", and_cancel)
        dataset.make(tmp_path / "set", 2, run=run, **SETTINGS)
    assert [f.name for f in (tmp_path / "set").iterdir()] == ["dataset.json"]


def test_tracers_and_scanners_are_dealt_out_in_turn(tmp_path) -> None:
    dataset.make(tmp_path / "set", 4, kinds=("brain",), tracers=("FDG", "DASB"), presets=("mCT", "vision"),
                 fractions=(0.5,))
    rows = tables.read_csv(tmp_path / "set" / "manifest.csv")
    assert [(row["tracer"], row["preset"]) for row in rows] == [("FDG", "mCT"), ("DASB", "mCT"), ("FDG", "Vision"),
                                                                ("DASB", "Vision")]


def test_progress_tells_the_time_left(tmp_path) -> None:
    events = []
    dataset.make(tmp_path / "set", 3, run=Run(report=events.append), **SETTINGS)
    fractions = [e["fraction"] for e in events if e["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) == 3


@pytest.mark.parametrize(("error", "change"), [
    (PhysicsError, {"fractions": (0.0,)}), (PhysicsError, {"fractions": (2.0,)}), (OptionError, {"fractions": (1.0,)}),
    (OptionError, {"kinds": ("foot",)}), (PhysicsError, {"presets": ("ct",)}), (OptionError, {"split": "all"}),
    (OptionError, {"kinds": ("body",), "tracers": ("DASB",)}), (GeometryError, {"spacing_mm": 0.0}),
    (OptionError, {"kinds": ("body",), "spacing_mm": 0.0}), (GeometryError, {"spacing_mm": float("nan")}),
    (GeometryError, {"kinds": ("body", "brain"), "spacing_mm": 10.0})])
def test_impossible_settings_are_refused_before_anything_is_written(tmp_path, error, change) -> None:
    with pytest.raises(error):
        dataset.make(tmp_path / "set", 2, **{**SETTINGS, **change})
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("make", [
    lambda out, doses: dataset.make(out, 1, **{**SETTINGS, "fractions": doses}),
    lambda out, doses: commands.simulate_patient("brain", 4, out, fractions=doses)])
def test_doses_that_would_be_one_file_are_refused(tmp_path, make) -> None:
    with pytest.raises(OptionError, match=r"0\.3333333 and 0\.3333334: would both be named 0\.333333"):
        make(tmp_path / "set", (1.0, 0.3333333, 0.3333334))
    assert not (tmp_path / "set").exists()
    make(tmp_path / "set", (0.3333333, 0.25))
    assert len(list((tmp_path / "set").rglob("low_*.nii.gz"))) == 2


def test_a_second_run_in_the_folder_is_refused_while_the_first_is_at_work(tmp_path) -> None:
    dataset.make(tmp_path / "set", 1, **SETTINGS)
    before = contents(tmp_path / "set")
    for name in ("set", "new"):
        with alone_in(tmp_path / name), pytest.raises(OutputError, match="another simulation is at work in it"):
            dataset.make(tmp_path / name, 2, **SETTINGS)
    assert contents(tmp_path / "set") == before
    dataset.make(tmp_path / "set", 2, **SETTINGS)
    assert not list((tmp_path / "set").glob(".*"))


def test_what_a_killed_run_of_another_machine_left_is_removed_too(tmp_path) -> None:
    """Its number may be that of a process here: whoever holds the folder is alone in it all the same."""
    dataset.make(tmp_path / "set", 1, **SETTINGS)
    left = tmp_path / "set" / f".part-brain-000001-{os.getpid()}"
    left.mkdir()
    (left / "normal.nii.gz").write_text("half")
    dataset.make(tmp_path / "set", 2, **SETTINGS)
    assert not left.exists() and (tmp_path / "set" / "brain-000001" / "patient.json").exists()


def test_a_data_set_of_nobody_is_refused(tmp_path) -> None:
    with pytest.raises(OptionError):
        dataset.make(tmp_path / "set", 0, **SETTINGS)


def test_simulate_patient_writes_everything_once(tmp_path) -> None:
    files = commands.simulate_patient("brain", 4, tmp_path / "p", fractions=(1.0, 0.1))
    assert set(files) == {"normal", "truth", "ct", "mr", "low_0.1", "organs", "lesions", "patient"}
    assert all(Path(f).is_file() for f in files.values())
    known = json.loads(Path(files["patient"]).read_text())
    assert known["seed"] == 4 and known["split"] == "train" and known["lesions"][0]["organ"] == "water"
    with pytest.raises(OutputError, match="exists already"):
        commands.simulate_patient("brain", 5, tmp_path / "p", fractions=(1.0, 0.1))
    assert json.loads(Path(files["patient"]).read_text())["seed"] == 4
    commands.simulate_patient("brain", 5, tmp_path / "p", fractions=(1.0, 0.1), overwrite=True)
    assert json.loads(Path(files["patient"]).read_text())["seed"] == 5


def test_simulate_dose_keeps_grid_unit_and_total(tmp_path) -> None:
    made = commands.simulate_patient("brain", 4, tmp_path / "p", fractions=(1.0,))
    files = commands.simulate_dose(made["normal"], 0.2, 3, tmp_path / "low", ct=made["ct"], counts=1e6)
    normal, low = read.image(made["normal"]), read.image(files["low"])
    assert low.geometry.close_to(normal.geometry) and low.unit == normal.unit
    assert low.facts.dose_fraction == pytest.approx(0.2)
    assert low.array.sum() == pytest.approx(normal.array.sum(), rel=0.1)
    assert not np.array_equal(low.array, normal.array)
    again = commands.simulate_dose(made["normal"], 0.2, 3, tmp_path / "again", ct=made["ct"], counts=1e6)
    assert np.array_equal(read.image(again["low"]).array, low.array)


@pytest.mark.parametrize("fraction", [0.0, 1.2, -1.0])
def test_simulate_dose_refuses_impossible_fractions_before_it_reads(tmp_path, fraction) -> None:
    with pytest.raises(PhysicsError, match="fraction"):
        commands.simulate_dose(tmp_path / "is not there.nii.gz", fraction, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("counts", [0.0, -1e6, float("nan"), float("inf")])
def test_impossible_counts_are_refused_before_anything_is_read_or_drawn(tmp_path, quick_patients, counts) -> None:
    for simulate in (lambda: commands.simulate_dose(tmp_path / "is not there.nii.gz", 0.5, 1, tmp_path / "out",
                                                    counts=counts),
                     lambda: commands.simulate_patient("brain", 1, tmp_path / "out", counts=counts)):
        with pytest.raises(PhysicsError, match="counts"):
            simulate()
    assert not quick_patients and not (tmp_path / "out").exists()


def test_an_unknown_scanner_is_refused_before_anything_is_read(tmp_path) -> None:
    with pytest.raises(PhysicsError, match="Did you mean 'Vision'"):
        commands.simulate_dose(tmp_path / "is not there.nii.gz", 0.5, 1, tmp_path / "out", preset="Vison")


def test_simulate_dataset_is_make(tmp_path) -> None:
    made = commands.simulate_dataset(tmp_path / "set", 1, kind="brain", fractions=(0.5,), split="validation")
    assert tables.read_csv(made["manifest"])[0]["seed"] == 800_000
