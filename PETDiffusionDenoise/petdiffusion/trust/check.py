"""The whole check: output against scan, without any reference. Pure; everything it needs is handed to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..filters import gaussian
from ..measure.rows import prefix
from ..measure.statistics import holm
from ..volume import LabelMap, Volume
from .chance import Chance, chance
from .findings import LESION, ORGAN, STRUCTURE, TOTAL, Finding, spot_kind
from .grid import Grid
from .kernels import Filter
from .noise import NoiseModel, noise_model
from .regions import Change, change_of
from .resolution import matched
from .spots import Peak, ZMap, peaks, strongest, usable_sizes, z_maps

ALARM = 0.01
"""Chance per lesion-sized region at which a spot is listed."""
MOST_SPOTS = 40
LEAST_PERCENT = {LESION: 5.0, ORGAN: 2.0, TOTAL: 1.0}
"""Smaller changes are not listed, however certain."""
LEAST_ORGAN_ML, SIGNIFICANT, ROUGH = 5.0, 0.05, 1.2
SEEN_MM = 45.0
"""From the body, how far the output is looked at: 3 SDs of the widest Gaussian that it is smoothed with, after a blur.
The residual counts in the body alone."""
_RESEL, _SPREAD_ERROR = 1.2, 0.55
"""The SD of a map's `spread` over scans of noise is the second / sqrt(n), n the cubes of so many sizes in the body.
Measured (0.4 to 0.65, by grid and size: `Testing/oracles/test_trust_noise.py`); of n independent values it would be
1.17, but a cube holds more than one, and the noise's level is told from the very residual."""


