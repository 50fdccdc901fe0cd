"""Filters at their best: settings found on validation patients at each dose, kept with all trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import registry
from ..measure.checks import bounding_box
from ..methods.contract import Case, MethodCard, Option
from ..prepare import case as preparing
from ..progress import Run
from ..tune import tune_on
from ..volume import Geometry, Volume
from . import patients, sources, store
from .cases import only, parts_of
from .contract import Dose, Row, Table, require_split

SLAB = 0.4
"""Part of the body's slices, about their middle, that settings are tried on."""
FARTHER = 3
"""So many values beyond those that the card offers are tried where the best is the last one offered."""
SOURCES = ("tune.py", "prepare", "bench/tuning.py")

Pair = tuple[Case, Volume]


def tuned(table: Table, row: Row, dose: Dose, run: Run) -> dict[str, Any]:
    """Options of a row at a dose with every trial, from the cache if they are there."""
    seeds, made_of = table.tuning_seeds(), _made_of(table, dose)
    require_split(seeds, "validation", "tuning")

    def pairs() -> list[Pair]:
        known = [patients.load(patients.ready(table.job(seed), run), dose.fraction) for seed in seeds]
        cases = [preparing.build(k.low, k.ct, k.mr, run=Run(cancelled=run.cancelled)) for k in known]
        return [slab(case, k.normal) for case, k in zip(cases, known)]

    found = kept(row, made_of, pairs, run)
    return {"table": table.name, "dose": dose.label, "row": row.name, "patients": [f"seed {s}" for s in seeds], **found}


def known(table: Table, row: Row, dose: Dose) -> bool:
    """Whether the settings have been found already."""
    return store.read_json(_file(row, _made_of(table, dose))) is not None


def _made_of(table: Table, dose: Dose) -> dict[str, Any]:
    places = [patients.place_of(table.job(seed)).name for seed in table.tuning_seeds()]
    return {"patients": places, "fraction": dose.fraction}


def _file(row: Row, made_of: Mapping[str, Any]) -> Path:
    key = {**made_of, "method": row.method, "options": dict(row.options), "anatomy": sorted(row.anatomy),
           "code": sources.code(*SOURCES, *parts_of(registry.card(row.method)))}  # fmt: skip
    return store.folder() / "tuned" / f"{store.digest(key)}.json"


def kept(row: Row, made_of: Mapping[str, Any], pairs: Callable[[], Sequence[Pair]], run: Run) -> dict[str, Any]:
    """From the cache, or searched and put there. `pairs` is called only if it has to be."""
    file, card = _file(row, made_of), registry.card(row.method)
    found = store.read_json(file)
    if found is None:
        given = [(only(case, row.anatomy), normal) for case, normal in pairs()]
        options, trials = search(card, given, row.options, run)
        found = {"method": card.name, "options": options, "trials": trials}
        store.keep_json(found, file)
    return found


def search(card: MethodCard, pairs: Sequence[Pair], fixed: Mapping[str, Any],
           run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    """The best of what the card offers, and beyond its ends as long as that is better."""
    best, trials = tune_on(card, pairs, run, fixed)
    for option in card.options:
        if option.tune and option.name not in fixed and option.kind in ("int", "float"):
            for _ in range(FARTHER):
                value = beyond(option, trials, best[option.name])
                if value is None:
                    break
                found, more = _one_more(card, option, value, pairs, best, run)
                trials += [{**_named(best, card, fixed), **row} for row in more if row[option.name] == value]
                if found[option.name] != value:
                    break
                best = found
    return best, trials


def _named(best: Mapping[str, Any], card: MethodCard, fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {o.name: best[o.name] for o in card.options if o.tune and o.name not in fixed}


def beyond(option: Option, trials: Sequence[Mapping[str, Any]], best: float) -> float | None:
    """The value after the last that was tried, in the same ratio; None where the best has values on both sides."""
    tried = sorted({row[option.name] for row in trials})
    if len(tried) < 2 or best not in (tried[0], tried[-1]):
        return None
    neighbour = tried[1] if best == tried[0] else tried[-2]
    value = best * best / neighbour if neighbour > 0 and best > 0 else 2 * best - neighbour
    value = round(value) if option.kind == "int" else round(value, 3)
    low = -np.inf if option.minimum is None else option.minimum
    high = np.inf if option.maximum is None else option.maximum
    value = min(max(value, low), high)
    return None if value in tried else value


def _one_more(card: MethodCard, option: Option, value: float, pairs: Sequence[Pair], best: Mapping[str, Any],
              run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    options = tuple(
        replace(o, default=best[o.name], tune=(value,)) if o.name == option.name else o for o in card.options
    )
    others = {name: v for name, v in best.items() if name != option.name}
    return tune_on(replace(card, options=options), pairs, run, others)


def slab(case: Case, normal: Volume, part: float = SLAB) -> Pair:
    """The middle slices of the body; the noise stays that of the whole scan."""
    body = case.body if case.body.any() else np.ones_like(case.body)
    z = bounding_box(body)[0]
    margin = int((z.stop - z.start) * (1 - part) / 2)
    chosen = slice(z.start + margin, max(z.stop - margin, z.start + margin + 1))
    images = {name: cut(image, chosen) for name in ("pet", "ct", "mr") if (image := getattr(case, name)) is not None}
    return replace(case, body=case.body[chosen], labels=None, **images), cut(normal, chosen)


def cut(image: Volume, z: slice) -> Volume:
    g = image.geometry
    first = g.affine @ np.array([0, 0, z.start, 1.0])
    size = (*g.size[:2], z.stop - z.start)
    return replace(image, array=image.array[z], geometry=Geometry(size, g.spacing, tuple(first[:3]), g.direction))
