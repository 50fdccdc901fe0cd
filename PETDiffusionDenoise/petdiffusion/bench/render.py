"""The report as Markdown that also reads well on a terminal; the paper's rows stand below the rows they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.statistics import least_p
from .contract import Metric
from .summary import ALL, SIGNIFICANT

Report = Mapping[str, Any]


def page(report: Report) -> str:
    """Everything."""
    parts = [f"# {report['title']}: benchmark", _opening(report)]
    parts += [table(part) for part in report["tables"]]
    if report.get("curve"):
        parts.append(curve(report["curve"]))
    if report.get("real"):
        parts.append(table(report["real"]))
    return "\n\n".join([*parts, _settings(report)]) + "\n"


def _opening(report: Report) -> str:
    kind = "quick: few patients and doses" if report["quick"] else "full"
    more = "".join(f" A further table is made by name: `--only {name}`." for name in report.get("by_name", ()))
    return (
        f"{report['citation']}\n\nMade by `{report['command']}` ({kind}), petdiffusion {report['version']}. "
        f"For research use only. Simulated and real data are in tables of their own.{more}"
    )


def table(part: Report) -> str:
    """One table of a report: a section per scope, then what differs and what was expected."""
    metrics = [Metric(**m) for m in part["metrics"]]
    lines = [f"## {part['title']}", f"Data: {part['data']}. {len(part['patients'])} test patients."]
    lines += [f"Not run: {titles} ({why})" for titles, why in _skipped(part)]
    lines += [f"Warned: {text}" for text in part["warnings"]]
    for scope, found in part["summary"].items():
        if not found["rows"]:
            continue
        last = scope == ALL or len(part["summary"]) == 1
        name = "All doses" if scope == ALL else f"Dose {scope}"
        paper = part["levels"].get(scope, part["paper"] if last else {})
        lines.append(f"### {name}\n\n{grid(found['rows'], metrics, paper, part['paper_rows'])}")
    lines.append(_legend(part))
    if part["differs"]:
        lines.append("In what this is not the paper's table:\n\n" + "\n".join(f"- {text}" for text in part["differs"]))
    return "\n\n".join([*lines, *_agreement(part), *_claims(part), *_tuned(part)])


def grid(rows: Sequence[Report], metrics: Sequence[Metric], paper: Mapping[str, Any] | None = None,
         paper_rows: Mapping[str, str] | None = None) -> str:  # fmt: skip
    """Mean ± SD by row; columns without any number are left out. Below them what differs by column, where it does: the
    scans, and the least p that so few patients give."""
    paper, paper_rows = paper or {}, paper_rows or {}
    shown = [m for m in metrics if any(r[m.key]["mean"] is not None for r in rows)]
    lines = [["", *(m.title for m in shown), "s", "evaluations", "scans"]]
    waiting = dict(paper)
    for row in rows:
        lines.append([row["title"], *(_cell(row, m) for m in shown), number(row["seconds"], 1),
                      number(row["evaluations"], 0), str(row["scans"])])  # fmt: skip
        if (name := paper_rows.get(row["row"])) in waiting:
            lines.append(_paper_line(name, waiting.pop(name), shown))
    lines += [_paper_line(name, values, shown) for name, values in waiting.items()]
    ends = [""] * 3
    scans = [max(r[m.key]["n"] for r in rows) for m in shown]
    if any(n < max(row["scans"] for row in rows) for n in scans):
        lines.append(["scans of the column", *map(str, scans), *ends])
    if any(least := [_least(rows, m.key) for m in shown]):
        lines.append(["least p", *(f"{p:.2g}" if p else "" for p in least), *ends])
    return aligned(lines)


def _least(rows: Sequence[Report], key: str) -> float | None:
    """The least p of a column, if no test in it can be significant."""
    tests = [row["tests"][key] for row in rows if key in row["tests"]]
    least = least_p([test["minimum_p"] for test in tests if "minimum_p" in test])
    return least if least is not None and least >= SIGNIFICANT else None


def _cell(row: Report, metric: Metric) -> str:
    value = row[metric.key]
    test = row["tests"].get(metric.key, {})
    mark = "*" if test.get("p_holm") is not None and test["p_holm"] < SIGNIFICANT else ""
    return plus_minus(value["mean"], value["sd"], metric.digits) + mark


def _paper_line(name: str, values: Mapping[str, Sequence[float]], metrics: Sequence[Metric]) -> list[str]:
    cells = [plus_minus(*values[m.key], m.digits) if m.key in values else "" for m in metrics]
    return [f"  paper: {name}", *cells, "", "", ""]


def plus_minus(mean: float | None, sd: float | None, digits: int) -> str:
    if mean is None:
        return "–"
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def number(value: float | None, digits: int) -> str:
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded cells; a bar within one ends no cell."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]

    def text(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths)))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(":" + "-" * (w + 1) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([text(lines[0]), rule, *map(text, lines[1:])])


def _agreement(part: Report) -> list[str]:
    """Regression of measured on true numbers over all scans, and Bland-Altman's bias with its limits."""
    if not part.get("agreement"):
        return []
    lines = [["", "number", "R²", "slope", "intercept", "bias", "95 % limits", "scans"]]
    for row in part["agreement"]:
        cells = (number(row[key], 2) for key in ("r_squared", "slope", "intercept", "bias"))
        limits = f"{number(row['limit_low'], 2)} to {number(row['limit_high'], 2)}"
        lines.append([row["title"], row["number"], *cells, limits, str(row["n"])])
    return ["Against the truth (the paper's Fig. 7), all doses together:\n\n" + aligned(lines)]


