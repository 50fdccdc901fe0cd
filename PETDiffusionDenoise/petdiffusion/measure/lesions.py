"""Numbers per lesion, lesion finding by an explicit rule, and the patient's totals (MTV, TLG)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import ConditionError, OptionError
from ..volume import Geometry, LabelMap, Volume
from .checks import or_none, same_grid
from .organs import liver_core
from .rows import REFERENCE, beside, placed, prefix
from .segmentation import components
from .suvs import uptake

SHELL_MM = (5.0, 15.0)
"""A lesion's background: the shell between these distances from it, other lesions left out."""
MOST, HIGHEST_LABEL = 2000, 32767
RULES = ("fixed", "percent", "liver")


@dataclass(frozen=True)
class Threshold:
    """How lesions are found where no mask is given; always named beside the result.

    fixed:   every connected region at or above `value`.
    percent: every connected region at or above `floor` is cut at `value` per cent of its own maximum.
    liver:   every connected region at or above `value` x mean + 2 SD of the liver (PERCIST: 1.5).
    """

    rule: str = "fixed"
    value: float = 4.0
    floor: float = 2.5
    minimum_ml: float = 0.5

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise OptionError(f"Rule '{self.rule}'", f"is not one of {', '.join(RULES)}", "Choose one of them.")
        if not (self.value > 0 and self.minimum_ml >= 0 and np.isfinite(self.floor)):
            raise OptionError(
                f"Threshold {self.value}, smallest lesion {self.minimum_ml} ml",
                "must be positive",
                "Give for example a threshold of 4.",
            )
        if self.rule == "percent" and (self.value >= 100 or self.floor <= 0):
            raise OptionError(
                f"Threshold {self.value} % above a floor of {self.floor}",
                "needs less than 100 % and a floor above 0",
                "Give for example 41 % and 2.5.",
            )

    def describe(self) -> str:
        small = f", at least {self.minimum_ml:g} ml"
        return {
            "fixed": f"at or above {self.value:g}",
            "liver": f"at or above {self.value:g} x liver mean + 2 SD",
            "percent": f"at or above {self.value:g} % of the own maximum, above {self.floor:g}",
        }[self.rule] + small


def find_lesions(
    volume: Volume, threshold: float | Threshold, organs: LabelMap | None = None, exclude: tuple[str, ...] = ()
) -> LabelMap:
    """Candidate regions by a threshold, the hottest first; a number means the fixed rule.

    They are candidates: brain, heart, kidneys and bladder take up the tracer too. `exclude` names organs to leave out.
    """
    rule = threshold if isinstance(threshold, Threshold) else Threshold("fixed", float(threshold))
    image = (
        volume.array
        if not exclude
        else np.where(_organs(organs, "Leaving organs out").mask(*exclude), -np.inf, volume.array)
    )
    mask = image >= _cut(volume, rule, organs)
    if rule.rule == "percent":
        labelled, count = components(mask)
        highest = np.asarray(ndimage.maximum(image, labelled, np.arange(count + 1)), float)
        mask &= image >= (rule.value / 100.0 * highest)[labelled]
    labelled, count = components(mask)
    kept = _hottest_first(image, labelled, count, rule.minimum_ml / volume.geometry.voxel_ml)
    return LabelMap(kept[labelled], volume.geometry, {i: f"region {i}" for i in range(1, int(kept.max(initial=0)) + 1)})


def _cut(volume: Volume, rule: Threshold, organs: LabelMap | None) -> float:
    if rule.rule != "liver":
        return rule.floor if rule.rule == "percent" else rule.value
    core = liver_core(_organs(organs, "The liver rule"))
    if not core.any():
        raise ConditionError(
            "The liver rule",
            "needs the liver among the organs, with 20 ml of it away from its edge",
            "Give organ labels that name 'liver', or choose another rule.",
        )
    values = volume.array[core].astype(np.float64)
    return float(rule.value * values.mean() + 2 * values.std(ddof=1))


def _organs(organs: LabelMap | None, what: str) -> LabelMap:
    if organs is None:
        raise ConditionError(what, "needs organ labels", "Give organ labels on the PET's grid.")
    return organs


