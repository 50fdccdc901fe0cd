"""Numbers of the whole image and of six organs, as the text-guided DDPM's paper has them, and seams between slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..measure.image import class_metrics, image_metrics
from ..methods.contract import Case, Output
from ..phantoms.labels import LUNGS
from ..volume import LabelMap, Volume

ORGANS = {
    "heart": ("heart",),
    "liver": ("liver",),
    "lung": LUNGS,
    "pancreas": ("pancreas",),
    "spleen": ("spleen",),
    "vessels": ("aorta", "pulmonary_vein", "brachiocephalic_trunk", "subclavian_artery_right",
                "subclavian_artery_left", "common_carotid_artery_right", "common_carotid_artery_left",
                "brachiocephalic_vein_left", "brachiocephalic_vein_right", "superior_vena_cava", "inferior_vena_cava",
                "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_artery_right", "iliac_vena_left",
                "iliac_vena_right"),
}  # fmt: skip
"""Of Fig. 5, by TotalSegmentator's names."""
WHOLE = "whole"


def measured(output: Output, case: Case, normal: Volume, organs: LabelMap | None,
             lesions: LabelMap | None) -> dict[str, Any]:  # fmt: skip
    """PSNR and SSIM at one data range, the normal-dose image's maximum in the body; None where an organ is missing."""
    found = image_metrics(output.pet.array, normal.array, case.body)
    numbers = {f"{name}_{WHOLE}": found[name] for name in ("PSNR_dB", "SSIM")}
    rows = [] if organs is None else class_metrics(output.pet.array, normal.array, _in(case.body, organs), case.body)
    by_organ = {row["organ"]: row for row in rows}
    for organ in ORGANS:
        row = by_organ.get(organ, {})
        numbers |= {f"{name}_{organ}": row.get(name) for name in ("PSNR_dB", "SSIM")}
    steps = axial_steps(output.pet.array, normal.array, case.body)
    return {**numbers, "axial_steps": steps, "data_range": found["data_range"]}


def _in(body: np.ndarray, organs: LabelMap) -> LabelMap:
    """The six organs within the body. Unlike in a run's tables, lesions within them count: published figures do."""
    six = grouped(organs)
    return replace(six, array=np.where(body, six.array, 0))


def grouped(organs: LabelMap) -> LabelMap:
    """The six organs alone, numbered from 1."""
    array = np.zeros(organs.array.shape, np.int16)
    for number, names in enumerate(ORGANS.values(), start=1):
        array[organs.mask(*names)] = number
    return LabelMap(array, organs.geometry, dict(enumerate(ORGANS, start=1)))


def axial_steps(image: np.ndarray, normal: np.ndarray, body: np.ndarray) -> float | None:
    """Seams between slices: by how much more the error changes from slice to slice than it does within slices.

    RMS of the error's steps along z over that along y, in the body; 1 where no direction stands out.
    """
    error = image.astype(np.float64) - normal
    along = [_rms(np.diff(error, axis=axis), _both(body, axis)) for axis in (0, 1)]
    return along[0] / along[1] if along[1] > 0 else None


def _both(body: np.ndarray, axis: int) -> np.ndarray:
    whole = np.moveaxis(body, axis, 0)
    return np.moveaxis(whole[1:] & whole[:-1], 0, axis)


def _rms(steps: np.ndarray, inside: np.ndarray) -> float:
    return float(np.sqrt(np.mean(steps[inside] ** 2))) if inside.any() else 0.0
