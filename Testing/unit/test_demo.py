"""The demo on a small patient: its images stay, its run can be repeated, nothing of the user's is replaced."""

from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.cli import main
from petdiffusion.errors import Cancelled
from petdiffusion.phantoms import commands
from support.scans import write_patient


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A patient drawn in no time, under the names that `simulate patient` gives its files."""

    def simulate_patient(kind, seed, out, *, fractions, overwrite, run):
        for old in Path(out).glob("*.*"):
            if not old.name.startswith("low_"):
                old.unlink()
        given = write_patient(Path(out), seed)
        names = {"reference": "normal", "labels": "organs", "ct": "ct", "lesions": "lesions"}
        files = {new: given[old] for old, new in names.items()}
        for fraction in fractions[1:]:
            for suffix in (".nii.gz", ".json"):
                Path(given["pet"].replace(".nii.gz", suffix)).replace(Path(out) / f"low_{fraction:g}{suffix}")
            files[f"low_{fraction:g}"] = str(Path(out) / f"low_{fraction:g}.nii.gz")
        (Path(out) / "patient.json").write_text("{}")
        return files

    monkeypatch.setattr(commands, "simulate_patient", simulate_patient)


def demo(out, *more):
    return main(["demo", "--method", "gaussian", "--out", str(out), *more])


def test_the_patient_stays_and_the_run_can_be_repeated(tmp_path, capsys):
    assert demo(tmp_path / "demo") == 0
    assert f"patient        {tmp_path / 'demo' / 'patient'}" in capsys.readouterr().out
    assert main(["rerun", str(tmp_path / "demo"), "--out", str(tmp_path / "again")]) == 0
    first, again = (read.image(tmp_path / name / "denoised.nii.gz").array for name in ("demo", "again"))
    np.testing.assert_array_equal(first, again)


def test_a_second_demo_replaces_the_first_and_its_scan_at_another_dose(tmp_path):
    assert demo(tmp_path / "demo") == 0
    assert demo(tmp_path / "demo", "--fraction", "0.25") == 0
    assert sorted(p.name for p in (tmp_path / "demo" / "patient").glob("low_*")) == ["low_0.25.json", "low_0.25.nii.gz"]


def test_an_unknown_method_is_refused_before_a_patient_is_drawn(tmp_path):
    assert demo(tmp_path / "demo", "--method", "gausian") == 1
    assert not (tmp_path / "demo").exists()


def test_a_demo_that_was_stopped_can_be_started_again(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise Cancelled()

    with monkeypatch.context() as patch:
        patch.setattr("petdiffusion.run.denoise", stop)
        assert demo(tmp_path / "demo") == 130
    assert demo(tmp_path / "demo") == 0


def test_a_folder_of_the_users_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert demo(tmp_path) == 1 and "Choose an empty folder" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_result_of_the_users_is_left_alone_too(tmp_path, capsys):
    """A record of a run and even a folder `patient` are no demo; only a demo of a digital patient is replaced."""
    out = tmp_path / "mine"
    pet = write_patient(tmp_path / "p")["pet"]
    assert main(["denoise", pet, "--method", "median", "--out", str(out), "--quiet"]) == 0
    before = (out / "record.json").read_bytes()
    capsys.readouterr()
    assert demo(out) == 1 and "Choose an empty folder" in capsys.readouterr().err
    assert (out / "record.json").read_bytes() == before and not (out / "patient").exists()


def test_a_result_beside_a_digital_patient_of_the_users_is_left_alone(tmp_path, capsys):
    """As somebody has it who called `simulate patient --out patient` and worked in the folder above."""
    commands.simulate_patient("body", 1, tmp_path / "patient", fractions=(1.0, 0.1), overwrite=False, run=None)
    pet = write_patient(tmp_path / "p")["pet"]
    assert main(["denoise", pet, "--method", "median", "--out", str(tmp_path / "o"), "--quiet"]) == 0
    (tmp_path / "o" / "record.json").replace(tmp_path / "record.json")
    assert demo(tmp_path) == 1 and "Choose an empty folder" in capsys.readouterr().err


def test_a_result_put_over_the_demos_is_left_alone(tmp_path, capsys):
    pet = write_patient(tmp_path / "p")["pet"]
    assert demo(tmp_path / "o") == 0
    assert main(["denoise", pet, "--method", "median", "--out", str(tmp_path / "o"), "--overwrite", "--quiet"]) == 0
    assert demo(tmp_path / "o") == 1 and "Choose an empty folder" in capsys.readouterr().err
