"""AMDiff's training on a CPU, and the search for what is called a lesion.

    python Resources/training/amdiff.py --work DIR                prints the commands
    python Resources/training/amdiff.py --work DIR --run          runs them; the model appears in DIR/models
    python Resources/training/amdiff.py --work DIR --go-on MODEL --real SCANS --run
                                                                  goes on from a model of together.py, with real scans
    python Resources/training/amdiff.py --search MODEL --data DIR  threshold and smallest volume on validation patients
    python Resources/training/amdiff.py --variant no-revision ...  an ablation of the paper's Table 4
    python Resources/training/amdiff.py --variant separate ...     nnMamba and Med-DDPM, neither learning from the other

`--real` adds real scans with simulated low counts (see real_scans.py). What the search found is written into the
model's card with --write; the weights stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROGRAM = [sys.executable, "-m", "petdiffusion"]
BODY = ["--kind", "body", "--fraction", "0.25,0.1,0.05", "--preset"]
SETTINGS = {"batch": 4, "warmup_steps": 60, "ema_decay": 0.99, "validate_every": 200}
CHANGES = {"sigma_data": 1.1463, "warm_from": 0.02}
"""The denoiser begins as the bundled csrd-body, whose sigma_data this is, so it needs hardly any time alone."""
STEPS = 1200
ON = {**SETTINGS, "learning_rate": 3e-4, "warmup_steps": 15, "ema_decay": 0.98, "validate_every": 80}
ON_CHANGES, ON_STEPS = {"sigma_data": 1.1463, "warm_from": "null"}, 900
THRESHOLDS, SMALLEST_ML = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.15, 0.3, 0.5, 1.0)


def datasets(work: Path) -> Iterator[list[str]]:
    """What simulates the patients, unless they are there."""
    sets = [("body-valid", "mCT,Vision,Quadra", ["--n", "6", "--split", "validation"]),
            ("body-train", "mCT,Vision,mCT,DiscoveryST,Quadra,Discovery", ["--n", "24"])]  # fmt: skip
    for name, presets, more in sets:
        if not (work / name / "manifest.csv").is_file():
            yield [*PROGRAM, "simulate", "dataset", *BODY, presets, *more, "--out", str(work / name)]


def commands(work: Path, variant: str, real: str | None, go_on: str | None) -> Iterator[list[str]]:
    yield from datasets(work)
    method = "nnmamba" if variant == "separate" else "amdiff"
    config = "compact" if variant in ("", "separate") else f"compact-{variant}"
    id_ = "nnmamba-body" if variant == "separate" else "amdiff-body" + (f"-{variant}" if variant else "")
    data = [str(work / name) for name in ("body-train", "body-valid")] + ([real] if real else [])
    settings, changes, steps = (ON, ON_CHANGES, ON_STEPS) if go_on else (SETTINGS, CHANGES, STEPS)
    said = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    said += [part for name, value in changes.items() for part in ("--change", f"{name}={value}")]
    yield [*PROGRAM, "train", method, "--config", config, "--data", *data, "--steps", str(steps),
           "--from", go_on or "csrd-body", *said, "--out", str(work / id_)]  # fmt: skip
    facts = HERE / ("nnmamba-body.json" if variant == "separate" else "amdiff-body.json")
    yield [*PROGRAM, "export", "--overwrite", str(work / id_), "--id", id_, "--facts", str(facts), "--out",
           str(work / "models")]  # fmt: skip


def search(model: str, data: Path) -> list[dict[str, Any]]:
    """Mean Dice over scans with lesions and false positives a scan, for every threshold and smallest volume, with the
    network's borders, with those by contrast, and with what stands alone of these."""
    import numpy as np
    from petdiffusion import read
    from petdiffusion.measure.segmentation import detection, dice
    from petdiffusion.methods.amdiff import after
    from petdiffusion.methods.amdiff.borders import by_contrast
    from petdiffusion.methods.amdiff.masks import lesions_of
    from petdiffusion.prepare import case as preparing
    from petdiffusion.progress import Run
    from petdiffusion.registry import card
    from petdiffusion.zoo import store

    kept: dict[str, np.ndarray] = {}
    usual, segmented = after.masks_of, after.After.segmented

    def keep(probabilities, case, *more):
        """The segmenter runs once a scan; every setting is tried on what it said."""
        kept["lesion"] = probabilities[0] * case.body
        return usual(probabilities, case, *more)

    def keep_image(self, revised):
        kept["image"] = revised
        return segmented(self, revised)

    after.masks_of, after.After.segmented = keep, keep_image
    method, found = card(store.find(model).card.method), {}
    for row in csv.DictReader((data / "manifest.csv").open()):
        pet = read.image(data / row["pet"])
        truth = read.labels(data / row["lesions"], allow_empty=True).array > 0
        ct = read.image(data / row["ct"], "ct") if "ct" in store.find(model).card.needs else None
        method.load()(preparing.build(pet, ct), method.resolve({"samples": 0}), Run(model=model))
        for at, least in product(THRESHOLDS, SMALLEST_ML):
            lesions = lesions_of(kept["lesion"], at, least, pet.geometry.voxel_ml)
            drawn = {"network": lesions}
            for how, alone in (("contrast", False), ("contrast, alone", True)):
                drawn[how] = by_contrast(lesions, kept["image"], pet.geometry, alone).lesions
            for how, marked in drawn.items():
                every = detection(marked > 0, truth, pet.geometry.voxel_ml)[-1]
                found.setdefault((how, at, least), []).append((dice(marked > 0, truth), every["sensitivity"],
                                                               every["false_positives"]))  # fmt: skip
        print(row["id"], flush=True)
    rows = []
    for (how, at, least), values in found.items():
        dices, hits, false = (np.array([np.nan if v[i] is None else v[i] for v in values], float) for i in range(3))
        rows.append({"borders": how, "threshold": at, "smallest_ml": least, "Dice": float(np.nanmean(dices)),
                     "sensitivity": float(np.nanmean(hits)), "false_positives": float(false.mean())})  # fmt: skip
    return sorted(rows, key=lambda r: -r["Dice"])


def write(model: str, best: dict[str, Any]) -> None:
    """Into the model's card."""
    from petdiffusion.zoo import store

    file = store.find(model).weights.with_suffix(".json")
    card = json.loads(file.read_text())
    card["config"] |= {"threshold": best["threshold"], "smallest_ml": best["smallest_ml"]}
    found = {name: value if isinstance(value, str) else round(value, 3) for name, value in best.items()}
    card.setdefault("results", {})["lesions on digital validation patients"] = found
    file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--variant", default="")
    parser.add_argument("--real")
    parser.add_argument("--go-on", metavar="MODEL")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--search", metavar="MODEL")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.search:
        rows = search(args.search, args.data)
        for how in dict.fromkeys(row["borders"] for row in rows):
            for row in [r for r in rows if r["borders"] == how][:12]:
                print({k: v if isinstance(v, str) else round(v, 3) for k, v in row.items()})
        if args.write:
            write(args.search, next(row for row in rows if row["borders"] == "contrast, alone"))
        return
    for command in commands(args.work, args.variant, args.real, args.go_on):
        print(shlex.join(command))
        if args.run:
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
