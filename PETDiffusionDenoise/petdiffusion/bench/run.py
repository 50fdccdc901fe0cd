"""The map of a benchmark: patients -> tuning -> cases -> summary -> files. What is known already is not made again."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import OptionError
from ..progress import Run, finite
from ..wording import counted
from . import curve, patients, real, render, score, sealed, slice_score, slices, stacks, store, summary, tuning
from .cases import CaseResult, Settings, run_case, vgg_of
from .contract import Bench, Curve, Dose, Real, Row, SliceTable, Table
from .parallel import Workers, gathered, usual, workers

_NUMBER = re.compile(r"\d+([.,]\d+)?")
CURVE, REAL = "curve", "real"
SIMULATED = "digital patients (simulated), seeds {first} to {last}"
OF_PEOPLE = "real scans, reduced doses simulated"
NO_VGG = (
    "P_dist was not computed: it needs the weights of VGG-19, which are not part of this program. Give them with "
    "--vgg FILE or PETDIFFUSION_VGG19 (.safetensors or .npz with the convolutions)."
)


@dataclass(frozen=True)
class Ask:
    """What a user wants of a benchmark."""

    quick: bool = False
    patients: int | None = None
    parts: tuple[str, ...] = ()
    """Names of tables, `curve`, `real`; empty: all, or those of a quick run."""
    real: str | None = None
    vgg: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    device: str = "auto"
    out: str | None = None
    json: str | None = None
    command: str = ""

    def settings(self) -> Settings:
        return Settings(self.vgg, dict(self.models), self.device)

    def count(self, table: Table | SliceTable) -> int:
        return self.patients or (table.quick_patients if self.quick else table.patients)


def bench(definition: Bench, ask: Ask, run: Run | None = None) -> dict[str, Any]:
    """Makes every part that is asked for; files are renewed after each, so that a stop keeps what was finished."""
    run = run or Run()
    parts = _parts(definition, ask)
    _check_places(ask)
    store.check_writable()
    vgg = vgg_of(ask.vgg)
    count = usual() if ask.workers is None else ask.workers
    report = _head(definition, ask, vgg, count)
    with workers(count, run) as pool:
        for name in parts:
            if name == CURVE:
                report["curve"] = _curve(definition.curve, definition.table(definition.curve.table), ask, pool, run)
            elif name == REAL:
                report["real"] = made(definition.real, ask, pool, run)
            else:
                report["tables"].append(made(definition.table(name), ask, pool, run))
            report["models"] = _models(report)
            _write(report, ask)
    return report


def made(table: Table | SliceTable | Real, ask: Ask, pool: Workers, run: Run) -> dict[str, Any]:
    """A table of any kind with all its numbers."""
    return {Table: _table, SliceTable: _slices, Real: _real}[type(table)](table, ask, pool, run)


def _parts(definition: Bench, ask: Ask) -> list[str]:
    extra = ([CURVE] if definition.curve else []) + ([REAL] if definition.real else [])
    known = [*(table.name for table in definition.tables), *extra]
    if unknown := [part for part in ask.parts if part not in known]:
        raise OptionError(f"Part '{unknown[0]}'", f"is not one of {', '.join(known)}", "Choose among these.")
    if REAL in ask.parts and not ask.real:
        raise OptionError("The table of real scans", "needs the scans", "Give their folder with --real DIR.")
    if ask.patients is not None and ask.patients < 1:
        raise OptionError(f"{ask.patients} patients", "are too few", "Give at least one.")
    usual_parts = [p for p in known if p not in (REAL, *definition.by_name)]
    chosen = ask.parts or (definition.quick if ask.quick else usual_parts)
    return [p for p in known if p in chosen or (p == REAL and ask.real)]


def _head(definition: Bench, ask: Ask, vgg: Any, count: int) -> dict[str, Any]:
    said = NO_VGG if vgg is None else f"P_dist by {vgg.kind}, weights SHA-256 {vgg.sha256}."
    of_slices = all(isinstance(table, SliceTable) for table in definition.tables)
    meaning = definition.settings or (slice_score.SETTINGS if of_slices else score.SETTINGS)
    return {
        "bench": definition.name, "title": definition.title, "citation": definition.citation, "program": "petdiffusion",
        "version": __version__, "research_use_only": True, "command": ask.command, "quick": ask.quick,
        "asked": _asked(ask), "by_name": [] if ask.parts else list(definition.by_name), "metrics": dict(meaning),
        "vgg": "" if of_slices or definition.settings else said, "models": [],
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": usual(), "workers": count,
                    "python": platform.python_version()},
        "tables": [], "curve": None, "real": None,
    }  # fmt: skip


def _asked(ask: Ask) -> dict[str, Any]:
    """Without the paths of this machine: a report may be given away."""
    named = {name: Path(path).name for name in ("real", "vgg") if (path := getattr(ask, name))}
    models = {method: Path(model).name for method, model in ask.models.items()}
    return {**asdict(ask), **named, "models": models, "out": None, "json": None}


def _table(table: Table, ask: Ask, pool: Workers, run: Run) -> dict[str, Any]:
    rows = tuple(row for row in table.rows if row.quick or not ask.quick)
    doses = tuple(dose for dose in table.doses if not ask.quick or dose.label in table.quick_doses)
    seeds = table.test_seeds(ask.count(table))
    settings = ask.settings()
    wanted = [(table, row, dose) for dose in doses for row in rows if row.tuned]
    known = all(tuning.known(*job) for job in wanted)
    with run.stage(f"{table.name} patients", f"{table.title}: patients, drawn and scanned once"):
        drawn = [*seeds, *([] if known else table.tuning_seeds())]
        jobs = [(table.job(s),) for s in drawn if not sealed.sound(patients.place_of(table.job(s)))]
        gathered(pool, patients.ready, jobs, run)
    with run.stage(f"{table.name} tuning", f"{table.title}: filters, tuned on validation patients"):
        tuned = gathered(pool, tuning.tuned, wanted, run)
    what = (f"{table.title}: {counted(len(seeds), 'patient')} at {counted(len(doses), 'dose')}, "
            f"{counted(len(rows), 'row')}")
    with run.stage(f"{table.name} cases", what):
        jobs = [(table, rows, seed, dose, options_at(tuned, dose), settings) for seed in seeds for dose in doses]
        found = gathered(pool, run_case, jobs, run)
    data = SIMULATED.format(first=seeds[0], last=seeds[-1])
    names = [table.job(seed).name for seed in seeds]
    more = {"kind": table.kind, "tracer": table.tracer, "scanner": table.preset, "spacing_mm": table.spacing_mm,
            "seeds": seeds, "small": list(table.small)}  # fmt: skip
    return more | _part(table, rows, doses, names, data, tuned, found, ask)


def _slices(table: SliceTable, ask: Ask, pool: Workers, run: Run) -> dict[str, Any]:
    rows = tuple(row for row in table.rows if row.quick or not ask.quick)
    doses = tuple(dose for dose in table.doses if not ask.quick or dose.label in table.quick_doses)
    people, tuned_on = slices.people_of(table, ask.count(table), ask.real)
    searched = [(table, row, dose, tuple(tuned_on)) for dose in doses for row in rows if row.tuned]
    with run.stage(f"{table.name} slices", f"{table.title}: slices, drawn and reconstructed once"):
        wanted = [*people, *(tuned_on if searched else [])]
        gathered(pool, stacks.ready, [(table, who) for who in wanted], run)
    with run.stage(f"{table.name} tuning", f"{table.title}: filters, tuned on other patients"):
        tuned = gathered(pool, slices.tuned, searched, run)
    what = (f"{table.title}: {counted(len(people), 'patient')} at {counted(len(doses), 'count level')}, "
            f"{counted(len(rows), 'row')}")
    with run.stage(f"{table.name} cases", what):
        jobs = [(table, rows, who, dose, options_at(tuned, dose), ask.settings()) for who in people for dose in doses]
        found = gathered(pool, slices.run_case, jobs, run)
    names = [stacks.name_of(who) for who in people]
    data = slices.data_of(people, found)
    return {"scanner": table.preset} | _part(table, rows, doses, names, data, tuned, found, ask)


def options_at(tuned: Sequence[Mapping[str, Any]], dose: Dose) -> dict[str, Mapping[str, Any]]:
    return {one["row"]: one["options"] for one in tuned if one["dose"] == dose.label}


def _real(definition: Real, ask: Ask, pool: Workers, run: Run) -> dict[str, Any]:
    doses, rows = definition.doses, definition.rows
    chosen = real.folders(ask.real, definition.test)
    chosen = chosen[: ask.patients] if ask.patients else chosen
    settings = ask.settings()
    with run.stage("real doses", f"{definition.title}: reduced doses, simulated once"):
        people = [*real.folders(ask.real, definition.tuning), *chosen]
        gathered(pool, real.prepare, [(definition, folder, dose) for folder in people for dose in doses], run)
    with run.stage("real tuning", f"{definition.title}: tuning the filters on other patients"):
        jobs = [(definition, row, dose, ask.real) for dose in doses for row in rows if row.tuned]
        tuned = gathered(pool, real.tuned, jobs, run)
    with run.stage("real cases", f"{definition.title}: {counted(len(chosen), 'patient')}"):
        jobs = [(definition, f, dose, options_at(tuned, dose), settings) for f in chosen for dose in doses]
        found = gathered(pool, real.run_case, jobs, run)
    names = [folder.name for folder in chosen]
    return {"scanner": definition.preset} | _part(definition, rows, doses, names, OF_PEOPLE, tuned, found, ask)


def _part(table: Table | SliceTable | Real, rows: Sequence[Row], doses: Sequence[Dose], names: Sequence[str], data: str,
          tuned: Sequence[Mapping[str, Any]], found: Sequence[CaseResult], ask: Ask) -> dict[str, Any]:  # fmt: skip
    """What every table's part of the report holds."""
    results = in_order(found, names, [dose.label for dose in doses])
    cases = [{"patient": r.patient, "dose": r.dose, "row": name, "method": table.row(name).method, **numbers}
             for r in results for name, numbers in r.rows.items()]  # fmt: skip
    champion = next(row for row in rows if row.name == table.champion)
    return {
        "name": getattr(table, "name", REAL), "title": table.title, "data": data, "patients": list(names),
        "doses": [asdict(dose) for dose in doses], "champion": champion.name, "champion_title": champion.title,
        "metrics": [asdict(m) for m in table.metrics], "timing": _timing(ask),
        "summary": summary.summarise(results, rows, table.metrics, champion.name, table.claims),
        "warnings": _warnings(results, rows), "skipped": _skipped(results, rows),
        "differs": list(table.differs),
        "paper": dict(getattr(table, "paper", {})), "levels": dict(getattr(table, "levels", {})),
        "paper_rows": {row.name: row.paper for row in rows if row.paper},
        "tuned": [_shown_tuning(one, rows) for one in sorted(tuned, key=lambda t: (t["row"], t["dose"]))],
        "agreement": _agreement(table, cases, rows), "cases": cases,
    }  # fmt: skip


