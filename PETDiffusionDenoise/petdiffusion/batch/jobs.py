"""Runs a manifest: requests from rows, engine, progress, and a summary table that is whole after every case."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import OptionError, UnitError
from ..progress import Run, finite
from ..read.sources import declared_unit
from ..request import Request
from ..wording import counted
from ..write import moving, tables
from ..write.lock import alone_in
from ..zoo import store
from . import engines
from .manifest import BatchCase, read_manifest
from .work import BAD, Row, before

SUMMARY, DETAILS = "summary.csv", "batch.json"


def run_batch(
    manifest: str | Path | Sequence[str | Path | Mapping[str, Any]],
    out: str | Path,
    method: str | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    report: bool = True,
    overwrite: bool = False,
    run: Run | None = None,
    **settings: Any,
) -> list[Row]:
    """Denoise every case of a manifest, or of a list of PETs' paths or of dicts with a manifest's columns; returns
    their rows in that order.

    A case that fails becomes a row with its error; a case that is done already is not done again, and one whose folder
    holds another result is refused. A run that adds no result to those leaves an earlier summary as it is. So many
    `workers` are so many cases at a time; without it one here, and as many on a Ray cluster as it holds.
    """
    run, out = run or Run(), Path(out)
    if workers is not None and workers < 1:
        raise OptionError(f"{workers} workers", "at least one is needed", "Give --workers 1 or more.")
    cases = read_manifest(manifest)
    jobs = [_job(case, method or registry.DEFAULT_METHOD, out, settings, report, overwrite) for case in cases]
    with alone_in(out, "batch"), run.stage("batch", counted(len(jobs), "case")):
        rows: dict[str, Row] = {}
        earlier = (out / SUMMARY).exists()
        for row in engines.choose(engine, jobs, run, workers, address):
            rows[row["id"]] = row
            if not (earlier and _all_bad(rows, len(jobs))):
                _save(out, [rows[job[0]] for job in jobs if job[0] in rows], run)
            if row["status"] in BAD:
                run.warn(f"Case {row['id']} {'failed' if row['status'] == 'failed' else 'was refused'}. {row['error']}")
            run.progress(len(rows) / len(jobs))
        if earlier and _all_bad(rows, len(jobs)):
            run.warn(f"{SUMMARY} in {out.name} was left as it was: it tells of the results that were not replaced.")
        for text in _mixed(jobs, rows):
            run.warn(text)
    return [rows[job[0]] for job in jobs]


def refused(manifest: str | Path, out: str | Path, method: str, **settings: Any) -> list[Row]:
    """The cases that `run_batch` would refuse, for what lies in their folders, before any is done."""
    jobs = [_job(case, method, Path(out), settings, report=False, overwrite=False) for case in read_manifest(manifest)]
    found = [(id_, before(request, Path(folder))) for id_, request, folder, *_ in jobs]
    return [{"id": id_, **row} for id_, row in found if row is not None and row["status"] == "refused"]


def _job(
    case: BatchCase, method: str, out: Path, settings: Mapping[str, Any], report: bool, overwrite: bool
) -> engines.Job:
    """A request per row; the row's own settings win. All is checked now, before hours of work."""
    own: dict[str, Any] = dict(case.settings)
    for name, kind in (("dose_fraction", float), ("weight_kg", float), ("seed", int)):
        if name in own:
            own[name] = _number(case.id, name, own[name], kind)
    fields = {**settings, "method": method, **own, **case.images}
    try:
        fields["options"] = registry.card(fields["method"]).resolve(fields.get("options") or {})
        declared_unit(fields.get("unit"), "pet")
        request = Request(**fields).absolute()
    except (OptionError, UnitError) as error:
        whose = f"Case {case.id}: " if case.settings else ""
        raise type(error)(f"{whose}{error.what}", error.why, error.remedy) from None
    return case.id, request.to_json(), str((out / case.id).absolute()), report, overwrite


def _all_bad(rows: Mapping[str, Row], expected: int) -> bool:
    """No case has a result of this request, and one was refused or may still be: the summary is another run's."""
    found = {row["status"] for row in rows.values()}
    return found <= set(BAD) and ("refused" in found or len(rows) < expected)


def _mixed(jobs: Sequence[engines.Job], rows: Mapping[str, Row]) -> list[str]:
    """Of methods with results by several models that are for one region and take the same: a better one was added
    between two runs, and the cases do not compare."""
    known = store.models()
    made: dict[tuple[Any, ...], Counter[str]] = {}
    for id_, request, *_ in jobs:
        if (name := rows[id_].get("model")) in known:
            card = known[name].card
            made.setdefault((request["method"], card.regions, card.needs), Counter())[name] += 1
    return [f"Results of {method} are of different models: {_counted(models)}. To compare them name one with --model, "
            "into a new folder or with --overwrite."
            for (method, *_), models in made.items() if len(models) > 1]  # fmt: skip


def _counted(models: Mapping[str, int]) -> str:
    return " and ".join(f"{name} ({counted(n, 'case')})" for name, n in models.items())


def _number(id_: str, name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        a_number = "a whole number" if kind is int else "a number"
        raise OptionError(f"Case {id_}: {name} = '{text}'", f"is not {a_number}", "Correct the manifest.") from None


def _save(out: Path, rows: list[Row], run: Run) -> None:
    columns = [{key: value for key, value in row.items() if key != "trace"} for row in rows]
    aside = out / f".{SUMMARY}.partial"
    tables.write_csv(columns, aside)
    try:
        moving.replace(aside, out / SUMMARY, patience_s=0.5)
    except PermissionError:  # open in a spreadsheet on Windows: no reason to end a night's work
        run.warn(f"{SUMMARY} is in use by another program; the newest rows are in {aside.name}.")
    aside = out / f".{DETAILS}.partial"
    aside.write_text(json.dumps(finite(rows), indent=2, default=str), encoding="utf-8")
    moving.replace(aside, out / DETAILS)
