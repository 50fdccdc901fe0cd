"""Lists to click through in a review: lesions, places that the scan does not support, and what was checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import results, tables

LESIONS, MARKED, LEFT_OUT, DOUBTS, CHECKS, PROMPTS = "lesions", "marked", "left out", "doubts", "checks", "prompts"
_IMAGES = (("low", "Before"), ("denoised", "Denoised"), ("reference", "Normal"))
_SURE = "beyond chance"
_LPS = re.compile(r"\((-?\d+), (-?\d+), (-?\d+)\) mm(?: LPS)?")
_OWN = "Marked by the method itself, no diagnosis: physiological uptake is marked at times, small lesions are missed."
_CALIBRATED = " 95 %: calibrated, errors of the mask included."
_UNCALIBRATED = " 95 %: of the method's samples, not calibrated; errors of the mask are not in it."
_EVERY_PROMPT = "Axial slice including "
_MATCHES = 3
_PLACES = ("hottest_", "centre_", "")
"""As the backend's `measure.rows` has them; a scene saved before has the last alone."""
Place = tuple[float | None, float | None, float]
"""In RAS. A whole slice has a height alone."""


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
    certain = nodes.record.get("uncertainty") or {}
    asked = (nodes.record.get("request") or {}).get("lesions")  # still known when the mask was removed since
    own = "clinical" in nodes.tables and not asked and nodes.denoised.GetNodeReference(results.LESIONS) is None
    found = {LESIONS: _lesions(_rows(nodes, "lesions"), "Marked lesions, before and after" if own else "Lesions"),
             MARKED: _marked(_rows(nodes, "clinical"), bool(certain.get("clinical_calibrated"))),
             LEFT_OUT: _left_out(_rows(nodes, "marks_left_out")),
             DOUBTS: _doubts(_rows(nodes, "trust")), CHECKS: _checks(nodes.record.get("check") or ()),
             PROMPTS: _prompts(_rows(nodes, "prompts"), _rows(nodes, "matches"))}
    return {key: listing for key, listing in found.items() if listing.lines}


def _rows(nodes: results.ResultNodes, kind: str) -> list[dict[str, Any]]:
    """Scenes saved before have empty words in a column without one number."""
    node = nodes.tables.get(kind)
    rows = tables.rows_of(node) if node is not None else []
    return [{key: None if value == "" else value for key, value in row.items()} for row in rows]


def place_of(row: Mapping[str, Any]) -> Place | None:
    """Where a row of a table is, in RAS; tables keep it in LPS."""
    for kind in _PLACES:
        x, y, z = (row.get(f"{kind}{axis}_mm") for axis in "xyz")
        if None not in (x, y, z):
            return -x, -y, z
    return None


def _lesions(rows: Sequence[Mapping[str, Any]], title: str) -> Listing:
    first = rows[0] if rows else {}
    metric = "SUVmax" if any(key.startswith("SUVmax_") for key in first) else "max"
    images = [(key, title) for key, title in _IMAGES if f"{metric}_{key}" in first]
    lines = [[short_lesion(str(row.get("lesion") or "")), *(number(row.get(f"{metric}_{key}")) for key, _ in images),
              number(row.get("volume_ml"))] for row in rows]
    return Listing(f"{title}: {metric} and volume", ("Lesion", *(title for _, title in images), "ml"), lines,
                   [str(row.get("lesion") or "") for row in rows], [place_of(row) for row in rows])


def short_lesion(name: str) -> str:
    """`Lesion 2 (lymph node)` as `2 lymph node`: the column's title says what it is."""
    number_, place, part = tables.lesion_of(name) or ("", "", "")
    if not place and not part:
        return name
    return f"{number_}{f' {place}' if place else ''}{f', part {part}' if part else ''}"


def _marked(rows: Sequence[Mapping[str, Any]], calibrated: bool) -> Listing:
    """The lesions that a method marked itself, whether or not others were given; also that it marked none."""
    lesions = [row for row in rows if row.get("what") == "lesion"]
    if rows and not lesions:
        return Listing("Marked lesions: none", ("Lesion",), [["None, which does not exclude one."]], [_OWN], [None])
    known = any(row.get("SUVmax_low95") is not None for row in lesions)
    lines = [[_named(row), number(row.get("SUVmax")), *([_interval(row, "SUVmax")] if known else []),
              number(row.get("volume_ml"))] for row in lesions]
    title = f"Marked lesions: SUVmax{', 95 %' if known else ''} and volume"
    note = _OWN + ((_CALIBRATED if calibrated else _UNCALIBRATED) if known else "")
    return Listing(title, ("Lesion", "SUVmax", *(["95 %"] if known else []), "ml"), lines,
                   [f"{_numbers(row)} {note}" for row in lesions], [place_of(row) for row in lesions])


