"""The tables of the report, each with a drawing of its main number in every row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from html import escape
from typing import Any

from ...measure.cautions import cold
from ...trust.quality import AT_LEAST, AT_MOST, EDGES, EITHER_WAY, UNTOLD
from .model import COLUMN, REFERENCE, CaseReport, Rows
from .words import NONE, Facts, Written, lesion_name, ml, number, percent, plain, suv

FIRST_ORGANS = (
    "liver",
    "spleen",
    "kidney",
    "heart",
    "lung",
    "brain",
    *("frontal", "temporal", "parietal", "occipital", "cingulate", "hippocampus", "caudate", "putamen", "thalamus"),
    *("cerebellum", "pons"),
    "aorta",
    "bladder",
    "muscle",
    "gluteus",
    "bone",
    "vertebrae",
    "pancreas",
    "stomach",
    "body",
)
SHOWN_ORGANS, SHOWN_LESIONS = 14, 25
IN_WORDS = {"low": "low-count", "denoised": "denoised", "reference": "normal dose"}
Column = tuple[str, str, str]
"""Heading, column of the rows, how it is written: value (in the images' unit), total (value times ml), ratio, signed or
one."""


def lesion_section(report: CaseReport) -> str:
    facts = Facts(report)
    suvs = [(facts.called(key), _group(report, f"{facts.prefix}{key}")) for key in ("peak", "max", "mean")]
    more = [
        (f"TLG, {facts.tlg_unit}", _each(report, "TLG", "total")),
        ("Lesion / surroundings", _each(report, "contrast", "ratio")),
        ("Recovery, %", _each(report, "contrast_recovery_percent", "one", references=False)),
        ("CNR", _each(report, "CNR", "one")),
    ]
    rows = report.lesion_rows
    strip = f"{facts.prefix}peak"
    body = _table(report, rows[:SHOWN_LESIONS], _lesion_name, suvs, strip)
    if len(rows) > SHOWN_LESIONS:
        body += _folded(
            f"{len(rows) - SHOWN_LESIONS} more lesions", _table(report, rows[SHOWN_LESIONS:], _lesion_name, suvs, strip)
        )
    return body + _folded("TLG, contrast and contrast-to-noise ratio", _table(report, rows, _lesion_name, more))


def totals(report: CaseReport) -> str:
    if not report.lesion_totals:
        return ""
    row = report.lesion_totals[0]
    count = f"{number(row.get('lesions'), 0)} lesion{'' if row.get('lesions') == 1 else 's'}"
    shown = Facts(report).written((row.get(f"TLG_{column}") for _, column in _columns(report)), _one)
    tlg = ", ".join(
        f"{escape(name.lower())} {shown(row.get(f'TLG_{column}'))}"
        for name, column in _columns(report)
        if row.get(f"TLG_{column}") is not None
    )
    if found := sum(map(cold, report.lesion_rows)):
        count += f", {found} colder than the surroundings"
    if found and found == len(report.lesion_rows):
        return (
            f"<p>Volume <b>{number(row.get('MTV_ml'), 1)} ml</b> in {count}: metabolic tumour volume and total lesion "
            "glycolysis are meant for hot lesions and are not given here.</p>"
        )
    what = "Volume of all marks (the MTV, if each is tumour)" if report.marked else "Metabolic tumour volume"
    unit = Facts(report).tlg_unit
    return (
        f"<p>{what} <b>{number(row.get('MTV_ml'), 1)} ml</b> in {count}. "
        f"Total lesion glycolysis, {escape(unit)}: {tlg}.</p>"
    )


def organ_section(report: CaseReport) -> str:
    facts = Facts(report)
    mean = f"{facts.prefix}mean"
    groups = [
        (facts.called("mean"), _group(report, mean)),
        ("CoV, %", _each(report, "CoV_percent", "one")),
        (facts.called("max"), _each(report, f"{facts.prefix}max", "value")),
    ]
    rows = sorted(report.organ_rows, key=_organ_rank)
    body = _table(report, rows[:SHOWN_ORGANS], _organ_name, groups, mean)
    if len(rows) > SHOWN_ORGANS:
        rest = rows[SHOWN_ORGANS:]
        body += _folded(f"{len(rest)} more structures", _table(report, rest, _organ_name, groups, mean))
    return body


def image_section(report: CaseReport) -> str:
    """Image quality, and in small print what the numbers depend on."""
    facts = Facts(report)
    shown = [
        ("Noise, liver (CoV), %", "liver_CoV_percent", 1),
        ("Noise, body (local), %", "local_noise_percent", 1),
        (f"Mean in the body, {report.quantity}", "body_mean", None),
        ("Activity against low-count, %", "activity_vs_low_percent", 1),
        ("PSNR, dB", "PSNR_dB", 2),
        ("SSIM", "SSIM", 4),
        ("NRMSE", "NRMSE", 4),
        ("RMSE", "RMSE", None),
        ("MAE", "MAE", None),
        ("Bias, %", "bias_percent", 2),
    ]
    names = _columns(report)
    lines = []
    for label, column, decimals in shown:
        values = [facts.image(name).get(column) for name, _ in names]
        if any(v is not None for v in values):
            shown = partial(number, decimals=decimals)
            if decimals is None:
                shown = facts.written(values, partial(number, decimals=3 if column == "body_mean" else 4), figures=4)
            cells = "".join(f"<td>{shown(v)}</td>" for v in values)
            lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    head = "".join(f'<th class="{key}">{escape(name)}</th>' for name, key in names)
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_small_print(facts)}"
    )


def _small_print(facts: Facts) -> str:
    row = next((r for r in facts.report.image_rows if r.get("SSIM_window")), {})
    rules = [
        f"local noise: {row_['local_noise_rule']}"
        for row_ in facts.report.image_rows[:1]
        if row_.get("local_noise_rule")
    ]
    rules += [f"liver noise: {row_['liver_rule']}" for row_ in facts.report.image_rows[:1] if row_.get("liver_rule")]
    if row:
        shown = facts.written((row.get("data_range"), row.get("NRMSE_range")), partial(number, decimals=3), figures=4)
        rules += [
            f"data range {shown(row.get('data_range'))} ({row.get('data_range_rule')})",
            f"SSIM window {row.get('SSIM_window')}",
            f"NRMSE range {shown(row.get('NRMSE_range'))}",
            f"{number(row.get('mask_voxels'), 0)} voxels ({row.get('mask')})",
            str(row.get("library")),
        ]
    return f'<p class="small">{escape("; ".join(rules))}.</p>' if rules else ""


def other_section(rows: Rows) -> str:
    """A table as it is: columns as they come, numbers to four digits."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(str(c)).replace('_', ' ')}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{_any(row.get(c))}</td>" for c in columns) + "</tr>" for row in rows[:200])
    cut = f'<p class="small">The first 200 of {len(rows)} rows.</p>' if len(rows) > 200 else ""
    return (
        f'<div class="scroll"><table class="plain text"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{cut}"
    )


