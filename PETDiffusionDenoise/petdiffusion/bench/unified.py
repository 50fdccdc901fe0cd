"""Numbers of a method that denoises and segments: NRMSE and Dice by class, lesions found or made up, MTV, TLG, SUV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from ..measure.agreement import agreement
from ..measure.segmentation import components, detection, dice, surface_distance
from ..methods.contract import Case, Output
from ..phantoms.labels import GROUPS
from ..volume import Geometry, LabelMap, Volume

CLASSES = ("lesion", "liver", "lung", "bone", "muscle", "kidney", "spleen", "aorta")
SURFACES = ("lesion", "liver", "kidney", "spleen", "aorta")
"""What is compact: elsewhere the distance of surfaces says little, and takes long."""
SHELL_MM = (5.0, 15.0)
SEEN = 1.0
"""A region that no lesion lies under is made up by the method if it does not stand out by this many SDs of the shell
around it in the low-count scan; else the scan itself shows something there."""
BELIEVED = ((0.0, 1.0, "small"), (1.0, 5.0, "middle"), (5.0, np.inf, "large"))
PAIRS = (("MTV_ml", "MTV, ml"), ("TLG", "TLG, g"), ("liver_SUVmean", "liver SUVmean"),
         ("aorta_SUVmean", "aorta SUVmean"))  # fmt: skip
"""Fig. 7: number (its truth ends in _true) and title."""
Numbers = dict[str, Any]


def measured(output: Output, case: Case, normal: Volume, organs: LabelMap | None,
             lesions: LabelMap | None) -> Numbers:  # fmt: skip
    """All of them; what a method does not make is None."""
    truth = class_masks(organs, lesions)
    numbers = _errors(output.pet.array, normal.array, case.body, truth)
    found = None if output.lesions is None else class_masks(output.organs, output.lesions)
    numbers |= {f"Dice_{name}": _or_none(dice(found[name], mask)) if found and name in found else None
                for name, mask in truth.items()}  # fmt: skip
    if found:
        numbers |= _surfaces(found, truth, case.pet.geometry)
        numbers |= _lesions(found["lesion"], truth["lesion"], case)
        numbers |= _clinical(output.pet.array, found, normal.array, truth, case.pet.geometry)
    return numbers


def class_masks(organs: LabelMap | None, lesions: LabelMap | None) -> dict[str, np.ndarray]:
    """By class, lesions cut out of organs; organs that the map does not name are left out."""
    masks = {} if lesions is None else {"lesion": lesions.array > 0}
    for name in CLASSES[1:] if organs is not None else ():
        mask = organs.mask(name, *GROUPS.get(name, ()))
        if mask.any() or name in organs.names.values():
            masks[name] = mask & ~masks["lesion"] if "lesion" in masks else mask
    return masks


def _errors(image: np.ndarray, normal: np.ndarray, body: np.ndarray, masks: Mapping[str, np.ndarray]) -> Numbers:
    span, squared = float(np.ptp(normal[body])), (image.astype(np.float64) - normal) ** 2
    numbers = {"NRMSE_whole": float(np.sqrt(squared[body].mean())) / span}
    for name in CLASSES:
        mask = masks.get(name)
        error = float(np.sqrt(squared[mask].mean())) if mask is not None and mask.sum() > 1 else None
        own = float(np.ptp(normal[mask])) if error is not None else 0.0
        numbers[f"NRMSE_{name}"] = error / own if own > 0 else None
        numbers[f"NRMSE_image_{name}"] = None if error is None else error / span
    return numbers


def _surfaces(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], geometry: Geometry) -> Numbers:
    numbers: Numbers = {}
    for name in SURFACES:
        if name in found and name in truth:
            distance = surface_distance(found[name], truth[name], geometry.spacing)
            numbers |= {f"HD95_mm_{name}": _or_none(distance.hd95), f"ASSD_mm_{name}": _or_none(distance.assd)}
    return numbers


def _lesions(found: np.ndarray, truth: np.ndarray, case: Case) -> Numbers:
    voxel = case.pet.geometry.voxel_ml
    rows = detection(found, truth, voxel)
    numbers: Numbers = {}
    for row, (_, _, name) in zip(rows, BELIEVED):
        numbers |= {f"lesions_{name}": row["lesions"], f"sensitivity_{name}": row["sensitivity"],
                    f"false_{name}": row["false_positives"]}  # fmt: skip
    every = rows[-1]
    numbers |= {"lesions_all": every["lesions"], "sensitivity": every["sensitivity"], "false": every["false_positives"],
                "false_without_lesions": None if truth.any() else every["false_positives"],
                "made_up": made_up(found, truth, case)}  # fmt: skip
    return numbers


def made_up(found: np.ndarray, truth: np.ndarray, case: Case) -> int:
    """Marked regions that are neither in the truth nor to be seen in the low-count scan."""
    labelled, count = components(found)
    touched = np.bincount(labelled[truth], minlength=count + 1)
    boxes = ndimage.find_objects(labelled)
    return sum(bool(touched[i] == 0) and not _seen(labelled, i, boxes[i - 1], found, case) for i in range(1, count + 1))


def _seen(labelled: np.ndarray, number: int, box: tuple[slice, ...], found: np.ndarray, case: Case) -> bool:
    steps = case.pet.geometry.spacing[::-1]
    reach = [int(np.ceil(SHELL_MM[1] / step)) + 1 for step in steps]
    wide = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach))
    mask = labelled[wide] == number
    away = ndimage.distance_transform_edt(~mask, sampling=steps)
    shell = (away > SHELL_MM[0]) & (away <= SHELL_MM[1]) & ~found[wide] & case.body[wide]
    image = case.pet.array[wide].astype(np.float64)
    if shell.sum() < 2:
        return True
    noise = image[shell].std(ddof=1)
    return bool(image[mask].mean() - image[shell].mean() >= SEEN * noise)


def _clinical(image: np.ndarray, found: Mapping[str, np.ndarray], normal: np.ndarray, truth: Mapping[str, np.ndarray],
              geometry: Geometry) -> Numbers:  # fmt: skip
    numbers: Numbers = {}
    for ending, values, masks in (("", image, found), ("_true", normal, truth)):
        lesion = masks["lesion"]
        volume = float(lesion.sum()) * geometry.voxel_ml
        numbers[f"MTV_ml{ending}"] = volume
        numbers[f"TLG{ending}"] = float(values[lesion].sum(dtype=np.float64)) * geometry.voxel_ml
        for organ in ("liver", "aorta"):
            mask = masks.get(organ)
            there = mask is not None and mask.any()
            numbers[f"{organ}_SUVmean{ending}"] = float(values[mask].mean(dtype=np.float64)) if there else None
    return numbers


def agreements(cases: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Fig. 7: a row per method and number over all scans, where there are three at least."""
    rows = []
    for name, title in titles.items():
        for key, what in PAIRS:
            pairs = [(c[key], c[f"{key}_true"]) for c in cases if c["row"] == name and c.get(key) is not None
                     and c.get(f"{key}_true") is not None]  # fmt: skip
            if len(pairs) > 2:
                found = agreement(*np.array(pairs, float).T).to_json()
                rows.append({"row": name, "title": title, "number": what, **found})
    return rows


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
