"""Do digital patients look like people to a histogram? HU of a trunk, SUV of fat and muscle, beside real scans.

    python Testing/benchmarks/phantom_realism.py [--data ../shared/data] [--people 16] [--plot FILE]

Real: one trunk CT (TotalSegmentator's example, 3 mm), and 34 FDG scans of limbs, pelvis and trunk (sarcoma), away from
the tumour. Simulated: digital patients drawn on like grids, their PET blurred to 7 mm, their CT given the
noise of the real one; no noise is put on the PET, so within a patient it is smoother than a real scan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from petdiffusion.phantoms import body, labels
from scipy import ndimage

TISSUE_HU = {"fat": (-130.0, -70.0), "muscle": (25.0, 90.0)}
FROM_TUMOUR_MM, BLUR_MM, NOISE_HU = 20.0, 7.0, 13.0
HU_EDGES, SUV_EDGES = np.arange(-200, 405, 10.0), np.arange(0, 2.05, 0.05)
SHARES = {"gas and lung": (-1100, -200), "fat": (-200, -30), "soft tissue": (-30, 100), "bone": (100, 3100)}


def largest_body(ct: np.ndarray) -> np.ndarray:
    """The patient without table and air around, cavities filled."""
    parts, _ = ndimage.label(ndimage.binary_erosion(ct > -300))
    body_only = ndimage.binary_dilation(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    return np.stack([ndimage.binary_fill_holes(layer) for layer in body_only])


def hu_summary(values: np.ndarray) -> dict[str, float]:
    """Shares of tissue by volume, and the HU at the peaks of fat and soft tissue."""
    shares = {name: float(np.mean((values >= low) & (values < high))) for name, (low, high) in SHARES.items()}
    counts, edges = np.histogram(values, np.arange(-150, 200, 5.0))
    middles = (edges[1:] + edges[:-1]) / 2
    peaks = {
        "fat peak": middles[np.argmax(counts * (middles < -50))],
        "soft peak": middles[np.argmax(counts * (middles > 0))],
    }
    return shares | {name: float(value) for name, value in peaks.items()}


def real_trunk(folder: Path) -> np.ndarray:
    import nibabel

    ct = np.asarray(nibabel.load(folder / "example_ct.nii.gz").dataobj, np.float32).T
    return ct[largest_body(ct)]


ORGANS = ("liver", "spleen", "kidney_left", "pancreas", "aorta", "autochthon_left", "iliopsoas_left", "vertebrae_L1",
          "lung_lower_lobe_right", "costal_cartilages")  # fmt: skip


def organ_hu(ct: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Median HU within organs, a voxel away from their surface."""
    inner = {name: ndimage.binary_erosion(label == labels.ID[name]) for name in ORGANS}
    return {name: float(np.median(ct[mask])) for name, mask in inner.items() if mask.sum() > 30}


def real_organs(folder: Path) -> dict[str, float]:
    """The lower part of the trunk's CT, with TotalSegmentator's own labels of it."""
    import nibabel

    files = (folder / f"{name}.nii.gz" for name in ("example_ct_sm", "example_seg"))
    return organ_hu(*(np.asarray(nibabel.load(file).dataobj) for file in files))


