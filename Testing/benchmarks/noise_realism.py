"""Is simulated noise like real noise? Compares both in muscle: size, correlation within and across slices, spectrum.

    python Testing/benchmarks/noise_realism.py [--data ../shared/data/sts] [--patients 12] [--body] [--plot FILE]

Real: FDG scans of thighs and other limbs (GE Discovery ST), noise taken as what is left of muscle (by CT, away from the
tumour) once the local mean over about 28 mm is removed. Simulated: the same patients, their own smoothed PET taken as
the true activity and their CT as attenuation, scanned by each preset at its usual dose and time, measured in the same
voxels in the same way. The crops are small and cut the body short, so the size of simulated noise is a lower bound.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

TREND_MM = 12.0
MUSCLE_HU = (25.0, 85.0)
FROM_TUMOUR_MM = 12.0
TRUTH_FWHM_MM = 14.0
FREQUENCIES = np.linspace(0.005, 0.09, 18)
LAGS = np.arange(0, 5)
PRESETS = ("DiscoveryST2D", "DiscoveryST", "Discovery", "mCT", "Vision")
FITTED = "DiscoveryST2D, filters fitted"
"""With post-filters as wide as the real noise says; nothing in the presets themselves was fitted to these scans."""


@dataclass(frozen=True)
class Region:
    """An image with a mask of tissue that ought to be even, spacing (z, y, x) in mm."""

    image: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]

    def noise(self) -> np.ndarray:
        """Relative deviation from the local mean inside the mask, zero outside."""
        sigma = [TREND_MM / s for s in self.spacing]
        weight = ndimage.gaussian_filter(self.mask.astype(float), sigma)
        trend = ndimage.gaussian_filter(self.image * self.mask, sigma) / np.maximum(weight, 1e-6)
        residual = np.where(self.mask, self.image - trend, 0.0)
        return residual / self.image[self.mask].mean()


def correlation(noise: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """Autocorrelation at whole-voxel lags along an axis, among pairs that both lie in the mask."""
    variance = np.square(noise[mask]).mean()
    result = []
    for lag in LAGS:
        here = tuple(slice(0, n - lag) if a == axis else slice(None) for a, n in enumerate(noise.shape))
        there = tuple(slice(lag, n) if a == axis else slice(None) for a, n in enumerate(noise.shape))
        both = mask[here] & mask[there]
        result.append((noise[here] * noise[there])[both].mean() / variance if both.sum() > 50 else np.nan)
    return np.array(result)


def width_mm(curve: np.ndarray, spacing: float) -> float:
    """FWHM of the Gaussian filter that gives white noise this correlation at the first lag."""
    first = np.clip(curve[1], 1e-3, 0.999)
    return float(spacing / np.sqrt(-4 * np.log(first)) * 2.3548)


def spectrum(noise: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Noise power within slices against frequency (1/mm), of unit area."""
    n = 64
    power = np.square(np.abs(np.fft.fft2(noise, s=(n, n)))).sum(0) / max(mask.sum(), 1)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(n, spacing[1]), np.fft.fftfreq(n, spacing[2]), indexing="ij"))
    edges = np.append(FREQUENCIES - np.diff(FREQUENCIES)[0] / 2, FREQUENCIES[-1] + np.diff(FREQUENCIES)[0] / 2)
    which = np.digitize(f.ravel(), edges) - 1
    inside = (which >= 0) & (which < len(FREQUENCIES))
    sums = np.bincount(which[inside], power.ravel()[inside], len(FREQUENCIES))
    counts = np.bincount(which[inside], minlength=len(FREQUENCIES))
    curve = sums / np.maximum(counts, 1)
    return curve / (curve.sum() * np.diff(FREQUENCIES)[0])


def measure(region: Region) -> dict[str, np.ndarray | float]:
    noise = region.noise()
    across, along = correlation(noise, region.mask, 0), 0.5 * (correlation(noise, region.mask, 1)
                                                               + correlation(noise, region.mask, 2))
    return {"cov": float(noise[region.mask].std()), "in_plane": along, "axial": across,
            "in_plane_mm": width_mm(along, region.spacing[1]), "axial_mm": width_mm(across, region.spacing[0]),
            "spectrum": (power := spectrum(noise, region.mask, region.spacing)), "voxels": int(region.mask.sum()),
            "frequency": float((FREQUENCIES * power).sum() / power.sum())}


def real_case(folder: Path):
    """PET, CT on the PET's grid, and a mask of muscle away from the tumour."""
    from petdiffusion import read
    from petdiffusion.prepare import grids

    pet = read.image(folder / "pet_suv.nii.gz", unit="SUVbw")
    ct = read.image(folder / "ct_hu.nii.gz", "ct", unit="HU")
    tumour = read.labels(folder / "tumour.nii.gz").array > 0
    on_pet = grids.resample(ct, pet.geometry)
    spacing = pet.geometry.spacing[::-1]
    away = ndimage.distance_transform_edt(~tumour, sampling=spacing) > FROM_TUMOUR_MM
    hu = ndimage.gaussian_filter(on_pet.array, 0.7)
    muscle = (hu > MUSCLE_HU[0]) & (hu < MUSCLE_HU[1]) & away
    muscle = ndimage.binary_erosion(ndimage.binary_opening(muscle))
    middle = np.median(pet.array[muscle]) if muscle.any() else 0.0
    return pet, ct, muscle & (pet.array < 2.5 * middle)  # vessels and inflamed places are no even tissue


