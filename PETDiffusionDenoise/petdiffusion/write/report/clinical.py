"""The method's own lesions and organs: each number with its interval, as one would read it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .model import Rows
from .viewer import go
from .views import Views
from .words import NONE, OUTSIDE, Written, ml, number, outside, plain, suv

SHOWN = 25
LESIONS = (("volume_ml", "Volume, ml"), ("SUVmax", "SUVmax"), ("SUVpeak", "SUVpeak"), ("SUVmean", "SUVmean"),
           ("TLG", "TLG, SUV·ml"))  # fmt: skip
LEFT_OUT = (("volume_ml", "Volume, ml"), ("SUVmax", "SUVmax"), ("why", "Why"))
ORGANS = (("volume_ml", "Volume, ml"), ("SUVmean", "SUVmean"))
Columns = Sequence[tuple[str, str]]


def note(facts: Mapping[str, Any]) -> str:
    own = (
        "What the method marked by itself, measured in the denoised image. A mark is no diagnosis: physiological "
        "uptake is marked at times, and small or faint lesions are missed. "
    )
    if not facts.get("samples") or facts["samples"] < 2:
        return own + "Run with samples of 2 or more for intervals."
    if facts.get("clinical_calibrated"):
        return own + (
            f"Below each number its 95 % interval, calibrated on {escape(str(facts['calibrated_on']))}: it answers for "
            "errors of the marks too, where a lesion is one. Patients unlike those may differ."
        )
    return own + (
        "Below each number the 95 % interval of the method’s samples, not calibrated: how far the samples differ "
        "within these marks, not how wrong the marks may be."
    )


def section(rows: Rows, left_out: Rows, views: Views) -> str:
    """With a word on numbers outside their own interval, since those are only where intervals are calibrated."""
    lesions = [row for row in rows if row["what"] == "lesion"]
    total = next((row for row in rows if row["what"] == "total"), None)
    organs = [row for row in rows if row["what"] == "organ"]
    marked = _lesions(lesions, total, views) if lesions else "<p>No lesion was marked, which does not exclude one.</p>"
    found = f"<div><h3>Lesions</h3>{marked}{_left_out(left_out, views)}</div>{_organs(organs)}"
    return f'{_beyond(rows)}<div class="found">{found}</div>'


def _beyond(rows: Rows) -> str:
    numbers = [(row, key) for row in rows for key, _ in (ORGANS if row["what"] == "organ" else LESIONS)
               if row.get(key) is not None and row.get(f"{key}_low95") is not None]  # fmt: skip
    found = [(row, key) for row, key in numbers if _outside(row, key)]
    if not found:
        return ""
    (row, key), whose = found[0], "lesions and organs"
    low, value, high = (_written(key)(row[name]) for name in (f"{key}_low95", key, f"{key}_high95"))
    word, _, unit = dict(LESIONS)[key].partition(", ")
    such = " ".join(part for part in (word, value, unit, "of", plain(str(row["name"]))) if part)
    return outside(len(found), len(numbers), whose, such, f"{low} to {high}")


def _outside(row: Mapping[str, Any], key: str) -> bool:
    return row.get(f"{key}_low95") is not None and not row[f"{key}_low95"] <= row[key] <= row[f"{key}_high95"]


def _lesions(rows: Rows, total: Mapping[str, Any] | None, views: Views) -> str:
    numbers = {id(row): n for n, row in enumerate(rows, 1)}

    def name(row: Mapping[str, Any]) -> str:
        return f"{go(str(numbers[id(row)]), views, row)} {_place(row)}"

    columns = _filled(LESIONS, rows)
    sums = [] if total is None else [_line(f"All {number(total['lesions'], 0)}", total, columns, ' class="all"')]
    text = _table(columns, [_line(name(row), row, columns) for row in rows[:SHOWN]] + sums)
    if rest := rows[SHOWN:]:
        lines = [_line(name(row), row, columns) for row in rest]
        text += f"<details><summary>{len(rest)} smaller lesions</summary>{_table(columns, lines)}</details>"
    return text


def _left_out(rows: Rows, views: Views) -> str:
    """Closed at first: they are no findings, but a reader who misses a lesion looks here."""
    if not rows:
        return ""
    lines = [_line(f"{go(str(row['region']), views, row)} {_place(row, 'mark')}", {"what": "left out", **row}, LEFT_OUT)
             for row in rows]  # fmt: skip
    title = f"{len(rows)} mark{'s' if len(rows) > 1 else ''} left out, not taken for lesions"
    return f"<details><summary>{title}</summary>{_table(LEFT_OUT, lines)}</details>"


def _place(row: Mapping[str, Any], unknown: str = "lesion") -> str:
    return escape(plain(str(row.get("organ") or unknown)))


def _organs(rows: Rows) -> str:
    if not rows:
        return ""
    columns = _filled(ORGANS, rows)
    lines = [_line(escape(plain(str(row["name"]))), row, columns) for row in rows]
    return (
        f"<div><h3>Organs</h3>{_table(columns, lines)}"
        '<p class="small">Without their lesions, and only the part inside the scan.</p></div>'
    )


def _filled(columns: Columns, rows: Rows) -> Columns:
    return [(key, title) for key, title in columns if any(row.get(key) is not None for row in rows)]


def _table(columns: Columns, lines: Sequence[str]) -> str:
    heads = "".join(f"<th>{escape(title)}</th>" for _, title in columns)
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _line(name: str, row: Mapping[str, Any], columns: Columns, kind: str = "") -> str:
    return f"<tr{kind}><th>{name}</th>{''.join(f'<td>{_cell(row, key)}</td>' for key, _ in columns)}</tr>"


def _cell(row: Mapping[str, Any], key: str) -> str:
    if row.get(key) is None:
        return NONE if row["what"] != "total" else ""
    if key == "why":
        return escape(str(row[key]))
    written = _written(key)
    low, high = row.get(f"{key}_low95"), row.get(f"{key}_high95")
    beneath = "" if low is None else f"<small>{written(low)} to {written(high)}</small>"
    return f"{written(row[key])}{OUTSIDE if _outside(row, key) else ''}{beneath}"


def _written(key: str) -> Written:
    return suv if key.startswith("SUV") else ml if key == "volume_ml" else _amount


def _amount(value: float) -> str:
    return number(value, 1 if value < 100 else 0)
