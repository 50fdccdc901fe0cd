"""The commands that made the bundled models of uPETe; run again, they go on where they were stopped.

    python Resources/training/upete.py --work DIR            prints them
    python Resources/training/upete.py --work DIR --run      runs them; the model appears in DIR/models
    python Resources/training/upete.py --work DIR --f 4      those of the model with f = 4

The bundled upete-body then went on for five minutes on a GPU: `together.py draw --patients 24`, `together.py train
--only upete-longer --minutes 5.2`. Normal-dose images and their CTs alone are read: the low-count ones of the data sets
are there for other methods. Their noise is drawn once and kept in the cache. `--minutes` is for the autoencoder and for
the diffusion of f = 2; those of f = 4 are counted in steps.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
_BODY = ("--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset")
DATA = {
    "body-train": ("24", *_BODY, "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery"),
    "body-valid": ("6", *_BODY, "mCT,Vision,Quadra", "--split", "validation"),
}
AE = ("batch=2", "patch=32", "learning_rate=2e-3", "warmup_steps=5", "ema_decay=0.95")
LATENT = ("patch=32", "learning_rate=3e-3")
MODELS = {
    2: ("upete-body", (("autoencoder", AE), ("compact", (*LATENT, "batch=4", "warmup_steps=10", "ema_decay=0.97")))),
    4: ("upete-body-f4", (("f4-autoencoder", AE),
                          ("f4", (*LATENT, "batch=8", "warmup_steps=20", "ema_decay=0.995")))),
}  # fmt: skip
MATCH = "match=0.9"
"""On the cards: found on validation scans of f = 2."""
STEPS = {"f4-autoencoder": 240, "f4": 3000}


def commands(work: Path, f: int, minutes: tuple[float, float]) -> list[list[str]]:
    found = [[*PROGRAM, "simulate", "dataset", "--n", n, *rest, "--out", str(work / name)]
             for name, (n, *rest) in DATA.items()]  # fmt: skip
    data, begin = ["--data", *(str(work / name) for name in DATA)], []
    id_, stages = MODELS[f]
    for (config, settings), spent in zip(stages, minutes):
        length = ["--steps", str(STEPS[config])] if config in STEPS else ["--minutes", str(spent)]
        change = ["--change", MATCH] if begin else []
        chosen = [word for setting in settings for word in ("--set", setting)]
        found.append([*PROGRAM, "train", "upete", "--config", config, *begin, *data, *change, *length, *chosen,
                      "--out", str(work / config)])  # fmt: skip
        begin = ["--from", str(work / config)]
    found.append([*PROGRAM, "export", "--overwrite", begin[1], "--id", id_, "--facts",
                  str(HERE / f"{id_}.json"), "--out", str(work / "models")])  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--f", type=int, choices=tuple(MODELS), default=2, help="compression")
    parser.add_argument("--minutes", nargs=2, type=float, default=(20.0, 60.0), metavar=("AUTOENCODER", "DIFFUSION"))
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.work, args.f, tuple(args.minutes)):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