def _hottest_first(image: np.ndarray, labelled: np.ndarray, count: int, smallest: float) -> np.ndarray:
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)
    hottest = np.asarray(ndimage.maximum(image, labelled, np.arange(count + 1)), float)
    order = [i for i in np.argsort(-hottest, kind="stable") if i > 0 and sizes[i] >= max(smallest, 1)]
    _limit(len(order))
    kept = np.zeros(count + 1, np.int16)
    kept[order] = np.arange(1, len(order) + 1)
    return kept


def split_lesions(lesions: LabelMap) -> LabelMap:
    """Every connected part of every label as a lesion of its own, named after its label.

    Of several labels (or names) each keeps its number, so that lesion 4 is what the mask calls 4; further parts of a
    label are numbered after the last label. The parts of a single label are 1, 2, 3, ...
    """
    array, names, total = np.zeros(lesions.array.shape, np.int32), {}, 0
    boxes, labels = ndimage.find_objects(lesions.array), lesions.present()
    several = len(labels) > 1 or len(lesions.names) > 1  # names stay where all other lesions lie outside of the PET
    named = bool(labels) and several and max(labels) <= HIGHEST_LABEL - MOST
    last = max(labels) if named else 0
    for value in labels:
        box = boxes[value - 1]
        parts, count = components(lesions.array[box] == value)
        total += count
        _limit(total)
        kept = [value] if named else []
        numbers = [*kept, *range(last + 1, last + 1 + count - len(kept))]
        last += count - len(kept)
        array[box] += np.array([0, *numbers], np.int32)[parts]
        names |= {n: _part_name(lesions.names.get(value), n, i, count) for i, n in enumerate(numbers, 1)}
    return LabelMap(array, lesions.geometry, names)


def _part_name(label: str | None, number: int, part: int, parts: int) -> str:
    if label is None:
        return f"lesion {number}"
    return label if parts == 1 else f"{label} ({part})"


def _limit(count: int) -> None:
    if count > MOST:
        raise OptionError(
            f"{count} lesions",
            f"are more than {MOST}: this is noise or background, not lesions",
            "Raise the threshold or the smallest volume, or clean the mask.",
        )


def lesion_table(
    volumes: Mapping[str, Volume],
    lesions: LabelMap,
    organs: LabelMap | None = None,
    body: np.ndarray | None = None,
    isocontour: float | None = None,
) -> list[dict[str, Any]]:
    """A row per connected lesion, every image side by side.

    Mean, maximum, peak and TLG are of the mask given, the same in every image. Contrast is lesion over the shell
    around it; recovery is that contrast's part of the reference's; CNR is the difference over the shell's SD.
    `isocontour` adds the volume at or above that part of each image's own maximum (0.41 for the usual 41 %).
    """
    if isocontour is not None and not 0 < isocontour < 1:
        raise OptionError(f"isocontour = {isocontour}", "must lie between 0 and 1", "Give 0.41 for 41 %.")
    geometry = same_grid({**volumes, "lesions": lesions, **({} if organs is None else {"organs": organs})})
    single = split_lesions(lesions)
    boxes = ndimage.find_objects(single.array)
    suv, unit = prefix(volumes), next(iter(volumes.values())).unit
    rows = []
    for value, name in single.present().items():
        box = _around(boxes[value - 1], geometry)
        mask = single.array[box] == value
        shell = _shell(mask, single.array[box] > 0, None if body is None else body[box], geometry)
        images = {image: volume.array[box] for image, volume in volumes.items()}
        rows.append(
            {
                "lesion": name,
                "number": value,
                "organ": _organ_of(mask, organs, box),
                **_centre(mask, box, geometry),
                "volume_ml": _ml(mask, geometry),
                "voxels": int(np.count_nonzero(mask)),
                "unit": unit,
                **_uptakes(images, mask, geometry, suv),
                **_contrasts(images, mask, shell),
                **_isocontours(images, mask, geometry, isocontour),
            }
        )
    return rows


def _around(box: tuple[slice, ...], geometry: Geometry) -> tuple[slice, ...]:
    """The lesion's box with room for its shell and for lesions whose blur reaches into that. All is measured in it, so
    that large scans cost no more."""
    room = [int(np.ceil(sum(SHELL_MM) / step)) + 1 for step in geometry.spacing[::-1]]
    return tuple(
        slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in zip(box, room, geometry.shape, strict=True)
    )


