"""One scan through the rows of a table; what is known already is not computed again."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from .. import registry
from ..errors import ConditionError, ModelError
from ..measure.perceptual import Vgg19, load_vgg19
from ..methods.contract import Case, MethodCard, Output
from ..prepare import case as preparing
from ..progress import Run
from ..volume import LabelMap, Volume
from . import patients, score, sources, store
from .contract import Dose, Row, Table, require_split

MEASURED_BY = ("measure", "prepare", "suv", "bench/score.py", "bench/cases.py")
NETWORKS = ("infer", "diffusion", "networks", "zoo/choose.py")
WIDEST_MM, HALVINGS = 40.0, 12

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a whole run shares."""

    vgg: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    """Model (id or path) by method, where not the method's own choice."""
    device: str = "auto"


@dataclass(frozen=True)
class Subject:
    """A scan ready to be denoised, and what it is measured with."""

    id: Mapping[str, Any]
    """What identifies the images: enters every digest."""
    seed: int
    case: Case
    normal: Volume
    organs: LabelMap | None
    lesions: LabelMap | None
    small: Sequence[str] = ()
    measured: Callable[[Output], Numbers] | None = None
    """Numbers of another kind than `score.score`'s; what they depend on is part of `id`."""


@dataclass(frozen=True)
class CaseResult:
    patient: str
    dose: str
    rows: Mapping[str, Numbers]
    skipped: Mapping[str, str]
    """Rows that could not be run, and why."""


def run_case(table: Table, rows: Sequence[Row], seed: int, dose: Dose, tuned: Mapping[str, Mapping[str, Any]],
             settings: Settings, run: Run) -> CaseResult:  # fmt: skip
    """A test patient at one dose. `tuned` has the options of tuned rows by name."""
    require_split([seed], "test", "results")
    place = patients.ready(table.job(seed), run)
    known = patients.load(place, dose.fraction)
    case = preparing.build(known.low, known.ct, known.mr, known.organs, run=Run(cancelled=run.cancelled))
    identity = {"patient": place.name, "fraction": dose.fraction, "small": list(table.small)}
    subject = Subject(identity, seed, case, known.normal, known.organs, known.lesions, table.small)
    return run_rows(judged(subject, table.judge), rows, tuned, settings, run, table.job(seed).name, dose.label)


def judged(subject: Subject, judge: str) -> Subject:
    """The subject with numbers of another kind, if the table has them; the judge's code is part of what they are of."""
    if not judge:
        return subject
    module, function = judge.split(":")
    function = getattr(importlib.import_module(module), function)
    s = subject
    made_by = sources.code(f"{'/'.join(module.split('.')[1:])}.py")
    return replace(s, id={**s.id, "judged by": [judge, made_by]},
                   measured=lambda output: function(output, s.case, s.normal, s.organs, s.lesions))  # fmt: skip


def run_rows(subject: Subject, rows: Sequence[Row], tuned: Mapping[str, Mapping[str, Any]], settings: Settings,
             run: Run, patient: str, dose: str) -> CaseResult:  # fmt: skip
    """Every row on one scan. A row without a model on this machine is left out, and said."""
    done: dict[str, Numbers] = {}
    skipped: dict[str, str] = {}
    for row in rows:
        run.check()
        try:
            done[row.name] = _row(subject, row, tuned.get(row.name), done, settings, run)
        except (ModelError, ConditionError) as error:
            skipped[row.name] = str(error)
    return CaseResult(patient, dose, done, skipped)


def _row(subject: Subject, row: Row, tuned: Mapping[str, Any] | None, done: Mapping[str, Numbers], settings: Settings,
         run: Run) -> Numbers:  # fmt: skip
    vgg = vgg_of(settings.vgg)
    key = {**subject.id, "vgg": vgg.sha256 if vgg else None, "measured by": sources.code(*MEASURED_BY)}
    if row.method is None:
        return kept(key | {"image": "low"}, lambda: scored(Ran(Output(subject.case.pet)), subject, vgg, run))
    if row.matched and row.matched not in done:
        raise ModelError(f"Row '{row.matched}'", "was not run, so no filter can be matched to it")
    job = Job.of(subject, row, tuned, settings, run)
    if row.matched:
        noise = done[row.matched]["noise_percent"]
        return kept(key | job.id | {"noise": noise}, lambda: _matched(job, noise, subject, vgg, run))
    return kept(key | job.id, lambda: scored(job.run(run), subject, vgg, run))


