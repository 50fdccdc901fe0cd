"""The method's own lesions and organs: each number with its interval, as one would read it out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .model import Rows
from .words import NONE, number, plain, suv

SHOWN = 25
COLUMNS = (("volume_ml", "Volume, ml"), ("SUVmean", "SUVmean"), ("SUVmax", "SUVmax"), ("SUVpeak", "SUVpeak"),
           ("TLG", "TLG, g"))  # fmt: skip


def note(facts: Mapping[str, Any]) -> str:
    own = (
        "Measured in the denoised image, in the masks that the method drew itself. A mark is no diagnosis: "
        "physiological uptake is marked at times, and small or faint lesions are missed. "
    )
    if not facts.get("samples") or facts["samples"] < 2:
        return own + "Without samples of the method there are no intervals."
    if facts.get("clinical_calibrated"):
        return own + (
            f"In brackets 95 % intervals, calibrated on {escape(str(facts['calibrated_on']))}: they answer for errors "
            "of the masks too, where a lesion is one. Patients unlike those may differ."
        )
    return own + (
        "In brackets 95 % intervals of the method’s samples, not calibrated: they show how far the samples differ "
        "within these masks, not how wrong the masks may be."
    )


def section(rows: Rows) -> str:
    lesions = [row for row in rows if row["what"] == "lesion"]
    totals = [row for row in rows if row["what"] == "total"]
    organs = [row for row in rows if row["what"] == "organ"]
    text = _table([*totals, *lesions[:SHOWN]]) if lesions else "<p>No lesion was found.</p>"
    if rest := lesions[SHOWN:]:
        text += f"<details><summary>{len(rest)} smaller lesions</summary>{_table(rest)}</details>"
    return text + (_table(organs) if organs else "")


def _table(rows: Rows) -> str:
    columns = [(key, title) for key, title in COLUMNS if any(row.get(key) is not None for row in rows)]
    heads = "".join(f"<th>{escape(title)}</th>" for _, title in columns)
    body = "".join(
        f"<tr><th>{_name(row)}</th>{''.join(f'<td>{_cell(row, key)}</td>' for key, _ in columns)}</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="plain text"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _name(row: Mapping[str, Any]) -> str:
    where = f"<small> {escape(plain(str(row['organ'])))}</small>" if row.get("organ") else ""
    count = f" ({number(row['lesions'], 0)})" if row["what"] == "total" else ""
    return f"{escape(plain(str(row['name'])))}{count}{where}"


def _cell(row: Mapping[str, Any], key: str) -> str:
    if row.get(key) is None:
        return NONE
    written = suv if key.startswith("SUV") else _amount
    low, high = row.get(f"{key}_low95"), row.get(f"{key}_high95")
    beside = "" if low is None else f"<small> ({written(low)} to {written(high)})</small>"
    return f"{written(row[key])}{beside}"


def _amount(value: float) -> str:
    return number(value, 1 if value < 100 else 0)
