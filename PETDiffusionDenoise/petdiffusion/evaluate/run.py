"""The evaluation: denoise every case by every method (what is done is not done again), gather, test, draw, write.

    OUT/runs/METHOD/CASE/       results of `petdiffusion batch`: images, tables, run record
    OUT/tables/*.csv            every number behind the report
    OUT/report.html  OUT/methods.txt  OUT/evaluation.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..batch import run_batch
from ..batch.manifest import BatchCase, read_manifest
from ..batch.work import BAD
from ..errors import InputError, OptionError
from ..progress import Run, finite
from ..read.sources import shorten
from ..request import read_record
from ..volume import DIGITAL_PATIENT, REDUCED_DOSE
from ..wording import counted
from ..write import moving
from ..write.staging import writing
from . import arms
from .numbers import Gathered, Row, gathered
from .summary import agreements, all_metrics, by_dose, metrics_by_dose

DIGITAL, REDUCED, GIVEN = "digital patients (simulated)", "scans at simulated reduced doses", "scans as given"
SIMULATED = {DIGITAL_PATIENT: DIGITAL, REDUCED_DOSE: REDUCED}


@dataclass(frozen=True)
class Ask:
    """What was asked for."""

    manifest: Path
    methods: tuple[str, ...]
    """`csrd`, or `csrd@fast` for the same with options or a model of its own (`arms.py`)."""
    out: Path
    baseline: str | None = None
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By method."""
    models: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    unit: str | None = None
    workers: int | None = None
    engine: str = "local"
    address: str | None = None
    command: str = ""
    overwrite: bool = False
    """Do finished cases again."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that the report says, by group of data: simulated and real are never put together."""

    ask: Ask
    groups: Mapping[str, Gathered]
    metrics: Mapping[str, list[Row]]
    agreement: Mapping[str, list[Row]]
    doses: Mapping[str, list[Row]]
    failed: list[Row]
    records: Mapping[str, Mapping[str, Any]]
    """One run record per method, for what was used."""
    titles: Mapping[str, str]
    by_fraction: Mapping[str, list[Row]] = field(default_factory=dict)
    """The metrics of each dose fraction by itself, where there are several."""


def evaluate(ask: Ask, run: Run | None = None) -> Evaluation:
    """Runs what is missing, and writes everything into `ask.out`. Failed cases are listed, not raised; a method that is
    refused in all cases is an error, and an earlier report stays."""
    from .page import write

    run = run or Run()
    cases = _checked(ask)
    images = {case.id: case.images.values() for case in cases}
    failed = [{**row, "error": without_folders(row["error"], images[row["case"]])}
              for method in ask.methods for row in _runs(ask, method, run)]  # fmt: skip
    with run.stage("gather", "Putting the numbers together"):
        made = _evaluation(ask, cases, failed)
        run.progress(1.0)
    with run.stage("report", "Writing tables and report"):
        write(made, run)
    return made


def _checked(ask: Ask) -> list[BatchCase]:
    arms.check(ask.methods)
    for method in ask.methods:
        arms.card_of(method).resolve(ask.options.get(method, {}))
    for name in (*ask.options, *ask.models, *([ask.baseline] if ask.baseline else [])):
        if name not in ask.methods:
            raise OptionError(f"'{name}'", f"is not one of the methods {', '.join(ask.methods)}", "Correct the name.")
    cases = read_manifest(ask.manifest)
    if any("method" in case.settings for case in cases):
        raise InputError(f"Manifest {ask.manifest.name}", "names methods of its own", "Leave the column 'method' out.")
    return cases


def _runs(ask: Ask, method: str, run: Run) -> list[Row]:
    """One method over all cases; the rows of those that failed."""
    settings: dict[str, Any] = {"seed": ask.seed, "device": ask.device, "options": dict(ask.options.get(method, {}))}
    if ask.unit:
        settings["unit"] = ask.unit
    if method in ask.models:
        settings["model"] = ask.models[method]
    run.report({"event": "stage", "stage": method, "text": f"Method {method}"})
    rows = run_batch(ask.manifest, ask.out / "runs" / method, arms.method_of(method), engine=ask.engine,
                     workers=ask.workers, address=ask.address, report=False, overwrite=ask.overwrite, run=run,
                     **settings)  # fmt: skip
    _check_not_refused(method, rows)
    return [{"case": r["id"], "method": method, "error": r["error"]} for r in rows if r["status"] in BAD]


