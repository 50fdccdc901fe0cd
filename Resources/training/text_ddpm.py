"""The trainings behind text-ddpm and its compared methods; run again, they go on where they were stopped.

    python Resources/training/text_ddpm.py --work DIR                 prints the commands
    python Resources/training/text_ddpm.py --work DIR --run           all of them; models appear in DIR/models
    python Resources/training/text_ddpm.py --work DIR --run --only clip,text-ddpm

Data sets are made first if DIR does not hold them. The three denoisers are trained for the same number of steps, in
two parts: from nothing, and on from there at a lower rate. The second part of the two diffusion models spends more of
its steps on the mean than the first does, as the mean fell behind the U-net's, which learns nothing else.
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
CLIP_STEPS, STEPS, MORE_STEPS = 600, 1000, 700
MODELS = {"text-ddpm": "text-ddpm-body", "ddpm-2.5d": "ddpm-2.5d-body", "unet-2.5d": "unet-2.5d-body"}
SETTINGS = ("batch=8", "patch=96", "ema_decay=0.995", "validate_every=100", "checkpoint_minutes=2")
FIRST, MORE = ("learning_rate=1.5e-3",), ("learning_rate=8e-4", "warmup_steps=50", "seed=1")
MORE_CHANGES = {"text-ddpm": ("--change", "mean_share=0.7"), "ddpm-2.5d": ("--change", "mean_share=0.7")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data sets, where not DIR")
    parser.add_argument("--only", default=",".join(("clip", *MODELS)), help="clip and methods, in this order")
    parser.add_argument("--clip-steps", type=int, default=CLIP_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--more-steps", type=int, default=MORE_STEPS)
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
    """Trainings and export of one of them."""
    out, models = args.work / name, args.work / "models"
    if name == "clip":
        train = [sys.executable, HERE / "text_ddpm_clip.py", "--data", *data, "--steps", args.clip_steps, "--out", out]
        return [train, export(out, ENCODER, "pet-clip.json", models)]
    more = args.work / f"{name}-more"
    first = [*train_on(data, name, args.steps, FIRST), "--out", out]
    again = [*train_on(data, name, args.more_steps, MORE), *MORE_CHANGES.get(name, ()), "--from", out, "--out", more]
    return [first, again, export(more, MODELS[name], f"{name}.json", models)]


def train_on(data: list[Path], name: str, steps: int, settings: tuple[str, ...]) -> list[object]:
    words = [word for pair in (*SETTINGS, *settings) for word in ("--set", pair)]
    return [*PROGRAM, "train", name, "--data", *data, "--steps", steps, *words, "--quiet"]


def export(training: Path, id_: str, facts: str, models: Path) -> list[object]:
    return [*PROGRAM, "export", "--overwrite", training, "--id", id_, "--facts", HERE / facts, "--out", models]


if __name__ == "__main__":
    main()
