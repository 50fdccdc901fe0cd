"""Image quality against a reference: PSNR, SSIM, MAE, RMSE, NRMSE and bias, each with its settings.

The same pair gives PSNRs many dB apart under different conventions, so range, window and mask are never implied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, OptionError
from ..volume import LabelMap
from .checks import bounding_box, finite_pair, mask_like, or_none, percent_change, versions
from .groups import Groups

K1, K2 = 0.01, 0.03
"""SSIM's stabilising constants (Wang et al. 2004)."""


SLAB = 48
"""Slices worked on at once."""


def _require(holds: bool, name: str, value: Any, why: str) -> None:
    if not holds:
        raise OptionError(f"{name} = {value}", why, "See ImageSettings.")


@dataclass(frozen=True)
class ImageSettings:
    """How PSNR and SSIM are computed. The default is 3D with a Gaussian window of 11 voxels."""

    data_range: float | None = None
    """None: the reference's maximum inside the mask."""
    window: str = "gaussian"
    window_size: int = 11
    sigma: float = 1.5
    sample_covariance: bool = False
    """Divide variances by N - 1 instead of N, as scikit-image does for uniform windows."""
    dimensions: int = 3
    """2: PSNR and SSIM of every axial slice, then their mean over the slices."""

    def __post_init__(self) -> None:
        _require(self.window in ("gaussian", "uniform"), "window", self.window, "must be gaussian or uniform")
        _require(self.dimensions in (2, 3), "dimensions", self.dimensions, "must be 2 or 3")
        _require(
            self.window_size >= 3 and self.window_size % 2 == 1,
            "window_size",
            self.window_size,
            "must be odd and at least 3",
        )
        _require(self.sigma > 0, "sigma", self.sigma, "must be positive")
        _require(
            self.data_range is None or (np.isfinite(self.data_range) and self.data_range > 0),
            "data_range",
            self.data_range,
            "must be positive",
        )

    @property
    def axes(self) -> tuple[int, ...]:
        return (0, 1, 2) if self.dimensions == 3 else (1, 2)

    def describe_window(self) -> str:
        sigma = f", sigma {self.sigma:g}" if self.window == "gaussian" else ""
        return f"{self.window} {self.window_size}{sigma}, {self.dimensions}D"


DEFAULT = ImageSettings()
UNIFORM_7 = ImageSettings(window="uniform", window_size=7, sample_covariance=True)
"""scikit-image's own default, in 3D."""
SLICES_GAUSSIAN = ImageSettings(dimensions=2)
SLICES_UNIFORM_7 = ImageSettings(window="uniform", window_size=7, sample_covariance=True, dimensions=2)
VARIANTS: Mapping[str, ImageSettings] = {
    "3d-gaussian-11": DEFAULT,
    "3d-uniform-7": UNIFORM_7,
    "2d-gaussian-11": SLICES_GAUSSIAN,
    "2d-uniform-7": SLICES_UNIFORM_7,
}


