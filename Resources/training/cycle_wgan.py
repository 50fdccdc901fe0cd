"""The model of CycleWGAN, which is not bundled, on slices at count levels as BC-DPM's paper makes them.

    python Resources/training/cycle_wgan.py --work DIR            draws the slices, and prints the commands
    python Resources/training/cycle_wgan.py --work DIR --run      runs them too; the model appears in DIR/models

Slices are those of `petdiffusion bench bc-dpm`, but of training and validation patients: 40 of each, at 1M, 0.3M and
0.1M counts. In its cache they are found again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from petdiffusion.bench import stacks
from petdiffusion.bench.papers.bc_dpm import table_1
from petdiffusion.phantoms.splits import seeds_of
from petdiffusion.progress import Run
from petdiffusion.write import tables

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
PATIENTS = {"train": 16, "validation": 4}
SETTINGS = ("batch=16", "patch=64")
STEPS = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the manifest, the training and the model")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    draw(args.work / "slices")
    for command in commands(args.work, args.steps):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


def draw(folder: Path) -> None:
    """A manifest of every patient's slices at every count level."""
    rows, table = [], table_1()
    for split, count in PATIENTS.items():
        for seed in seeds_of(split, count):
            place = stacks.ready(table, seed, Run())
            rows += [row(place, stacks.low_of(dose), f"body-{seed:06d}-{dose.label}", split, folder)
                     for dose in table.doses]  # fmt: skip
            print(rows[-1]["id"], split, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write_csv(rows, folder / "manifest.csv")


def row(place: Path, low: str, name: str, split: str, folder: Path) -> dict[str, object]:
    pet, reference = (Path(os.path.relpath(place / file, folder)).as_posix() for file in (low, stacks.NORMAL))
    return {"id": name, "pet": pet, "reference": reference, "split": split}


def commands(work: Path, steps: int) -> list[list[str]]:
    training = work / "cycle-wgan"
    train = [*PROGRAM, "train", "cycle-wgan", "--data", str(work / "slices"), "--steps", str(steps)]
    train += [word for setting in SETTINGS for word in ("--set", setting)]
    export = [*PROGRAM, "export", "--overwrite", str(training), "--id", "cycle-wgan", "--part", "generator.", "--facts",
              str(HERE / "cycle-wgan.json"), "--out", str(work / "models")]  # fmt: skip
    return [[*train, "--out", str(training)], export]


if __name__ == "__main__":
    main()
