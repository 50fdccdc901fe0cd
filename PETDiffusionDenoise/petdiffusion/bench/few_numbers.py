"""PSNR, SSIM, MAE and lesions alone: for tables that show no texture, which costs more than a fast method."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..measure.image import image_metrics
from ..measure.lesions import lesion_table
from ..methods.contract import Case, Output
from ..volume import LabelMap, Volume
from .score import SMALLEST_LESION


def measured(output: Output, case: Case, normal: Volume, organs: LabelMap | None,
             lesions: LabelMap | None) -> dict[str, Any]:  # fmt: skip
    """Changes of lesions in per cent of the normal-dose image, mean over a patient's lesions."""
    found = image_metrics(output.pet.array, normal.array, case.body)
    numbers = {name: found[name] for name in ("PSNR_dB", "SSIM", "MAE", "bias_percent")}
    rows = [] if lesions is None else lesion_table({"denoised": output.pet, "reference": normal}, lesions)
    for name in ("SUVmean", "SUVmax"):
        changes = [row.get(f"{name}_denoised_vs_reference_percent") for row in rows
                   if row["voxels"] >= SMALLEST_LESION]  # fmt: skip
        known = np.array([c for c in changes if c is not None])
        numbers |= {f"lesion_{name}_bias": float(known.mean()) if known.size else None,
                    f"lesion_{name}_error": float(np.abs(known).mean()) if known.size else None}  # fmt: skip
    return numbers
