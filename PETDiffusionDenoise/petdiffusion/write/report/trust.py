"""What the output asserts that the scan does not support: the rows that chance does not explain first, the others
folded away beside how many of them chance alone gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from itertools import groupby
from typing import Any

from ...trust.findings import BEYOND, SPOTS, STRUCTURE, TOTAL
from ...wording import counted
from .model import CaseReport, Rows
from .viewer import go
from .views import Views
from .words import NONE, OUTSIDE, Written, chance, number, outside, plain, suv, written

SHOWN = 40
HEIGHT = 9
"""The column of spots alone."""
SPOT_WORDS = (
    "A spot’s means are over a Gaussian of its size. Its height is what was added (+) or taken (−) at its top, over "
    "what is around it, with what the scan’s noise leaves open: about three times the change of that mean."
)


def trust_note(facts: Mapping[str, Any]) -> str:
    if not facts.get("checked"):
        return f"Not checked: {escape(str(facts.get('why', 'nothing is known')))}."
    sizes = facts["sizes_mm"]
    blurred = facts["output_blurred_by_mm"]
    sharper = f" The output is sharper than the scan and was blurred by {blurred:g} mm for this." if blurred else ""
    return (
        "The difference of scan and output should be the scan’s noise and nothing else. It was searched for spots of "
        f"{sizes[0]:g} to {sizes[-1]:g} mm, and for means of organs, lesions and the body that changed by more than "
        f"that noise.{sharper} This needs no normal-dose scan. What lies within the noise cannot be told."
    )


def trust_section(report: CaseReport, views: Views) -> str:
    sure = [row for row in report.trust_rows if row.get("weight") == BEYOND]
    rest = [row for row in report.trust_rows if row.get("weight") != BEYOND]
    text = _table(report, sure, views) if sure else "<p>Nothing was found that chance does not explain.</p>"
    facts = report.trust_facts
    if rest:
        title, note = _by_chance(facts, len(rest), bool(sure))
        text += (
            f"<details><summary>{title}</summary>"
            f'<p class="note">{note}</p>{_table(report, rest[:SHOWN], views, sure=False)}</details>'
        )
    return text + _small_print(facts, report.quantity)


def _by_chance(facts: Mapping[str, Any], listed: int, besides: bool) -> tuple[str, str]:
    """Of places that chance alone may explain: their count beside the one that it gives, and from where one counts."""
    flagged, expected = facts.get("regions_flagged"), facts.get("regions_expected_by_chance")
    if flagged is None or expected is None:
        return f"{counted(listed, 'place')} to look at, none certain", ""
    many, chance = counted(round(flagged), "place"), number(expected, 0)
    if flagged < expected:
        further = "further changes" if besides else "a change"
        title = f"{many} flagged, fewer than the {chance} that chance alone gives: no evidence of {further}"
    else:
        title = f"{many} flagged where chance alone gives {chance}; none of these is certain"
    note = (
        "Flagged is a place of the size of a small lesion where chance makes so large a difference in fewer than "
        f"{100 * facts['alarm_p']:g} % of such places (|z| above {number(facts['alarm_z'], 1)}); the body has "
        f"{number(facts['regions'], 0)} of them. The strongest {min(listed, SHOWN)} are listed."
    )
    return title, note


def certainty_note(facts: Mapping[str, Any]) -> str:
    if facts.get("calibrated"):
        return (
            f"From {number(facts.get('samples'), 0)} samples, calibrated on {escape(str(facts['calibrated_on']))}: "
            f"of 100 such intervals about 95 held the number of the {escape(str(facts['intervals_for']))} there. "
            "Patients unlike those may differ."
        )
    return (
        f"From {number(facts.get('samples'), 0)} samples of the method, not calibrated: the intervals show how far the "
        "samples differ, not how wrong they may be."
    )


def certainty_section(report: CaseReport) -> str:
    rows = [row for row in report.interval_rows if row.get("kind") == "lesion"]
    organs = [row for row in report.interval_rows if row.get("kind") != "lesion"]
    folded = (
        f"<details><summary>{counted(len(organs), 'number')} of organs</summary>{_beyond(report, organs, 'organs')}"
        f"{_intervals(report, organs)}</details>"
    )
    return (
        _beyond(report, rows, "lesions") + (_intervals(report, rows) if rows else "") + (folded if organs else "")
    )


def _beyond(report: CaseReport, rows: Rows, whose: str) -> str:
    found = [row for row in rows if _outside(row)]
    if not found:
        return ""
    one, shown = found[0], _shown(report, rows)
    such = f"{one['metric']} {shown(one['denoised'])} of {plain(str(one['name']))}"
    return outside(len(found), len(rows), whose, such, f"{shown(one['low95'])} to {shown(one['high95'])}")


def _outside(row: Mapping[str, Any]) -> bool:
    inside = row["denoised"] is None or row["low95"] <= row["denoised"] <= row["high95"]
    return bool(row.get("calibrated")) and not inside


def _shown(report: CaseReport, rows: Rows) -> Written:
    return written(report.quantity, (row[key] for row in rows for key in ("denoised", "low95", "high95")))


def _intervals(report: CaseReport, rows: Rows) -> str:
    shown = _shown(report, rows)
    spread = written(report.quantity, (row["sd"] for row in rows), partial(number, decimals=3))
    heads = ("", "", "Output", "95 % interval", "Expected", "SD of samples")
    whose = groupby(rows[:400], key=lambda row: (row["name"], row.get("number")))
    body = "".join(_named(list(same), shown, spread) for _, same in whose)
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    table = f'<table class="plain text"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _named(rows: Rows, shown: Written, spread: Written) -> str:
    """The numbers of one lesion or organ, its name once beside them."""
    name = f'<th rowspan="{len(rows)}">{escape(plain(str(rows[0]["name"])))}</th>'
    return "".join(
        f"<tr>{'' if i else name}<td>{escape(row['metric'])}</td>"
        f"<td>{shown(row['denoised'])}{OUTSIDE if _outside(row) else ''}</td>"
        f"<td>{shown(row['low95'])}\u00a0to\u00a0{shown(row['high95'])}</td><td>{shown(row['expected'])}</td>"
        f"<td>{spread(row['sd'])}</td></tr>"
        for i, row in enumerate(rows)
    )


def _table(report: CaseReport, rows: Rows, views: Views, sure: bool = True) -> str:
    prefix = "SUV" if report.quantity == "SUV" else ""
    heads = ["", "", "Where", "x, y, z mm (LPS)", "Axial slice, from 0", "Size, mm", f"{prefix}mean scan",
             f"{prefix}mean output", "Change, % (95\u00a0%)", "Spot’s height (95\u00a0%)", "p",
             "p, all places"]  # fmt: skip
    spots = any(row["kind"] in SPOTS for row in rows)
    shown = _as_means(report.quantity, rows, prefix)
    lines = [_cells(row, prefix, views, sure, *shown) for row in rows]
    if not spots:
        for line in (heads, *lines):
            del line[HEIGHT]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return (
        '<div class="scroll"><table class="plain text doubts"><thead><tr>'
        + "".join(f"<th>{escape(h)}</th>" for h in heads)
        + f"</tr></thead><tbody>{body}</tbody></table></div>"
        + (f'<p class="small">{SPOT_WORDS}</p>' if spots else "")
    )


def _cells(row: Mapping[str, Any], prefix: str, views: Views, sure: bool, coarse: Written, fine: Written) -> list[str]:
    where = ", ".join(plain(str(row[key])) for key in ("lesion", "organ") if row.get(key))
    place = [row.get(f"{axis}_mm") for axis in "xyz"]
    kind = escape(row["kind"])
    spot, axial = row["kind"] in SPOTS, views.counted("axial")
    change = [row.get(f"{prefix}change{end}") for end in ("", "_low95", "_high95")]
    return [
        go("show", views, row, "go show") if views.at(row) else "",
        f"<b>{kind}</b>" if sure else kind,
        escape(where) or ("whole body" if row["kind"] == TOTAL else ""),
        NONE if None in place else ", ".join(number(v, 0) for v in place),
        NONE if row.get(axial) is None else str(row[axial]),
        number(row.get("size_mm"), 1),
        *((coarse if spot else fine)(row.get(f"{prefix}mean_{image}")) for image in ("low", "denoised")),
        _percent(row, change),
        _with_ends(change, partial(_signed, coarse)) if spot else "",
        escape(chance(row.get("p"))),
        escape(chance(row.get("p_adjusted"))),
    ]


def _as_means(quantity: str, rows: Rows, prefix: str) -> tuple[Written, Written]:
    """Of spots, and finer of organs and of the body, whose means are certain to a digit more and change there."""
    values = [row.get(f"{prefix}mean_{image}") for row in rows for image in ("low", "denoised")]
    return written(quantity, values), written(quantity, values, _fine, figures=4)


def _signed(shown: Written, value: float) -> str:
    return f"{'+' if value > 0 else ''}{shown(value)}"


def _fine(value: Any) -> str:
    return number(value, 3) if value is not None and abs(value) < 10 else suv(value)


def _percent(row: Mapping[str, Any], change: Sequence[float | None]) -> str:
    """With its interval where the change is one of the means; that of a spot is one of its height."""
    part = row.get("change_percent")
    if row["kind"] == STRUCTURE:
        return f"{number(part, 0, signed=True)}<small>in variation</small>"
    if row["kind"] in SPOTS or part is None or None in change or not change[0]:
        return number(part, 0 if row["kind"] in SPOTS else 1, signed=True)
    ends = sorted(end * part / change[0] for end in change[1:])
    return _with_ends([part, *ends], lambda v: number(v, 1, signed=True))


def _with_ends(value: Sequence[float | None], written: Callable[[Any], str]) -> str:
    if None in value:
        return NONE
    middle, low, high = (written(v) for v in value)
    return f"{middle}<small>{low} to {high}</small>"


def _small_print(facts: Mapping[str, Any], quantity: str) -> str:
    if not facts.get("checked"):
        return ""
    noise = facts["noise_sd_median"]
    sd = written(quantity, [noise], partial(number, decimals=3))(noise)
    fwhm = " × ".join(f"{f:.1f}" for f in reversed(facts["noise_fwhm_mm"]))
    return (
        f'<p class="small">Noise of the scan: SD {sd} at the median, correlated over '
        f"{fwhm} mm (x, y, z); the output no longer has {number(facts['noise_removed_percent'], 0)} % of its variance. "
        "p: chance in one place of that kind; p, all places: chance anywhere among all that were looked at.</p>"
    )