def kept(key: Mapping[str, Any], compute: Any) -> Numbers:
    """From the cache, or computed and put there."""
    file = store.folder() / "results" / f"{store.digest(key)}.json"
    known = store.read_json(file)
    if known is None:
        known = {"numbers": compute(), "of": dict(key)}
        store.keep_json(known, file)
    return known["numbers"]


@dataclass(frozen=True)
class Ran:
    """What a method gave, how long it took, and what it warned of."""

    output: Output
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def scored(ran: Ran, subject: Subject, vgg: Vgg19 | None, run: Run, **more: Any) -> Numbers:
    output, s = ran.output, subject
    if s.measured:
        numbers = s.measured(output)
    else:
        numbers = score.score(output.pet, s.case, s.normal, s.organs, s.lesions, s.small, vgg, run)
    details = {name: output.details[name] for name in ("model", "model_sha256") if name in output.details}
    spent = {"seconds": round(ran.seconds, 3), "evaluations": output.evaluations, "warnings": list(ran.warnings)}
    return {**numbers, **spent, **details, **more}


@dataclass(frozen=True)
class Job:
    """A method on a scan, with everything its result depends on."""

    card: MethodCard
    case: Case
    options: Mapping[str, Any]
    model: str | None
    seed: int
    device: str
    id: Mapping[str, Any]

    @classmethod
    def of(cls, subject: Subject, row: Row, tuned: Mapping[str, Any] | None, settings: Settings, run: Run) -> Job:
        card = registry.card(row.method)
        case = only(subject.case, row.anatomy)
        options = card.resolve(tuned if tuned is not None else row.options)
        wanted, model = row.model or settings.models.get(card.name), None
        if card.needs_model:
            from ..zoo.choose import choose

            found = choose(card.name, case, Run(model=wanted)).card
            model = [found.sha256, store.digest(found.config)]  # thresholds are changed without new weights
        id_ = {"method": card.name, "options": options, "anatomy": sorted(row.anatomy), "model": model,
               "seed": subject.seed, "code": sources.code(*parts_of(card)), "device": settings.device}  # fmt: skip
        return cls(card, case, options, wanted, subject.seed, settings.device, id_)

    def run(self, run: Run, **changes: Any) -> Ran:
        denoise = self.card.load()  # imports the method: no row is charged for that
        quiet = Run(self.seed, self.device, self.model, cancelled=run.cancelled)
        began = time.perf_counter()
        output = denoise(self.case, {**self.options, **changes}, quiet)
        return Ran(output, time.perf_counter() - began, tuple(quiet.warnings))


def parts_of(card: MethodCard) -> tuple[str, ...]:
    """The code of a method."""
    return f"methods/{card.entry.split('.')[2]}", *(NETWORKS if card.runs_networks else ())


def only(case: Case, anatomy: Sequence[str]) -> Case:
    """The case without the anatomy that a row does not get."""
    return replace(case, **{name: None for name in ("ct", "mr", "labels") if name not in anatomy})


def _matched(job: Job, noise: float, subject: Subject, vgg: Vgg19 | None, run: Run) -> Numbers:
    """A Gaussian that leaves this much noise, found by halving the interval of its width."""
    low, high = 0.0, WIDEST_MM
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        pet = job.run(run, fwhm_mm=middle).output.pet
        left = score.noise_percent(pet, subject.case.body, subject.organs, subject.lesions)
        low, high = (middle, high) if left is not None and left > noise else (low, middle)
    return scored(job.run(run, fwhm_mm=high), subject, vgg, run, fwhm_mm=round(high, 2))


@cache
def vgg_of(path: str | None) -> Vgg19 | None:
    return None if path is None else load_vgg19(path)