def _uptakes(images: Mapping[str, np.ndarray], mask: np.ndarray, geometry: Geometry, suv: str) -> dict[str, Any]:
    found = {image: uptake(array, mask, geometry) for image, array in images.items()}
    row: dict[str, Any] = {}
    for key, attribute in (("max", "maximum"), ("mean", "mean"), ("peak", "peak")):
        row |= beside(f"{suv}{key}", {image: getattr(number, attribute) for image, number in found.items()})
    volume_ml = _ml(mask, geometry)
    return row | beside("TLG", {image: number.mean * volume_ml for image, number in found.items()}, changes=False)


def _contrasts(images: Mapping[str, np.ndarray], mask: np.ndarray, shell: np.ndarray) -> dict[str, Any]:
    means = {image: float(array[mask].mean(dtype=np.float64)) for image, array in images.items()}
    backgrounds = {image: array[shell].astype(np.float64) for image, array in images.items()}
    contrasts = {image: _contrast(means[image], backgrounds[image]) for image in images}
    row = beside("contrast", contrasts, changes=False)
    row |= beside("CNR", {image: _cnr(means[image], backgrounds[image]) for image in images}, changes=False)
    if REFERENCE in images:
        row |= beside(
            "contrast_recovery_percent",
            {image: _recovery(contrasts[image], contrasts[REFERENCE]) for image in images if image != REFERENCE},
            changes=False,
        )
    return row


def _isocontours(
    images: Mapping[str, np.ndarray], mask: np.ndarray, geometry: Geometry, part: float | None
) -> dict[str, Any]:
    if part is None:
        return {}
    return beside(
        f"MTV{100 * part:.0f}_ml",
        {image: _ml(array[mask] >= part * array[mask].max(), geometry) for image, array in images.items()},
    )


def lesion_totals(volumes: Mapping[str, Volume], lesions: LabelMap) -> dict[str, Any]:
    """The patient's total metabolic tumour volume and total lesion glycolysis (sum of SUVmean x MTV)."""
    geometry = same_grid({**volumes, "lesions": lesions})
    mask = lesions.array > 0
    sums = {
        image: float(volume.array[mask].sum(dtype=np.float64)) * geometry.voxel_ml for image, volume in volumes.items()
    }
    return {"lesions": len(split_lesions(lesions).present()), "MTV_ml": _ml(mask, geometry), **beside("TLG", sums)}


def _ml(mask: np.ndarray, geometry: Geometry) -> float:
    return float(np.count_nonzero(mask) * geometry.voxel_ml)


def _organ_of(mask: np.ndarray, organs: LabelMap | None, box: tuple[slice, ...]) -> str:
    """The organ that most of the lesion lies in; none where most lies in no organ, whatever it touches."""
    value = 0 if organs is None else int(np.bincount(organs.array[box][mask]).argmax())
    return organs.names.get(value, f"label {value}") if value else ""


def _centre(mask: np.ndarray, box: tuple[slice, ...], geometry: Geometry) -> dict[str, float]:
    """Centre of mass of the mask in patient coordinates (LPS)."""
    voxels = np.argwhere(mask).mean(axis=0) + [s.start for s in box]
    return placed("centre_", (geometry.affine @ [*voxels[::-1], 1.0])[:3])


def _shell(mask: np.ndarray, lesions: np.ndarray, body: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    near, far = SHELL_MM
    step = geometry.spacing[::-1]
    distance = ndimage.distance_transform_edt(~mask, sampling=step)
    shell = (distance >= near) & (distance <= far)
    others = lesions & ~mask
    if others.any():
        # Voxels beside another lesion hold its blur, so they are no background either.
        shell &= ndimage.distance_transform_edt(~others, sampling=step) >= near
    return shell if body is None else shell & body


def _contrast(mean: float, background: np.ndarray) -> float | None:
    level = float(background.mean()) if background.size else 0.0
    return or_none(mean / level) if level > 0 else None


def _cnr(mean: float, background: np.ndarray) -> float | None:
    sd = float(background.std(ddof=1)) if background.size > 1 else 0.0
    return or_none((mean - float(background.mean())) / sd) if sd > 0 else None


def _recovery(contrast: float | None, reference: float | None) -> float | None:
    """(C - 1) / (C_reference - 1) in per cent; not defined where the reference shows no contrast."""
    if contrast is None or reference is None or reference - 1 <= 0.05:
        return None
    return or_none(100 * (contrast - 1) / (reference - 1))