def scanner_of(name: str):
    from petdiffusion.physics import presets

    if name != FITTED:
        return presets.scanner(name)
    return replace(presets.scanner("DiscoveryST2D"), post_filter_mm=(5.0, 7.0, 7.0))


def simulated(pet, ct, preset: str, seed: int) -> np.ndarray:
    import torch
    from petdiffusion.physics import attenuation, dose

    sigma = [TRUTH_FWHM_MM / 2.3548 / s for s in pet.geometry.spacing[::-1]]
    activity = ndimage.gaussian_filter(np.maximum(pet.array, 0), sigma)
    images = dose.acquire(torch.tensor(activity), pet.geometry.spacing[::-1], mu=attenuation.mu_of_ct(ct, pet.geometry),
                          preset=scanner_of(preset), seed=seed)
    return images[1.0].numpy()


def compare(data: Path, patients: int) -> dict[str, list[dict]]:
    names = (FITTED, *PRESETS)
    found: dict[str, list[dict]] = {"real": [], **{name: [] for name in names}}
    for number, folder in enumerate(sorted(data.glob("STS_*"))):
        if len(found["real"]) >= patients:
            break
        pet, ct, mask = real_case(folder)
        if mask.sum() < 800:
            continue
        spacing = pet.geometry.spacing[::-1]
        found["real"].append({"spacing": spacing, **measure(Region(pet.array, mask, spacing))})
        for preset in names:
            image = simulated(pet, ct, preset, number)
            found[preset].append({"spacing": spacing, **measure(Region(image, mask, spacing))})
    return found


def digital_muscle(presets: tuple[str, ...] = (FITTED, "DiscoveryST2D", "DiscoveryST", "mCT"),
                   seeds: tuple[int, ...] = (3, 5)) -> dict[str, list[dict]]:
    """The same in the gluteal muscles of digital bodies, which are not cut short; only their slices are scanned."""
    from petdiffusion.phantoms import body

    found: dict[str, list[dict]] = {}
    for seed in seeds:
        patient = body.draw(seed, spacing_mm=(5.47, 5.47, 3.27), lesions=0)
        names = [f"gluteus_{part}_{side}" for part in ("maximus", "medius") for side in ("left", "right")]
        muscle = patient.organs.mask(*names)
        slices = np.flatnonzero(muscle.any((1, 2)))
        here = slice(max(slices[0] - 10, 0), slices[-1] + 11)
        spacing = patient.pet.geometry.spacing[::-1]
        mask = ndimage.binary_erosion(muscle[here], iterations=2)
        for preset in presets:
            region = Region(_scanned(patient, here, preset, seed), mask, spacing)
            found.setdefault(f"digital body, {preset}", []).append({"spacing": spacing, **measure(region)})
    return found


def _scanned(patient, slices: slice, preset: str, seed: int) -> np.ndarray:
    import torch
    from petdiffusion.phantoms.scan import facts_of
    from petdiffusion.physics import attenuation, dose

    scanner = scanner_of(preset)
    images = dose.acquire(torch.tensor(patient.pet.array[slices]), patient.pet.geometry.spacing[::-1],
                          mu=attenuation.mu_from_hu(torch.tensor(patient.ct.array[slices])), preset=scanner, seed=seed,
                          facts=facts_of(patient, scanner, seed))
    return images[1.0].numpy()


def median(cases: list[dict], name: str) -> float:
    return float(np.median([case[name] for case in cases]))


def table(found: dict[str, list[dict]]) -> str:
    lines = ["| scans | n | CoV in muscle, % | noise width in plane, mm | across slices, mm | mean frequency, 1/mm |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, cases in found.items():
        covs = np.percentile([100 * case["cov"] for case in cases], (25, 50, 75))
        lines.append(f"| {name} | {len(cases)} | {covs[1]:.1f} ({covs[0]:.1f} to {covs[2]:.1f}) | "
                     f"{median(cases, 'in_plane_mm'):.1f} | {median(cases, 'axial_mm'):.1f} | "
                     f"{median(cases, 'frequency'):.3f} |")
    return "\n".join(lines)


def plot(found: dict[str, list[dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    for name, cases in found.items():
        style = {"color": "black", "linewidth": 2.6, "zorder": 5} if name == "real" else {"linewidth": 1.5}
        style |= {"linestyle": "--"} if name.startswith("digital") else {}
        common = [c for c in cases if abs(c["spacing"][1] - 5.47) < 0.1] or cases
        within, across = (np.nanmedian([c[key] for c in common], 0) for key in ("in_plane", "axial"))
        axes[0].plot(LAGS * common[0]["spacing"][1], within, label=name, **style)
        axes[1].plot(LAGS * common[0]["spacing"][0], across, **style)
        axes[2].plot(FREQUENCIES, np.median([c["spectrum"] for c in common], 0), **style)
    for axis, title, label in zip(axes, ("Autocorrelation within slices", "Autocorrelation across slices",
                                         "Noise power spectrum, unit area"), ("mm", "mm", "1/mm")):
        axis.set(title=title, xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data" / "sts")
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--body", action="store_true", help="also digital bodies (minutes)")
    parser.add_argument("--plot", type=Path, default=root / "Resources" / "docs" / "img" / "noise-realism.png")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"{arguments.data} is not there: the real scans lie on a developer's machine only.")
    found = compare(arguments.data, arguments.patients) | (digital_muscle() if arguments.body else {})
    print(table(found))
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    plot(found, arguments.plot)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, default=lambda value: np.asarray(value).tolist()))


if __name__ == "__main__":
    main()
