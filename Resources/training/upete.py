"""The commands that made the bundled model of uPETe; run again, they go on where they were stopped.

    python Resources/training/upete.py --work DIR            prints them
    python Resources/training/upete.py --work DIR --run      runs them; the model appears in DIR/models

Normal-dose images and their CTs alone are read: the low-count ones of the data sets are there for other methods. Their
noise is drawn once and kept in the cache. `--minutes` is for the autoencoder and for the diffusion.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
ID = "upete-body"
_BODY = ("--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset")
DATA = {
    "body-train": ("24", *_BODY, "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery"),
    "body-valid": ("6", *_BODY, "mCT,Vision,Quadra", "--split", "validation"),
}
SETTINGS = {
    "autoencoder": ("batch=2", "patch=32", "learning_rate=2e-3", "warmup_steps=5", "ema_decay=0.95"),
    "compact": ("batch=4", "patch=32", "learning_rate=3e-3", "warmup_steps=10", "ema_decay=0.97"),
}


def commands(work: Path, minutes: tuple[float, float]) -> list[list[str]]:
    found = [[*PROGRAM, "simulate", "dataset", "--n", n, *rest, "--out", str(work / name)]
             for name, (n, *rest) in DATA.items()]  # fmt: skip
    data = ["--data", *(str(work / name) for name in DATA)]
    for (config, settings), length in zip(SETTINGS.items(), minutes):
        begin = [] if config == "autoencoder" else ["--from", str(work / "autoencoder")]
        chosen = [word for setting in settings for word in ("--set", setting)]
        found.append([*PROGRAM, "train", "upete", "--config", config, *begin, *data, "--minutes", str(length), *chosen,
                      "--out", str(work / config)])  # fmt: skip
    found.append([*PROGRAM, "export", str(work / "compact"), "--id", ID, "--facts", str(HERE / "upete.json"), "--out",
                  str(work / "models")])  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--minutes", nargs=2, type=float, default=(20.0, 60.0), metavar=("AUTOENCODER", "DIFFUSION"))
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.work, tuple(args.minutes)):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
