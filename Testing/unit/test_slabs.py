"""Slabs of scans for calibration: those with lesions, on one grid, of every image alike."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from petdiffusion import read
from petdiffusion.volume import Geometry, LabelMap, Volume
from petdiffusion.write import images, labels

SCRIPT = Path(__file__).resolve().parents[2] / "Resources" / "training" / "slabs.py"
GEOMETRY = Geometry((6, 5, 40), (4.0, 4.0, 3.0), (1.0, 2.0, -50.0))


@pytest.fixture
def slabs():
    spec = importlib.util.spec_from_file_location("slabs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_slab_with_most_lesions_is_taken(slabs):
    lesions = np.zeros((40, 5, 6), np.int16)
    lesions[2:6, 0, 0] = 1
    lesions[25:28, 1, 1], lesions[27:29, 3, 3], lesions[30, 4, 4] = 2, 3, 4
    start = slabs.first_slice(lesions, 8)
    assert set(np.unique(lesions[start : start + 8])) == {0, 2, 3, 4}
    assert slabs.first_slice(np.zeros((40, 5, 6), np.int16), 8) == 15
    assert slabs.first_slice(lesions[:5], 8) == 0, "thinner than the slab"


def test_every_image_of_a_row_is_cut_alike_and_keeps_its_place(slabs, tmp_path, monkeypatch):
    pet = np.arange(6 * 5 * 40, dtype=np.float32).reshape(40, 5, 6)
    mask = np.zeros(pet.shape, np.int16)
    mask[20:24, 2, 2] = 1
    for name, values in (("low", pet), ("normal", pet + 1)):
        images.write(Volume(values, GEOMETRY, "SUVbw"), tmp_path / f"{name}.nii.gz")
    labels.write(LabelMap(mask, GEOMETRY, {1: "lesion 1"}), tmp_path / "lesions.nii.gz")
    (tmp_path / "m.csv").write_text("id,pet,ct,lesions,reference,fraction\na,low.nii.gz,ct.nii.gz,lesions.nii.gz,"
                                    "normal.nii.gz,0.1\n", encoding="utf-8")  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["slabs", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "o"),
                                      "--slices", "10"])  # fmt: skip
    slabs.main()
    row = next(csv.DictReader((tmp_path / "o" / "manifest.csv").open()))
    assert row["fraction"] == "0.1" and "ct" not in row
    low, normal = (read.image(tmp_path / "o" / row[kind], "pet") for kind in ("pet", "reference"))
    start = slabs.first_slice(mask, 10)
    np.testing.assert_array_equal(low.array, pet[start : start + 10])
    np.testing.assert_array_equal(normal.array, low.array + 1)
    assert low.geometry.origin == pytest.approx((1.0, 2.0, -50.0 + 3.0 * start)) and low.unit == "SUVbw"
