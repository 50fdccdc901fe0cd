"""Tables on slices at count levels: a patient's stack through the rows, and filters tuned on other patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import OptionError
from ..methods.contract import Output
from ..phantoms.splits import split_of
from ..prepare import case as preparing
from ..progress import Run
from ..volume import Volume
from . import real, sources, stacks, tuning
from .cases import CaseResult, Settings, Subject, run_rows
from .contract import Dose, Row, SliceTable, require_split
from .slice_score import score_slices
from .stacks import Who

TUNED_ON = 12
"""Slices of each patient that filters are tuned on."""
SCORED_BY = ("measure", "bench/slice_score.py", "bench/slices.py")


def subject_of(table: SliceTable, who: Who, dose: Dose, run: Run) -> Subject:
    normal, low, body = stacks.load(table, who, dose, run)
    place = stacks.place_of(table, who)
    identity = {"slices": place.name, "counts": dose.counts, "scored by": sources.code(*SCORED_BY)}
    if table.every > 1:
        chosen = slice(table.every // 2, None, table.every)
        normal, low, body = _picked(normal, chosen), _picked(low, chosen), body[chosen]
        identity["every"] = table.every
    case = preparing.build(low, run=Run(cancelled=run.cancelled))

    def measured(output: Output) -> dict[str, Any]:
        return score_slices(output, normal, body)

    return Subject(identity, stacks.seed_of(who), replace(case, body=body), normal, None, None, measured=measured)


def _picked(stack: Volume, chosen: slice) -> Volume:
    """Some slices of a stack, again as a stack."""
    array, g = np.ascontiguousarray(stack.array[chosen]), stack.geometry
    return replace(stack, array=array, geometry=replace(g, size=array.shape[::-1]))


def run_case(table: SliceTable, rows: Sequence[Row], who: Who, dose: Dose, tuned: Mapping[str, Mapping[str, Any]],
             settings: Settings, run: Run) -> CaseResult:  # fmt: skip
    """A test patient at one count level."""
    _require_test(table, who)
    told = {"counts": dose.counts, "each_slice": True}
    rows = tuple(replace(row, options={**told, **row.options}) if row.told else row for row in rows)
    return run_rows(subject_of(table, who, dose, run), rows, tuned, settings, run, stacks.name_of(who), dose.label)


def _require_test(table: SliceTable, who: Who) -> None:
    if isinstance(who, int):
        require_split([who], "test", "results")
    elif not table.numbers[0] <= real.number_of(who) <= table.numbers[1]:
        raise OptionError(f"Patient {real.number_of(who)}", "is not a test patient",
                          f"Those are {table.numbers[0]} to {table.numbers[1]}.")  # fmt: skip


def tuned(table: SliceTable, row: Row, dose: Dose, people: Sequence[Who], run: Run) -> dict[str, Any]:
    """Settings with the highest mean PSNR of single slices, on patients that may be tuned on."""
    require_split([who for who in people if isinstance(who, int)], "validation", "tuning")
    made_of = {"slices": [stacks.place_of(table, who).name for who in people], "counts": dose.counts,
               "code": sources.code("bench/slices.py")}  # fmt: skip
    found = tuning.kept(row, made_of, lambda: [p for who in people for p in _pairs(table, who, dose, run)], run)
    told = [f"seed {who}" if isinstance(who, int) else who.name for who in people]
    return {"table": table.name, "dose": dose.label, "row": row.name, "patients": told, **found}


def _pairs(table: SliceTable, who: Who, dose: Dose, run: Run) -> list[tuning.Pair]:
    """One pair a slice: a mean over pairs is then the mean over slices that the table shows."""
    subject = subject_of(table, who, dose, run)
    case, normal, found = subject.case, subject.normal, []
    filled = np.flatnonzero(case.body.any((1, 2)))
    for z in filled[:: max(1, len(filled) // TUNED_ON)]:
        at = slice(int(z), int(z) + 1)
        found.append((replace(case, pet=tuning.cut(case.pet, at), body=case.body[at]), tuning.cut(normal, at)))
    return found


def people_of(table: SliceTable, patients: int, directory: str | None) -> tuple[list[Who], list[Who]]:
    """(test patients, patients to tune on), none of them in both."""
    if table.numbers is None:
        return table.test_seeds(patients), table.tuning_seeds()
    tuned_on = real.folders(directory, table.tuning_numbers)
    step = max(1, len(tuned_on) // table.tuning_patients)
    return real.folders(directory, table.numbers)[:patients], tuned_on[::step][: table.tuning_patients]


def data_of(people: Sequence[Who], found: Sequence[CaseResult]) -> str:
    """Words for what the numbers come from."""
    slices = sum(r.rows[next(iter(r.rows))]["slices"] for r in found if r.dose == found[0].dose and r.rows)
    if isinstance(people[0], int):
        words = f"digital patients (simulated), seeds {people[0]} to {people[-1]} ({split_of(people[0])})"
    else:
        words = "real scans, low counts simulated"
    return f"{words}; {slices} slices at each count level"
