"""Numbers per organ, and how noisy an image is where it should be even."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from ..filters import slabs
from ..threads import at_once
from ..volume import Geometry, LabelMap, Volume
from .checks import bounding_box, or_none, same_grid
from .groups import Groups
from .rows import beside, prefix

LIVER = "liver"
LIVER_MARGIN_MM = 10.0
"""Liver noise is measured this far from the liver's edge and from lesions, away from the blur of both."""
SMALLEST_LIVER_ML = 20.0
LOCAL_MM = 15.0


def without_lesions(organs: LabelMap, lesions: LabelMap | None) -> LabelMap:
    """The voxels that count as an organ's: a lesion's uptake is not its organ's."""
    return organs if lesions is None else replace(organs, array=np.where(lesions.array > 0, 0, organs.array))


def organ_table(
    volumes: Mapping[str, Volume], labels: LabelMap, lesions: LabelMap | None = None
) -> list[dict[str, Any]]:
    """A row per organ: volume, then mean, SD, coefficient of variation and maximum in every image.

    Lesion voxels, where given, are left out of the organs. Columns are called SUV... only where all images are in SUV.
    """
    geometry = same_grid({**volumes, "labels": labels, **({} if lesions is None else {"lesions": lesions})})
    groups = Groups(without_lesions(labels, lesions).array)
    numbers = {image: _numbers(volume.array, groups) for image, volume in volumes.items()}
    suv, unit = prefix(volumes), next(iter(volumes.values())).unit

    def row(i: int, value: int, voxels: int) -> dict[str, Any]:
        columns = {
            key: {image: or_none(found[key][i]) for image, found in numbers.items()}
            for key in ("mean", "sd", "cov", "max")
        }
        return {
            "organ": labels.names.get(value, f"label {value}"),
            "label": value,
            "volume_ml": voxels * geometry.voxel_ml,
            "voxels": voxels,
            "unit": unit,
            **beside(f"{suv}mean", columns["mean"]),
            **beside(f"{suv}sd", columns["sd"], changes=False),
            **beside("CoV_percent", columns["cov"], changes=False),
            **beside(f"{suv}max", columns["max"]),
        }

    return [row(i, int(value), int(groups.voxels[i])) for i, value in enumerate(groups.values)]


def _numbers(image: np.ndarray, groups: Groups) -> dict[str, np.ndarray]:
    mean, sd = groups.mean(image), groups.sd(image)
    with np.errstate(divide="ignore", invalid="ignore"):
        cov = np.where(mean > 0, 100 * sd / mean, np.nan)
    return {"mean": mean, "sd": sd, "cov": cov, "max": groups.maximum(image)}


def coefficient_of_variation(image: np.ndarray, mask: np.ndarray) -> float:
    """SD / mean in per cent; NaN for an empty mask or a mean that is not positive."""
    values = image[mask].astype(np.float64)
    if values.size < 2 or values.mean() <= 0:
        return float("nan")
    return float(100 * values.std(ddof=1) / values.mean())


def liver_core(labels: LabelMap, lesions: LabelMap | None = None, margin_mm: float = LIVER_MARGIN_MM) -> np.ndarray:
    """The liver without its rim and without lesions and their surroundings; empty where too little is left."""
    liver = labels.mask(LIVER)
    free = liver if lesions is None else liver & (lesions.array == 0)
    if not free.any():
        return free
    core = np.zeros_like(free)
    found = ndimage.find_objects(liver.astype(np.int8))[0]
    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in found)
    depth = ndimage.distance_transform_edt(free[box], sampling=labels.geometry.spacing[::-1])
    core[box] = depth > margin_mm
    return core if np.count_nonzero(core) * labels.geometry.voxel_ml >= SMALLEST_LIVER_ML else np.zeros_like(core)


def local_noise_percent(image: np.ndarray, body: np.ndarray, geometry: Geometry, size_mm: float = LOCAL_MM) -> float:
    """Median over the body of SD / mean in cubes of 15 mm: noise, plus the little structure that such cubes hold.

    Needs no organ labels. Only cubes that lie wholly in the body count; NaN where there are none.
    """
    width = tuple(max(2 * round(size_mm / step / 2 - 0.5) + 1, 3) for step in geometry.spacing[::-1])
    width = tuple(min(w, n) for w, n in zip(width, image.shape, strict=True))
    if not body.any() or np.prod(width) < 2:
        return float("nan")
    box = bounding_box(body)
    image, body = image[box], body[box]
    middle = float(image[body].mean(dtype=np.float64))
    parts = at_once(lambda part: _ratios(image, body, width, middle, *part), slabs(len(image), width[0] // 2))
    ratios = np.concatenate(parts)
    return float(100 * np.median(ratios)) if ratios.size else float("nan")


def _ratios(image: np.ndarray, body: np.ndarray, width: tuple[int, ...], middle: float, read: slice, wanted: slice
            ) -> np.ndarray:
    """SD / mean of each cube that lies wholly in the body, and whose mean is positive, in the wanted planes."""
    count = int(np.prod(width))
    inside = ndimage.uniform_filter(body[read].astype(np.float32), width, mode="constant")[wanted]
    whole = inside > 1 - 0.5 / count
    # Shifted by the mean so that single precision keeps the small differences.
    values = image[read] - np.float32(middle)
    mean = ndimage.uniform_filter(values, width)[wanted][whole].astype(np.float64)
    square = ndimage.uniform_filter(np.square(values), width)[wanted][whole].astype(np.float64)
    sd = np.sqrt(np.maximum(square - mean**2, 0) * count / (count - 1))
    level = mean + middle
    return sd[level > 0] / level[level > 0]