def _left_out(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """Marks that the method does not take for lesions: where to look for one that is missing."""
    lines = [[_spaced(row.get("organ")) or _mark(row.get("region")), number(row.get("SUVmax")),
              number(row.get("volume_ml"))] for row in rows]
    return Listing("Marks left out: SUVmax and volume", ("Mark", "SUVmax", "ml"), lines,
                   [f"Not taken for a lesion: {row.get('why')}." for row in rows], [place_of(row) for row in rows])


def _mark(region: float | None) -> str:
    return "mark" if region is None else f"mark {region:.0f}"


def _named(row: Mapping[str, Any]) -> str:
    name, organ = str(row.get("name") or ""), _spaced(row.get("organ"))
    return short_lesion(f"{name} ({organ})" if organ else name)


def _numbers(row: Mapping[str, Any]) -> str:
    where = f" in {_spaced(row['organ'])}" if row.get("organ") else ""
    each = ", ".join(f"{metric} {number(row.get(metric))}" for metric in ("SUVpeak", "SUVmean", "TLG"))
    return f"{str(row.get('name', '')).capitalize()}{where}: {each}."


def _spaced(name: Any) -> str:
    return str(name or "").replace("_", " ")


def _interval(row: Mapping[str, Any], metric: str) -> str:
    low, high = row.get(f"{metric}_low95"), row.get(f"{metric}_high95")
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"


def _prompts(rows: Sequence[Mapping[str, Any]], matches: Sequence[Mapping[str, Any]]) -> Listing:
    """What each slice was told and what the text encoder sees in it, from the head down."""
    seen = {row["z_mm"]: row for row in matches if row.get("z_mm") is not None}
    told = {row["z_mm"]: str(row.get("prompt") or "") for row in rows if row.get("z_mm") is not None}
    heights = sorted({*told, *seen}, reverse=True)
    lines = [[told.get(z, "").removeprefix(_EVERY_PROMPT) or "–", _match(seen.get(z, {}), 1) or "–", _height(z)]
             for z in heights]
    tips = [f"Told: {told.get(z) or 'nothing of this slice'}.{_best(seen.get(z, {}))}" for z in heights]
    some = sum(bool(text) for text in told.values())
    return Listing(f"Prompts: {some} of {len(heights)} slices", ("Prompt", "Best match", "mm"), lines, tips,
                   [(None, None, z) for z in heights])


def _match(row: Mapping[str, Any], rank: int) -> str:
    name, score = row.get(f"match_{rank}"), row.get(f"score_{rank}")
    return f"{name} {score:.2g}" if name and score is not None else ""


def _best(row: Mapping[str, Any]) -> str:
    several = ", ".join(filter(None, (_match(row, rank) for rank in range(1, _MATCHES + 1))))
    return f" Best matches, by their chance: {several}." if several else ""


def _height(z: float) -> str:
    return f"{z:.1f}".replace("-", "−") if z else "0"


def _doubts(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """What the output asserts and the scan's counts do not support, the sure ones first."""
    rows = sorted(rows, key=lambda row: row.get("weight") != _SURE)
    sure = sum(row.get("weight") == _SURE for row in rows)
    metric = "SUVmean" if any("SUVmean_low" in row for row in rows) else "mean"
    lines = [[f"{'● ' if row.get('weight') == _SURE else ''}{_where(row)}",
              *(number(row.get(f"{metric}_{image}")) for image in ("low", "denoised")),
              _p(row.get("p_adjusted"))] for row in rows]
    tips = [f"{_where(row)}: {row.get('weight') or ''}. Change {number(row.get('change_percent'))} %. Chance of it in "
            f"its own place {_p(row.get('p'))}, anywhere in the scan {_p(row.get('p_adjusted'))}." for row in rows]
    title = f"Doubts: {sure} beyond chance (●), {len(rows) - sure} to look at"
    return Listing(title, ("Finding", "Before", "Denoised", "Chance"), lines, tips, [place_of(row) for row in rows])


def _where(row: Mapping[str, Any]) -> str:
    name = short_lesion(str(row.get("lesion") or "")) or str(row.get("organ") or "").replace("_", " ")
    return f"{row.get('kind') or ''}{f', {name}' if name else ''}"


def _checks(sentences: Sequence[str]) -> Listing:
    texts = [in_ras(str(text)) for text in sentences]
    return Listing(f"Checks: {len(texts)} to read", ("Look again",), [[text] for text in texts], texts,
                   [_first_place(str(text)) for text in sentences])


def in_ras(sentence: str) -> str:
    """The places of a sentence as Slicer names them; the backend's are LPS."""
    return _LPS.sub(lambda found: "R {:g}, A {:g}, S {:g} mm".format(*_ras(found)), sentence)


def _first_place(sentence: str) -> Place | None:
    found = _LPS.search(sentence)
    return _ras(found) if found else None


def _ras(found: re.Match[str]) -> Place:
    x, y, z = map(float, found.groups())
    return 0.0 - x, 0.0 - y, z


def number(value: Any) -> str:
    """Three digits, zeros too: 12.0 beside 11.4; all digits of what is larger, as Bq/ml are."""
    if value is None:
        return "–"
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def _p(value: Any) -> str:
    """A chance as it is read: two digits, tiny ones by their bound."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"
