"""The numbers of a stack of slices against its reference: slice by slice, then their mean, as in BC-DPM's paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..measure.calibration import calibration
from ..measure.checks import or_none
from ..measure.image import SLICES_GAUSSIAN, psnr, ssim
from ..methods.contract import Output
from ..volume import Volume

SETTINGS = {
    "slices": "evenly spaced over the body; every number is a mean over a patient's slices, SD and tests are over "
              "patients",
    "body": "voxels of the body as found in the whole normal-dose scan, the same for every row",
    "PSNR_dB, SSIM": "each slice by itself in the body; data range: its reference's maximum there; SSIM 2D, Gaussian "
                     "11, sigma 1.5",
    "sharpness": "mean size of the gradient in the body over the reference's: below 1 is blurred, above 1 is noisy",
    "bias_percent": "of the total activity in the body",
    "SD_rank": "Spearman's rank correlation of the SD over the runs with the size of the true error, voxels of the "
               "body",
    "SD_over_error": "root mean square SD over root mean square error; 1 is as wide as the error",
    "SD_covers_68, SD_covers_95": "in the CSV: part of the body's voxels whose truth lies within 0.99 and 1.96 SD",
    "SD_ENCE": "in the CSV: mean of |RMSE - SD| / SD over tenths of the body's voxels, sorted by SD",
}  # fmt: skip


def score_slices(output: Output, normal: Volume, body: np.ndarray) -> dict[str, Any]:
    """None where a number is not defined."""
    image, reference = output.pet.array, normal.array
    filled = np.flatnonzero(body.any((1, 2)))
    each = [_slice(image[[z]], reference[[z]], body[[z]]) for z in filled if reference[z][body[z]].max() > 0]
    total, known = float(image[body].sum(dtype=np.float64)), float(reference[body].sum(dtype=np.float64))
    return {
        "slices": len(each),
        "PSNR_dB": float(np.mean([one[0] for one in each])),
        "SSIM": float(np.mean([one[1] for one in each])),
        "sharpness": _roughness(image, body) / _roughness(reference, body),
        "bias_percent": 100 * (total - known) / known,
        "PSNR_each": [round(one[0], 3) for one in each],
        **_spread(output, reference, body),
    }


def _slice(image: np.ndarray, reference: np.ndarray, body: np.ndarray) -> tuple[float, float]:
    peak = float(reference[body].max())
    return psnr(image, reference, peak, body), ssim(image, reference, peak, body, SLICES_GAUSSIAN)


def _roughness(image: np.ndarray, body: np.ndarray) -> float:
    y, x = np.gradient(image.astype(np.float64), axis=(1, 2))
    return float(np.hypot(y, x)[body].mean())


def _spread(output: Output, reference: np.ndarray, body: np.ndarray) -> dict[str, float | None]:
    """How the SD map goes with the true error; nothing where there is no map."""
    if output.sd is None:
        return {}
    sd, error = output.sd.array[body], np.abs(output.pet.array - reference)[body]
    if not sd.any() or not error.any():
        return {}
    ratio = np.sqrt(np.mean(np.square(sd, dtype=np.float64)) / np.mean(np.square(error, dtype=np.float64)))
    found = calibration(reference, output.pet.array, output.sd.array, body)
    return {"SD_rank": or_none(found.rank_correlation), "SD_over_error": float(ratio),
            "SD_ENCE": or_none(found.expected_error),
            **{f"SD_covers_{100 * level:.0f}": part for level, part in found.coverage.items()}}  # fmt: skip
