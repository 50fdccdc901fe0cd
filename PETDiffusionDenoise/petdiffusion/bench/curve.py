"""Quality against network evaluations, for both estimates, on validation patients: how the defaults are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from ..methods.contract import Output
from ..phantoms.splits import seeds_of
from ..prepare import case as preparing
from ..progress import Run
from . import patients, sources
from .cases import MEASURED_BY, CaseResult, Job, Numbers, Ran, Settings, Subject, kept, scored, vgg_of
from .contract import Curve, Dose, Point, Row, Table, require_split

MEAN, SAMPLE = "mean", "sample"
FIRST = "the mean at once"
"""The mean that the first evaluation gives, without any sample."""


def seeds(curve: Curve) -> list[int]:
    return seeds_of("validation", curve.patients, curve.first)


def run_case(curve: Curve, table: Table, seed: int, dose: Dose, settings: Settings, run: Run) -> CaseResult:
    """Rows named `mean 8` and `sample 8`, and the mean at once."""
    require_split([seed], "validation", "choosing defaults")
    place = patients.ready(table.job(seed), run)
    known = patients.load(place, dose.fraction)
    case = preparing.build(known.low, known.ct, known.mr, run=Run(cancelled=run.cancelled))
    identity = {"patient": place.name, "fraction": dose.fraction, "small": list(table.small)}
    subject = Subject(identity, seed, case, known.normal, known.organs, known.lesions, table.small)
    rows: dict[str, Numbers] = {}
    try:
        at_once = Row(FIRST, FIRST, curve.method, {"estimate": "mean", "samples": 0}, curve.anatomy)
        rows[FIRST] = _numbers(subject, at_once, 1, False, settings, run)
        for point in curve.points:
            run.check()
            chain = Row("chain", "", curve.method, {"estimate": "sample", "samples": 1, "steps": point.evaluations},
                        curve.anatomy)  # fmt: skip
            rows[f"{SAMPLE} {point.evaluations}"] = _numbers(subject, chain, 1, True, settings, run)
            several = replace(chain, options={**chain.options, "steps": point.steps})
            rows[f"{MEAN} {point.evaluations}"] = _numbers(subject, several, point.samples, True, settings, run)
    except ModelError as error:
        return CaseResult(table.job(seed).name, dose.label, {}, {curve.method: str(error)})
    return CaseResult(table.job(seed).name, dose.label, rows, {})


def _numbers(subject: Subject, row: Row, samples: int, chains: bool, settings: Settings, run: Run) -> Numbers:
    vgg = vgg_of(settings.vgg)
    job = Job.of(subject, row, None, settings, run)
    key = {**subject.id, **job.id, "chains": samples if chains else 0, "vgg": vgg.sha256 if vgg else None,
           "measured by": sources.code(*MEASURED_BY, "bench/curve.py")}  # fmt: skip

    def compute() -> Numbers:
        ran = [replace(job, seed=job.seed + i).run(run) for i in range(samples)]
        mean = np.mean([one.output.pet.array for one in ran], axis=0, dtype=np.float64)
        first, spent = ran[0].output, sum(one.output.evaluations for one in ran)
        together = Output(first.pet.with_array(mean.astype(np.float32)), evaluations=spent, details=first.details)
        return scored(Ran(together, sum(one.seconds for one in ran), ran[0].warnings), subject, vgg, run)

    return kept(key, compute)


def table_of(results: Sequence[CaseResult], points: Sequence[Point], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Means over the patients: a row per estimate and number of evaluations."""
    rows = []
    for name, estimate in [(FIRST, MEAN), *((f"{e} {p.evaluations}", e) for e in (MEAN, SAMPLE) for p in points)]:
        found = [result.rows[name] for result in results if name in result.rows]
        if found:
            values = {key: _mean(found, key) for key in (*metrics, "seconds")}
            rows.append({"estimate": estimate, "name": name, "evaluations": _mean(found, "evaluations"),
                         "patients": len(found), **values})  # fmt: skip
    return rows


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.mean(values)) if values else None


def draw(rows: Sequence[Mapping[str, Any]], title: str, file: Path) -> Path:
    """PSNR, SSIM and texture against evaluations, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [m for m in (("PSNR_dB", "PSNR, dB"), ("SSIM", "SSIM"), ("H_dist", "Haralick distance (lower is better)"))]
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(shown))
    for ax, (key, label) in zip(axes, shown):
        for estimate, colour, text in ((MEAN, "#0b6e99", "mean of samples"), (SAMPLE, "#c8551b", "one sample")):
            line = [r for r in rows if r["estimate"] == estimate and r["name"] != FIRST and r[key] is not None]
            ax.plot([r["evaluations"] for r in line], [r[key] for r in line], "o-", color=colour, label=text)
        for row in (r for r in rows if r["name"] == FIRST and r[key] is not None):
            count = f"{row['evaluations']:.0f} evaluation{'' if row['evaluations'] == 1 else 's'}"
            ax.axhline(row[key], color="#0b6e99", linestyle=":", label=f"mean at once ({count})")
        ax.set_xscale("log")
        ticks = sorted({round(r["evaluations"]) for r in rows})
        ax.set_xticks(ticks, [str(t) for t in ticks], fontsize=8)
        ax.set_xticks([], minor=True)
        ax.set_xlabel("network evaluations")
        ax.set_ylabel(label)
        ax.grid(alpha=0.25)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    return file
