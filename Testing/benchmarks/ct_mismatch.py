"""How often a CT that fits is doubted, and one that does not is found: planted shifts of the CTs of a data set.

    python Testing/benchmarks/ct_mismatch.py --data DATASET

DATASET is what `petdiffusion simulate dataset --kind body` writes, or any manifest with `pet` and `ct`. Each CT is
moved along the body, or mirrored left to right. *Doubted* is the share of scans with any mark, then those of each
number.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion import read, suv  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.trust.quality import mismatch  # noqa: E402
from petdiffusion.volume import Volume  # noqa: E402

SHIFTS_MM = (0, 8, -8, 12, -12, 20, -20, 40, -40)
ITEMS = {"outlines": "outlines", "lung": "part of the CT's lung", "shift": "shift"}
"""By heading, how the items of quality control begin."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with manifest.csv, or a manifest")
    args = parser.parse_args()
    marks: dict[str, list[list[bool]]] = {}
    for row, folder in rows(args.data):
        pet = suv.to_suv(read.image(folder / row["pet"], "pet"))
        case = preparing.build(pet, ct=read.image(folder / row["ct"], "ct"))
        for name, ct in moved(case.ct):
            found = mismatch(pet, ct, case.body)
            by_item = [any(r["look"] for r in found if r["item"].startswith(item)) for item in ITEMS.values()]
            marks.setdefault(name, []).append(by_item)
    print(f"{'CT':>10}  scans  doubted  " + "  ".join(ITEMS))
    for name, found in marks.items():
        seen = np.array(found)
        print(f"{name:>10}  {len(seen):5d}  {seen.any(axis=1).mean():7.0%}  "
              + "  ".join(f"{share:{len(i)}.0%}" for i, share in zip(ITEMS, seen.mean(axis=0))))  # fmt: skip


def rows(data: Path) -> Iterator[tuple[dict[str, str], Path]]:
    manifest = data / "manifest.csv" if data.is_dir() else data
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            yield row, manifest.parent


def moved(ct: Volume) -> Iterator[tuple[str, Volume]]:
    for mm in SHIFTS_MM:
        array = np.roll(ct.array, round(mm / ct.geometry.spacing[2]), axis=0)
        yield f"{mm:+d} mm" if mm else "as it is", ct.with_array(array)
    yield "mirrored", ct.with_array(np.ascontiguousarray(ct.array[:, :, ::-1]))


if __name__ == "__main__":
    main()
