"""prompts.csv: one row a slice; written with every result, to be edited and given again with --prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...prepare.upright import Turn
from ...volume import Geometry
from ...write.tables import read_csv
from .prompts import MAX_TOKENS, Count, Prompt, heights_mm


def rows_of(prompts: Sequence[Prompt], geometry: Geometry) -> list[dict[str, Any]]:
    return [
        {"slice": number, "z_mm": height, "prompt": prompt.text, "tokens": prompt.tokens,
         "dropped": ", ".join(prompt.dropped)}
        for number, (prompt, height) in enumerate(zip(prompts, heights_mm(geometry)))
    ]  # fmt: skip


def read(path: str | Path, geometry: Geometry, count: Count, as_given: Geometry | None = None) -> list[Prompt]:
    """A prompt for every slice of this scan: by z_mm, the nearest within half a slice, else by the slice's number, as
    the file counts it (`as_given` where the scan was turned).

    A row that is missing leaves its slice without a prompt. A prompt that is too long is refused, not cut.
    """
    name, rows = Path(path).name, read_csv(path)
    if not rows or "prompt" not in rows[0] or not {"z_mm", "slice"} & set(rows[0]):
        raise InputError(f"Table of prompts {name}", "needs the columns prompt and z_mm (or slice), and rows",
                         "Start from the prompts.csv of an earlier result.")  # fmt: skip
    places = _by_height(rows, geometry, name) if "z_mm" in rows[0] else _by_number(rows, as_given or geometry, name)
    texts = [""] * geometry.size[2]
    for place, row in zip(places, rows):
        if place is not None:
            texts[place] = str(row["prompt"] if row["prompt"] is not None else "").strip()
    return [_counted(text, count, name) for text in texts]


def scan_words(path: str | Path) -> str | None:
    """What the table says of the whole scan, in the first row that says it; None where it has no such column."""
    rows = read_csv(path)
    if not rows or "scan" not in rows[0]:
        return None
    return next((str(row["scan"]).strip() for row in rows if row["scan"]), "")


def _by_height(rows: Sequence[dict[str, Any]], geometry: Geometry, name: str) -> list[int | None]:
    heights = np.array(heights_mm(geometry))
    reach = geometry.spacing[2] / 2 + 1e-3
    found = []
    for row in rows:
        away = np.abs(heights - _number(row["z_mm"], "z_mm", name))
        found.append(int(away.argmin()) if away.min() <= reach else None)
    if not any(place is not None for place in found):
        raise InputError(f"Table of prompts {name}", "has no slice at the height of any of this PET's",
                         "Give the table of the same scan.")  # fmt: skip
    return found


def _by_number(rows: Sequence[dict[str, Any]], geometry: Geometry, name: str) -> list[int | None]:
    found = [int(_number(row["slice"], "slice", name)) for row in rows]
    if max(found) >= geometry.size[2] or min(found) < 0:
        raise InputError(f"Table of prompts {name}", f"names slice {max(found)}, the PET has {geometry.size[2]}",
                         "Give the table of the same scan.")  # fmt: skip
    return [Turn.of(geometry).slice_of(number) for number in found]


def _number(value: Any, column: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"Table of prompts {name}", f"has '{value}' in column {column}", "Give numbers there.")
    return float(value)


def _counted(text: str, count: Count, name: str) -> Prompt:
    if not text:
        return Prompt("")
    tokens = count(text)
    if tokens > MAX_TOKENS:
        raise InputError(f"Prompt '{text[:60]}…' of {name}", f"takes {tokens} tokens, CLIP reads {MAX_TOKENS}",
                         "Shorten it.")  # fmt: skip
    return Prompt(text, tokens)
