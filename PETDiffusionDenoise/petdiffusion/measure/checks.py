"""What every measurement asks of its images first: one grid, finite values, a mask with something in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import GeometryError, InputError
from ..volume import Geometry, LabelMap, Volume
from ..wording import counted


def finite_pair(image: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both images, of one shape and without NaN or Inf, or a named error."""
    image, reference = np.asarray(image), np.asarray(reference)
    if image.shape != reference.shape:
        raise GeometryError(
            f"Image of shape {image.shape}",
            f"differs from the reference's {reference.shape}",
            "Bring both onto one grid first.",
        )
    if image.ndim != 3 or image.size == 0:
        raise GeometryError(f"Image of shape {image.shape}", "is not a 3D image", "Give arrays indexed (z, y, x).")
    finite("The image", image)
    finite("The reference", reference)
    return image, reference


def finite(what: str, array: np.ndarray) -> None:
    # A sum is finite only if every value is, and is several times faster than testing each.
    if not np.isfinite(np.sum(array, dtype=np.float64)) and not np.all(np.isfinite(array)):
        raise InputError(
            what,
            f"holds {counted(np.count_nonzero(~np.isfinite(array)), 'NaN or infinite value')}",
            "Numbers measured on it would be meaningless; repair the image first.",
        )


def mask_like(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The mask as booleans; everything where none is given."""
    if mask is None:
        return np.ones(image.shape, bool)
    mask = np.asarray(mask).astype(bool)
    if mask.shape != image.shape:
        raise GeometryError(
            f"Mask of shape {mask.shape}", f"does not fit the image's {image.shape}", "Bring both onto one grid first."
        )
    if not mask.any():
        raise InputError("The mask", "is empty", "Give a mask that covers the region to measure.")
    return mask


def same_grid(images: Mapping[str, Volume | LabelMap]) -> Geometry:
    """The grid that all share, or a GeometryError naming the one that does not."""
    if not images:
        raise InputError("No image", "was given to measure", "Give at least one volume.")
    (first, start), *others = images.items()
    for name, image in others:
        if not start.geometry.close_to(image.geometry):
            raise GeometryError(
                f"The image '{name}'", f"lies on another grid than '{first}'", "Resample it onto that grid first."
            )
    return start.geometry


def or_none(value: float) -> float | None:
    """For rows: a number that is not defined is an empty cell, never NaN or Inf in a file."""
    return float(value) if value is not None and math.isfinite(value) else None


def percent_change(value: float | None, base: float | None) -> float | None:
    if value is None or base is None or not math.isfinite(base) or abs(base) < 1e-12:
        return None
    return or_none(100.0 * (value - base) / base)


def bounding_box(mask: np.ndarray, margin: tuple[int, int, int] = (0, 0, 0)) -> tuple[slice, ...]:
    """Smallest box around the mask, widened by the margin and cut at the image's border."""
    box = []
    for axis, wide in enumerate(margin):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(int(along[0]) - wide, 0), min(int(along[-1]) + wide + 1, mask.shape[axis])))
    return tuple(box)


def versions(*packages: str) -> str:
    """`scipy 1.17.1, petdiffusion 0.1.0`: written beside every number."""
    from importlib.metadata import PackageNotFoundError, version

    def known(package: str) -> Any:
        try:
            return version(package)
        except PackageNotFoundError:
            return "(version unknown)"

    return ", ".join(f"{package} {known(package)}" for package in (*packages, "petdiffusion"))
