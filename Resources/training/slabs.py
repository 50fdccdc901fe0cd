"""A few slices of each scan of a manifest, to calibrate a method slowly drawing samples of one slice at a time.

    python Resources/training/slabs.py --manifest FILE --out DIR [--slices 20]
    petdiffusion calibrate bc-dpm --manifest DIR/manifest.csv --samples 5 --out WORK --data "…" --write

The slices are those that lesions lie in most; where there is none, those above three eighths of the field.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ON_THE_PETS_GRID = ("pet", "labels", "lesions", "reference")
WITHOUT_LESIONS = 3 / 8
ENDING = ".nii.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=20)
    args = parser.parse_args()
    with args.manifest.open(newline="", encoding="utf-8-sig") as stream:
        rows = [cut(row, args.manifest.parent, args.out, args.slices) for row in csv.DictReader(stream)]
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} slabs of {args.slices} slices: {args.out / 'manifest.csv'}")


def cut(row: dict[str, str], base: Path, out: Path, slices: int) -> dict[str, str]:
    """The row of the slab, whose files are written. Images on grids of their own (CT, MR) are left out."""
    folder = out / row["id"]
    folder.mkdir(parents=True, exist_ok=True)
    lesions = sitk.GetArrayFromImage(sitk.ReadImage(str(base / row["lesions"])))
    start, found = first_slice(lesions, slices), {}
    for kind in ON_THE_PETS_GRID:
        if not row.get(kind):
            continue
        source = base / row[kind]
        image = sitk.ReadImage(str(source))
        if image.GetSize() != lesions.shape[::-1]:
            raise SystemExit(f"{source.name}: has {image.GetSize()} voxels, the lesions' mask {lesions.shape[::-1]}.")
        sitk.WriteImage(image[:, :, start : start + slices], str(folder / source.name))
        facts = source.with_name(source.name.removesuffix(ENDING) + ".json")
        if facts.is_file():
            shutil.copy(facts, folder)
        found[kind] = f"{row['id']}/{source.name}"
    rest = {name: value for name, value in row.items() if name not in (*ON_THE_PETS_GRID, "ct", "mr")}
    return {"id": row["id"], **found, **rest}


def first_slice(lesions: np.ndarray, slices: int) -> int:
    """Of the slab with the most slices that show lesions and the most lesions."""
    last = max(lesions.shape[0] - slices, 0)
    if not lesions.any():
        return min(int(lesions.shape[0] * WITHOUT_LESIONS), last)
    shown = [set(np.unique(plane)) - {0} for plane in lesions]
    worth = [sum(map(bool, shown[z : z + slices])) + len(set().union(*shown[z : z + slices])) for z in range(last + 1)]
    return int(np.argmax(worth))


if __name__ == "__main__":
    main()
