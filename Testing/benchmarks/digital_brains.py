"""Draws the picture of digital brains in the documentation.

    python Testing/benchmarks/digital_brains.py [--plot FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

SEEDS = ((6, "FDG"), (15, "FDG"), (3, "DASB"), (18, "DASB"))
FIELD_MM = (195.0, 225.0, 180.0)
COLUMNS = ("T1-like MR", "CT", "true activity", "normal dose", "dose 1/4", "dose 1/10", "normal dose")


def row(seed: int, tracer: str) -> list[tuple[np.ndarray, str, float, float]]:
    """Slices of one patient with their colour map and window."""
    from petdiffusion.phantoms import brain
    from petdiffusion.phantoms.scan import scan

    patient = brain.draw(seed, spacing_mm=1.8, tracer=tracer, field_mm=FIELD_MM, lesions=2)
    found = scan(patient, fractions=(0.25, 0.1), seed=seed)
    nuclei = np.argwhere(patient.organs.mask("thalamus_left", "putamen_left"))
    z, x = int(nuclei[:, 0].mean()), patient.pet.array.shape[2] // 2 - 3
    top = float(np.percentile(found.normal.array[patient.organs.array > 200], 99.6))
    pet = [(v.array[z], "gray_r", 0.0, top) for v in (patient.pet, found.normal, found.low[0.25], found.low[0.1])]
    return [(patient.mr.array[z], "gray", 0.0, 1350.0), (patient.ct.array[z], "gray", -60.0, 130.0), *pet,
            (found.normal.array[::-1, :, x], "gray_r", 0.0, top)]


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--plot", type=Path, default=root / "Resources" / "docs" / "img" / "digital-brains.png")
    arguments = parser.parse_args()
    figure, axes = plt.subplots(len(SEEDS), len(COLUMNS), figsize=(13, 8.4), dpi=72)
    for line, (seed, tracer) in zip(axes, SEEDS):
        for axis, (image, colours, low, high) in zip(line, row(seed, tracer)):
            axis.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(f"{tracer}, seed {seed}", fontsize=9)
    for axis, title in zip(axes[0], COLUMNS):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.3)
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(-1)
    Image.fromarray(pixels.astype(np.uint8)).save(arguments.plot, optimize=True)  # one byte a pixel


if __name__ == "__main__":
    main()
