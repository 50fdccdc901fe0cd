"""Where the patient is: from the PET alone, at any dose and in any unit, or from CT."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..filters import gaussian
from ..volume import Volume
from .upright import Turn

COARSE_MM = 5.0
"""The mask is found on a grid of about this spacing."""
SMOOTH_MM = (5.0, 8.0, 14.0, 22.0, 32.0)
"""FWHM of the smoothing; the first at which air and body come apart is taken."""
TISSUE_PART = 0.12
"""Voxels above this part of the body's typical activity count as tissue (fat and lung are above, air below)."""
TISSUE_PART_AT_MOST = 0.45
SMALLEST_PART = 0.02
"""Pieces (arms, legs) smaller than this part of the largest piece are dropped."""
SKIN_HU, TABLE_MM = -300.0, 4.0
PAIRWISE = 8
"""So many numbers in a row NumPy no longer adds one after the other."""


def body_mask(volume: Volume) -> np.ndarray:
    """Voxels of the patient, holes (lungs) filled; all False where there is no activity at all.

    The image is smoothed until the noise of the air lies clearly below the tissue, so the same rule
    serves full and very low doses; everything is relative to the body's own activity.
    """
    spacing = np.asarray(volume.geometry.spacing[::-1])
    factor = np.maximum(1, np.floor(COARSE_MM / spacing)).astype(int)
    coarse = _block_mean(volume.array, factor)
    mask = _tissue(coarse, spacing * factor)
    if mask.any():
        mask = _largest_pieces(_closed(mask, spacing * factor, 6.0))
        mask = _without_holes(mask, _along_the_body(volume))
    return _refined(mask, factor, volume.array.shape)


def from_ct(ct: Volume) -> np.ndarray:
    """Voxels of the patient in a CT in HU, lungs filled, table and sheets left out."""
    spacing = np.asarray(ct.geometry.spacing[::-1])
    factor = np.maximum(1, np.floor(4.0 / spacing)).astype(int)
    dense = _block_mean(ct.array, factor) > SKIN_HU
    spacing = spacing * factor
    if not dense.any():
        return np.zeros(ct.array.shape, bool)
    width = 2 * np.ceil(TABLE_MM / spacing).astype(int) + 1
    thick = ndimage.minimum_filter(dense.view(np.uint8), width, mode="nearest")
    if thick.any():
        opened = ndimage.maximum_filter(_largest_pieces(thick > 0).view(np.uint8), width + 2, mode="nearest")
        dense = _largest_pieces(dense & (opened > 0))
    return _refined(_without_holes(dense, _along_the_body(ct)), factor, ct.array.shape)