def drawn_trunk(seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """HU from the level of the hip joints to T11, as the real scan; and by organ."""
    person = body.draw(seed, spacing_mm=3.0, field="trunk", arms="up", lesions=0)
    rows = lambda name: np.flatnonzero(person.organs.mask(name).any((1, 2)))  # noqa: E731
    ct = person.ct.array[rows("hip_left").min() + 10 : rows("vertebrae_T11").max()]
    noisy = ct + np.random.default_rng(seed).normal(0, NOISE_HU, ct.shape)
    return noisy[largest_body(ct)], organ_hu(person.ct.array, person.organs.array)


def tissue(pet: np.ndarray, ct: np.ndarray, allowed: np.ndarray) -> dict[str, np.ndarray]:
    """SUV of voxels whose neighbours are of the same tissue too."""
    found = {}
    for name, (low, high) in TISSUE_HU.items():
        mask = ndimage.binary_erosion((ct > low) & (ct < high)) & allowed
        if mask.sum() > 80:
            found[name] = pet[mask]
    return found


def real_tissue(folder: Path) -> dict[str, np.ndarray]:
    import SimpleITK as sitk

    pet, tumour = sitk.ReadImage(str(folder / "pet_suv.nii.gz")), sitk.ReadImage(str(folder / "tumour.nii.gz"))
    ct = sitk.ReadImage(str(folder / "ct_hu.nii.gz"), sitk.sitkFloat32)
    ct = sitk.GetArrayFromImage(sitk.Resample(ct, pet, sitk.Transform(), sitk.sitkLinear, -1000.0))
    distance = ndimage.distance_transform_edt(sitk.GetArrayFromImage(tumour) == 0, sampling=pet.GetSpacing()[::-1])
    return tissue(sitk.GetArrayFromImage(pet), ct, distance > FROM_TUMOUR_MM)


def drawn_tissue(seed: int) -> dict[str, np.ndarray]:
    person = body.draw(seed, spacing_mm=(4.7, 4.7, 3.27), lesions=0)
    sigma = [BLUR_MM / 2.3548 / s for s in person.pet.geometry.spacing[::-1]]
    plain = np.isin(person.organs.array, [0, *(labels.ID[name] for name in labels.GROUPS["muscle"])])
    below_neck = np.arange(len(plain))[:, None, None] < np.argwhere(person.organs.mask("vertebrae_C7"))[:, 0].mean()
    return tissue(ndimage.gaussian_filter(person.pet.array, sigma), person.ct.array, plain & below_neck)


def suv_summary(people: list[dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    result = {}
    for name in TISSUE_HU:
        means = np.array([float(found[name].mean()) for found in people if name in found])
        within = np.mean([found[name].std() / found[name].mean() for found in people if name in found])
        result[name] = {
            "people": len(means),
            "mean": means.mean(),
            "sd between": means.std(ddof=1),
            "p10": np.percentile(means, 10),
            "p90": np.percentile(means, 90),
            "cv within": within,
        }
    return {name: {key: round(float(value), 3) for key, value in row.items()} for name, row in result.items()}


def by_organ(people: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    found = {name: [person[name] for person in people if name in person] for name in ORGANS}
    return {name: np.percentile(values, (5, 50, 95)).round().tolist() for name, values in found.items() if values}


def plot(path: Path, trunk: np.ndarray, trunks: Sequence[np.ndarray], real: list, drawn: list) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    middles = (HU_EDGES[1:] + HU_EDGES[:-1]) / 2
    density = lambda v, edges: np.histogram(v, edges)[0] / v.size / np.diff(edges)  # noqa: E731
    curves = np.array([density(values, HU_EDGES) for values in trunks])
    axes[0].fill_between(
        middles, *np.percentile(curves, [5, 95], 0), color="tab:orange", alpha=0.35, label="digital, 5 to 95 %"
    )
    axes[0].plot(middles, np.median(curves, 0), color="tab:orange", label="digital, median")
    axes[0].plot(middles, density(trunk, HU_EDGES), color="k", lw=1.2, label="one real trunk")
    axes[0].set(xlabel="HU", ylabel="share per HU", title="CT of the trunk")
    for name, axis in zip(TISSUE_HU, axes[1:]):
        for people, colour, label in ((real, "k", "34 real scans"), (drawn, "tab:orange", f"{len(drawn)} digital")):
            means = np.sort([found[name].mean() for found in people if name in found])
            axis.step(
                means, np.arange(1, len(means) + 1) / len(means), color=colour, where="post", label=f"{label}: means"
            )
            pooled = np.concatenate([found[name] for found in people if name in found])
            axis.plot(
                (SUV_EDGES[1:] + SUV_EDGES[:-1]) / 2,
                density(pooled, SUV_EDGES) / density(pooled, SUV_EDGES).max(),
                ":",
                color=colour,
                label=f"{label}: voxels",
            )
        axis.set(
            xlabel="SUV",
            title=f"FDG in {name}",
            xlim=(0, 1.0 if name == "fat" else 2.0),
            ylabel="cumulated means, histogram of voxels",
        )
    for axis in axes:
        axis.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"{options.data} is absent: this comparison needs the real scans.")
    seeds = range(200, 200 + options.people)
    trunk, (trunks, organs) = real_trunk(options.data / "totalseg_ct"), zip(*map(drawn_trunk, seeds))
    real = [real_tissue(folder) for folder in sorted((options.data / "sts").glob("STS_*"))]
    drawn = [drawn_tissue(seed) for seed in seeds]
    rows = [hu_summary(values) for values in trunks]
    spread = {
        key: [round(float(np.percentile([row[key] for row in rows], q)), 3) for q in (5, 50, 95)] for key in rows[0]
    }
    print(
        json.dumps(
            {
                "HU, real": {k: round(v, 3) for k, v in hu_summary(trunk).items()},
                "HU, digital (5, 50, 95 %)": spread,
                "HU by organ, real": real_organs(options.data / "totalseg_ct"),
                "HU by organ, digital (5, 50, 95 %)": by_organ(organs),
                "SUV, real": suv_summary(real),
                "SUV, digital": suv_summary(drawn),
            },
            indent=1,
        )
    )
    if options.plot:
        plot(options.plot, trunk, trunks, real, drawn)


if __name__ == "__main__":
    main()
