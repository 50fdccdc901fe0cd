"""The patients that intervals of the body's models are calibrated on, and those that they are checked on.

    python Resources/training/calibration.py --work DIR            prints the commands
    python Resources/training/calibration.py --work DIR --run      simulates them: DIR/calibration.csv, check.csv, …
    python Resources/training/calibration.py --work DIR --only check,check-mixed,check-more --run     the check's alone
    petdiffusion calibrate MODEL --manifest DIR/calibration.csv DIR/calibration-more.csv --out OUT --data "48 …" --write
    petdiffusion calibrate MODEL --check --manifest DIR/check.csv DIR/check-mixed.csv DIR/check-more.csv --out OUT2

Calibration: 24 digital bodies of the validation split that no training watched (mCT, Vision, Quadra), and 24 more.
Check: the first twelve of the test split, all on the calibration's worst scanner (mCT), then `check-mixed` and
`check-more`, 24 each on its mixture of scanners, for which intervals hold by right. Every patient counts once: the
doses 1/4, 1/10 and 1/20 are dealt out in turn, as more scans of one patient tell little more.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
from pathlib import Path

from petdiffusion.write.tables import write_csv

FRACTIONS = ("0.25", "0.1", "0.05")
BODY = ("--kind", "body", "--fraction", ",".join(FRACTIONS))
SETS = {
    "calibration": (
        ("body-800006", "3", ("--split", "validation", "--first-seed", "6", "--preset", "mCT")),
        ("body-800009", "21", ("--split", "validation", "--first-seed", "9", "--preset", "mCT,Vision,mCT,Quadra")),
    ),
    "calibration-more": (
        ("body-800030", "24", ("--split", "validation", "--first-seed", "30", "--preset", "mCT,Vision,mCT,Quadra")),
    ),
    "check": (("body-900000", "12", ("--split", "test", "--preset", "mCT")),),
    "check-mixed": (
        ("body-900012", "24", ("--split", "test", "--first-seed", "12", "--preset", "mCT,Vision,mCT,Quadra")),
    ),
    "check-more": (
        ("body-900036", "24", ("--split", "test", "--first-seed", "36", "--preset", "mCT,Vision,mCT,Quadra")),
    ),
}
IMAGES = ("pet", "ct", "mr", "labels", "lesions", "reference", "truth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", help="sets to make, comma-separated", default=",".join(SETS), metavar="SETS")
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    wanted = args.only.split(",")
    if unknown := [name for name in wanted if name not in SETS]:
        parser.error(f"no set {unknown[0]!r}: one of {', '.join(SETS)}")
    for name in wanted:
        parts = SETS[name]
        for folder, count, options in parts:
            command = [sys.executable, "-m", "petdiffusion", "simulate", "dataset", "--n", count, *BODY, *options,
                       "--out", str(args.work / folder)]  # fmt: skip
            if not (args.work / folder / "manifest.csv").is_file():
                print(shlex.join(command), flush=True)
                if args.run:
                    subprocess.run(command, check=True)
        if args.run:
            rows = dealt([row for folder, *_ in parts for row in rows_of(args.work, folder)])
            write_csv(rows, args.work / f"{name}.csv")
            print(f"{len(rows)} scans: {args.work / f'{name}.csv'}")


def rows_of(work: Path, folder: str) -> list[dict[str, str]]:
    with (work / folder / "manifest.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: f"{folder}/{v}" if k in IMAGES and v else v for k, v in row.items()} for row in rows]


def dealt(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """One scan of each patient."""
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    return [row for row in rows if row["fraction"] == FRACTIONS[seeds.index(row["seed"]) % len(FRACTIONS)]]


if __name__ == "__main__":
    main()
