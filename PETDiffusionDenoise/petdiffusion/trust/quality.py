"""Quality control of one case: noise and resolution before and after, bias of totals, and whether CT and PET show one
patient in one posture. Each number comes with the bound beyond which it should be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..filters import gaussian
from ..measure.checks import or_none
from ..measure.edges import edge_widths
from ..measure.segmentation import dice
from ..prepare.mask import from_ct
from ..prepare.upright import Turn
from ..volume import Volume

Rows = list[dict[str, Any]]
LUNG_HU = (-950.0, -500.0)
LUNG_DEPTH_MM, LEAST_LUNG_ML = 8.0, 200.0
SMOOTH_MM = 8.0
LUNG_TIMES, OF_QUARTILE = 2.2, 25
"""So many times the lower quartile of the lung's uptake is not lung, whether the tissues around are fat or muscle."""
MOST_SHIFT_MM, LEAST_GAIN = 40.0, 0.03
"""The largest shift that is tried must cover that much less uptake to be believed, smaller ones a part of it."""
EDGES, LEAST_WIDTH_MM = "width of edges", 3.0
"""What is sharper is not told apart."""
TOLD_MM = 1.0
"""No PET's edges are so narrow: a smaller number comes of an image too sharp or too noisy to tell."""
UNTOLD = "too sharp or too noisy to tell"
BOUNDS = {
    "activity_change": 2.0,
    "outline_dice": 0.9,
    "lung_uptake_percent": 3.0,
    "axial_shift": 8.0,
    "edge_widening": 1.3,
}
"""Beyond these (below, for the outlines) the reader is told. Shifts of less than two voxels are not asserted."""

AT_LEAST, AT_MOST, EITHER_WAY = "at least", "at most", "at most, up or down"
"""What a row's bound is."""


