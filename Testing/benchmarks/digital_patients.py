"""Draws the picture of the page on digital patients, times the drawing, or lists organ volumes.

python Testing/benchmarks/digital_patients.py [--out Resources/docs/img/digital-patients.png] [--time] [--volumes N]
python Testing/benchmarks/digital_patients.py --scans DIR --out Resources/docs/img/digital-scans.png

DIR is what `petdiffusion simulate patient --seed 7 --fraction 1,0.25,0.1,0.01 --out DIR` wrote.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from petdiffusion.phantoms import body, labels
from petdiffusion.phantoms.body.make import LEGS_SHARE, LEGS_SUV
from petdiffusion.phantoms.patient import Patient

SEEDS = (34, 22, 37, 105, 107, 45)
SPACING_MM = 2.5


def plane(image: np.ndarray, patient: Patient, structure: str) -> np.ndarray:
    """Coronal slice through the middle of a structure."""
    where = np.argwhere(patient.organs.mask(structure))
    return image[:, round(where[:, 1].mean())]


def montage(path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(np.vstack([[0, 0, 0], np.random.default_rng(4).uniform(0.25, 1, (117, 3))]))
    figure, axes = plt.subplots(4, len(SEEDS), figsize=(2 * len(SEEDS), 13.4), facecolor="k")
    for column, seed in zip(axes.T, SEEDS):
        patient = body.draw(seed, spacing_mm=SPACING_MM)
        views = (
            (patient.pet.array.max(1), "gray_r", 0, 7),
            (plane(patient.ct.array, patient, "aorta"), "gray", -180, 280),
            (plane(patient.mr.array, patient, "kidney_left"), "gray", 0, 1000),
            (plane(patient.organs.array, patient, "aorta"), colours, 0, 117),
        )
        for axis, (image, cmap, low, high) in zip(column, views):
            axis.imshow(
                image,
                cmap=cmap,
                vmin=low,
                vmax=high,
                origin="lower",
                interpolation="bilinear" if cmap != colours else "nearest",
            )
            axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    figure.savefig(path, dpi=84, facecolor="k", pil_kwargs={"optimize": True})
    shrink(path)


def scans(folder: Path, path: Path) -> None:
    """Truth and scans of one patient at falling dose: maximum projections above, a coronal slice below."""
    import matplotlib
    import nibabel

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    low = sorted(folder.glob("low_*.nii.gz"), key=lambda f: -float(f.name[4:-7]))
    files = {"truth": folder / "truth.nii.gz", "normal dose": folder / "normal.nii.gz"} | {
        f"{float(f.name[4:-7]):g} of the dose": f for f in low
    }
    figure, axes = plt.subplots(2, len(files), figsize=(2.1 * len(files), 7.6))
    for column, (title, file) in zip(axes.T, files.items()):
        image = np.asarray(nibabel.load(file).dataobj, np.float32).T
        column[0].imshow(image.max(1), cmap="gray_r", vmin=0, vmax=7, origin="lower")
        column[1].imshow(image[:, image.shape[1] // 2], cmap="gray_r", vmin=0, vmax=6, origin="lower")
        column[0].set_title(title, fontsize=9)
        for axis in column:
            axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 0.97, 0.01, 0.01)
    figure.savefig(path, dpi=80)
    shrink(path)


def shrink(path: Path) -> None:
    """A hundred colours are plenty for a grey picture with a coloured row."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def timing() -> None:
    for spacing in (6.0, 4.0, 2.0, 1.65):
        wall, processor = time.perf_counter(), time.process_time()
        patient = body.draw(8, spacing_mm=spacing)
        print(
            f"{spacing} mm, {patient.pet.geometry.size} voxels: {time.perf_counter() - wall:.1f} s, "
            f"{time.process_time() - processor:.1f} s of processor time"
        )


ORGANS = {
    "lungs": labels.LUNGS,
    "kidneys": labels.GROUPS["kidney"],
    **{
        name: (name,)
        for name in ("liver", "spleen", "brain", "heart", "pancreas", "stomach", "urinary_bladder", "aorta")
    },
}


def volumes(people: int) -> None:
    """Percentiles of organ volumes in ml, of BMI and of the whole body's mean SUV."""
    rows = []
    for seed in range(1000, 1000 + people):
        patient = body.draw(seed, spacing_mm=6.0)
        voxel = patient.pet.geometry.voxel_ml
        row = {name: float(patient.organs.mask(*parts).sum() * voxel) for name, parts in ORGANS.items()}
        kilograms = float(patient.pet.array.sum(dtype=float) * voxel) / 1000 + LEGS_SHARE * LEGS_SUV * patient.weight_kg
        rows.append(
            row
            | {
                "BMI": patient.weight_kg / patient.height_m**2,
                "mean SUV": kilograms / patient.weight_kg,
                "structures": len(patient.organs.present()),
                "lesions": len(patient.lesions),
            }
        )
    for name in rows[0]:
        low, middle, high = np.percentile([row[name] for row in rows], (5, 50, 95))
        print(f"| {name.replace('_', ' ')} | {low:.4g} | {middle:.4g} | {high:.4g} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("Resources/docs/img/digital-patients.png"))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--volumes", type=int, default=0)
    parser.add_argument("--scans", type=Path)
    options = parser.parse_args()
    if options.time:
        timing()
    elif options.scans:
        scans(options.scans, options.out)
    elif options.volumes:
        volumes(options.volumes)
    else:
        montage(options.out)
