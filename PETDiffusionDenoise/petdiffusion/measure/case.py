"""All tables of one case: `tables(volumes, body, organs, lesions)`, called once at the end of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..progress import Run
from ..volume import LabelMap, Volume
from .checks import finite, or_none, percent_change, same_grid
from .image import DEFAULT, ImageSettings, class_metrics, image_metrics
from .lesions import lesion_table, lesion_totals, split_lesions
from .organs import (
    LIVER_MARGIN_MM,
    LOCAL_MM,
    coefficient_of_variation,
    liver_core,
    local_noise_percent,
    organ_table,
    without_lesions,
)
from .rows import LOW, REFERENCE

Rows = list[dict[str, Any]]


def tables(
    volumes: Mapping[str, Volume],
    body: np.ndarray | None,
    organs: LabelMap | None = None,
    lesions: LabelMap | None = None,
    settings: ImageSettings = DEFAULT,
    run: Run | None = None,
    drawn: bool = False,
    marked: bool = False,
    seen: np.ndarray | None = None,
) -> dict[str, Rows]:
    """Rows by table: image, organs, lesions, lesion_totals, organ_errors; only those there is something to say in.

    Organs that the denoising method itself has `drawn` do not tell where lesions lie: it takes tumours for organs. And
    lesions that it has `marked` are cut out of its own organs alone, so that given ones are the same for all methods.

    `volumes` are named low, denoised and reference (or anything else), all on one grid and in one unit. Where one of
    them does not show all of the body, only what is `seen` by all is measured.
    """
    same_grid(
        {
            **volumes,
            **({} if organs is None else {"organs": organs}),
            **({} if lesions is None else {"lesions": lesions}),
        }
    )
    for name, volume in volumes.items():
        finite(f"The image '{name}'", volume.array)
    body, run = body if body is not None and body.any() else None, run or Run()
    if seen is not None:
        body = seen if body is None else body & seen
        lesions = lesions and split_lesions(lesions)  # by the numbers that they have in the whole mask
        organs, lesions = (m and replace(m, array=np.where(seen, m.array, 0)) for m in (organs, lesions))
    cut = None if marked and not drawn else lesions
    run.check()
    found: dict[str, Rows] = {"image": image_table(volumes, body, organs, cut, settings)}
    run.check()
    if organs is not None:
        found["organs"] = organ_table(volumes, organs, cut)
        if REFERENCE in volumes:
            found["organ_errors"] = _organ_errors(volumes, without_lesions(organs, cut), body, settings)
    run.check()
    if lesions is not None:
        found["lesions"] = lesion_table(volumes, lesions, None if drawn else organs, body)
        found["lesion_totals"] = [lesion_totals(volumes, lesions)]
    return {name: rows for name, rows in found.items() if rows}


def image_table(
    volumes: Mapping[str, Volume],
    body: np.ndarray | None,
    organs: LabelMap | None = None,
    lesions: LabelMap | None = None,
    settings: ImageSettings = DEFAULT,
) -> Rows:
    """A row per image: its distance from the reference where there is one, its noise and its activity."""
    reference = volumes.get(REFERENCE)
    core = liver_core(organs, lesions) if organs is not None else None
    rows = []
    for name, volume in volumes.items():
        row: dict[str, Any] = {"image": name, "unit": volume.unit}
        row |= _noise(volume, body, core)
        row |= _activity(volume, body, volumes)
        if reference is not None and name != REFERENCE:
            row |= image_metrics(volume.array, reference.array, body, settings) | _of_the_body(body)
        rows.append(row)
    return rows


def _of_the_body(body: np.ndarray | None) -> dict[str, str]:
    """The mask by its name."""
    return {} if body is None else {"mask": "body"}


def _noise(volume: Volume, body: np.ndarray | None, core: np.ndarray | None) -> dict[str, Any]:
    everywhere = np.ones(volume.array.shape, bool) if body is None else body
    row = {
        "local_noise_percent": or_none(local_noise_percent(volume.array, everywhere, volume.geometry)),
        "local_noise_rule": f"median of SD / mean in cubes of {LOCAL_MM:g} mm inside the body",
    }
    if core is not None and core.any():
        row |= {
            "liver_CoV_percent": or_none(coefficient_of_variation(volume.array, core)),
            "liver_mean": float(volume.array[core].mean(dtype=np.float64)),
            "liver_rule": f"liver, {LIVER_MARGIN_MM:g} mm or more from its edge and from lesions",
        }
    return row


def _activity(volume: Volume, body: np.ndarray | None, volumes: Mapping[str, Volume]) -> dict[str, Any]:
    def mean(one: Volume) -> float:
        return float((one.array if body is None else one.array[body]).mean(dtype=np.float64))

    changes = {
        f"activity_vs_{base}_percent": percent_change(mean(volume), mean(volumes[base]))
        for base in (LOW, REFERENCE)
        if base in volumes and volumes[base] is not volume
    }
    return {"body_mean": mean(volume), **changes}


def _organ_errors(
    volumes: Mapping[str, Volume], organs: LabelMap, body: np.ndarray | None, settings: ImageSettings
) -> Rows:
    reference = volumes[REFERENCE].array
    inside = reference if body is None else reference[body]
    if inside.max() <= 0 and settings.data_range is None:
        return []
    return [
        {"image": name, **row}
        for name, volume in volumes.items()
        if name != REFERENCE
        for row in class_metrics(volume.array, reference, organs, body, settings)
    ]
