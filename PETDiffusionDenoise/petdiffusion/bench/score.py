"""The numbers of one image against its reference: those of `petdiffusion.measure`, gathered into one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..measure.image import image_metrics
from ..measure.lesions import lesion_table
from ..measure.organs import coefficient_of_variation, liver_core, local_noise_percent, organ_table
from ..measure.perceptual import SMALLEST, Vgg19, slice_features
from ..measure.texture import haralick_distance
from ..methods.contract import Case
from ..progress import Run
from ..volume import LabelMap, Volume

SMALLEST_LESION = 8
"""Voxels. Of smaller ones the reference itself says little."""
EVERY_SLICE = 4
"""The perceptual distance is taken on every fourth slice: its network costs more than all the rest."""
SETTINGS = {
    "body": "voxels of the body as found in the low-dose PET; MAE in SUV",
    "PSNR_dB, SSIM": "data range: maximum of the normal-dose image in the body; SSIM 3D, Gaussian 11, sigma 1.5",
    "H_dist": "13 Haralick features, 256 levels from 0 to the data range, distance 1, mean of 4 directions, axial "
              "slices in the body; sqrt(sum((dh/h)^2)), mean over slices",
    "P_dist": f"VGG-19 conv5_4 before ReLU, mean squared error; every {EVERY_SLICE}th axial slice",
    "lesion_..._bias": f"per cent of the normal-dose image, mean over the patient's lesions of {SMALLEST_LESION} "
                       "voxels and more; ..._error: mean of the sizes",
    "small_..._bias": "the same of SUVmean over the small structures named with the table",
    "noise_percent": "SD / mean in the liver where there is one, else median of SD / mean in cubes of 15 mm",
}  # fmt: skip

Numbers = dict[str, Any]


def score(
    image: Volume,
    case: Case,
    normal: Volume,
    organs: LabelMap | None = None,
    lesions: LabelMap | None = None,
    small: Sequence[str] = (),
    vgg: Vgg19 | None = None,
    run: Run | None = None,
) -> Numbers:
    """Everything the tables need; None where a number is not defined."""
    run = run or Run()
    pair = {"denoised": image, "reference": normal}
    found = image_metrics(image.array, normal.array, case.body)
    numbers: Numbers = {name: found[name] for name in ("MAE", "PSNR_dB", "SSIM", "RMSE", "bias_percent", "data_range")}
    run.check()
    texture = haralick_distance(image.array, normal.array, case.body)
    numbers |= {"H_dist": texture["Haralick_distance"], "H_dist_absolute": texture["Haralick_absolute"]}
    run.check()
    numbers["P_dist"] = None if vgg is None else perceptual(image, normal, case.body, vgg, run)
    numbers["noise_percent"] = noise_percent(image, case.body, organs, lesions)
    numbers |= _lesions(pair, lesions)
    return numbers | _small(pair, organs, lesions, small)


def perceptual(image: Volume, normal: Volume, body: np.ndarray, vgg: Vgg19, run: Run) -> float | None:
    """As `perceptual_distance`, on every fourth slice; the reference's features serve all rows of a scan."""
    peak, chosen = float(normal.array[body].max()), np.flatnonzero(body.any(axis=(1, 2)))[::EVERY_SLICE]
    if min(image.array.shape[1:]) < SMALLEST or peak <= 0:
        return None
    known = _reference_features(normal, vgg, peak, tuple(chosen))
    errors = []
    for number, reference in zip(chosen, known):
        run.check()
        errors.append(float(((slice_features(vgg, image.array[[number]], peak)[0] - reference) ** 2).mean()))
    return float(np.mean(errors))


@lru_cache(maxsize=1)
def _reference_features(normal: Volume, vgg: Vgg19, peak: float, chosen: tuple[int, ...]) -> list[Any]:
    return [slice_features(vgg, normal.array[[number]], peak)[0] for number in chosen]


def noise_percent(image: Volume, body: np.ndarray, organs: LabelMap | None, lesions: LabelMap | None) -> float | None:
    core = None if organs is None else liver_core(organs, lesions)
    if core is not None and core.any():
        value = coefficient_of_variation(image.array, core)
    else:
        value = local_noise_percent(image.array, body, image.geometry)
    return float(value) if np.isfinite(value) else None


def _lesions(pair: Mapping[str, Volume], lesions: LabelMap | None) -> Numbers:
    rows = [] if lesions is None else lesion_table(pair, lesions)
    rows = [row for row in rows if row["voxels"] >= SMALLEST_LESION]
    numbers: Numbers = {"lesions": len(rows)}
    for name in ("SUVmean", "SUVmax", "SUVpeak"):
        changes = [row.get(f"{name}_denoised_vs_reference_percent") for row in rows]
        numbers |= _summed(f"lesion_{name}", changes)
        numbers[f"lesion_{name}_each"] = [None if c is None else round(c, 3) for c in changes]
    return numbers


def _small(pair: Mapping[str, Volume], organs: LabelMap | None, lesions: LabelMap | None,
           small: Sequence[str]) -> Numbers:  # fmt: skip
    rows = organ_table(pair, organs, lesions) if organs is not None and small else []
    return _summed(
        "small_SUVmean", [row.get("SUVmean_denoised_vs_reference_percent") for row in rows if row["organ"] in small]
    )


def _summed(name: str, changes: Sequence[float | None]) -> Numbers:
    known = np.array([c for c in changes if c is not None])
    return {
        f"{name}_bias": float(known.mean()) if known.size else None,
        f"{name}_error": float(np.abs(known).mean()) if known.size else None,
    }
