"""Table 4 of AMDiff: the model and its four ablations, trained alike, for the comparison alone. None is bundled.

    python Resources/training/amdiff_ablations.py --work DIR            prints the commands
    python Resources/training/amdiff_ablations.py --work DIR --run      runs them; the models appear in DIR/models
    PETDIFFUSION_MODELS=DIR/models petdiffusion bench amdiff --only table4-mct

All five begin as csrd-body (the denoiser; revision and segmenter begin at nothing) and see the same patches in the
same order. They are short trainings of smaller patches, so that anyone can repeat them. The bundled model was trained
much longer, so it is no fair partner; `complete` is. `--steps` makes them longer.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from amdiff import CHANGES, HERE, PROGRAM, SETTINGS, datasets

VARIANTS = ("complete", "no-revision", "no-organ-regulariser", "no-lesion-regulariser", "no-resmamba")
STEPS, PATCH = 800, 48
ALIKE = {**CHANGES, "threshold": 0.5, "smallest_ml": 0.3}
"""What is called a lesion is the bundled model's rule, in all of them."""


def commands(work: Path, variants: tuple[str, ...], steps: int) -> Iterator[list[str]]:
    yield from datasets(work)
    settings = {**SETTINGS, "patch": PATCH, "validate_every": max(steps // 4, 1)}
    said = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    said += [part for name, value in ALIKE.items() for part in ("--change", f"{name}={value}")]
    for variant in variants:
        config, id_ = "compact" if variant == "complete" else f"compact-{variant}", f"amdiff-body-{variant}"
        yield [*PROGRAM, "train", "amdiff", "--config", config, "--data", str(work / "body-train"),
               str(work / "body-valid"), "--steps", str(steps), "--from", "csrd-body", *said,
               "--out", str(work / id_)]  # fmt: skip
        yield [*PROGRAM, "export", "--overwrite", str(work / id_), "--id", id_,
               "--facts", str(HERE / "amdiff-ablations.json"), "--out", str(work / "models")]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    for command in commands(args.work, tuple(args.only.split(",")), args.steps):
        print(shlex.join(command), flush=True)
        if args.run:
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