def _agreement(table: Table | SliceTable | Real, cases: Sequence[Mapping[str, Any]],
               rows: Sequence[Row]) -> list[dict[str, Any]]:  # fmt: skip
    """Clinical numbers against their truth, of tables whose judge gives both."""
    if not getattr(table, "judge", ""):
        return []
    from .unified import agreements

    return agreements(cases, {row.name: row.title for row in rows})


def in_order(found: Sequence[CaseResult], names: Sequence[str], doses: Sequence[str]) -> list[CaseResult]:
    """By dose, then patient: workers hand them back in any order."""
    return sorted(found, key=lambda r: (doses.index(r.dose), list(names).index(r.patient)))


def _warnings(results: Sequence[CaseResult], rows: Sequence[Row]) -> list[str]:
    """What methods warned of, and rows that are not of one model throughout."""
    said = _once(text for result in results for numbers in result.rows.values() for text in numbers["warnings"])
    for row in rows:
        numbers = [result.rows[row.name] for result in results if row.name in result.rows]
        used = sorted({f"{n['model']} ({n['model_sha256'][:12]}…)" for n in numbers if "model" in n})
        if len(used) > 1:
            said.append(f"'{row.title}' comes from several models: {', '.join(used)}. --model makes it one.")
    return said


def _once(warnings: Iterable[str]) -> list[str]:
    """Each warning once; of those that differ in their numbers alone the first, and how many there are."""
    alike: dict[str, list[str]] = {}
    for text in warnings:
        alike.setdefault(_NUMBER.sub("#", text), []).append(text)
    return sorted(texts[0] + (f" ({len(texts)} warnings like this one.)" if len(texts) > 1 else "")
                  for texts in alike.values())  # fmt: skip