def bounding_box(mask: np.ndarray, margin: tuple[int, int, int] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """Smallest box around the mask with a margin in voxels; the whole array where the mask is empty."""
    box = []
    for axis, (size, extra) in enumerate(zip(mask.shape, margin)):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        low, high = (hit[0], hit[-1] + 1) if hit.size else (0, size)
        box.append(slice(max(0, int(low) - extra), min(size, int(high) + extra)))
    return tuple(box)


def _tissue(coarse: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    broad = _smooth(coarse, SMOOTH_MM[-2], spacing)
    typical = _typical_activity(broad)
    if typical <= 0:
        return np.zeros(coarse.shape, bool)
    sure_air = broad < TISSUE_PART * typical
    for fwhm in SMOOTH_MM:
        smooth = _smooth(coarse, fwhm, spacing)
        threshold = max(TISSUE_PART * typical, _noise_ceiling(smooth[sure_air]))
        if threshold <= TISSUE_PART_AT_MOST * typical:
            break
    return smooth > min(threshold, TISSUE_PART_AT_MOST * typical)


def _typical_activity(smooth: np.ndarray) -> float:
    """Median above Otsu's threshold of the logarithm: hot organs weigh little, air is one narrow class."""
    top = float(np.percentile(smooth, 99.5))
    if top <= 0:
        top = float(smooth.max())
    if top <= 0:
        return 0.0
    level = np.log(np.maximum(smooth, 1e-3 * top))
    return float(np.median(smooth[level >= _otsu(level)]))


def _otsu(values: np.ndarray, bins: int = 256) -> float:
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    best = np.nan_to_num(between, nan=-1.0, posinf=-1.0)
    return float(edges[np.argmax(best) + 1]) if best.max() > 0 else float(edges[0])


def _noise_ceiling(air: np.ndarray) -> float:
    """Level that noise in air hardly ever passes: median and 4.5 robust SDs."""
    if air.size < 50:
        return 0.0
    middle = float(np.median(air))
    return middle + 4.5 * 1.4826 * float(np.median(np.abs(air - middle)))


def _smooth(array: np.ndarray, fwhm_mm: float, spacing: np.ndarray) -> np.ndarray:
    return gaussian(array, fwhm_mm, spacing)


def _block_mean(array: np.ndarray, factor: np.ndarray) -> np.ndarray:
    padding = [(0, int(-n % f)) for n, f in zip(array.shape, factor)]
    padded = np.pad(array, padding, mode="edge") if any(p[1] for p in padding) else array
    for axis, f in enumerate(factor):
        if f > 1:
            padded = _mean_of(padded, axis, int(f))
    return padded


def _mean_of(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Of so many neighbours along an axis. Few are added as whole arrays: along the last axis many times faster than
    NumPy's mean, and the same to the bit."""
    if count >= PAIRWISE:
        shape = array.shape[:axis] + (array.shape[axis] // count, count) + array.shape[axis + 1:]
        return array.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    first, second, *others = (array[(slice(None),) * axis + (slice(k, None, count),)] for k in range(count))
    total = np.add(first, second, dtype=np.float32)
    for part in others:
        total += part
    total /= np.float32(count)
    return total


def _refined(mask: np.ndarray, factor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The coarse mask on the fine grid; its edge is interpolated linearly. One voxel from the mask nothing is left."""
    if np.all(factor == 1):
        return mask
    box, fine = bounding_box(mask, (1, 1, 1)), np.zeros(shape, bool)
    within = tuple(slice(int(b.start * f), int(min(b.stop * f, n))) for b, f, n in zip(box, factor, shape))
    level = mask[box].astype(np.float32)
    for axis, (part, of, f) in enumerate(zip(within, box, factor)):
        position = np.clip((np.arange(part.start, part.stop) + 0.5) / f - 0.5, 0, mask.shape[axis] - 1)
        below = np.floor(position)
        weight = (position - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        low = below.astype(int) - of.start
        level, above = (level.take(np.clip(at, 0, level.shape[axis] - 1), axis) for at in (low, low + 1))
        level *= 1 - weight
        above *= weight
        level += above
    fine[within] = level >= 0.5
    return fine


def _grown(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    """All voxels within the radius of the mask: shifted copies, which for so few voxels is many times faster than
    distances."""
    reach = [int(radius_mm / step) for step in spacing]
    shifts = np.indices([2 * r + 1 for r in reach]).reshape(3, -1).T - reach
    inside = shifts[np.square(shifts * spacing).sum(1) <= radius_mm**2]
    grown = mask.copy()
    for shift in inside:
        to, of = zip(*(_overlap(int(v), n) for v, n in zip(shift, mask.shape)))
        grown[to] |= mask[of]
    return grown


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where a copy shifted by so many voxels lies, and what of the original that is."""
    return slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))


def _closed(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    """Gaps narrower than twice the radius filled; beyond the border the mask goes on as it is there."""
    pad = np.ceil(radius_mm / spacing).astype(int) + 1
    box = bounding_box(mask, tuple(2 * pad))
    padded = np.pad(mask[box], [(p, p) for p in pad], mode="edge")
    closed = ~_grown(~_grown(padded, spacing, radius_mm), spacing, radius_mm)
    whole = mask.copy()
    whole[box] |= closed[tuple(slice(p, p + b.stop - b.start) for p, b in zip(pad, box))]
    return whole


def _largest_pieces(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= SMALLEST_PART * sizes.max())[labels] & mask


def _along_the_body(volume: Volume) -> int:
    """The array's axis that runs from feet to head: in a coronal or sagittal file it isn't the first."""
    return 2 - Turn.of(volume.geometry).order[2]


def _without_holes(mask: np.ndarray, along: int) -> np.ndarray:
    """Fills cavities in space, and those enclosed within one axial slice: lungs are open only at the image's end."""
    plane = np.zeros((3, 3, 3), bool)
    plane[tuple(1 if axis == along else slice(None) for axis in range(3))] = ndimage.generate_binary_structure(2, 1)
    box, filled = bounding_box(mask), mask.copy()
    filled[box] = ndimage.binary_fill_holes(mask[box]) | ndimage.binary_fill_holes(mask[box], plane)
    return filled