def rmse(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    return float(np.sqrt(np.mean(_difference(image, reference, mask) ** 2)))


def bias(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    return float(np.mean(_difference(image, reference, mask)))


def nrmse(
    image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None, reference_range: float | None = None
) -> float:
    """RMSE / (max - min of the reference inside the mask), or over a range given; NaN for a flat reference."""
    if reference_range is None:
        inside = np.asarray(reference)[mask_like(np.asarray(reference), mask)]
        reference_range = float(inside.max()) - float(inside.min())
    return rmse(image, reference, mask) / reference_range if reference_range > 0 else float("nan")


def psnr(
    image: np.ndarray,
    reference: np.ndarray,
    data_range: float | None = None,
    mask: np.ndarray | None = None,
    dimensions: int = 3,
) -> float:
    """10 log10(range^2 / MSE) in dB; infinite for equal images. In 2D: the mean over axial slices that differ."""
    image, reference = finite_pair(image, reference)
    inside = mask_like(image, mask)
    peak = chosen_range(reference, inside, data_range)
    if dimensions == 3:
        return _decibels(peak, rmse(image, reference, mask) ** 2)
    slices = ((a[m].astype(np.float64) - b[m]) for a, b, m in zip(image, reference, inside, strict=True) if m.any())
    errors = [float(np.mean(difference**2)) for difference in slices]
    each = [_decibels(peak, error) for error in errors if error > 0]
    return float(np.mean(each)) if each else float("inf")


def ssim(
    image: np.ndarray,
    reference: np.ndarray,
    data_range: float | None = None,
    mask: np.ndarray | None = None,
    settings: ImageSettings = DEFAULT,
) -> float:
    """Mean of the SSIM map.

    With a mask: over its voxels, windows at the image's border being completed by reflection. Without one: over the
    voxels whose whole window lies in the image, as scikit-image does. In 2D: the mean over slices of their means.
    """
    image, reference = finite_pair(image, reference)
    inside = mask_like(image, mask)
    peak = chosen_range(reference, inside, data_range if data_range is not None else settings.data_range)
    region = _whole_windows(inside, settings) if mask is None else inside
    radius = settings.window_size // 2
    box = bounding_box(inside, tuple(radius if axis in settings.axes else 0 for axis in range(3)))
    counts = region[box].sum(axis=(1, 2))
    sums = np.zeros(len(counts))
    for slab, similarity in _slabs(image[box], reference[box], peak, settings):
        sums[slab] = (similarity * region[box][slab]).sum(axis=(1, 2))
    if settings.dimensions == 3:
        return float(sums.sum() / counts.sum())
    return float(np.mean(sums[counts > 0] / counts[counts > 0]))


def ssim_map(
    image: np.ndarray, reference: np.ndarray, data_range: float, settings: ImageSettings = DEFAULT
) -> np.ndarray:
    """Structural similarity at every voxel (Wang et al. 2004, Eq. 13), float64."""
    smooth = _smoother(settings)
    x, y = image.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = smooth(x), smooth(y)
    count = settings.window_size**settings.dimensions
    correction = count / (count - 1) if settings.sample_covariance else 1.0
    covariance = correction * (smooth(x * y) - mean_x * mean_y)
    # Only the sum of both variances enters, so one filtering serves both.
    variances = correction * (smooth(x * x + y * y) - mean_x**2 - mean_y**2)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    return (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))


def _slabs(
    image: np.ndarray, reference: np.ndarray, data_range: float, settings: ImageSettings
) -> Iterator[tuple[slice, np.ndarray]]:
    """The SSIM map in parts of some slices: the same values, without a dozen copies of a whole body in memory."""
    radius = settings.window_size // 2
    for start in range(0, len(image), SLAB):
        stop = min(start + SLAB, len(image))
        low, high = max(start - radius, 0), min(stop + radius, len(image))
        part = ssim_map(image[low:high], reference[low:high], data_range, settings)
        yield slice(start, stop), part[start - low : stop - low]


def image_metrics(
    image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None, settings: ImageSettings = DEFAULT
) -> dict[str, Any]:
    """One row: the numbers, and beside them all that is needed to compute them again.

    Where the reference is flat or empty inside the mask, PSNR, SSIM and NRMSE are not defined and None; PSNR is also
    None where the images are equal (RMSE 0).
    """
    image, reference = finite_pair(image, reference)
    inside = mask_like(image, mask)
    difference = image[inside].astype(np.float64) - reference[inside]
    values = reference[inside]
    span, mean = float(values.max()) - float(values.min()), float(values.mean(dtype=np.float64))
    error, offset = float(np.sqrt(np.mean(difference**2))), float(difference.mean())
    peak = settings.data_range if settings.data_range is not None else float(values.max())
    defined = peak > 0
    return {
        "PSNR_dB": or_none(psnr(image, reference, peak, mask, settings.dimensions)) if defined else None,
        "SSIM": or_none(ssim(image, reference, peak, mask, settings)) if defined else None,
        "MAE": float(np.abs(difference).mean()),
        "RMSE": error,
        "NRMSE": error / span if span > 0 else None,
        "bias": offset,
        "bias_percent": 100 * offset / mean if abs(mean) > 1e-12 else None,
        "data_range": peak if defined else None,
        "data_range_rule": "given" if settings.data_range is not None else "maximum of the reference in the mask",
        "NRMSE_range": span,
        "SSIM_window": settings.describe_window(),
        "PSNR_dimensions": settings.dimensions,
        "mask": "whole image" if mask is None else "mask",
        "mask_voxels": int(inside.sum()),
        "library": versions("numpy", "scipy"),
    }


def class_metrics(
    image: np.ndarray,
    reference: np.ndarray,
    labels: LabelMap,
    mask: np.ndarray | None = None,
    settings: ImageSettings = DEFAULT,
) -> list[dict[str, Any]]:
    """A row per structure: PSNR and SSIM at the whole image's data range, NRMSE over the image's and its own range.

    The ranges are those inside the mask; a structure is all of its voxels, wherever they lie.
    """
    image, reference = finite_pair(image, reference)
    whole = mask_like(image, mask)
    peak = chosen_range(reference, whole, settings.data_range)
    inside = reference[whole]
    span = float(inside.max()) - float(inside.min())
    label = labels.array
    if not label.any():
        return []
    radius = settings.window_size // 2
    box = bounding_box(label > 0, (radius,) * 3)
    groups, x, y = Groups(label[box]), image[box], reference[box]
    difference = x.astype(np.float64) - y
    similar = np.empty(x.shape, np.float32)
    for slab, part in _slabs(x, y, peak, settings):
        similar[slab] = part
    numbers = {
        "squared": groups.mean(difference**2),
        "absolute": groups.mean(np.abs(difference)),
        "offset": groups.mean(difference),
        "level": groups.mean(y),
        "range": groups.maximum(y) - groups.minimum(y),
        "similar": groups.mean(similar),
    }

    return [
        {
            "organ": labels.names.get(int(value), f"label {value}"),
            "voxels": int(groups.voxels[i]),
            **_class_row({name: float(found[i]) for name, found in numbers.items()}, peak, span),
            "data_range": peak,
            "SSIM_window": settings.describe_window(),
        }
        for i, value in enumerate(groups.values)
    ]


def _class_row(one: Mapping[str, float], peak: float, span: float) -> dict[str, Any]:
    error = float(np.sqrt(one["squared"]))
    return {
        "PSNR_dB": or_none(_decibels(peak, one["squared"])),
        "SSIM": one["similar"],
        "MAE": one["absolute"],
        "RMSE": error,
        "NRMSE_image_range": error / span if span > 0 else None,
        "NRMSE_class_range": error / one["range"] if one["range"] > 0 else None,
        "bias": one["offset"],
        "bias_percent": percent_change(one["level"] + one["offset"], one["level"]),
    }


def chosen_range(reference: np.ndarray, inside: np.ndarray, given: float | None) -> float:
    """The range given, or the reference's maximum in the mask; a range that is not positive is an error."""
    value = float(given) if given is not None else float(reference[inside].max())
    if not np.isfinite(value) or value <= 0:
        raise InputError(
            f"Data range {value}",
            "is not positive, so PSNR and SSIM are not defined",
            "Give a reference with activity inside the mask, or a data range.",
        )
    return value


def _difference(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    image, reference = finite_pair(image, reference)
    inside = mask_like(image, mask)
    return image[inside].astype(np.float64) - reference[inside]


def _decibels(peak: float, mean_squared: float) -> float:
    return float("inf") if mean_squared == 0 else float(10 * np.log10(peak**2 / mean_squared))


def _smoother(settings: ImageSettings):
    from scipy import ndimage

    if settings.window == "uniform":
        return lambda a: ndimage.uniform_filter(a, settings.window_size, axes=settings.axes)
    return lambda a: ndimage.gaussian_filter(a, settings.sigma, radius=settings.window_size // 2, axes=settings.axes)


def _whole_windows(inside: np.ndarray, settings: ImageSettings) -> np.ndarray:
    """Leaves out the border where windows are cut, along axes long enough to have an inside."""
    region, radius = inside.copy(), settings.window_size // 2
    for axis in settings.axes:
        if inside.shape[axis] >= settings.window_size:
            edge = np.moveaxis(region, axis, 0)
            edge[:radius] = edge[-radius:] = False
    return region