_SIGNS = {AT_LEAST: "≥", AT_MOST: "≤", EITHER_WAY: "±"}


def quality_section(rows: Rows) -> str:
    """Each number with its unit, its limit, and whether it keeps it."""
    lines = "".join(
        f"<tr><th>{escape(_quality_name(str(row['item'])))}</th>"
        f'<td class="wrap">{_with_unit(row, "value") or _unmeasured(row)}</td>'
        f"<td>{_limit(row)}</td><td>{_verdict(row)}</td></tr>"
        for row in rows
    )
    heads = "".join(f"<th>{head}</th>" for head in ("", "Measured", "Limit", ""))
    return (
        f'<div class="scroll"><table class="plain"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _quality_name(item: str) -> str:
    """`noise in the body, low` as `Noise in the body, low-count`."""
    name = re.sub(r", (low|denoised|reference)$", lambda found: f", {IN_WORDS[found[1]]}", item)
    return name[:1].upper() + name[1:]


def _with_unit(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    unit = str(row.get("unit") or "")
    return f"{number(value, 1 if unit else 2)}{escape(f'{chr(0xA0)}{unit}' if unit else '')}"


def _unmeasured(row: Mapping[str, Any]) -> str:
    return UNTOLD if str(row["item"]).startswith(EDGES) else "not measurable"


def _limit(row: Mapping[str, Any]) -> str:
    bound = _with_unit(row, "bound")
    return f"{_SIGNS[row['bound_is']]}\u00a0{bound}" if bound else NONE


def _verdict(row: Mapping[str, Any]) -> str:
    if row.get("bound") is None or row.get("value") is None:
        return ""
    return "<b>look again</b>" if row.get("look") else "within it"


def settings_section(settings: Mapping[str, Mapping[str, Any]]) -> str:
    blocks = []
    for heading, values in settings.items():
        lines = "".join(f"<dt>{escape(str(k))}</dt><dd>{_any(v)}</dd>" for k, v in values.items() if v is not None)
        if lines:
            blocks.append(f"<section><h4>{escape(heading)}</h4><dl>{lines}</dl></section>")
    return f'<div class="settings">{"".join(blocks)}</div>'


def _columns(report: CaseReport) -> list[tuple[str, str]]:
    return [(name, COLUMN[name]) for name in report.scans]


def _group(report: CaseReport, metric: str) -> list[Column]:
    """Every scan, then the change that matters: against the normal dose if there is one."""
    return [*_each(report, metric, "value"), ("Δ %", f"{metric}_denoised_vs_{base_of(report)}_percent", "signed")]


def base_of(report: CaseReport) -> str:
    """What the denoised image is compared with: the normal-dose scan, or the low-count one where there is none."""
    return "low" if report.reference is None else "reference"


def _each(report: CaseReport, metric: str, kind: str, references: bool = True) -> list[Column]:
    heads = {"low": "Low", "denoised": "Den.", "reference": "Norm."}
    return [(heads[key], f"{metric}_{key}", kind) for name, key in _columns(report) if references or name != REFERENCE]


def _table(
    report: CaseReport,
    rows: Rows,
    name: Callable[[Mapping[str, Any]], str],
    groups: list[tuple[str, list[Column]]],
    strip: str = "",
) -> str:
    """One line per row; groups of columns with nothing in them are left out. `strip` is drawn in every line."""
    groups = [(title, [c for c in columns if any(r.get(c[1]) is not None for r in rows)]) for title, columns in groups]
    groups = [(title, columns) for title, columns in groups if columns]
    shown = {id(columns): _written(report, rows, columns) for _, columns in groups}
    first = "".join(f'<th class="group" colspan="{len(columns)}">{escape(title)}</th>' for title, columns in groups)
    second = "".join(
        f'<th{_edge(i)} title="{escape(column)}">{escape(heading)}</th>'
        for _, columns in groups
        for i, (heading, column, _) in enumerate(columns)
    )
    drawing = Strip(report, strip, rows) if strip else None
    drawn = f'<th rowspan="2" class="strip">{drawing.head()}</th>' if drawing else ""
    lines = "".join(
        f"<tr><th>{name(row)}</th>"
        + (f'<td class="strip">{drawing.line(row)}</td>' if drawing else "")
        + f"<td>{ml(row.get('volume_ml'))}</td>"
        + "".join(
            f"<td{_edge(i)}>{shown[id(columns)][kind](row.get(column))}</td>"
            for _, columns in groups
            for i, (_, column, kind) in enumerate(columns)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr><th rowspan="2"></th>{drawn}'
        f'<th rowspan="2">ml</th>{first}</tr><tr>{second}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


class Strip:
    """How far each image lies from the one it is compared with, in per cent, as dots on one axis for all rows."""

    def __init__(self, report: CaseReport, metric: str, rows: Rows) -> None:
        self.base = base_of(report)
        self.metric = metric
        self.shown = ("denoised",) if self.base == "low" else ("low", "denoised")
        largest = max((abs(v) for row in rows for _, v in self._values(row)), default=0.0)
        self.end = next((end for end in (2, 5, 10, 20, 30, 50) if largest <= end), 100)

    def head(self) -> str:
        against = "low-count" if self.base == "low" else "normal dose"
        ends = f"<span>−{self.end} %</span><span>0</span><span>+{self.end} %</span>"
        return f'{escape(self.metric)} against {against}<div class="axis">{ends}</div>'

    def line(self, row: Mapping[str, Any]) -> str:
        values = self._values(row)
        places = [(key, 50 + 50 * min(max(v / self.end, -1), 1)) for key, v in values]
        if not places:
            return ""
        after = dict(places).get("denoised", 50.0)
        beyond = [_beyond(v, self.end) for _, v in values]
        stem = f'<b style="left:{min(after, 50):.1f}%;width:{abs(after - 50):.1f}%"></b>'
        dots = "".join(f'<i class="{key}{more}" style="left:{place:.1f}%"></i>'
                       for (key, place), more in zip(places, beyond, strict=True))  # fmt: skip
        return f'<div class="dots"><u></u>{stem}{dots}</div>'

    def _values(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        found = [(key, row.get(f"{self.metric}_{key}_vs_{self.base}_percent")) for key in self.shown]
        return [(key, value) for key, value in found if value is not None]


def _beyond(value: float, end: float) -> str:
    """Of a dot at the axis' end that belongs further out: an arrowhead, and the number."""
    if abs(value) <= end:
        return ""
    return f' {"over" if value > 0 else "under"}" title="{percent(value)}'


def _edge(i: int) -> str:
    return ' class="edge"' if i == 0 else ""


def _written(report: CaseReport, rows: Rows, columns: Iterable[Column]) -> dict[str, Written]:
    """How the numbers of these columns are written, by kind."""
    facts = Facts(report)
    values = [row.get(column) for row in rows for _, column, kind in columns if kind in ("value", "total")]
    return {"value": facts.written(values), "total": facts.written(values, _one), "ratio": suv, "one": _one,
            "signed": partial(number, decimals=1, signed=True)}  # fmt: skip


def _one(value: Any) -> str:
    return number(value, 1)


def _lesion_name(row: Mapping[str, Any]) -> str:
    name, organ, n = lesion_name(row), plain(str(row.get("organ") or "")), escape(str(row.get("number")))
    beneath = f"<small>{escape(organ)}</small>" if organ and organ not in name else ""
    return (
        f'<button type="button" class="go" data-lesion="{n}" title="Show in the viewer">{n}</button> '
        f"{escape(name or 'lesion')}{beneath}"
    )


def _organ_name(row: Mapping[str, Any]) -> str:
    return escape(plain(str(row.get("organ", ""))))


def _organ_rank(row: Mapping[str, Any]) -> tuple[int, float]:
    """The organs that matter most to PET first, then by size."""
    name = str(row.get("organ", "")).lower()
    last = len(FIRST_ORGANS)
    place = last if "cyst" in name else next((i for i, s in enumerate(FIRST_ORGANS) if name.startswith(s)), last)
    return place, -float(row.get("volume_ml") or 0)


def legend(report: CaseReport) -> str:
    names = [(name, key) for name, key in _columns(report) if key != base_of(report)]
    marks = "".join(f'<span><i class="{key}"></i>{escape(name)}</span>' for name, key in names)
    against = "the normal-dose scan" if base_of(report) == "reference" else "the low-count scan"
    normal = "Norm.: normal dose. " if report.reference is not None else ""
    return (
        f'<p class="legend">{marks}<span class="line"><i class="reference"></i>no difference from {against}</span>'
        f"<span class='words'>Low: low-count. Den.: denoised. {normal}Δ: denoised against {against}.</span></p>"
    )


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _any(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escape(f"{value:.4g}".replace("-", "−"))
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(k))} {_any(v)}" for k, v in value.items() if v not in ({}, [], ()))
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_any, value))
    return escape(str(value))