def _shown_tuning(one: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    searched = [name for name in one["trials"][0] if name != "psnr"]
    return {**one, "searched": searched}


def _timing(ask: Ask) -> str:
    count = usual() if ask.workers is None else ask.workers
    if count <= 1:
        return "with all cores"
    return f"with {counted(max(usual() // count, 1), 'core')} each while {count} scans ran at once"


def _skipped(results: Sequence[CaseResult], rows: Sequence[Row]) -> dict[str, str]:
    titles = {row.name: row.title for row in rows}
    return {titles.get(name, name): why for result in results for name, why in result.skipped.items()}


def _curve(definition: Curve, table: Table, ask: Ask, pool: Workers, run: Run) -> dict[str, Any]:
    dose = next(d for d in table.doses if d.label == definition.dose)
    seeds = curve.seeds(definition)
    title = f"Quality against network evaluations: {table.title}, {dose.label}"
    with run.stage("curve", title):
        jobs = [(definition, table, seed, dose, ask.settings()) for seed in seeds]
        found = gathered(pool, curve.run_case, jobs, run)
    keys = [m.key for m in definition.metrics]
    skipped = {name: why for result in found for name, why in result.skipped.items()}
    data = f"digital patients (simulated), validation seeds {seeds[0]} to {seeds[-1]}, as defaults are chosen by it"
    return {"title": title, "data": data, "seeds": seeds, "metrics": [asdict(m) for m in definition.metrics],
            "points": [asdict(p) for p in definition.points], "skipped": skipped, "timing": _timing(ask),
            "rows": curve.table_of(found, definition.points, keys),
            "cases": [{"patient": r.patient, "dose": r.dose, "row": name, "method": definition.method, **numbers}
                      for r in found for name, numbers in r.rows.items()]}  # fmt: skip


def _models(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every model that a number came from."""
    parts = [*report["tables"], report["curve"], report["real"]]
    cases = [case for part in parts if part for case in part["cases"] if "model" in case]
    found = {(case["model"], case["model_sha256"], case["method"]) for case in cases}
    return [{"method": method, "model": id_, "sha256": sha} for id_, sha, method in sorted(found)]


def _check_places(ask: Ask) -> None:
    """Refuse now what could not be written after the work."""
    from ..write.staging import Staging

    for folder in (ask.out, ask.json and Path(ask.json).parent):
        if folder:
            Staging(folder).check()


def _write(report: Mapping[str, Any], ask: Ask) -> None:
    from ..write import tables

    data = finite(report)
    if ask.json:
        store.write_json(data, Path(ask.json))
    if not ask.out:
        return
    out, name = Path(ask.out), f"bench-{report['bench']}"
    store.write_json(data, out / f"{name}.json")
    store.write_text(render.page(report), out / f"{name}.md")
    for part in (*report["tables"], report["real"]):
        if part:
            tables.write_csv(_flat(part["cases"]), out / f"{name}-{part['name']}.csv")
    if report["curve"] and report["curve"]["rows"]:
        curve.draw(report["curve"]["rows"], report["curve"]["title"], out / f"{name}-curve.png")
        tables.write_csv(report["curve"]["rows"], out / f"{name}-curve.csv")


def _flat(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without the lists per lesion, which stay in the JSON."""
    return [{k: v for k, v in case.items() if not isinstance(v, (list, dict))} for case in cases]

