"""Maps that a method lays over the scan, slice by slice, each with what its table says of the slice."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from . import figures
from .colour import SEQUENTIAL, Scale, png
from .model import DENOISED, CaseReport
from .views import Views

PLATES = 5
ON_TOP = "position:absolute;inset:0;width:100%;height:100%;mix-blend-mode:multiply"
HEAT = Scale(0.0, 1.0, SEQUENTIAL[:5], "match, part of the slice’s strongest")


def section(report: CaseReport, views: Views, name: str, rows: list[Mapping[str, Any]]) -> str:
    """A few axial slices, from the head down; `rows` count them and have words in match_1, score_1, ..."""
    heat, numbers = views.placed(report.maps[name].array), views.numbers("axial").tolist()
    said = {row.get(views.counted("axial")): row for row in rows}
    filled = [k for k in reversed(range(views.count("axial"))) if numbers[k] in said]
    chosen = [filled[i] for i in (np.linspace(0.06, 0.94, PLATES) * len(filled)).astype(int)] if filled else []
    plates = "".join(_plate(views, k, numbers[k], heat, said[numbers[k]]) for k in dict.fromkeys(chosen))
    return f'<div class="cards n3">{plates}</div>{figures.bars(HEAT, views.grey)}'


def _plate(views: Views, index: int, number: int, heat: np.ndarray, row: Mapping[str, Any]) -> str:
    pet, over = (views.slice_of(array, "axial", index) for array in (views.images[DENOISED], heat))
    width, height = pet.size_mm
    words = ", ".join(f"{escape(str(row[f'match_{n}']))} {row[f'score_{n}']:.2f}" for n in (1, 2, 3)
                      if row.get(f"match_{n}"))  # fmt: skip
    size = figures.text_mm(views)
    return (
        f'<figure class="card"><figcaption class="whole">Slice {number}: {words}</figcaption>'
        f'<div class="picture axial" style="position:relative;aspect-ratio:{width:.1f}/{height:.1f}">'
        f'<img alt="Axial slice {number}" src="{png(pet.square(), views.grey)}">'
        f'<img alt="Heat map: {words}" style="{ON_TOP}" src="{png(over.square(), HEAT)}">'
        f'{figures.overlay(width, height, {}, size)}{figures.letters(pet, "axial", size)}</div></figure>'
    )
