"""What a model has seen: ranges of noise, activity and contrast over its training's scans, for the model's card.

    python Resources/training/seen.py --data DIR [DIR ...] [--normal] [--card FILE ...]

Prints the ranges over all low-dose scans of the data sets' manifests, and writes them into the cards given. With
--normal over the normal-dose scans and without noise, for models that never saw a low-dose scan.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from petdiffusion.infer.device import prepare_process

prepare_process()

from petdiffusion import read, registry, suv  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.zoo import domain  # noqa: E402
from petdiffusion.zoo.card import ModelCard  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--normal", action="store_true")
    parser.add_argument("--card", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    found = domain.seen(scans(args.data, "reference" if args.normal else "pet"))
    if args.normal:
        found.pop("noise_percent", None)
    ranges = {name: [float(f"{end:.3g}") for end in ends] for name, ends in found.items()}
    print(json.dumps(ranges))
    for card in args.card:
        write(card, ranges)


def scans(folders: list[Path], image: str) -> Iterator[dict[str, float]]:
    """Of each file once, as a reference belongs to several rows."""
    for folder in folders:
        with (folder / "manifest.csv").open(newline="", encoding="utf-8-sig") as stream:
            for file, unit in dict.fromkeys((row[image], row.get("unit") or None) for row in csv.DictReader(stream)):
                pet = suv.to_suv(read.image(folder / file, "pet", unit=unit))
                found = domain.numbers(preparing.build(pet))
                print(file, " ".join(f"{k} {v:.3g}" for k, v in found.items()), flush=True)
                if found:
                    yield found


def write(path: Path, ranges: dict[str, list[float]]) -> None:
    """The card as it was, with these ranges; checked as any card is. Its unit is nothing to a method that scales with
    the image."""
    card = json.loads(path.read_text(encoding="utf-8"))
    of_any_unit = registry.card(card["method"]).scale_equivariant
    card["seen"] = {name: ends for name, ends in ranges.items() if not (of_any_unit and name == "mean_suv")}
    ModelCard.from_json(card, path.name)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, path)


if __name__ == "__main__":
    main()
