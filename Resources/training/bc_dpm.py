"""The commands that made the bundled model of BC-DPM; run again, they go on where they were stopped.

    python Resources/training/bc_dpm.py --work DIR --real SCANS            prints them
    python Resources/training/bc_dpm.py --work DIR --real SCANS --run      runs them; the model appears in DIR/models

An hour of training on one thread, beside the time that the digital patients take. Normal-dose images alone are read:
the low-count ones of the data sets are there for other methods. Without `--real` no real scan is learnt from.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
ID = "bc-dpm"
_BRAIN = ("--kind", "brain", "--fraction", "0.25,0.1667,0.125", "--tracer", "FDG,DASB")
_BODY = ("--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset")
DATA = {
    "body-train": ("24", *_BODY, "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery"),
    "body-valid": ("6", *_BODY, "mCT,Vision,Quadra", "--split", "validation"),
    "brain-train": ("24", *_BRAIN),
    "brain-valid": ("8", *_BRAIN, "--split", "validation"),
}
SETTINGS = ("batch=12", "patch=72", "warmup_steps=100", "learning_rate=1.5e-3", "ema_decay=0.998", "validate_every=500")
CHANGES = ("late=420", "late_share=0.8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, training and model")
    parser.add_argument("--real", type=Path, help="folder of real scans")
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.work, args.real):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


def commands(work: Path, real: Path | None = None) -> list[list[str]]:
    data, training = work / "data", work / "bc-dpm"
    made = [[*PROGRAM, "simulate", "dataset", "--n", *words, "--workers", "2", "--out", str(data / name)]
            for name, words in DATA.items()]  # fmt: skip
    sets = [str(data / name) for name in DATA]
    if real is not None:
        made.append([sys.executable, str(HERE / "real_scans.py"), str(real), str(data / "real")])
        sets.append(str(data / "real"))
    train = [*PROGRAM, "train", "bc-dpm", "--data", *sets, "--minutes", "58"]
    train += [word for setting in SETTINGS for word in ("--set", setting)]
    train += [word for change in CHANGES for word in ("--change", change)]
    export = [*PROGRAM, "export", "--overwrite", str(training), "--id", ID, "--facts",
              str(HERE / "bc-dpm.json"), "--out"]  # fmt: skip
    return [*made, [*train, "--out", str(training)], [*export, str(work / "models")]]


if __name__ == "__main__":
    main()