def _check_not_refused(method: str, rows: Sequence[Row]) -> None:
    """A report that lost a method whose results lie there would replace a better one."""
    refused = sum(row["status"] == "refused" for row in rows)
    if refused and all(row["status"] in BAD for row in rows):
        raise OptionError(f"Method '{method}'", f"has results of other settings, images or models in runs/{method} for "
                          f"{refused} of {counted(len(rows), 'case')} and none of these, "
                          "so the report is left as it was",
                          f"Choose another --out, remove runs/{method}, or do all cases of all methods again "
                          "(petdiffusion evaluate --overwrite).")  # fmt: skip


def without_folders(error: str, images: Iterable[str]) -> str:
    """The originals of a case by their names alone, for what is handed on: a folder's name may be a patient's."""
    for path in sorted(map(Path, images), key=lambda p: len(str(p)), reverse=True):
        whole = (str(path), os.path.normpath(path), shorten(path))
        folders = (f"{path.parent}{os.sep}", f"{os.path.normpath(path.parent)}{os.sep}")
        for text, name in (*((text, path.name) for text in whole), *((text, "") for text in folders)):
            error = error.replace(text, name).replace(repr(text)[1:-1], name)
    return error


def _evaluation(ask: Ask, cases: Sequence[BatchCase], failed: list[Row]) -> Evaluation:
    bad = {(row["case"], row["method"]) for row in failed}
    done, records = [], {}
    for method in ask.methods:
        for case in cases:
            folder = ask.out / "runs" / method / case.id
            if (case.id, method) not in bad and (folder / "record.json").exists():
                record = read_record(folder)
                records.setdefault(method, record)
                known, own = _facts(case), record["input"]["facts"]
                dose = known["fraction"] or own.get("dose_fraction")
                data = known["data"] or SIMULATED.get(own.get("simulated"), GIVEN)
                unit = record["input"]["working_unit"]
                done.append(({**known, "fraction": dose, "data": data, "unit": unit}, method, folder, record))
    if not done:
        raise InputError("No case", "could be denoised by any method", "; ".join(r["error"] for r in failed[:3]))
    groups = {}
    for data in dict.fromkeys(f["data"] for f, *_ in done):
        groups[data] = gathered(entry for entry in done if entry[0]["data"] == data)
    baseline = ask.baseline or ask.methods[0]
    titles = {m: arms.title_of(m) for m in ask.methods}
    return Evaluation(
        ask,
        groups,
        {data: all_metrics(g.cases, ask.methods, baseline) for data, g in groups.items()},
        {data: agreements(g, ask.methods) for data, g in groups.items()},
        {data: by_dose(g.cases, "PSNR_dB", [*ask.methods, "low-count"]) for data, g in groups.items()},
        failed,
        records,
        titles,
        {data: metrics_by_dose(g.cases, ask.methods, baseline) for data, g in groups.items()},
    )


def _facts(case: BatchCase) -> Row:
    """Patient, dose fraction and kind of data of a row, as it was written there: patient 0 is one, 001 another than 1.

    A column 'kind' marks digital patients, as their data sets have it; a column 'data' says it in words, and without
    both the scans' own facts tell; 'patient' joins scans of one person.
    """
    return {
        "case": case.id,
        "patient": case.patient,
        "fraction": _number(case.about.get("fraction") or case.settings.get("dose_fraction")),
        "data": case.about.get("data") or (DIGITAL if case.about.get("kind") else ""),
    }


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def names_alone(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with files by their names alone, for what is handed on."""
    files = {option.name for option in arms.card_of(method).options if option.file}
    return {name: Path(value).name if value and name in files else value for name, value in options.items()}


def saved(made: Evaluation, names: Mapping[str, str]) -> str:
    """`evaluation.json`: what was asked, what was found, where it is."""
    ask = {k: v for k, v in vars(made.ask).items() if k not in ("manifest", "out", "address", "overwrite")}
    ask["options"] = {method: names_alone(method, options) for method, options in made.ask.options.items()}
    ask["models"] = {method: Path(model).name for method, model in made.ask.models.items()}
    data = {"program": "petdiffusion", "version": __version__, "research_use_only": True, "ask": ask,
            "manifest": made.ask.manifest.name, "failed": made.failed, "metrics": made.metrics,
            "agreement": made.agreement, "files": names}  # fmt: skip
    return json.dumps(finite(data), indent=2, ensure_ascii=False, default=str) + "\n"


def put(text: str, file: Path) -> None:
    """Aside, then into place."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.partial")
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
        moving.replace(aside, file)
