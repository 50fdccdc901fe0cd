"""The commands that made the bundled models of CSRD and of the 3D U-net; run again, they go on where they were stopped.

    python Resources/training/csrd.py brain --work DIR            prints them
    python Resources/training/csrd.py brain --work DIR --run      runs them; models appear in DIR/models
    python Resources/training/csrd.py body --work DIR --real SCANS

Hours on two cores. `--real` adds real scans with simulated low counts (see real_scans.py).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
DATA = {
    "brain": {"kind": "brain", "tracer": "FDG,DASB", "fraction": "0.25,0.1667,0.125"},
    "body": {"kind": "body", "preset": "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery", "fraction": "0.25,0.1,0.05"},
}
VALIDATION = {"body": {"preset": "mCT,Vision,Quadra"}}
PATIENTS = {"brain": (24, 8), "body": (24, 6)}
"""For training and validation; of these scanners and tracers, dealt out in turn."""
STEPS = {"unet-3d": 2600, "csrd": 3600}
SETTINGS = ["--set", "batch=4", "--set", "validate_every=400"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("region", choices=tuple(DATA))
    parser.add_argument("--work", type=Path, required=True, help="folder for data, trainings and models")
    parser.add_argument("--real", type=Path, help="folder of real scans, for the body")
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.region, args.work, args.real):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


def commands(region: str, work: Path, real: Path | None = None) -> list[list[str]]:
    data = {split: work / "data" / f"{region}-{split}" for split in ("train", "validation")}
    made = [dataset(region, split, n, data[split]) for split, n in zip(data, PATIENTS[region])]
    used = [str(folder) for folder in data.values()]
    if real is not None:
        made.append([sys.executable, str(HERE / "real_scans.py"), str(real), str(work / "data" / "real")])
        used.append(str(work / "data" / "real"))
    regression, diffusion = work / f"unet3d-{region}", work / f"csrd-{region}"
    return [
        *made,
        train("unet-3d", used, regression),
        train("csrd", used, diffusion, "--from", str(regression)),
        export(regression, work / "models"),
        export(diffusion, work / "models"),
    ]


def dataset(region: str, split: str, n: int, out: Path) -> list[str]:
    changed = VALIDATION.get(region, {}) if split == "validation" else {}
    options = [word for name, value in {**DATA[region], **changed}.items() for word in (f"--{name}", value)]
    return [*PROGRAM, "simulate", "dataset", "--n", str(n), "--split", split, *options, "--workers", "2",
            "--out", str(out)]  # fmt: skip


def train(method: str, data: list[str], out: Path, *more: str) -> list[str]:
    length = ["--steps", str(STEPS[method])]
    return [*PROGRAM, "train", method, "--data", *data, *length, *more, *SETTINGS, "--out", str(out)]


def export(training: Path, out: Path) -> list[str]:
    facts = HERE / f"{training.name}.json"
    return [*PROGRAM, "export", str(training), "--id", training.name, "--facts", str(facts), "--out", str(out)]


if __name__ == "__main__":
    main()
