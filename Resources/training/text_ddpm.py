"""The trainings behind text-ddpm and its compared methods; run again, they go on where they were stopped.

    python Resources/training/text_ddpm.py --work DIR                 prints the commands
    python Resources/training/text_ddpm.py --work DIR --run           all of them; models appear in DIR/models
    python Resources/training/text_ddpm.py --work DIR --run --only clip,text-ddpm

Data sets are made first if DIR does not hold them. The three denoisers are trained for the same number of steps.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
ENCODER = "pet-clip-compact"
_BODY = ("--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset", "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery")
DATA = {"body-train": ("--n", "24"), "body-valid": ("--n", "6", "--split", "validation")}
CLIP_STEPS, STEPS = 600, 1000
MODELS = {"text-ddpm": "text-ddpm-body", "ddpm-2.5d": "ddpm-2.5d-body", "unet-2.5d": "unet-2.5d-body"}
SETTINGS = ("batch=8", "patch=96", "learning_rate=1.5e-3", "ema_decay=0.995", "validate_every=100",
            "checkpoint_minutes=2")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data sets, where not DIR")
    parser.add_argument("--only", default=",".join(("clip", *MODELS)), help="clip and methods, in this order")
    parser.add_argument("--clip-steps", type=int, default=CLIP_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    data = [(args.data or args.work) / name for name in DATA]
    for command in made(data) + [c for name in args.only.split(",") for c in stage(name, args, data)]:
        print(shlex.join(map(str, command)), flush=True)
        if args.run:
            env = {**os.environ, "PETDIFFUSION_MODELS": str(args.work / "models")}
            subprocess.run([str(word) for word in command], check=True, env=env)


def made(data: list[Path]) -> list[list[object]]:
    return [[*PROGRAM, "simulate", "dataset", *DATA[folder.name], *_BODY, "--out", folder]
            for folder in data if not (folder / "manifest.csv").exists()]  # fmt: skip


def stage(name: str, args: argparse.Namespace, data: list[Path]) -> list[list[object]]:
    """Training and export of one of them."""
    out, models = args.work / name, args.work / "models"
    if name == "clip":
        train = [sys.executable, HERE / "text_ddpm_clip.py", "--data", *data, "--steps", args.clip_steps, "--out", out]
        return [train, export(out, ENCODER, "pet-clip.json", models)]
    settings = [word for pair in SETTINGS for word in ("--set", pair)]
    train = [*PROGRAM, "train", name, "--data", *data, "--steps", args.steps, *settings, "--quiet", "--out", out]
    return [train, export(out, MODELS[name], f"{name}.json", models)]


def export(training: Path, id_: str, facts: str, models: Path) -> list[object]:
    return [*PROGRAM, "export", training, "--id", id_, "--facts", HERE / facts, "--out", models]


if __name__ == "__main__":
    main()
