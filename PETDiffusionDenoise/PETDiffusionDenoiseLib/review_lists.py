"""Lists to click through in a review: lesions, places that the scan does not support, and what was checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import results, tables

LESIONS, DOUBTS, CHECKS = "lesions", "doubts", "checks"
_IMAGES = (("low", "Before"), ("denoised", "Denoised"), ("reference", "Normal"))
_SURE = "beyond chance"
Place = tuple[float, float, float]


@dataclass(frozen=True)
class Listing:
    """Lines of text with what stands in their tool tips, and where each is in RAS (None where it is no place)."""

    title: str
    columns: tuple[str, ...]
    lines: list[list[str]]
    tips: list[str]
    places: list[Place | None]


def lists(nodes: results.ResultNodes) -> dict[str, Listing]:
    """Those that a result has something for, by key."""
    found = {LESIONS: _lesions(_rows(nodes, "lesions")), DOUBTS: _doubts(_rows(nodes, "trust")),
             CHECKS: _checks(nodes.record.get("check") or ())}
    return {key: listing for key, listing in found.items() if listing.lines}


def _rows(nodes: results.ResultNodes, kind: str) -> list[dict[str, Any]]:
    node = nodes.tables.get(kind)
    return tables.rows_of(node) if node is not None else []


def place_of(row: Mapping[str, Any]) -> Place | None:
    """Where a row of a table is, in RAS; tables keep it in LPS."""
    values = [row.get(key) for key in ("x_mm", "y_mm", "z_mm")]
    if any(value is None for value in values):
        return None
    x, y, z = values
    return -x, -y, z


def _lesions(rows: Sequence[Mapping[str, Any]]) -> Listing:
    first = rows[0] if rows else {}
    metric = "SUVmax" if any(key.startswith("SUVmax_") for key in first) else "max"
    images = [(key, title) for key, title in _IMAGES if f"{metric}_{key}" in first]
    lines = [[_short(str(row.get("lesion", ""))), *(number(row.get(f"{metric}_{key}")) for key, _ in images),
              number(row.get("volume_ml"))] for row in rows]
    return Listing(f"Lesions: {metric} and volume", ("Lesion", *(title for _, title in images), "ml"), lines,
                   [str(row.get("lesion", "")) for row in rows], [place_of(row) for row in rows])


def _short(name: str) -> str:
    """`Lesion 2 (lymph node)` as `2 lymph node`: the column's title says what it is."""
    return re.sub(r"^lesion (\d+) \((.*)\)$", r"\1 \2", name, flags=re.IGNORECASE)


def _doubts(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """What the output asserts and the scan's counts do not support, the sure ones first."""
    rows = sorted(rows, key=lambda row: row.get("weight") != _SURE)
    sure = sum(row.get("weight") == _SURE for row in rows)
    metric = "SUVmean" if any("SUVmean_low" in row for row in rows) else "mean"
    lines = [[f"{'● ' if row.get('weight') == _SURE else ''}{_where(row)}",
              *(number(row.get(f"{metric}_{image}")) for image in ("low", "denoised")),
              _p(row.get("p_adjusted"))] for row in rows]
    tips = [f"{_where(row)}: {row.get('weight', '')}. Change {number(row.get('change_percent'))} %. Chance of it in "
            f"its own place {_p(row.get('p'))}, anywhere in the scan {_p(row.get('p_adjusted'))}." for row in rows]
    title = f"Doubts: {sure} beyond chance (●), {len(rows) - sure} to look at"
    return Listing(title, ("Finding", "Before", "Denoised", "Chance"), lines, tips, [place_of(row) for row in rows])


def _where(row: Mapping[str, Any]) -> str:
    name = _short(str(row.get("lesion") or "")) or str(row.get("organ") or "").replace("_", " ")
    return f"{row.get('kind', '')}{f', {name}' if name else ''}"


def _checks(sentences: Sequence[str]) -> Listing:
    texts = [str(text) for text in sentences]
    return Listing(f"Checks: {len(texts)} to read", ("Look again",), [[text] for text in texts], texts,
                   [None] * len(texts))


def number(value: Any) -> str:
    """Three digits, zeros too: 12.0 beside 11.4."""
    return "–" if value is None else f"{value:#.3g}".rstrip(".")


def _p(value: Any) -> str:
    """A chance as it is read: two digits, tiny ones by their bound."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"
