"""How well an organ's SUVmean is told by the mask that AMDiff draws, by the probability that its voxels must have.

    python Testing/benchmarks/organ_uptake.py MODEL MANIFEST [--organ aorta] [--at 0.4,0.5,0.6,0.7]

MANIFEST: digital patients with `labels`, `lesions` and `reference` (simulate dataset, or calibration.py). Truth is the
mean of the normal-dose scan in the true organ, without lesions. `most likely`: the mask as it is drawn without any
such probability. For the choice of `surely` in AMDiff's configuration take patients of the validation split.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from petdiffusion import read
from petdiffusion.measure.agreement import regression
from petdiffusion.measure.segmentation import dice
from petdiffusion.methods.amdiff import after
from petdiffusion.methods.amdiff.config import ORGANS
from petdiffusion.methods.amdiff.data import grouped
from petdiffusion.methods.amdiff.masks import organs_of
from petdiffusion.prepare import case as preparing
from petdiffusion.prepare.grids import resample_labels
from petdiffusion.progress import Run
from petdiffusion.registry import card
from petdiffusion.zoo import store

MOST_LIKELY = "most likely"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--organ", default="aorta", choices=ORGANS)
    parser.add_argument("--at", default="0.4,0.5,0.55,0.6,0.65,0.7")
    args = parser.parse_args()
    ways = {MOST_LIKELY: {}} | {at: {args.organ: float(at)} for at in args.at.split(",")}
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for row, output, (probabilities, inside) in _outputs(args.model, args.manifest):
        files = {column: args.manifest.parent / row[column] for column in ("labels", "lesions", "reference")}
        organs = grouped(resample_labels(read.labels(files["labels"]), output.pet.geometry))
        lesions = read.labels(files["lesions"], allow_empty=True).array > 0
        value = ORGANS.index(args.organ) + 1
        true = (organs == value) & ~lesions
        truth = float(read.image(files["reference"]).array[true].mean())
        for way, surely in ways.items():
            mask = (organs_of(probabilities, inside, surely) == value) & (output.lesions.array == 0)
            found[way].append((truth, float(output.pet.array[mask].mean()) if mask.any() else np.nan, dice(mask, true)))
        print(row["id"], flush=True)
    for way, values in found.items():
        truth, measured, dices = np.array(values).T
        slope, _, r2 = regression(measured, truth)
        error = 100 * (measured / truth - 1)
        print(f"{args.organ} from {way}: Dice {dices.mean():.3f}, SUVmean R2 {r2:.3f}, slope {slope:.2f}, error "
              f"{error.mean():+.1f} % (SD {error.std(ddof=1):.1f}, RMS {np.sqrt(np.mean(error**2)):.1f})")  # fmt: skip


def _outputs(model: str, manifest: Path) -> Iterator[tuple[dict[str, str], object, tuple[np.ndarray, np.ndarray]]]:
    """Each scan's result, with the organs' probabilities from which its masks were made."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    usual = after.masks_of

    def keep(probabilities, case, *more):
        kept[:] = [(probabilities[1:].copy(), case.body)]
        return usual(probabilities, case, *more)

    after.masks_of = keep
    known = store.find(model).card
    method = card(known.method)
    for row in csv.DictReader(manifest.open(encoding="utf-8-sig")):
        ct = read.image(manifest.parent / row["ct"], "ct") if "ct" in known.needs else None
        case = preparing.build(read.image(manifest.parent / row["pet"]), ct)
        yield row, method.load()(case, method.resolve({"samples": 0}), Run(model=model)), kept[0]


if __name__ == "__main__":
    main()
