"""Maps that a method lays over the scan, slice by slice, each with what its table says of the slice."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from .colour import SEQUENTIAL, Scale, png
from .model import DENOISED, CaseReport
from .views import Picture, Views

PLATES = 5
ON_TOP = "position:absolute;inset:0;width:100%;height:100%;mix-blend-mode:multiply"


def section(report: CaseReport, views: Views, name: str, rows: list[Mapping[str, Any]]) -> str:
    """A few axial slices, from the head down; `rows` have a column slice, and words in match_1, score_1, ..."""
    heat = views.placed(report.maps[name].array)
    numbers = views.placed(np.broadcast_to(np.arange(len(report.low.array))[:, None, None], report.low.array.shape))
    said = {row.get("slice"): row for row in rows}
    filled = [k for k in reversed(range(views.count("axial"))) if int(numbers[k, 0, 0]) in said]
    chosen = [filled[i] for i in (np.linspace(0.06, 0.94, PLATES) * len(filled)).astype(int)] if filled else []
    return '<div class="cards n3">' + "".join(
        _plate(views, k, heat, said[int(numbers[k, 0, 0])]) for k in dict.fromkeys(chosen)) + "</div>"  # fmt: skip


def _plate(views: Views, index: int, heat: np.ndarray, row: Mapping[str, Any]) -> str:
    pet, over = (views.slice_of(array, "axial", index) for array in (views.images[DENOISED], heat))
    width, height = pet.size_mm
    words = ", ".join(f"{escape(str(row[f'match_{n}']))} {row[f'score_{n}']:.2f}" for n in (1, 2, 3)
                      if row.get(f"match_{n}"))  # fmt: skip
    return (
        f'<figure class="card"><figcaption>{words}</figcaption><div class="picture axial" '
        f'style="position:relative;aspect-ratio:{width:.1f}/{height:.1f}">'
        f'<img alt="Axial slice" src="{png(pet.square(), views.grey)}">'
        f'<img alt="Heat map: {words}" style="{ON_TOP}" src="{_heat(over)}"></div></figure>'
    )


def _heat(picture: Picture) -> str:
    return png(picture.square(), Scale(0.0, 1.4, SEQUENTIAL, "match"))