def _legend(part: Report) -> str:
    few = any(_least(found["rows"], m["key"]) for found in part["summary"].values() for m in part["metrics"])
    impossible = " (impossible where 'least p' stands below a column: its patients are too few)" if few else ""
    lesions = any(m["key"].startswith("lesion") for m in part["metrics"])
    told = "Lesion and small-structure columns: change against the normal-dose image. " if lesions else ""
    return (
        f"Mean ± SD over the scans that all rows of a column have. * differs from '{part['champion_title']}': "
        f"Wilcoxon signed-rank over patients, Holm over rows, p < {SIGNIFICANT}{impossible}; of a bias its size is "
        f"tested. {told}s: median seconds a scan, {part['timing']}."
    )


def _skipped(part: Report) -> list[tuple[str, str]]:
    by_reason: dict[str, list[str]] = {}
    for name, why in part["skipped"].items():
        by_reason.setdefault(why, []).append(name)
    return [(", ".join(names), why) for why, names in by_reason.items()]


def _claims(part: Report) -> list[str]:
    lines = [["expected", *part["summary"]]]
    judged = {scope: found["claims"] for scope, found in part["summary"].items()}
    count = len(next(iter(judged.values()), []))
    for i in range(count):
        lines.append([next(iter(judged.values()))[i]["text"], *(_verdict(claims[i]) for claims in judged.values())])
    return ["Expected, and whether it was seen:\n\n" + aligned(lines)] if count else []


def _verdict(claim: Report) -> str:
    if claim["holds"] is None:
        return "not measured"
    size = claim.get("gain", claim["value"])
    return f"{'yes' if claim['holds'] else 'NO'} ({size:+.3g})"


def _tuned(part: Report) -> list[str]:
    if not part["tuned"]:
        return []
    lines = [["tuned filter", "dose", "settings"]]
    for one in part["tuned"]:
        lines.append([one["row"], one["dose"], ", ".join(f"{k} = {one['options'][k]}" for k in one["searched"])])
    seen = part["tuned"][0]["patients"]
    return [f"Settings found on {len(seen)} other patients ({seen[0]} to {seen[-1]}):\n\n" + aligned(lines)]


def curve(part: Report) -> str:
    metrics = [Metric(**m) for m in part["metrics"]]
    shown = [m for m in metrics if any(row.get(m.key) is not None for row in part["rows"])]
    if not part["rows"]:
        return f"## {part['title']}\n\nNot run: {'; '.join(sorted(set(part['skipped'].values())))}"
    lines = [["estimate", "evaluations", *(m.title for m in shown), "s"]]
    for row in part["rows"]:
        name = row["name"] if row["name"].startswith("the") else row["estimate"]
        cells = [number(row.get(m.key), m.digits) for m in shown]
        lines.append([name, number(row["evaluations"], 0), *cells, number(row["seconds"], 1)])
    return f"## {part['title']}\n\nData: {part['data']}.\n\n{aligned(lines)}"


def _settings(report: Report) -> str:
    words = "\n".join(f"- {name}: {text}" for name, text in report["metrics"].items())
    models = "\n".join(f"- {m['method']}: {m['model']} (SHA-256 {m['sha256'][:12]}…)" for m in report["models"])
    return f"## Settings\n\n{words}\n\nModels:\n\n{models or '- none was on this machine'}\n\n{report['vgg']}"
