"""How much of the scan's average within the MR's tissues belongs into a regression's image, by held-out patients.

    python Resources/training/csrd_stack.py --data VALIDATION [--regression unet3d-brain] [--card csrd-brain.json]

For every scan of the data set: the width of its edges, and the weight that leaves the least squared error to the
normal-dose image in the body. Scans fall into groups by width where there is a gap; each group has one point, its
middle width and the weight that is best for all its scans. With --card they are written into its configuration.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion import read, suv  # noqa: E402
from petdiffusion.infer import residual, tissue  # noqa: E402
from petdiffusion.infer.regression import named, regress  # noqa: E402
from petdiffusion.methods.csrd.config import CsrdConfig  # noqa: E402
from petdiffusion.phantoms.splits import split_of_row  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import Volume  # noqa: E402

GAP_MM = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--regression", default="unet3d-brain")
    parser.add_argument("--card", type=Path)
    args = parser.parse_args()
    found = points(list(scans(args.data, args.regression)))
    print(json.dumps(found))
    if args.card:
        write(args.card, stack=found)


def scans(data: Path, regression: str) -> Iterator[tuple[float, float, float]]:
    """Width, and the sums whose quotient is the best weight."""
    model = named(regression)
    network = residual.load_network(model)
    for row, low, normal in held_out(data):
        case = preparing.build(low, mr=read.image(data / row["mr"], "mr"))
        seen = residual.residual_case(case, model.card.config["base"], model.card.config["base_fwhm_mm"])
        image = seen.restored(regress(network, seen.conditions, case.body, Run()).image)
        width = tissue.scan_width(case, image)
        toward, wanted = ((a - image)[case.body].astype(np.float64)
                          for a in (tissue.averaged(case, Run()), normal.array))  # fmt: skip
        if width is not None:
            both, own = float((toward * wanted).sum()), float((toward * toward).sum())
            print(f"{row['id']}: edges {width:.2f} mm, weight {both / own:.3f}", flush=True)
            yield width, both, own


def held_out(data: Path) -> Iterator[tuple[dict[str, str], Volume, Volume]]:
    """Rows of a data set with their low and normal doses; all of it has to be validation patients."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if split_of_row(row) != "validation":
            raise SystemExit(f"{row['id']} is not a validation patient: weights are learnt on held-out patients alone.")
        low, normal = (suv.to_suv(read.image(data / row[name], name)) for name in ("pet", "reference"))
        yield row, low, normal


def points(found: list[tuple[float, float, float]]) -> list[list[float]]:
    found = sorted(found)
    starts = [0, *(i for i in range(1, len(found)) if found[i][0] - found[i - 1][0] > GAP_MM), len(found)]
    groups = [np.array(found[a:b]) for a, b in pairwise(starts)]
    return [[round(float(np.median(g[:, 0])), 2), round(float(np.clip(g[:, 1].sum() / g[:, 2].sum(), 0, 1)), 3)]
            for g in groups]  # fmt: skip


def write(path: Path, **changes: Any) -> None:
    """The card as it was, with these changes of its configuration."""
    card = json.loads(path.read_text(encoding="utf-8"))
    card["config"] = CsrdConfig.from_json({**card["config"], **changes}).to_json()
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


if __name__ == "__main__":
    main()
