"""What a run asks of this room: samples measured as they come, the result checked, its numbers given intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..methods.contract import Case, MethodCard, Output
from ..progress import Run
from ..volume import LabelMap, Volume
from ..zoo import store
from . import clinical
from .check import Trust, check
from .held import held
from .quality import quality
from .samples import Collector, Numbers
from .uncertainty import Certainty, calibration_of, certainty

NUMBERS = {"organs": "label", "lesions": "number"}
"""The column by which a row is known."""


@contextmanager
def watched(case: Case, lesions: LabelMap | None, run: Run) -> Iterator[Collector]:
    """Lesions and organs are measured in every sample that the method draws; the samples are not kept."""
    drawn = Collector(Numbers(case.pet.geometry, case.labels, lesions))
    run.on_sample, outer = drawn, run.on_sample
    try:
        yield drawn
    finally:
        run.on_sample = outer


def checked(case: Case, output: Output, lesions: LabelMap | None, seen: np.ndarray | None = None) -> Trust:
    """As in the tables, lesions that the method marked are cut out of its own organs alone, and means are of what the
    reference has `seen`."""
    whole = case.labels is not None and lesions is None
    masks = case.labels or output.organs, lesions or output.lesions
    return check(case.pet, output.pet, case.body, *masks, whole, seen)


def with_noise(tables: Mapping[str, list[dict[str, Any]]], found: Trust) -> dict[str, list[dict[str, Any]]]:
    """The tables of organs and lesions, with the SD that the scan's noise gives its means."""
    return {kind: [_with_noise(row, found.unit_prefix, known.get(row[NUMBERS[kind]])) for row in tables[kind]]
            for kind, known in found.noise.items() if known and tables.get(kind)}  # fmt: skip


def _with_noise(row: Mapping[str, Any], prefix: str, sd: float | None) -> dict[str, Any]:
    """Beside the mean that it belongs to."""
    mean, items = f"{prefix}mean_low", list(row.items())
    place = next((n for n, (key, _) in enumerate(items, 1) if key == mean), len(items))
    return dict([*items[:place], (f"{prefix}mean_noise_low", sd), *items[place:]])


def quality_table(case: Case, output: Output, reference: Volume | None, tables: Mapping[str, list[dict[str, Any]]],
                  seen: np.ndarray | None = None) -> dict[str, list[dict[str, Any]]]:
    """Images are compared where all of them have `seen` the body."""
    images = {"low": case.pet, "denoised": output.pet} | ({} if reference is None else {"reference": reference})
    body = case.body if seen is None else case.body & seen
    return {"quality": quality(images, body, case.ct, tables["image"])}


def certain(output: Output, drawn: Collector, card: MethodCard, options: Mapping[str, Any], run: Run
            ) -> tuple[Output, Certainty]:  # fmt: skip
    """Intervals of the numbers, and the SD map, by the calibration on the model's card where one holds."""
    model = run.model or output.details.get("model")
    found = store.find(model).card if drawn.count > 1 and model else None
    known = calibration_of(found.results) if found else None
    known = held(known, card, options, found.id, run) if known else None
    found = certainty(drawn, output.pet, known)
    if rows := output.tables.get(clinical.TABLE):
        tables = {**output.tables, clinical.TABLE: clinical.with_intervals(rows, drawn.count, known)}
        output = replace(output, tables=tables)
        found.facts["clinical_calibrated"] = clinical.calibrated(known)
    if output.sd is not None and found.sd_factor is not None:
        output = replace(output, sd=output.sd.with_array(output.sd.array * np.float32(found.sd_factor)))
    return output, found