def quality(volumes: Mapping[str, Volume], body: np.ndarray, ct: Volume | None,
            image_rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Rows of `item, value, unit, bound_is, bound, look`. `volumes` are low, denoised and perhaps reference."""
    rows = [*_noise(image_rows), *resolution(volumes, body), *_activity(image_rows)]
    return rows + (mismatch(volumes["low"], ct, body) if ct is not None and body.any() else [])


def resolution(volumes: Mapping[str, Volume], body: np.ndarray) -> Rows:
    """How wide the patient's edges are in each image. A denoised image whose edges are much wider than the scan's has
    lost detail to its smoothing."""
    widths = edge_widths({name: volume.array for name, volume in volumes.items()}, volumes["denoised"].array, body,
                         volumes["denoised"].geometry.spacing[::-1])  # fmt: skip
    before = widths.get("low")
    bound = None if before is None else BOUNDS["edge_widening"] * max(before, LEAST_WIDTH_MM)
    return [_row(f"{EDGES}, {name}", _told(width), "mm", bound if name == "denoised" else None,
                 name == "denoised" and bound is not None and width > bound)
            for name, width in widths.items() if width is not None]  # fmt: skip


def _told(width: float) -> float | None:
    return width if width >= TOLD_MM else None


def _noise(image_rows: Sequence[Mapping[str, Any]]) -> Rows:
    by_name = {row["image"]: row for row in image_rows}
    column, where = "liver_CoV_percent", "liver"
    if by_name.get("low", {}).get(column) is None:
        column, where = "local_noise_percent", "body"
    found = {name: by_name[name].get(column) for name in ("low", "denoised", "reference") if name in by_name}
    return [_row(f"noise in the {where}, {name}", v, "%", None, False) for name, v in found.items() if v is not None]


def _activity(image_rows: Sequence[Mapping[str, Any]]) -> Rows:
    change = next((r.get("activity_vs_low_percent") for r in image_rows if r["image"] == "denoised"), None)
    if change is None:
        return []
    bound = BOUNDS["activity_change"]
    return [_row("total activity, change", change, "%", bound, abs(change) > bound, EITHER_WAY)]


def mismatch(pet: Volume, ct: Volume, body: np.ndarray) -> Rows:
    """CT and PET on one grid. Outlines tell of a wrong patient or position; uptake where the CT shows lung, and the
    shift along the body that fits lung to low uptake best, tell of breathing. Shifts towards the head are positive."""
    turn = Turn.of(pet.geometry)  # files run along any axis, either way
    pet, ct, body = turn.image(pet), turn.image(ct), turn.array(body)
    outline = from_ct(ct)
    field = outline.any(axis=(1, 2)) & body.any(axis=(1, 2))  # slices that both show
    overlap = dice(body[field], outline[field]) if field.any() else 0.0  # nobody in the CT: air, or no HU
    least = BOUNDS["outline_dice"]
    rows = [_row("outlines of CT and PET, Dice", overlap, "", least, overlap < least, AT_LEAST)]
    lung = _lung(ct, outline)
    if not field.any() or lung.sum() * ct.geometry.voxel_ml < LEAST_LUNG_ML:
        return rows
    smooth = gaussian(pet.array, SMOOTH_MM, pet.geometry.spacing[::-1])
    usual = float(np.percentile(smooth[lung], OF_QUARTILE))
    hot = 100 * float(np.mean(smooth[lung] > LUNG_TIMES * usual))
    shift = _axial_shift(smooth, lung, body & outline, ct.geometry.spacing[2])
    bounds = BOUNDS["lung_uptake_percent"], max(BOUNDS["axial_shift"], 2 * ct.geometry.spacing[2] - 1e-6)
    return [
        *rows,
        _row("part of the CT's lung with PET uptake over twice the usual", hot, "%", bounds[0], hot > bounds[0]),
        _row("shift of the PET's lung against the CT's, along the body", shift, "mm", bounds[1],
             shift is not None and abs(shift) > bounds[1], EITHER_WAY),
    ]  # fmt: skip


def _lung(ct: Volume, outline: np.ndarray) -> np.ndarray:
    """Voxels of lung, away from its edges' partial volumes."""
    from scipy.ndimage import distance_transform_edt

    lung = outline & (ct.array > LUNG_HU[0]) & (ct.array < LUNG_HU[1])
    return distance_transform_edt(lung, ct.geometry.spacing[::-1]) > LUNG_DEPTH_MM if lung.any() else lung


def _axial_shift(smooth: np.ndarray, lung: np.ndarray, inside: np.ndarray, step: float) -> float | None:
    """In mm towards the head: where the lung, moved, covers the least uptake for its volume within the body. None
    where moving it gains too little to tell."""
    most = min(int(MOST_SHIFT_MM / step), lung.shape[0] // 3)
    z = np.flatnonzero(lung.any(axis=(1, 2)))
    if most < 1 or z[0] - most < 0 or z[-1] + most >= lung.shape[0]:
        return None
    costs = []
    for shift in range(-most, most + 1):
        moved = np.roll(lung, shift, axis=0) & inside
        costs.append(float(smooth[moved].mean()) if moved.sum() > lung.sum() / 2 else np.inf)
    best = int(np.argmin(costs))
    if costs[best] > (1 - LEAST_GAIN * abs(best - most) / most) * costs[most]:
        return None
    if best in (0, len(costs) - 1):
        return (best - most) * step
    left, middle, right = costs[best - 1 : best + 2]
    bend = left - 2 * middle + right
    part = 0.5 * (left - right) / bend if np.isfinite(bend) and bend > 0 else 0.0
    return (best - most + float(np.clip(part, -0.5, 0.5))) * step


def _row(item: str, value: float | None, unit: str, bound: float | None, look: bool, kind: str = AT_MOST
         ) -> dict[str, Any]:  # fmt: skip
    return {"item": item, "value": None if value is None else or_none(value), "unit": unit,
            "bound_is": None if bound is None else kind, "bound": bound, "look": bool(look)}  # fmt: skip


def quality_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of resolution, and of CT against PET: noise and activity are said elsewhere."""
    marked = [r for r in rows if r.get("look")]
    found = [r for r in marked if "CT" in str(r.get("item"))]
    said = "; ".join(f"{r['item']} {r['value']:.3g} {r['unit']}".rstrip() for r in found)
    wide = next((r for r in marked if str(r.get("item")).startswith(EDGES)), None)
    before = next((r for r in rows if r.get("item") == f"{EDGES}, low"), None)
    sentences = []
    if wide and before:
        scans = (f"in the scan {before['value']:.1f} mm" if before["value"] is not None
                 else "while the scan's cannot be told")  # fmt: skip
        sentences.append(f"Edges are {wide['value']:.1f} mm wide, {scans}: small structures and lesions may have been "
                         "smoothed away.")  # fmt: skip
    if found:
        sentences.append(f"CT and PET may not match ({said}): check them on each other before organs or "
                         "attenuation are trusted.")  # fmt: skip
    return sentences