@dataclass(frozen=True)
class Trust:
    """`summary` goes into the run record."""

    findings: tuple[Finding, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    unit_prefix: str = ""
    noise: dict[str, dict[int, float]] = field(default_factory=dict)
    """Of `organs` and `lesions`, by number: the SD of the scan's mean in it, from the scan's noise alone."""

    def rows(self) -> list[dict[str, Any]]:
        return [f.row(number, self.unit_prefix) for number, f in enumerate(self.findings, 1)]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """By the name that results give it; none where nothing was found."""
        return {"trust": self.rows()} if self.findings else {}


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything on the check's grid."""

    grid: Grid
    low: np.ndarray
    output: np.ndarray
    """At the scan's resolution."""
    body: np.ndarray
    noise: NoiseModel
    blurred_mm: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the check looks at, before anything is called a finding."""

    scene: Scene
    maps: list[ZMap]
    null: Chance

    @property
    def regions(self) -> float:
        """How many lesion-sized regions the body holds."""
        return float(self.scene.body.sum()) / float(np.prod(self.null.region_voxels))

    @property
    def threshold(self) -> float:
        return self.null.threshold(ALARM)


def evidence(low: Volume, output: Volume, body: np.ndarray) -> Evidence | str:
    """The z-maps and their null distribution, or why there are none."""
    grid = Grid.of(low.geometry)
    inside = grid.mean(body) > 0.5
    filters = usable_sizes(grid.spacing, inside.shape)
    if not inside.any() or not filters or min(inside.shape) < 5:
        return "the scan is too small or shows no body"
    grid = grid.around(inside, SEEN_MM)
    scene = _scene(grid, low, output, grid.mean(body) > 0.5)
    if not np.median(scene.noise.sd[scene.body]) > 0:
        return "the output differs nowhere from the scan"
    maps = z_maps(scene.low, scene.output, scene.body, scene.noise, filters)
    return Evidence(scene, maps, chance(filters, scene.noise.fwhm_mm))


def check(low: Volume, output: Volume, body: np.ndarray, organs: LabelMap | None = None,
          lesions: LabelMap | None = None, whole: bool = False, measured: np.ndarray | None = None) -> Trust:
    """What the output asserts that the scan does not support. Findings are listed the most certain first. Organs are
    taken without the lesions in them, or `whole`. `measured` is where the tables measure, if not everywhere: the noise
    of means is of that part."""
    seen = evidence(low, output, body)
    if isinstance(seen, str):
        return Trust(summary={"checked": False, "why": seen})
    tumours = _lesions(seen.scene, lesions, measured)
    others = _organs(seen.scene, organs, None if whole else lesions, measured)
    found = [
        *_spots(seen, organs, lesions),
        *_changed_regions(seen.scene, tumours, LESION, 0.0),
        *_changed_regions(seen.scene, others, ORGAN, LEAST_ORGAN_ML),
        *_total(seen.scene),
        *_structure(seen.scene, seen.maps),
    ]
    found.sort(key=lambda f: (f.p_adjusted, f.p, -abs(f.z)))
    noise = {kind: {one.number: one.noise_sd for one in regions if one.noise_sd is not None}
             for kind, regions in (("organs", others), ("lesions", tumours))}  # fmt: skip
    return Trust(tuple(found), _summary(seen), prefix({"low": low}), noise)


def _scene(grid: Grid, low: Volume, output: Volume, inside: np.ndarray) -> Scene:
    scan, shown = grid.mean(low.array), grid.mean(output.array)
    shown, width = matched(scan, shown, inside, grid.spacing)
    return Scene(grid, scan, shown, inside, noise_model(scan, shown, inside, grid.spacing), width)


def _spots(seen: Evidence, organs: LabelMap | None, lesions: LabelMap | None) -> Iterator[Finding]:
    scene, null, regions = seen.scene, seen.null, seen.regions
    for peak in peaks(seen.maps, scene.noise, seen.threshold, MOST_SPOTS):
        local, middle = _around(scene, peak)
        spot = Filter(peak.size_mm, scene.grid.spacing)
        low, output = (float(spot(image[local], "nearest")[middle]) for image in (scene.low, scene.output))
        low_mean, output_mean = (float(gaussian(image[local], peak.size_mm, scene.grid.spacing)[middle])
                                 for image in (scene.low, scene.output))  # fmt: skip
        index = tuple(round(v) for v in scene.grid.index(peak.voxel))
        yield Finding(
            spot_kind(low, output, low_mean, output_mean),
            float(null.in_region(peak.z)[0]),
            float(null.in_scan(peak.z, regions)[0]),
            -peak.z,
            low_mean,
            output_mean,
            (output - low) / spot.height,
            peak.height_sd,
            100 * (output_mean - low_mean) / low_mean if abs(low_mean) > 1e-12 else None,
            peak.size_mm,
            scene.grid.point_mm(peak.voxel),
            index,
            _name_at(organs, index),
            _name_at(lesions, index),
        )


def _around(scene: Scene, peak: Peak) -> tuple[tuple[slice, ...], tuple[int, int, int]]:
    """The peak's surroundings, as far as the filter sees, and where it lies in them."""
    local, middle = [], []
    for v, n, step in zip(peak.voxel, scene.low.shape, scene.grid.spacing):
        reach = int(np.ceil(2.7 * peak.size_mm / step)) + 1
        start = max(v - reach, 0)
        local.append(slice(start, min(v + reach + 1, n)))
        middle.append(v - start)
    return tuple(local), tuple(middle)


def _name_at(labels: LabelMap | None, index: tuple[int, int, int]) -> str:
    value = 0 if labels is None else int(labels.array[index])
    return labels.names.get(value, f"label {value}") if value else ""


@dataclass(frozen=True)
class _Region:
    """A lesion or an organ, and what became of its mean."""

    number: int
    name: str
    ml: float
    middle: tuple[int, int, int]
    change: Change
    noise_sd: float | None = None
    """Of the scan's mean in the part of it that is measured; None where that is none of it."""


def _lesions(scene: Scene, lesions: LabelMap | None, measured: np.ndarray | None) -> list[_Region]:
    if lesions is None or not lesions.array.any():
        return []
    from ..measure.lesions import split_lesions

    return _regions(scene, split_lesions(lesions), measured)


def _organs(scene: Scene, organs: LabelMap | None, lesions: LabelMap | None, measured: np.ndarray | None
            ) -> list[_Region]:  # fmt: skip
    if organs is None:
        return []
    from ..measure.organs import without_lesions

    return _regions(scene, without_lesions(organs, lesions), measured)


def _regions(scene: Scene, labels: LabelMap, measured: np.ndarray | None) -> list[_Region]:
    from scipy.ndimage import find_objects

    boxes, found = find_objects(labels.array), []
    for value, name in labels.present().items():
        box = boxes[value - 1]
        mask = np.zeros(labels.array.shape, bool)
        mask[box] = labels.array[box] == value
        change = _change(scene, scene.grid.mean(mask))
        if change is not None:
            middle = tuple(round((s.start + s.stop - 1) / 2) for s in box)
            ml = float(mask[box].sum() * labels.geometry.voxel_ml)
            found.append(_Region(value, name, ml, middle, change, _noise_of(scene, mask, measured, change)))
    return found


def _noise_of(scene: Scene, mask: np.ndarray, measured: np.ndarray | None, change: Change) -> float | None:
    if measured is None or measured[mask].all():
        return change.sd
    part = _change(scene, scene.grid.mean(mask & measured))
    return None if part is None else part.sd


def _changed_regions(scene: Scene, regions: list[_Region], kind: str, least_ml: float) -> Iterator[Finding]:
    found = [one for one in regions if one.ml > least_ml]
    adjusted = holm([one.change.p for one in found]) if found else []
    for one, p in zip(found, adjusted):
        if p < SIGNIFICANT and abs(one.change.percent or 0) >= LEAST_PERCENT[kind]:
            named = {"lesion" if kind == LESION else "organ": one.name}
            yield _changed(scene, kind, one.change, float(p), one.middle, **named)


def _change(scene: Scene, weights: np.ndarray) -> Change | None:
    if not (weights > 0).any():
        return None
    box = scene.grid.near(weights > 0, 2 * max(scene.noise.fwhm_mm))
    part = NoiseModel(scene.noise.sd[box], scene.noise.fwhm_mm, scene.noise.in_residual)
    return change_of(scene.low[box], scene.output[box], weights[box], part, scene.grid.spacing)


def _changed(scene: Scene, kind: str, change: Change, p: float, voxel: tuple[int, int, int] | None = None,
             **named: str) -> Finding:
    place = None
    if voxel is not None:
        place = tuple(float(v) for v in (scene.grid.geometry.affine @ [*voxel[::-1], 1.0])[:3])
    return Finding(kind, change.p, p, change.z, change.low, change.output, change.output - change.low, change.sd,
                   change.percent, None, place, voxel, **named)  # fmt: skip


def _total(scene: Scene) -> Iterator[Finding]:
    change = _change(scene, scene.body.astype(np.float32))
    if change is not None and change.p < SIGNIFICANT and abs(change.percent or 0) >= LEAST_PERCENT[TOTAL]:
        yield _changed(scene, TOTAL, change, change.p)


def _structure(scene: Scene, maps: list[ZMap]) -> Iterator[Finding]:
    """The residual varies more, at some size, than noise does: contours or texture were changed throughout."""
    from scipy.special import ndtr

    volume = float(scene.body.sum()) * float(np.prod(scene.grid.spacing))
    for one in maps:
        z = (one.spread - 1) / spread_error(one.filter.size_mm, volume)
        p = float(2 * ndtr(-z))
        if one.spread > ROUGH and p * len(maps) < SIGNIFICANT:
            yield Finding(STRUCTURE, p, p * len(maps), float(z), change_percent=100 * (one.spread - 1),
                          size_mm=one.filter.size_mm)  # fmt: skip


def spread_error(size_mm: float, body_mm3: float) -> float:
    """SD of a map's `spread` where the residual is noise and nothing else."""
    return _SPREAD_ERROR / float(np.sqrt(max(body_mm3 / (_RESEL * size_mm) ** 3, 1.0)))


def _summary(seen: Evidence) -> dict[str, Any]:
    scene, maps, null, regions, threshold = seen.scene, seen.maps, seen.null, seen.regions, seen.threshold
    best, _ = strongest(maps)
    return {
        "checked": True,
        "output_blurred_by_mm": scene.blurred_mm,
        "noise_fwhm_mm": [round(f, 2) for f in scene.noise.fwhm_mm],
        "noise_sd_median": float(np.median(scene.noise.sd[scene.body])),
        "noise_removed_percent": round(100 * scene.noise.removed, 1),
        "sizes_mm": [one.filter.size_mm for one in maps],
        "spread_by_size": [round(one.spread, 3) for one in maps],
        "skew_mm": round(maps[0].skew_mm, 1),
        "regions": round(regions),
        "region_mm": [n * s for n, s in zip(null.region_voxels, scene.grid.spacing)],
        "alarm_p": ALARM,
        "alarm_z": round(threshold, 3),
        "regions_expected_by_chance": round(ALARM * regions, 1),
        "regions_flagged": int(_flagged(np.abs(best) > threshold, null.region_voxels)),
    }


def _flagged(beyond: np.ndarray, side: tuple[int, int, int]) -> int:
    """Regions, laid side by side, that hold a value beyond the threshold."""
    shape = [-(-n // s) for n, s in zip(beyond.shape, side)]
    padded = np.pad(beyond, [(0, n * s - m) for n, s, m in zip(shape, side, beyond.shape)])
    return int(padded.reshape([v for n, s in zip(shape, side) for v in (n, s)]).any(axis=(1, 3, 5)).sum())
