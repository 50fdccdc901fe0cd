"""Which of a method's models a scan is given, and what the model was not made for: said, never silent."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConditionError, ModelError
from ..methods.contract import Case
from ..prepare.region import region_of
from ..progress import Run
from . import store
from .card import ModelCard
from .domain import beyond
from .store import Model

_SLACK = 1.1
"""Voxels a tenth beyond the card's range are still as trained."""
_SIDE = 1.4
"""One side alone may lie so far beyond it: scanners' slices are a little thinner or thicker than wide."""


def choose(method: str, case: Case, run: Run) -> Model:
    """The model asked for, or the one made for scans most like this one; what does not fit is warned about."""
    model = _fed(store.find(run.model, method), case) if run.model else _best(method, case, run)
    if reasons := misfits(model.card, case):
        run.warn(f"The model {model.card.id} was not trained for this scan: {'; '.join(reasons)}. "
                 "Compare its result with a classical filter before you rely on it.")  # fmt: skip
    return model


def _best(method: str, case: Case, run: Run) -> Model:
    for error in store.broken(method):
        run.warn(f"A model was left out. {error}")
    known = list(store.models(method).values())
    if not known:
        raise ModelError(
            f"Method '{method}'",
            "has no model on this machine",
            f"Add one (petdiffusion models add SOURCE), or train one (petdiffusion train {method} --help).",
        )
    best = min(known, key=lambda m: rank(m.card, case, len(misfits(m.card, case)), m.bundled))
    return _fed(best, case).verify()


def rank(card: ModelCard, given: Any, misfit: int, bundled: bool) -> tuple[int, int, int, bool, bool]:
    """The least is taken, the first by name among equals. `given`: a case, or what else has `ct`, `mr`, `labels`."""
    return len(lacking(card, given)), misfit, -len(card.needs), not bundled, not card.refines


def lacking(card: ModelCard, given: Any) -> list[str]:
    """What the model needs beside the PET and is not given."""
    return [kind for kind in card.needs if getattr(given, kind) is None]


def _fed(model: Model, case: Case) -> Model:
    if missing := lacking(model.card, case):
        kinds = " and ".join(kind.upper() if kind != "labels" else kind for kind in missing)
        raise ConditionError(f"Model {model.card.id}", f"needs the patient's {kinds}",
                             f"Give --{' --'.join(missing)}, or choose another model.")  # fmt: skip
    return model


def misfits(card: ModelCard, case: Case) -> list[str]:
    """What of the scan lies outside the card: region, voxel size, tracer, dose fraction, and noise, activity and
    contrast as measured. Unknown facts are not held against it."""
    pet, found = case.pet, []
    region = region_of(pet, case.body)
    if card.regions and region not in card.regions:
        found.append(f"it shows a {region}, the model was trained on the {' and '.join(card.regions)}")
    if not _trained(steps := _steps(card, pet.geometry.spacing), card.voxel_mm):
        low, high = card.voxel_mm
        said = f"{steps[0]:.2g}" if max(steps) < 1.01 * min(steps) else " x ".join(f"{s:.2g}" for s in steps)
        found.append(f"its voxels measure {said} mm, trained were {low:g} to {high:g} mm")
    if pet.facts.tracer and card.tracers and pet.facts.tracer not in card.tracers:
        found.append(f"its tracer is {pet.facts.tracer}, trained were {', '.join(card.tracers)}")
    fraction, (low, high) = case.dose_fraction or pet.facts.dose_fraction, card.dose_fractions
    if fraction and not low / _SLACK <= fraction <= high * _SLACK:
        found.append(f"its dose fraction is {fraction:.3g}, trained were {low:.3g} to {high:.3g}")
    return found + beyond(card.seen, case)


def _steps(card: ModelCard, spacing: tuple[float, float, float]) -> tuple[float, ...]:
    """The voxel's sides; a network that sees slices one by one doesn't mind how far apart they are."""
    return spacing[:2] if card.config.get("network", {}).get("dims") == 2 else spacing


def _trained(steps: tuple[float, ...], known: tuple[float, float]) -> bool:
    """Of about the size of the training's voxels, and with no side far from it."""
    (low, high), mean = known, math.prod(steps) ** (1 / len(steps))
    return low / _SLACK <= mean <= high * _SLACK and low / _SIDE <= min(steps) and max(steps) <= high * _SIDE
