"""The report: one HTML file with everything inside, and the CSV files behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from .. import __version__
from ..measure.statistics import least_p
from ..progress import Run
from ..wording import counted
from ..write import tables as csv_files
from ..write.report.document import document
from ..write.report.words import NONE, SIGNIFICANT, chance, number, written
from . import plots
from .numbers import LOW, METRICS, Row, title_of, unit_word, units_of, value_word
from .run import Evaluation, put, saved
from .summary import common, in_unit, measured, per_patient
from .words import paragraph, scans_of, told_of

BANNER = "For research use only. Not a medical device, not for diagnosis."
LEVELS = {"whole": "Whole image", "organ": "Organs", "lesion": "Lesions", "patient": "Patient",
          "trust": "Supported by the scan", "cost": "Cost"}  # fmt: skip
STYLE = """
.plots { display: flex; flex-wrap: wrap; gap: 8px 22px; margin: 6px 0 18px; }
.scroll + h3 { margin-top: 20px; }
h3.unit { font-weight: 650; color: var(--ink); margin-top: 26px; }
.plots img { max-width: 100%; height: auto; }
td.best { font-weight: 650; } tbody th.group { font-weight: 650; color: var(--ink); padding-top: 14px; }
td { vertical-align: top; }
td .ci, td .p { color: var(--soft); font-size: 12px; font-weight: 400; line-height: 1.3; display: block; }
pre { white-space: pre-wrap; background: var(--faint); padding: 14px 16px; font: 14px/1.55 inherit; }
@media print { td .ci, td .p { font-size: 8px; } }
table.plain th small { color: var(--soft); font-weight: 400; display: block; }
"""


def write(made: Evaluation, run: Run) -> None:
    """Tables first, the report last. Of a table without rows none is left from an evaluation before."""
    out, names = made.ask.out, {}
    for name, rows in tables(made).items():
        if rows:
            (out / "tables").mkdir(parents=True, exist_ok=True)
            csv_files.write_csv(rows, out / "tables" / f"{name}.csv")
            names[f"table_{name}"] = f"tables/{name}.csv"
        else:
            (out / "tables" / f"{name}.csv").unlink(missing_ok=True)
    run.progress(0.3)
    put(paragraph(made), out / "methods.txt")
    put(html(made), out / "report.html")
    run.progress(0.9)
    put(saved(made, {**names, "methods": "methods.txt", "report": "report.html"}), out / "evaluation.json")
    run.progress(1.0)


def tables(made: Evaluation) -> dict[str, list[Row]]:
    def joined(parts: Mapping[str, Sequence[Row]]) -> list[Row]:
        return [{"data": data, **row} for data, rows in parts.items() for row in rows]

    groups = made.groups
    return {
        "cases": [r for g in groups.values() for r in g.cases],
        "lesions": [r for g in groups.values() for r in g.lesions],
        "organs": [r for g in groups.values() for r in g.organs],
        "metrics": joined(made.metrics),
        "agreement": joined(made.agreement),
        "metrics_by_dose": joined(made.by_fraction),
        "psnr_by_dose": joined(made.doses),
        "failed": made.failed,
    }


def html(made: Evaluation) -> str:
    """Every text is escaped; nothing is fetched."""
    body = "".join(
        [
            _head(made),
            _failed(made),
            *(_group(made, data) for data in made.groups),
            _section("Methods, ready for a paper", f"<pre>{escape(paragraph(made))}</pre>"),
            _section("How to have these numbers again", _again(made)),
            f"<footer>PETDiffusion {escape(__version__)} · {BANNER}</footer>",
        ]
    )
    return document("Evaluation", body, STYLE)


def _head(made: Evaluation) -> str:
    scans = sum(len({r["case"] for r in g.cases}) for g in made.groups.values())
    names = ", ".join(escape(t) for t in made.titles.values())
    title = f"{counted(len(made.ask.methods), 'method')} on {counted(scans, 'scan')}"
    return (
        f'<header><p class="over">PETDiffusion · evaluation</p><h1>{title}</h1>'
        f'<p class="facts">{names}</p><p class="banner">{BANNER}</p></header>'
    )


def _failed(made: Evaluation) -> str:
    if not made.failed:
        return ""
    whose: dict[tuple[str, str], list[str]] = {}
    for row in made.failed:
        whose.setdefault((row["case"], row["error"]), []).append(made.titles.get(row["method"], row["method"]))
    said = (f"{case} ({', '.join(methods)}): {error}" for (case, error), methods in list(whose.items())[:40])
    items = "".join(f"<li>{escape(text)}</li>" for text in said)
    runs = "1 run failed and was" if len(made.failed) == 1 else f"{len(made.failed)} runs failed and were"
    return f'<aside class="warn"><h2>{runs} left out</h2><ul>{items}</ul></aside>'


def _section(title: str, content: str, note: str = "") -> str:
    notes = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="part"><h2>{escape(title)}</h2>{notes}{content}</section>'


def _group(made: Evaluation, data: str) -> str:
    baseline = made.titles[made.ask.baseline or made.ask.methods[0]]
    doses = _fractions(made, data)
    pooled = f", mean over doses {', '.join(map(_dose, doses))} (each by itself below)" if len(doses) > 1 else ""
    whose = escape(scans_of(made.groups[data].cases, about=f" ({data})"))
    note = (
        f"{whose}{pooled}. Means over the patients of each line, with 95 % bootstrap intervals. Bold: best of its "
        f"line, the {LOW} scan included. p: Wilcoxon against {escape(baseline)}, Holm over all that are "
        f"compared with it.{_least_p(made.metrics[data])}"
    )
    return "".join(
        [
            _section(data[:1].upper() + data[1:], _metrics(made, made.metrics[data]) + _each_dose(made, data), note),
            _section("By patient", _plots(_boxes(made, data)), "Every point is a patient; lines join the same one."),
            _agreement(made, data),
            _section("Dose and time", _plots(_curves(made, data))) if _curves(made, data) else "",
        ]
    )


def _fractions(made: Evaluation, data: str) -> list[float]:
    return sorted({row["fraction"] for row in made.by_fraction[data]})


def _dose(fraction: float) -> str:
    return f"{100 * fraction:.3g}\u00a0%"


def _each_dose(made: Evaluation, data: str) -> str:
    """Where several doses were put together above: the same table for each."""
    text = ""
    for fraction in _fractions(made, data):
        rows = [row for row in made.by_fraction[data] if row["fraction"] == fraction]
        title = f"At {_dose(fraction)} of the normal dose alone"
        note = f'<p class="note">{least.strip()}</p>' if (least := _least_p(rows)) else ""
        text += f"<details><summary>{title}</summary>{note}{_metrics(made, rows)}</details>"
    return text


def _least_p(rows: Sequence[Row]) -> str:
    """A word where no test could be significant, which differs by line: some need what not every patient has."""
    lines = [p for metric in METRICS if (p := _line_least([r for r in rows if r["metric"] == metric.key])) is not None]
    few = [p for p in lines if p >= SIGNIFICANT]
    if not few:
        return ""
    if len(few) < len(lines):
        return " No difference can be significant where p ≥ stands beside the patients: they are too few."
    ends = list(dict.fromkeys(number(p, 3) for p in (min(few), max(few))))
    by_line = ", by line (p ≥)" if len(ends) > 1 else ""
    least = f"p cannot be below {' to '.join(ends)} here{by_line}"
    return f" With so few patients {least}: no difference can be significant."


def _line_least(rows: Sequence[Row]) -> float | None:
    """Of one metric; None without a test."""
    return least_p([row["minimum_p"] for row in rows if row.get("minimum_p") is not None])


def _metrics(made: Evaluation, rows: Sequence[Row]) -> str:
    """A column per method, a line per metric, with the patients that it rests on: the same for all methods."""
    methods = [*made.ask.methods, LOW]
    lines, level = [], None
    for metric in METRICS:
        found = {r["method"]: r for r in rows if r["metric"] == metric.key}
        if not found:
            continue
        if metric.level != level:
            level = metric.level
            lines.append(f'<tr><th class="group" colspan="{len(methods) + 2}">{LEVELS[level]}</th></tr>')
        compared = list(found) if metric.tested else []
        values = [found[m]["mean"] for m in compared]
        best = (max if metric.higher_is_better else min)(values) if len(values) > 1 else None
        cells = "".join(_cell(found.get(m), metric.digits, m in compared and found[m]["mean"] == best) for m in methods)
        title = next(iter(found.values()))["title"]
        unit = f" <small>{escape(metric.unit)}</small>" if metric.unit else ""
        lines.append(f"<tr><th>{escape(title)}{unit}</th>{_patients(list(found.values()))}{cells}</tr>")
    head = "".join(f"<th>{escape(made.titles.get(m, m))}</th>" for m in methods)
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th></th><th>patients</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _patients(rows: Sequence[Row]) -> str:
    least = _line_least(rows)
    few = f'<span class="p">p ≥ {number(least, 3)}</span>' if least is not None and least >= SIGNIFICANT else ""
    return f"<td>{rows[0]['patients']}{few}</td>"


def _cell(row: Row | None, digits: int, best: bool) -> str:
    if row is None:
        return f"<td>{NONE}</td>"
    low, high, p = row.get("ci_low"), row.get("ci_high"), row.get("p_holm")
    digits = 0 if row["mean"] == 0 or abs(row["mean"]) >= 100 else digits
    interval = f'<span class="ci">{number(low, digits)} to {number(high, digits)}</span>' if low is not None else ""
    star = " *" if p is not None and p < SIGNIFICANT else ""
    tested = f'<span class="p">p {escape(chance(p))}{star}</span>' if p is not None else ""
    return f'<td{" class=best" if best else ""}>{number(row["mean"], digits)}{interval}{tested}</td>'


def _plots(drawn: Iterable[str]) -> str:
    return f'<div class="plots">{"".join(drawn)}</div>'


def _boxes(made: Evaluation, data: str) -> list[str]:
    cases, drawn, every = made.groups[data].cases, [], [*made.ask.methods, LOW]
    for metric in METRICS:
        used = measured(cases, metric.key, every)
        values = per_patient(cases, metric.key, used) if used else {}
        if metric.level != "cost" and used and len(values[used[0]]) > 1:
            drawn.append(plots.boxes(values, title_of(metric, cases), metric.unit, made.titles, len(every)))
    return drawn


def _agreement(made: Evaluation, data: str) -> str:
    """A table and plots for each unit that scans are in."""
    units, parts = units_of(made.groups[data].cases), []
    for unit in units:
        if rows := in_unit(made.agreement[data], unit):
            parts += [f'<h3 class="unit">Scans in {escape(unit_word(unit))}</h3>'] if len(units) > 1 else []
            parts += [_agreement_table(made, rows, unit_word(unit)), _agreement_plots(made, data, unit)]
    if not parts:
        return ""
    which = "of the scans in one unit" if len(units) > 1 else "of all scans"
    which += " that all methods finished" if made.failed else ""
    note = (
        f"Lesions and organs {which} together; those of one patient are not independent. Bias: mean of method − "
        "normal dose, with the limits between which 95 % of the differences are expected. Plots of one kind share "
        "their axes; dashed in the regression: equality, solid: the fitted line."
    )
    return _section("Agreement with the normal dose", "".join(parts), note)


def _agreement_table(made: Evaluation, rows: Sequence[Row], unit: str) -> str:
    heads = ("of", "metric", "method", "n", "slope", f"intercept, {unit}", "R²", "concordance", f"bias, {unit}",
             f"95 % limits, {unit}")  # fmt: skip
    limits = ("limit_low", "limit_high")
    in_its_unit = written(unit, (r[k] for r in rows for k in ("intercept", "bias", *limits)), _short)
    kinds = {"slope": _short, "intercept": in_its_unit, "r_squared": _short, "concordance": _short, "bias": in_its_unit}
    lines = "".join(
        f"<tr><td>{r['of']}</td><td>{r['metric']}</td><td>{escape(made.titles.get(r['method'], r['method']))}</td>"
        f"<td>{r['n']}</td>" + "".join(f"<td>{shown(r[k])}</td>" for k, shown in kinds.items())
        + f"<td>{' to '.join(in_its_unit(r[k]) for k in limits)}</td></tr>"
        for r in rows
    )  # fmt: skip
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return (
        f'<div class="scroll"><table class="plain text"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
        "</div>"
    )


def _short(value: float | None) -> str:
    """SUV and slopes with three decimals, what is large without."""
    return number(value, 0 if value is not None and abs(value) >= 100 else 3)


def _agreement_plots(made: Evaluation, data: str, unit: str) -> str:
    group, parts, every = made.groups[data], [], [*made.ask.methods, LOW]
    for kind, pairs, metric in (("Lesions", group.lesions, "max"), ("Lesions", group.lesions, "peak"),
                                ("Organs", group.organs, "mean")):  # fmt: skip
        label = escape(value_word(metric, unit))
        for draw, title in ((plots.regression, "regression"), (plots.bland_altman, "Bland–Altman")):
            if drawn := draw(common(in_unit(pairs, unit), every), made.ask.methods, metric, unit, made.titles):
                parts.append(f"<h3>{kind}, {label}: {title}</h3>{_plots(drawn)}")
    return "".join(parts)


def _curves(made: Evaluation, data: str) -> list[str]:
    """Both of scans that all methods have, as the tables are."""
    drawn, methods = [], made.ask.methods
    if len({r["fraction"] for r in made.doses[data]}) > 1:
        drawn.append(plots.curves(made.doses[data], methods, "PSNR, dB", made.titles))
    known = [r for r in made.groups[data].cases if r.get("seconds") and r.get("PSNR_dB") is not None]
    known, points = common(known, methods), {}
    for method, quality in per_patient(known, "PSNR_dB", measured(known, "PSNR_dB", methods)).items():
        seconds = [r["seconds"] for r in known if r["method"] == method]
        points[method] = float(np.median(seconds)), float(np.mean(list(quality.values())))
    if points:
        drawn.append(plots.against_time(points, methods, "PSNR, dB", made.titles))
    return drawn


def _again(made: Evaluation) -> str:
    settings = {method: told_of(method, record.get("options", {})) for method, record in made.records.items()}
    said = {m: ", ".join(f"{k} = {v}" for k, v in options.items()) or "no options" for m, options in settings.items()}
    items = "".join(f"<li><b>{escape(made.titles[m])}</b>: {escape(text)}</li>" for m, text in said.items())
    return (
        f"<pre>{escape(made.ask.command)}</pre><ul>{items}</ul><p class='small'>Each run's own record lies in "
        "runs/METHOD/CASE/record.json; every number of this page in tables/.</p>"
    )
