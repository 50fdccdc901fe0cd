"""Real scans as a data set for `petdiffusion train`: each with low-count versions that a lower dose would have given.

    python Resources/training/real_scans.py SCANS OUT [--fractions 0.25,0.1] [--validation 2] [--first 0] [--last 27]

SCANS holds a folder per patient with pet_suv.nii.gz and, where there are any, ct_hu.nii.gz, t1.nii.gz and
tumour.nii.gz (the layout of the soft-tissue-sarcoma scans; see the page on digital patients for their source and
licence). Patients are taken by the number in the folder's name, the last ones of them for validation. Low counts are
simulated; the reference is the clinical scan with the noise of its own. Nothing is copied: OUT holds the low-count
images and a manifest.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from petdiffusion.phantoms.commands import simulate_dose
from petdiffusion.write import tables

OPTIONAL = {"ct": "ct_hu.nii.gz", "mr": "t1.nii.gz", "lesions": "tumour.nii.gz"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fractions", default="0.25,0.1")
    parser.add_argument("--preset", default="DiscoveryST", help="scanner whose noise texture the low counts get")
    parser.add_argument("--validation", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=28)
    args = parser.parse_args()
    folders = [f for f in sorted(args.scans.iterdir()) if args.first <= number(f) <= args.last]
    if not folders:
        sys.exit(f"{args.scans}: no folder there has a pet_suv.nii.gz and a number from {args.first} to {args.last} at "
                 "its name's end. Give the folder that holds the patients' folders.")  # fmt: skip
    rows = []
    for place, folder in enumerate(folders):
        split = "validation" if place >= len(folders) - args.validation else "train"
        for fraction in (float(part) for part in args.fractions.split(",")):
            rows.append(row(folder, args, fraction, split))
            print(rows[-1]["id"], split, flush=True)
    tables.write_csv(rows, args.out / "manifest.csv")


def number(folder: Path) -> int:
    """The patient's; -1 for folders that are no patient's."""
    digits = re.search(r"(\d+)$", folder.name)
    return int(digits.group(1)) if digits and (folder / "pet_suv.nii.gz").is_file() else -1


def row(folder: Path, args: argparse.Namespace, fraction: float, split: str) -> dict[str, object]:
    """Simulates one low-count scan, unless it is there already."""
    place = args.out / folder.name
    ct = folder / OPTIONAL["ct"]
    low = place / f"low_{fraction:g}.nii.gz"
    if not low.is_file():
        simulate_dose(folder / "pet_suv.nii.gz", fraction, number(folder), place, preset=args.preset,
                      ct=ct if ct.is_file() else None, unit="SUVbw", overwrite=True)  # fmt: skip
    there = {column: folder / name for column, name in OPTIONAL.items() if (folder / name).is_file()}
    known = {column: relative(file, args.out) for column, file in there.items()}
    return {"id": f"{folder.name}-{fraction:g}", "pet": relative(low, args.out),
            "reference": relative(folder / "pet_suv.nii.gz", args.out), **known, "fraction": fraction, "split": split,
            "unit": "SUVbw"}  # fmt: skip


def relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()


if __name__ == "__main__":
    main()
