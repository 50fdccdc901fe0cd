"""Training of the compact CLIP, the text encoder of text-ddpm; not a method, so `petdiffusion train` does not list it.

    python Resources/training/text_ddpm_clip.py --data DIR [DIR …] --steps N --out DIR
"""

from __future__ import annotations

import argparse

from petdiffusion.infer import device
from petdiffusion.methods.text_ddpm.clip_task import ClipTask
from petdiffusion.progress import Bar, Run
from petdiffusion.training.loop import train
from petdiffusion.training.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    device.prepare_process()
    settings = TrainSettings(steps=args.steps, batch=args.batch, learning_rate=1.5e-3, warmup_steps=50,
                             ema_decay=0.99, validate_every=100, checkpoint_minutes=1.5)  # fmt: skip
    task, run = ClipTask(), Run(report=Bar())
    train(task, task.load(args.data, settings, run), settings, args.out, run)


if __name__ == "__main__":
    main()
