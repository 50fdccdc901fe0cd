"""A bank of two small patients in memory, for tests of the training."""

from __future__ import annotations

import csv

import numpy as np
from petdiffusion.training.settings import TrainSettings
from petdiffusion.write import images, labels

from support.scans import small_patient


def write_dataset(folder, splits=("train", "train", "validation"), first=0):
    """Small patients on disk with a manifest such as `petdiffusion simulate dataset` writes; those of another `first`
    are others."""
    rows = []
    for number, split in enumerate(splits):
        patient = small_patient(first + number)
        place = folder / f"p{number}"
        place.mkdir(parents=True)
        for name in ("pet", "reference", "ct"):
            images.write(patient[name], place / f"{name}.nii.gz")
        labels.write(patient["lesions"], place / "lesions.nii.gz")
        rows.append({"id": f"p{number}", "pet": f"p{number}/pet.nii.gz", "reference": f"p{number}/reference.nii.gz",
                     "ct": f"p{number}/ct.nii.gz", "lesions": f"p{number}/lesions.nii.gz", "fraction": 0.1,
                     "split": split})  # fmt: skip
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_labelled(folder, unknown=()):
    """The same with organ labels, but for the patients of these numbers."""
    write_dataset(folder)
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    for number, row in enumerate(rows):
        row["labels"] = "" if number in unknown else f"p{number}/organs.nii.gz"
        labels.write(small_patient(number)["labels"], folder / f"p{number}/organs.nii.gz")
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def short(**changes) -> TrainSettings:
    """Of a training on them that takes seconds."""
    wanted = {"steps": 60, "batch": 2, "patch": 16, "validate_every": 20, "precision": "32-true",
              "learning_rate": 3e-3, "warmup_steps": 5}  # fmt: skip
    return TrainSettings(**{**wanted, **changes})


def same(a, b) -> bool:
    return set(a) == set(b) and all(np.array_equal(np.asarray(a[k]), np.asarray(b[k]), equal_nan=True) for k in a)
