"""Several trainings on one set of patients: what is kept on disk comes back as it was, and every training is known."""

from pathlib import Path

import numpy as np
import pytest
from petdiffusion.methods.amdiff.config import CONFIGS as AMDIFF_CONFIGS
from petdiffusion.methods.amdiff.task import AmdiffTask
from petdiffusion.methods.upete.config import CONFIGS as UPETE_CONFIGS
from petdiffusion.methods.upete.data import scan_of
from petdiffusion.progress import Run
from petdiffusion.training.settings import TrainSettings
from support.scans import small_patient
from support.tiny_bank import same, write_labelled


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "Resources" / "training"))
    import together

    return together


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled"))


def test_a_labelled_patient_comes_back(script, dataset, tmp_path):
    bank = AmdiffTask().load([dataset], TrainSettings(steps=1), Run())
    person = bank.train[0]
    script._write_labelled(person, tmp_path / "one.safetensors")
    back = script._read_labelled(tmp_path / "one.safetensors")
    kept = {name: image for name, image in person.patient.images.items() if name != "mr"}
    assert {"organs", "ct"} <= set(kept) and same(back.patient.images, kept)
    assert back.patient.id == person.patient.id and back.known == person.known
    np.testing.assert_array_equal(back.patient.body, person.patient.body)
    np.testing.assert_array_equal(back.patient.lesions, person.patient.lesions)
    assert len(back.patient.scans) == len(person.patient.scans) > 0
    for scan, other in zip(back.patient.scans, person.patient.scans):
        assert same(scan.images, other.images) and scan.numbers == pytest.approx(other.numbers)
    assert len(back.lesions) == len(person.lesions) > 0
    assert all(np.array_equal(a, b) for a, b in zip(back.lesions, person.lesions))
    assert not list(tmp_path.glob("*.partial"))


def test_a_normal_dose_scan_comes_back(script, tmp_path):
    patient = small_patient(1)
    lesions = np.argwhere(patient["lesions"].array > 0)
    scan = scan_of("p1", patient["reference"], patient["ct"], lesions, UPETE_CONFIGS["f4"])
    script._write_normal(scan, tmp_path / "one.safetensors")
    back = script._read_normal(tmp_path / "one.safetensors")
    assert same(back.images, scan.images) and back.id == "p1"
    assert back.own == pytest.approx(scan.own) and back.voxel_mm == pytest.approx(scan.voxel_mm)
    assert np.array_equal(back.body, scan.body) and np.array_equal(back.lesions, scan.lesions)


def test_validation_patients_come_first_and_no_seed_serves_twice(script):
    jobs = list(script._jobs(5))
    splits = [split for _, split, _ in jobs]
    assert splits == ["validation"] * script.VALIDATION_PATIENTS + ["train"] * 5
    assert len({job.seed for _, _, job in jobs}) == len(jobs)


def test_every_training_has_its_configuration(script):
    assert {f"compact-{name}" for name, model in script.AMDIFF.items() if not model} <= set(AMDIFF_CONFIGS)
    assert {config for pair in script.UPETE.values() for config in pair} <= set(UPETE_CONFIGS)
    for change in script.CHANGES:
        assert hasattr(AmdiffTask("compact", script.CHANGES).settings, change)
